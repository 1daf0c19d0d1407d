//! Which room may import which, what pure rooms may not touch, and where large crates live.

use crate::{
    hold,
    rust::{Token, begins},
    tree::{self, Source},
};

/// Every room with the rooms whose doors it may open. A new room gets its line here and in
/// `ARCHITECTURE.md`; a new door needs a reason there.
pub(crate) const DOORS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("lifecycle", &["domain"]),
    ("telemetry", &["domain"]),
    ("auth", &["domain"]),
    ("routing", &["domain"]),
    ("autoscale", &["domain"]),
    ("net", &[]),
    ("replica", &["domain", "lifecycle", "telemetry"]),
    ("upstream", &["domain", "lifecycle", "telemetry", "net"]),
    (
        "proxy",
        &["domain", "lifecycle", "telemetry", "auth", "routing", "net", "replica", "upstream"],
    ),
    ("platform", &["domain", "lifecycle", "telemetry"]),
    ("tokens", &["domain", "lifecycle", "telemetry", "auth"]),
    ("control", &["domain", "lifecycle", "telemetry", "autoscale", "platform"]),
    ("ring", &["domain", "lifecycle", "auth", "platform"]),
    ("admin", &["domain", "lifecycle", "telemetry", "auth"]),
    ("model", &["domain", "lifecycle"]),
    ("bench", &["domain", "lifecycle"]),
    (
        "config",
        &[
            "domain",
            "lifecycle",
            "telemetry",
            "auth",
            "routing",
            "autoscale",
            "net",
            "replica",
            "upstream",
            "proxy",
            "platform",
            "tokens",
            "control",
            "ring",
            "admin",
        ],
    ),
    ("app", &[EVERY_ROOM]),
    ("cli", &[EVERY_ROOM]),
];

/// Stands for all rooms.
pub(crate) const EVERY_ROOM: &str = "every room";

/// Rooms that are values in, values out.
const PURE: [&str; 4] = ["domain", "auth", "routing", "autoscale"];

/// What a pure room may not say, and what it does instead.
const IMPURE: &[(&[&str], &str)] = &[
    (&["tokio", "::"], "a pure room knows no runtime; let the caller await"),
    (&["hyper", "::"], "a pure room knows no connections; take the values out of the head first"),
    (&["::", "now"], "a pure room reads no clock; take `now` as an argument"),
    (&[".", "elapsed", "("], "a pure room reads no clock; take `now` and subtract"),
    (&["rand", "::"], "a pure room rolls no dice; take a `ticket` as an argument"),
    (&["getrandom"], "a pure room rolls no dice; take the bytes as an argument"),
    (&["Uuid", "::", "new_v4"], "a pure room rolls no dice; take the id as an argument"),
    (&["std", "::", "env"], "a pure room reads no environment; take the value as an argument"),
    (&["std", "::", "fs"], "a pure room reads no files; take the content as an argument"),
    (&["std", "::", "process"], "a pure room starts no processes"),
    (&["std", "::", "thread"], "a pure room starts no threads"),
    (&["tracing", "::"], "a pure room returns its reason in words; the caller logs it"),
];

/// The one home of each large crate, as the beginnings of paths.
const HOMES: &[(&str, &[&str])] = &[
    ("kube", &["src/platform/kubernetes"]),
    ("k8s_openapi", &["src/platform/kubernetes"]),
    ("axum", &["src/admin/"]),
    ("jsonwebtoken", &["src/auth/"]),
    ("prometheus", &["src/telemetry/"]),
    // The two rooms that are whole commands have their own arguments and speak to people.
    ("clap", &["src/cli/", "src/model/", "src/bench/"]),
    ("saphyr", &["src/platform/spec"]),
    ("saphyr_parser", &["src/platform/spec"]),
    ("notify", &["src/platform/local"]),
    // Errors with a context for people, not for callers.
    ("anyhow", &["src/app/", "src/cli/", "src/model/", "src/bench/", "src/main.rs"]),
];

#[test]
fn every_room_opens_only_its_own_doors() {
    let mut violations = Vec::new();
    for source in tree::production() {
        let Some((room, allowed)) = doors_of(source.room()) else { continue };
        for (target, line) in imported(&source.production, source.depth()) {
            let is_open = target == *room
                || allowed.contains(&EVERY_ROOM)
                || allowed.contains(&target.as_str());
            if target == "*" {
                violations.push(format!(
                    "{}:{line}: `crate::*` opens every door; name what is needed",
                    source.path
                ));
            } else if doors_of(&target).is_some() && !is_open {
                violations.push(format!(
                    "{}:{line}: `{room}` may not import `{target}` (only: {}); turn the dependency \
                     round with a type in `domain`, or let `app` join the two",
                    source.path,
                    allowed.join(", "),
                ));
            }
        }
    }
    hold(&violations);
}

/// Their tests included: two planes, and two types of `domain` between them.
#[test]
fn proxy_and_platform_never_name_each_other() {
    let mut violations = Vec::new();
    for source in tree::sources(&["src"]) {
        let other = match source.room() {
            "proxy" => "platform",
            "platform" => "proxy",
            _ => continue,
        };
        for (target, line) in imported(&source.tokens, source.depth()) {
            if target == other {
                violations.push(format!(
                    "{}:{line}: names `{other}`; the planes meet in `domain` (Catalog down, Load up)",
                    source.path
                ));
            }
        }
    }
    hold(&violations);
}

#[test]
fn pure_rooms_know_no_runtime_no_clock_and_no_dice() {
    let mut violations = Vec::new();
    for source in tree::production().iter().filter(|source| PURE.contains(&source.room())) {
        for (line, what, instead) in impurities(&source.production) {
            violations.push(format!("{}:{line}: `{what}`: {instead}", source.path));
        }
    }
    hold(&violations);
}

