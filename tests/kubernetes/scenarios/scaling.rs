//! Up, down, to nothing and back.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use serde_json::json;

use super::stage::{LIMIT, Rate, SLOTS, Stage, await_exactly, load, roomy, scaled, version};
use crate::support::{
    controlplane::ControlPlane,
    line::{Line, post},
    spec::SCORE,
    watch::{now_ms, until},
};

/// Ups and downs under load; `MODELWAY_TEST_CYCLES=50` is the long run.
const CYCLES: u32 = 10;
/// From the first request over the target to the accepted write (contract §8).
const ORDER_LIMIT_MS: u64 = 1000;

fn number_from(variable: &str, default: u32) -> u32 {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn a_new_endpoint_answers_soon() {
    let Some(plane) = ControlPlane::shared("the first answer") else { return };
    let stage = Stage::new(plane, "first");
    let router = stage.router("router-a", &[]);
    assert_eq!(post(router.data, SCORE, &[]).status, 404);
    let begun = Instant::now();
    stage.deployment("blue", "1ms", 0, &json!({}));
    stage.endpoint(&[version("blue", &scaled(1, 2, "2s"))]);
    let mut asked = 0;
    until(LIMIT, "the first answer", || {
        asked += 1;
        let status = post(router.data, SCORE, &[]).status;
        assert!([404, 200].contains(&status), "{status}");
        (status == 200).then_some(())
    });
    stage.tell("create", asked, 0, begun.elapsed());
}

#[test]
fn up_and_down_again_and_again_loses_nothing() {
    static RATE: Rate = Rate::of(2);
    let Some(plane) = ControlPlane::shared("ups and downs") else { return };
    let stage = Stage::new(plane, "cycles");
    let router = stage.simple("200ms", &roomy(&scaled(1, 3, "1s")), 1);
    let load = load(&router, |_| RATE.now());
    let cycles = number_from("MODELWAY_TEST_CYCLES", CYCLES);
    let mut slowest = Duration::ZERO;
    for _ in 0..cycles {
        RATE.set(40);
        let begun = Instant::now();
        router.await_replicas("blue", "ready", 3, LIMIT);
        slowest = slowest.max(begun.elapsed());
        RATE.set(2);
        await_exactly(&router, "blue", 1);
    }
    let balance = stage.balance(load, &[], SLOTS);
    let calls = stage.calls();
    let mut marks: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.verb == "patch" && call.resource == "pods") {
        marks.entry(&call.name).or_default().push(call.at_ms);
    }
    let scalings = stage.scalings();
    assert!(marks.len() >= usize::try_from(cycles * 2).unwrap(), "{marks:?}");
    for (pod, at_ms) in &marks {
        assert_eq!(at_ms.len(), 1, "{pod} was marked more than once");
        let lowered = scalings.iter().any(|call| call.at_ms >= at_ms[0]);
        assert!(lowered, "{pod} was marked and the count not lowered");
    }
    println!("{} victims, {} writes of the count", marks.len(), scalings.len());
    stage.tell(&format!("{cycles} ups and downs"), balance.sent, 0, slowest);
}

#[test]
fn saturation_is_answered_within_a_second() {
    let Some(plane) = ControlPlane::shared("saturation") else { return };
    let stage = Stage::new(plane, "saturated");
    stage.deployment("blue", "300ms", 0, &json!({}));
    stage.endpoint(&[version("blue", &scaled(1, 2, "0s"))]);
    let router = stage.router("router-a", &[]);
    let steps = 2 * number_from("MODELWAY_TEST_CYCLES", CYCLES);
    let mut took_ms = Vec::new();
    for _ in 0..steps {
        await_exactly(&router, "blue", 1);
        until(LIMIT, "the count is 1", || (stage.replicas("blue") == 1).then_some(()));
        let before = stage.scalings().len();
        let mut lines: Vec<Line> = (0..2).map(|_| Line::connect(router.data)).collect();
        let begun_ms = now_ms();
        for line in &mut lines {
            line.send(SCORE, &[]);
        }
        let written = until(LIMIT, "a write of the count", || {
            stage.scalings().get(before).map(|call| call.at_ms)
        });
        took_ms.push(written.saturating_sub(begun_ms));
        for line in &mut lines {
            assert_eq!(line.answer().expect("an answer").status, 200);
        }
    }
    took_ms.sort_unstable();
    let at = |percent: usize| took_ms[(took_ms.len() - 1) * percent / 100];
    let (p50, p99) = (at(50), at(99));
    println!("saturation to the write, {steps} steps: p50 {p50} ms, p99 {p99} ms: {took_ms:?}");
    // The machine of a test stalls for longer than the router takes: one order may be late by that.
    let late = took_ms.iter().filter(|took| **took > ORDER_LIMIT_MS).count();
    assert!(late <= took_ms.len() / 20, "{took_ms:?}");
    let worst = Duration::from_millis(took_ms.last().copied().unwrap_or_default());
    stage.tell("saturation", took_ms.len() * 2, 0, worst);
}

#[test]
fn a_version_goes_to_zero_and_comes_back_for_a_request() {
    let Some(plane) = ControlPlane::shared("scale to zero") else { return };
    let stage = Stage::new(plane, "zero");
    stage.deployment("blue", "1ms", 0, &json!({}));
    stage.endpoint(&[version("blue", &scaled(0, 2, "1s"))]);
    let router = stage.router("router-a", &[]);
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        await_exactly(&router, "blue", 0);
        until(LIMIT, "the count is 0", || (stage.replicas("blue") == 0).then_some(()));
        let begun = Instant::now();
        let answer = post(router.data, SCORE, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        slowest = slowest.max(begun.elapsed());
    }
    stage.tell("zero and back", 3, 0, slowest);
}
