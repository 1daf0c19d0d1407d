//! Others who write the same count.

use std::time::{Duration, Instant};

use super::stage::{LIMIT, Rate, SLOTS, Stage, await_exactly, load, roomy, scaled};
use crate::support::{
    controlplane::ControlPlane,
    watch::{pass, ready, until},
};

#[test]
fn an_hpa_on_the_target_stops_the_scaling() {
    static RATE: Rate = Rate::of(2);
    let Some(plane) = ControlPlane::shared("an HPA on the target") else { return };
    let stage = Stage::new(plane, "hpa");
    let router = stage.simple("200ms", &roomy(&scaled(1, 3, "60s")), 1);
    let load = load(&router, |_| RATE.now());
    stage.kubectl.run(&["autoscale", "deployment", "blue", "--min=1", "--max=5", "--cpu=80%"]);
    until(LIMIT, "the condition", || {
        (stage.condition("Autoscaling").0 == "HpaConflict").then_some(())
    });
    let before = stage.scalings();
    RATE.set(40);
    pass(Duration::from_secs(4));
    assert_eq!(stage.scalings(), before);
    let events = stage.kubectl.run(&["get", "events.events.k8s.io", "-o=jsonpath={..reason}"]);
    assert!(events.contains("HpaConflict"), "{events}");
    let begun = Instant::now();
    stage.kubectl.run(&["delete", "hpa", "blue"]);
    until(LIMIT, "it scales again", || (stage.scalings() != before).then_some(()));
    let converged = begun.elapsed();
    until(LIMIT, "the new pod is ready", || (ready(&router, "blue").len() > 1).then_some(()));
    let balance = stage.balance(load, &[], SLOTS);
    stage.tell("HPA on the target", balance.sent, 0, converged);
}

#[test]
fn a_count_that_a_person_writes_is_not_fought() {
    let Some(plane) = ControlPlane::shared("a person who scales") else { return };
    let stage = Stage::new(plane, "person");
    let router = stage.simple("20ms", &roomy(&scaled(1, 4, "3s")), 1);
    let load = load(&router, |_| 5.0);
    let begun = Instant::now();
    stage.kubectl.run(&["scale", "deployment", "blue", "--replicas=3"]);
    router.await_replicas("blue", "ready", 3, LIMIT);
    await_exactly(&router, "blue", 1);
    let converged = begun.elapsed();
    pass(Duration::from_secs(3));
    let balance = stage.balance(load, &[], SLOTS);
    let scalings = stage.scalings();
    // Two pods go: one after the other, or both at once.
    assert!((1..=2).contains(&scalings.len()), "{scalings:?}");
    stage.tell("kubectl scale by a person", balance.sent, 0, converged);
}
