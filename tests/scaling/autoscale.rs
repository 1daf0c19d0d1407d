//! From load to replicas and back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    book::Book,
    ledger::{Load, Plan},
    line::{Line, post},
    router::{Router, binary},
    spec::{self, SCORE},
    watch::{await_exactly, list, metric, now_ms, parse_ms, pass, ready, until},
};

/// Saturations that are measured; an environment variable asks for more.
const STEPS: usize = 20;
/// Ups and downs under load; `MODELWAY_TEST_CYCLES=200` is the long run.
const CYCLES: usize = 20;
/// Contract §8: from saturation to the order.
const UP_LIMIT_MS: u64 = 1000;

fn number_from(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn start(command: &Value, fields: &Value) -> Router {
    let blue = spec::version("blue", command, fields);
    Router::start(&spec::endpoint(&[blue]), &["--workers", "2"])
}

/// A replica that notes when its process started, in nanoseconds.
fn noting(starts: &Path) -> Value {
    let (binary, starts) = (binary().display(), starts.display());
    let script = format!("date +%s%N >> {starts}; exec {binary} model --port {{port}}");
    json!(["sh", "-c", script])
}

fn noted_ms(starts: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(starts).unwrap_or_default();
    text.lines().filter_map(|line| Some(line.parse::<u64>().ok()? / 1_000_000)).collect()
}

#[test]
fn from_saturation_to_the_start_of_a_process_it_takes_less_than_a_second() {
    let steps = number_from("MODELWAY_TEST_STEPS", STEPS);
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let scale = json!({"minReplicas": 1, "maxReplicas": 2, "scaleDownWindow": "0s"});
    let router = start(&noting(&starts), &json!({"autoscale": scale, "maxQueueWait": "20s"}));
    let mut delays = Vec::new();
    for _ in 0..steps {
        await_exactly(&router, "blue", 1);
        let before = noted_ms(&starts).len();
        let mut lines: Vec<Line> = (0..3).map(|_| Line::connect(router.data)).collect();
        let saturated_ms = now_ms();
        for line in &mut lines {
            line.send(&format!("{SCORE}?latency=150ms"), &[]);
        }
        let started_ms = until(Duration::from_secs(5), "a process starts", || {
            noted_ms(&starts).get(before).copied()
        });
        delays.push(started_ms.saturating_sub(saturated_ms));
        for line in &mut lines {
            assert_eq!(line.answer().unwrap().status, 200);
        }
    }
    delays.sort_unstable();
    let (p50, p99) = (delays[steps / 2], delays[(steps * 99).div_ceil(100) - 1]);
    println!("saturation to process start over {steps} steps: p50 {p50} ms, p99 {p99} ms");
    assert!(p99 <= UP_LIMIT_MS, "{delays:?}");
}

#[test]
fn replicas_go_after_the_window_and_decisions_say_why_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let scale = json!({"minReplicas": 1, "maxReplicas": 4, "scaleDownWindow": "3s"});
    let command = spec::model(&folder.path().join("ledger"), &[]);
    let router = start(&command, &json!({"autoscale": scale, "maxQueueWait": "20s"}));
    await_exactly(&router, "blue", 1);
    let mut lines: Vec<Line> = (0..5).map(|_| Line::connect(router.data)).collect();
    for line in &mut lines {
        line.send(&format!("{SCORE}?latency=1s"), &[]);
    }
    for line in &mut lines {
        assert_eq!(line.answer().unwrap().status, 200);
    }
    let quiet_ms = now_ms();
    await_exactly(&router, "blue", 1);
    let decisions = list(&router, "decisions");
    let times: Vec<u64> =
        decisions.iter().map(|decision| parse_ms(decision["time"].as_str().unwrap())).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let first_up = decisions.last().unwrap();
    let reason = first_up["reason"].as_str().unwrap();
    assert_eq!((&first_up["from"], &first_up["direction"]), (&json!(1), &json!("up")), "{reason}");
    assert!(reason.starts_with("1 → ") && reason.contains("busy") && reason.contains("70 %"));
    assert_eq!(first_up["inputs"]["slotsPerReplica"], 1);
    let newest = decisions.first().unwrap();
    assert_eq!((&newest["to"], &newest["direction"]), (&json!(1), &json!("down")));
    println!("down {} ms after the end of the load: {}", times[0] - quiet_ms, newest["reason"]);
    assert!((1000..=5000).contains(&(times[0] - quiet_ms)), "{}", times[0] - quiet_ms);
}

