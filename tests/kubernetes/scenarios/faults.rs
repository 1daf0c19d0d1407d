//! Pods that do not get on: it is said, and nothing is ordered again and again.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stage::{LIMIT, Stage, scaled, version};
use crate::support::{
    controlplane::ControlPlane,
    kubelet::Behaviour,
    watch::{pass, until},
};

#[test]
fn pods_that_do_not_get_on_are_named_and_not_ordered_again() {
    let Some(plane) = ControlPlane::shared("pods that do not get on") else { return };
    for (behaviour, reason, word) in [
        (Behaviour::Unschedulable, "PodsPending", "Unschedulable"),
        (Behaviour::CrashLoop, "PodsFailing", "CrashLoopBackOff"),
        (Behaviour::ImagePullBackOff, "PodsFailing", "ImagePullBackOff"),
    ] {
        let stage = Stage::new(plane, &word.to_lowercase());
        stage.kubelet.tell(&stage.namespace, "", behaviour);
        stage.deployment("blue", "0ms", 0, &json!({}));
        stage.endpoint(&[version("blue", &scaled(2, 4, "2s"))]);
        let router = stage.router("router-a", &[]);
        let begun = Instant::now();
        until(LIMIT, &format!("{reason} is said"), || {
            let (said, message) = stage.condition("Autoscaling");
            (said == reason && message.contains(word)).then_some(())
        });
        let converged = begun.elapsed();
        assert_eq!(stage.replicas("blue"), 2);
        let scalings = stage.scalings().len();
        pass(Duration::from_secs(4));
        assert_eq!(stage.scalings().len(), scalings, "ordered again");
        stage.kubelet.tell(&stage.namespace, "", Behaviour::Honest);
        router.await_replicas("blue", "ready", 2, LIMIT);
        stage.tell(word, 0, 0, converged);
    }
}