#[test]
fn each_large_crate_lives_in_its_home() {
    let mut violations = Vec::new();
    for source in tree::production() {
        for &(name, homes) in HOMES {
            if homes.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            if let Some(line) = first_use_of_crate(&source, name) {
                violations.push(format!(
                    "{}:{line}: `{name}` lives in {}; ask that room, or pass a plain type",
                    source.path,
                    homes.join(", ")
                ));
            }
        }
    }
    hold(&violations);
}

#[test]
fn the_table_of_doors_knows_exactly_the_rooms_that_exist() {
    let rooms = tree::rooms();
    let missing = rooms.iter().filter(|room| doors_of(room).is_none()).map(|room| {
        format!("src/{room}: not in the table of doors; add it to tests/tidy/doors.rs")
    });
    let gone =
        DOORS.iter().filter(|(room, _)| !rooms.iter().any(|r| r == room)).map(|(room, _)| {
            format!("tests/tidy/doors.rs: `{room}` does not exist; take it out of the table")
        });
    let unknown = DOORS.iter().flat_map(|(room, doors)| {
        doors.iter().filter(|door| **door != EVERY_ROOM && doors_of(door).is_none()).map(
            move |door| format!("tests/tidy/doors.rs: `{room}` has a door to no room: `{door}`"),
        )
    });
    hold(&missing.chain(gone).chain(unknown).collect::<Vec<_>>());
}

fn doors_of(room: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    DOORS.iter().find(|(name, _)| *name == room)
}

/// The first names behind `crate::` and behind the `super::` that reaches the root of the crate,
/// with their lines.
fn imported(tokens: &[Token], depth: usize) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut before = "";
    for (start, token) in tokens.iter().enumerate() {
        let rest = tokens.get(start..).unwrap_or_default();
        let starts_path = before != "::";
        before = token.text.as_str();
        let behind = match token.text.as_str() {
            "crate" if begins(rest, &["crate", "::"]) => rest.get(2..),
            "super" if starts_path => behind_supers(rest, depth),
            _ => None,
        };
        if let Some(behind) = behind {
            heads(behind, &mut found);
        }
    }
    found
}

/// What stands behind `depth` or more times `super::`.
fn behind_supers(mut tokens: &[Token], depth: usize) -> Option<&[Token]> {
    let mut count = 0;
    while begins(tokens, &["super", "::"]) {
        count += 1;
        tokens = tokens.get(2..)?;
    }
    (count >= depth).then_some(tokens)
}

/// The first segment of a path, or of each path of a `{…}` group.
fn heads(tokens: &[Token], found: &mut Vec<(String, usize)>) {
    let Some(first) = tokens.first() else { return };
    if first.text != "{" {
        found.push((first.text.clone(), first.line));
        return;
    }
    let mut nesting = 0_usize;
    let mut is_head = false;
    for token in tokens {
        match token.text.as_str() {
            "{" => {
                nesting += 1;
                is_head = nesting == 1;
            }
            "}" => {
                nesting = nesting.saturating_sub(1);
                if nesting == 0 {
                    return;
                }
            }
            "," if nesting == 1 => is_head = true,
            _ if is_head => {
                found.push((token.text.clone(), token.line));
                is_head = false;
            }
            _ => {}
        }
    }
}

fn impurities(tokens: &[Token]) -> Vec<(usize, String, &'static str)> {
    let mut found = Vec::new();
    for (start, token) in tokens.iter().enumerate() {
        let rest = tokens.get(start..).unwrap_or_default();
        for &(words, instead) in IMPURE {
            if begins(rest, words) {
                found.push((token.line, words.concat(), instead));
            }
        }
    }
    found
}

/// `name::…` at the start of a path, `use name`, or the attribute `#[name(…)]`.
fn first_use_of_crate(source: &Source, name: &str) -> Option<usize> {
    let mut before = "";
    for (start, token) in source.production.iter().enumerate() {
        let rest = source.production.get(start..).unwrap_or_default();
        let is_path = begins(rest, &[name, "::"]) && before != "::";
        let is_import = token.text == name && before == "use";
        let is_attribute = before == "[" && begins(rest, &[name, "("]);
        if is_path || is_import || is_attribute {
            return Some(token.line);
        }
        before = token.text.as_str();
    }
    None
}

#[test]
fn imports_are_found_however_they_are_written() {
    let names = |text: &str, depth| {
        imported(&crate::rust::tokens(text), depth)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("use crate::{auth::{A, B}, domain::C, proxy};", 1),
        ["auth", "domain", "proxy"]
    );
    assert_eq!(
        names("fn f() -> crate::routing::Split { super::platform::g() }", 1),
        ["routing", "platform"]
    );
    assert_eq!(names("use super::{slots, queue}; use super::super::control;", 2), ["control"]);
    assert_eq!(names("pub(crate) use crate::*; // crate::admin", 1), ["*"]);
}

#[test]
fn a_clock_or_dice_in_a_pure_room_are_found_however_they_are_written() {
    for text in [
        "use tokio::time;",
        "fn f() { let now = std::time::Instant::now(); }",
        "fn f(start: Instant) -> Duration { start.elapsed() }",
        "let x: u8 = rand::random();",
        "items.map(SystemTime::now)",
    ] {
        assert!(!impurities(&crate::rust::tokens(text)).is_empty(), "{text}");
    }
    let pure =
        "fn f(now: Instant, brand: Rand) { g(now.duration_since(brand.start)) } // tokio::spawn";
    assert_eq!(impurities(&crate::rust::tokens(pure)), []);
}
