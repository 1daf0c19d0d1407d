//! Open-loop load through everything that can happen to replicas, and with half of the clients
//! leaving.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    book::{Balance, Book, Kill},
    ledger::{Load, Plan},
    router::{Router, signal},
    spec::{self, SCORE},
    watch::{metric, now_ms, pass, ready, until},
};

const LATENCY: &str = "lognormal:30ms,120ms";
const GREEN_SLOTS: usize = 2;
const ONLY_SLOTS: usize = 3;

/// Between two events of the long run.
const EVENT_INTERVAL: Duration = Duration::from_millis(2500);

fn slots(replica: &str) -> usize {
    match replica.split('-').nth(1) {
        Some("green") => GREEN_SLOTS,
        Some("only") => ONLY_SLOTS,
        _ => 1,
    }
}

/// Quiet and busy in turn, so that the autoscaler goes up and down.
fn wave(since: Duration) -> f64 {
    if since.as_secs() % 12 < 6 { 90.0 } else { 15.0 }
}

/// The endpoint as it is edited during the run.
struct Edited {
    ledger: PathBuf,
    model_name: u32,
    green_percent: u32,
    red: bool,
}

impl Edited {
    fn text(&self) -> String {
        let patient = json!({"maxQueueWait": "20s", "maxQueueLength": 10_000});
        let scale = json!({"minReplicas": 2, "maxReplicas": 4, "scaleDownWindow": "3s"});
        let fields = spec::with(&patient, &json!({"autoscale": scale}));
        let name = format!("model-{}", self.model_name);
        let command = spec::model(&self.ledger, &["--latency", LATENCY, "--name", &name]);
        let plain = spec::model(&self.ledger, &["--latency", LATENCY]);
        let blue = spec::version("blue", &command, &fields);
        let share = json!({
            "trafficPercentile": self.green_percent,
            "maxConcurrentRequestsPerReplica": GREEN_SLOTS,
        });
        let green = spec::with(&spec::version("green", &plain, &fields), &share);
        let mut versions: Vec<Value> = vec![blue, green];
        if self.red {
            let share = json!({"trafficPercentile": 10});
            versions.push(spec::with(&spec::version("red", &plain, &fields), &share));
        }
        spec::endpoint(&versions)
    }

    /// The next edit: the split, a new command, a version more, a version less.
    fn change(&mut self, number: u32) {
        match number % 4 {
            0 => self.green_percent = 60 - self.green_percent,
            1 => self.model_name += 1,
            2 => self.red = true,
            _ => self.red = false,
        }
    }
}

/// Kills a replica at work of a version that has others, if there is one now.
fn kill_one(router: &Router, kills: &mut Vec<Kill>) {
    let all = ready(router, "");
    let alternatives =
        |version: &Value| all.iter().filter(|other| other["version"] == *version).count() > 1;
    let mut victims: Vec<&Value> =
        all.iter().filter(|replica| alternatives(&replica["version"])).collect();
    victims.sort_by_key(|replica| std::cmp::Reverse(replica["busy"].as_u64()));
    let Some(pid) = victims.first().and_then(|victim| victim["pid"].as_u64()) else { return };
    let pid = u32::try_from(pid).expect("a process id");
    kills.push(Kill { pid, at_ms: now_ms() });
    signal(pid, "KILL");
}

/// Ends the router and compares the books.
fn settle(router: &mut Router, load: Load, ledger: &Path, kills: &[Kill]) -> Balance {
    let outcomes = load.outcomes();
    router.signal("TERM");
    let ended = router.wait(Duration::from_secs(20)).expect("the router ends");
    assert!(ended.success(), "{ended} {:#?}", router.errors());
    Book::read(ledger).balance(&outcomes, kills, slots)
}

