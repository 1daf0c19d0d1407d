//! Replica processes: they are started again after a crash, and none outlives the router.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    line::{Line, post},
    router::{Router, binary, signal},
    spec::{self, SCORE},
    watch::{alive, await_exactly, await_gauge, descendants, list, ready, until},
};

/// How long the kernel and the guardian may take to end what is left.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A model that is not the first process of its replica but a grandchild of the router.
fn behind_a_shell() -> Value {
    json!(["sh", "-c", format!("{} model --port {{port}} & wait", binary().display())])
}

fn start(command: &Value, replicas: u32) -> Router {
    let fields = json!({"maxQueueWait": "20s"});
    let blue = spec::fixed("blue", command, replicas, &fields);
    let router = Router::start(&spec::endpoint(&[blue]), &[]);
    await_exactly(&router, "blue", usize::try_from(replicas).expect("a small number"));
    router
}

#[test]
fn a_replica_that_is_killed_is_started_again_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let router = start(&spec::model(&folder.path().join("ledger"), &[]), 1);
    for restarts in 1..=2 {
        let pid = u32::try_from(ready(&router, "blue")[0]["pid"].as_u64().unwrap()).unwrap();
        signal(pid, "KILL");
        let again = until(Duration::from_secs(10), "it is ready again", || {
            ready(&router, "blue").into_iter().find(|r| r["restarts"] == restarts)
        });
        assert_ne!(again["pid"], pid);
        assert_eq!(post(router.data, SCORE, &[]).status, 200);
    }
}

#[test]
fn a_request_that_finds_its_only_replica_crashed_waits_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let router = start(&spec::model(&folder.path().join("ledger"), &[]), 1);
    let pid = u32::try_from(ready(&router, "blue")[0]["pid"].as_u64().unwrap()).unwrap();
    signal(pid, "KILL");
    until(Duration::from_secs(5), "the crash is seen", || {
        ready(&router, "blue").is_empty().then_some(())
    });
    assert_eq!(post(router.data, SCORE, &[]).status, 200);
}

#[test]
fn a_replica_that_crashes_again_and_again_is_started_less_and_less_often() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = format!("date +%s%N >> {}; exit 3", starts.display());
    let blue = spec::fixed("blue", &json!(["sh", "-c", script]), 1, &json!({}));
    let router = Router::start(&spec::endpoint(&[blue]), &[]);
    let times = until(Duration::from_secs(20), "four restarts", || {
        let text = std::fs::read_to_string(&starts).unwrap_or_default();
        let times: Vec<u64> =
            text.lines().filter_map(|line| Some(line.parse::<u64>().ok()? / 1_000_000)).collect();
        (times.len() >= 5).then_some(times)
    });
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("waits between starts: {waits:?} ms");
    for (wait, least) in waits.iter().zip([160, 320, 640, 1280]) {
        assert!(*wait >= least, "{waits:?}");
    }
    let shown = list(&router, "replicas");
    assert!(shown[0]["restarts"].as_u64() >= Some(3), "{shown:?}");
    assert!(shown[0]["message"].as_str().unwrap().contains('3'), "{shown:?}");
}

#[test]
fn no_process_outlives_the_router_however_it_ends() {
    for how in ["KILL", "TERM", "INT"] {
        let mut router = start(&behind_a_shell(), 2);
        let below = descendants(router.pid());
        // Two shells, two models, one guardian.
        assert!(below.len() >= 5, "{below:?}");
        router.signal(how);
        assert!(router.wait(END_LIMIT).is_some(), "{how}");
        until(END_LIMIT, &format!("everything ends after {how}"), || {
            alive(&below).is_empty().then_some(())
        });
    }
}

#[test]
fn no_process_outlives_a_router_that_is_killed_at_work() {
    let mut router = start(&behind_a_shell(), 2);
    let mut line = Line::connect(router.data);
    line.send(&format!("{SCORE}?latency=20s"), &[]);
    await_gauge(&router, "modelway_busy_slots", "blue", 1);
    let below = descendants(router.pid());
    router.signal("KILL");
    assert!(router.wait(END_LIMIT).is_some());
    until(END_LIMIT, "everything ends", || alive(&below).is_empty().then_some(()));
    assert!(line.answer().is_none());
}