#[test]
fn the_first_request_wakes_a_version_that_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let scale = json!({"minReplicas": 0, "maxReplicas": 2, "scaleDownWindow": "1s"});
    let command = spec::model(&folder.path().join("ledger"), &[]);
    let router = start(&command, &json!({"autoscale": scale, "maxQueueWait": "5s"}));
    for _ in 0..2 {
        await_exactly(&router, "blue", 0);
        let asked = Instant::now();
        let answer = post(router.data, SCORE, &[]);
        println!("woken and answered in {:?}", asked.elapsed());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Pauses around the window, so that requests come just before, while and just after the last
/// replica goes.
#[test]
fn a_request_that_comes_while_the_last_replica_goes_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let scale = json!({"minReplicas": 0, "maxReplicas": 1, "scaleDownWindow": "100ms"});
    let command = spec::model(&folder.path().join("ledger"), &[]);
    let router = start(&command, &json!({"autoscale": scale, "maxQueueWait": "10s"}));
    for number in 0..24_u64 {
        let answer = post(router.data, SCORE, &[]);
        assert_eq!(answer.status, 200, "{number}: {answer:?}");
        pass(Duration::from_millis(100 + number * 67 % 500));
    }
    let slept = metric(&router, "modelway_scaling_decisions_total", &["blue", "\"down\""]);
    println!("it went to sleep {slept} times");
    assert!(slept >= 5.0, "it hardly ever slept: {slept}");
}

#[test]
fn many_ups_and_downs_under_load_lose_nothing() {
    let cycles = number_from("MODELWAY_TEST_CYCLES", CYCLES);
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let scale = json!({"minReplicas": 1, "maxReplicas": 4, "scaleDownWindow": "200ms"});
    let fields = json!({"autoscale": scale, "maxQueueWait": "20s", "maxQueueLength": 10_000});
    let mut router = start(&spec::model(&ledger, &["--latency", "40ms"]), &fields);
    await_exactly(&router, "blue", 1);
    let load = Load::start(Plan {
        data: router.data,
        target: SCORE.to_owned(),
        rate: |since| if since.as_millis() % 1500 < 400 { 70.0 } else { 6.0 },
        length: Duration::from_secs(3600),
        leavers_percent: 0,
    });
    let limit = Duration::from_secs(20) + Duration::from_secs(3) * u32::try_from(cycles).unwrap();
    let wanted = f64::from(u32::try_from(cycles).unwrap());
    let count =
        |direction| metric(&router, "modelway_scaling_decisions_total", &["blue", direction]);
    let begun = Instant::now();
    while count("\"down\"") < wanted || count("\"up\"") < wanted {
        assert!(begun.elapsed() < limit, "only {} downs after {limit:?}", count("\"down\""));
        pass(Duration::from_millis(250));
    }
    let (ups, downs) = (count("\"up\""), count("\"down\""));
    load.stop();
    let outcomes = load.outcomes();
    router.signal("TERM");
    assert!(router.wait(Duration::from_secs(20)).is_some_and(|status| status.success()));
    let balance = Book::read(&ledger).balance(&outcomes, &[], |_| 1);
    println!("{ups} ups and {downs} downs in {:?}\n{balance}", begun.elapsed());
    assert!(balance.faults.is_empty(), "{balance}");
}

#[test]
fn without_autoscaling_the_count_stays() {
    let folder = tempfile::tempdir().unwrap();
    let command = spec::model(&folder.path().join("ledger"), &["--latency", "50ms"]);
    let blue = spec::fixed("blue", &command, 2, &json!({"maxQueueWait": "20s"}));
    let router = Router::start(&spec::endpoint(&[blue]), &[]);
    await_exactly(&router, "blue", 2);
    let mut lines: Vec<Line> = (0..10).map(|_| Line::connect(router.data)).collect();
    for line in &mut lines {
        line.send(SCORE, &[]);
    }
    for line in &mut lines {
        assert_eq!(line.answer().unwrap().status, 200);
    }
    assert_eq!(ready(&router, "blue").len(), 2);
    assert!(list(&router, "decisions").is_empty());
}