#[test]
fn through_scaling_kills_and_edits_nothing_is_lost_and_nothing_is_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut edited =
        Edited { ledger: ledger.clone(), model_name: 1, green_percent: 20, red: false };
    let mut router = Router::start(&edited.text(), &["--workers", "2"]);
    router.await_replicas("blue", "ready", 2, Duration::from_secs(20));
    router.await_replicas("green", "ready", 2, Duration::from_secs(20));
    let begun = Instant::now();
    let load = Load::start(Plan {
        data: router.data,
        target: SCORE.to_owned(),
        rate: wave,
        length: Duration::from_secs(60),
        leavers_percent: 0,
    });
    let mut kills = Vec::new();
    let mut edits = 0;
    for event in 0.. {
        pass(EVENT_INTERVAL);
        if begun.elapsed() > Duration::from_secs(58) {
            break;
        }
        if event % 2 == 0 {
            kill_one(&router, &mut kills);
        } else {
            edited.change(edits);
            router.edit(&edited.text());
            edits += 1;
        }
    }
    let decisions =
        |direction| metric(&router, "modelway_scaling_decisions_total", &["blue", direction]);
    let (ups, downs) = (decisions("\"up\""), decisions("\"down\""));
    println!("blue scaled up {ups} and down {downs} times; {} kills, {edits} edits", kills.len());
    let balance = settle(&mut router, load, &ledger, &kills);
    println!("{balance}");
    assert!(balance.faults.is_empty(), "{balance}");
    assert!(balance.sent > 2500, "{balance}");
    assert!(ups >= 3.0 && downs >= 3.0 && kills.len() >= 8 && edits >= 8, "too little happened");
}

#[test]
fn with_half_of_the_clients_leaving_no_replica_has_more_than_its_slots() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let edited = Edited { ledger: ledger.clone(), model_name: 1, green_percent: 20, red: false };
    let mut router = Router::start(&edited.text(), &["--workers", "2"]);
    router.await_replicas("blue", "ready", 2, Duration::from_secs(20));
    let load = Load::start(Plan {
        data: router.data,
        target: SCORE.to_owned(),
        rate: wave,
        length: Duration::from_secs(30),
        leavers_percent: 50,
    });
    let balance = settle(&mut router, load, &ledger, &[]);
    println!("{balance}");
    assert!(balance.faults.is_empty(), "{balance}");
    let left: usize = balance.left.iter().sum();
    assert!(left * 10 > balance.sent * 4 && balance.good * 10 > balance.sent * 4, "{balance}");
    assert_eq!(balance.left[2], 0, "onDisconnect: finish cuts nothing off\n{balance}");
}

/// Versions go and come back while their replicas still end, and commands change while the change
/// before is not done.
#[test]
fn edits_faster_than_replicas_can_follow_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut edited =
        Edited { ledger: ledger.clone(), model_name: 1, green_percent: 20, red: false };
    let mut router = Router::start(&edited.text(), &["--workers", "2"]);
    router.await_replicas("blue", "ready", 2, Duration::from_secs(20));
    let load = Load::start(Plan {
        data: router.data,
        target: SCORE.to_owned(),
        rate: |_| 40.0,
        length: Duration::from_secs(9),
        leavers_percent: 20,
    });
    for edit in 0..24 {
        edited.change(edit);
        router.edit(&edited.text());
        pass(Duration::from_millis(350));
    }
    let balance = settle(&mut router, load, &ledger, &[]);
    println!("{balance}");
    assert!(balance.faults.is_empty(), "{balance}");
}

/// It is busy and others wait: those who wait, and those who come before the crash is noticed, meet a port on which nobody
/// listens. They wait for the replica that is started in its place.
#[test]
fn a_crash_of_the_only_replica_costs_only_the_request_in_progress() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let patient = json!({
        "maxQueueWait": "20s",
        "maxQueueLength": 10_000,
        "maxConcurrentRequestsPerReplica": ONLY_SLOTS,
    });
    let command = spec::model(&ledger, &["--latency", "30ms"]);
    let only = spec::fixed("only", &command, 1, &patient);
    let mut router = Router::start(&spec::endpoint(&[only]), &["--workers", "2"]);
    router.await_replicas("only", "ready", 1, Duration::from_secs(20));
    let load = Load::start(Plan {
        data: router.data,
        target: SCORE.to_owned(),
        rate: |_| 85.0,
        length: Duration::from_secs(12),
        leavers_percent: 0,
    });
    let mut kills = Vec::new();
    for _ in 0..4 {
        pass(EVENT_INTERVAL);
        let pid = until(Duration::from_secs(10), "the replica is ready", || {
            ready(&router, "only").first()?["pid"].as_u64()
        });
        let pid = u32::try_from(pid).unwrap();
        kills.push(Kill { pid, at_ms: now_ms() });
        signal(pid, "KILL");
    }
    let balance = settle(&mut router, load, &ledger, &kills);
    println!("{balance}");
    assert!(balance.faults.is_empty(), "{balance}");
}
