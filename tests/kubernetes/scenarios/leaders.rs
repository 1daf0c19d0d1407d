//! The router that scales is killed.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stage::{LIMIT, Stage, scaled, version};
use crate::support::{
    controlplane::ControlPlane,
    line::Line,
    spec::SCORE,
    watch::{ready, until},
};

/// A lease of 15 s that nobody renews, and the time of a look at it.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn another_router_scales_when_the_leader_is_killed() {
    let Some(plane) = ControlPlane::shared("the end of a leader") else { return };
    let stage = Stage::new(plane, "leader");
    stage.deployment("blue", "400ms", 0, &json!({}));
    stage.endpoint(&[version("blue", &scaled(1, 3, "60s"))]);
    let first = stage.router("router-a", &[]);
    let holder = || {
        let lease = stage.kubectl.try_run(&[
            "get",
            "lease",
            "modelway",
            "-o=jsonpath={.spec.holderIdentity}",
        ]);
        lease.out
    };
    until(LIMIT, "the first leads", || holder().contains("router-a").then_some(()));
    let second = stage.router("router-b", &[]);
    second.await_replicas("blue", "ready", 1, LIMIT);
    first.signal("KILL");
    let begun = Instant::now();
    let mut lines: Vec<Line> = (0..2).map(|_| Line::connect(second.data)).collect();
    let mut asked = 0;
    until(TAKEOVER_LIMIT, "the second scales", || {
        for line in &mut lines {
            line.send(SCORE, &[]);
        }
        for line in &mut lines {
            assert_eq!(line.answer().expect("an answer").status, 200);
            asked += 1;
        }
        (!stage.scalings().is_empty()).then_some(())
    });
    let converged = begun.elapsed();
    assert!(holder().contains("router-b"));
    until(LIMIT, "the new pod is ready", || (ready(&second, "blue").len() > 1).then_some(()));
    stage.tell("leader killed", asked, 0, converged);
}
