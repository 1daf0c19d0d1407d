//! Runs all cases over all lanes, and counts.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use crate::{
    case::{self, Case},
    http1, http2,
    recorder::Recorded,
    text,
    world::{LANES, Lane, World},
};

/// The files of cases: those of HTTP/1 are bytes, those of HTTP/2 are frames.
const HTTP1: &[(&str, &str)] = &[
    ("framing", include_str!("cases/framing.txt")),
    ("syntax", include_str!("cases/syntax.txt")),
    ("target", include_str!("cases/target.txt")),
    ("host", include_str!("cases/host.txt")),
    ("fields", include_str!("cases/fields.txt")),
    ("sizes", include_str!("cases/sizes.txt")),
    ("sequence", include_str!("cases/sequence.txt")),
];
const HTTP2: &[(&str, &str)] = &[("http2", include_str!("cases/http2.txt"))];

/// How many cases there are at least.
const CASES_MIN: usize = 400;

/// How a case is sent: in one piece, then cut so that every line is torn somewhere else.
const CUTS: [Option<&[usize]>; 2] = [None, Some(&[1, 3, 7, 2, 11, 5, 4099])];

#[derive(Default)]
struct Account {
    right: AtomicUsize,
    runs: AtomicUsize,
    smuggled: AtomicUsize,
    faults: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

fn cases(files: &[(&str, &str)]) -> Vec<Case> {
    let all = files.iter().flat_map(|(file, text)| match case::read(file, text) {
        Ok(cases) => cases,
        Err(problem) => panic!("{problem}"),
    });
    let cases: Vec<Case> = all.collect();
    let mut names = BTreeSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "two cases are named {}", case.name);
        assert!(case.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{}", case.name);
        let known = ["9110 §", "9112 §", "9113 §", "7541 §", "contract §", "gRPC", "6455 §"];
        assert!(
            known.iter().any(|start| case.section.starts_with(start)),
            "{}: section",
            case.name
        );
    }
    cases
}

#[test]
fn hostile_clients_get_their_verdict_and_nothing_is_smuggled() {
    let (http1, http2) = (cases(HTTP1), cases(HTTP2));
    let all: Vec<(&Case, bool)> = http1
        .iter()
        .map(|case| (case, false))
        .chain(http2.iter().map(|case| (case, true)))
        .collect();
    let world = World::start();
    let account = Account::default();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..LANES {
            let (lane, account, next, all) = (world.lane(number), &account, &next, &all);
            scope.spawn(move || {
                while let Some((case, is_http2)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(lane, case, *is_http2, account);
                }
            });
        }
    });
    let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
    let wrong = account.wrong.into_inner();
    eprintln!(
        "hostile clients: {} cases ({} HTTP/1, {} HTTP/2) in {} runs; verdicts right {}; smuggled {}; \
         faulty requests at a replica {}",
        all.len(),
        http1.len(),
        http2.len(),
        count(&account.runs),
        count(&account.right),
        count(&account.smuggled),
        count(&account.faults),
    );
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(all.len() >= CASES_MIN, "{} cases, at least {CASES_MIN} are wanted", all.len());
}

/// Runs a case as often as it says, in one piece and torn.
fn run(lane: Lane<'_>, case: &Case, is_http2: bool, account: &Account) {
    let mut problem = None;
    for round in 0..case.verdict.repeat {
        for (number, pieces) in CUTS.iter().enumerate() {
            let id = format!("{}-{round}-{number}", case.name);
            let result = once(lane, case, is_http2, &id, *pieces, account);
            account.runs.fetch_add(1, Ordering::Relaxed);
            problem = problem
                .or(result.err().map(|problem| format!("{id} ({}): {problem}", case.section)));
        }
    }
    match problem {
        None => {
            account.right.fetch_add(1, Ordering::Relaxed);
        }
        Some(problem) => account.wrong.lock().push(problem),
    }
}

fn once(
    lane: Lane<'_>,
    case: &Case,
    is_http2: bool,
    id: &str,
    pieces: Option<&[usize]>,
    account: &Account,
) -> Result<(), String> {
    let names = lane.names(id);
    let outcome = if is_http2 {
        http2::run(lane, &case.lines, &names, pieces, &case.verdict)
    } else {
        let bytes = text::bytes_of(&case.lines, &names)?;
        http1::run(lane, &bytes, pieces, &case.verdict)
    };
    let fresh = http1::good(&mut http1::Client::connect(lane.address), lane, id);
    let seen = sorted(lane.take(), id, account);
    let outcome = outcome.map_err(|problem| format!("{problem}; the replica saw {seen:?}"))?;
    fresh?;
    let seen = seen?;
    let allowed = case.verdict.allows(&seen, &names);
    if allowed.is_err() && seen.iter().filter(|seen| seen.complete).count() > case.verdict.whole() {
        account.smuggled.fetch_add(1, Ordering::Relaxed);
    }
    allowed?;
    case.verdict.agrees(&outcome.last)
}

/// The requests of this case among all that the replica saw. Good requests are the suite's own; what
/// comes late is the cut-off part of an earlier case.
fn sorted(seen: Vec<Recorded>, id: &str, account: &Account) -> Result<Vec<Recorded>, String> {
    let mut mine = Vec::new();
    for request in seen {
        if let Some(fault) = &request.fault {
            account.faults.fetch_add(1, Ordering::Relaxed);
            return Err(format!("a faulty request reached the replica: {fault}: {request:?}"));
        }
        let own = ["/good?same", "/good?"].iter().any(|start| {
            request.target == format!("{start}{id}")
                || (*start == "/good?same" && request.target == *start)
        });
        let late = !request.complete && !request.target.starts_with(&format!("/{id}"));
        if !own && !late {
            mine.push(request);
        }
    }
    Ok(mine)
}
