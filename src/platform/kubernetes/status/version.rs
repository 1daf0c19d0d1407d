//! The sentences about one version.

use super::{
    super::report::{Trouble, TroubleKind, VersionReport, one_line},
    judge::count,
    reason::Reason,
};

/// The most bytes of the API server's words about a write, so that the numbers behind them stay.
const WHY_BYTES_MAX: usize = 256;

/// How it goes with the autoscaling of a version. Loads are left out on purpose: a sentence that
/// changes with every request would be written every few seconds.
pub(super) fn scaling(version: &VersionReport) -> (Reason, String) {
    let VersionReport { name, target, scaling, .. } = version;
    let ready = format!("{} of {} replicas ready", version.ready, version.desired);
    let (reason, sentence) = if let Some(hpa) = scaling.hpa.as_ref().filter(|_| scaling.enabled) {
        let sentence = format!(
            "HorizontalPodAutoscaler {hpa} scales {target}, so the router does not: delete it, or \
             set autoscale.enabled to false; {ready}"
        );
        (Reason::HpaConflict, sentence)
    } else if let Some(why) = scaling.write_failed.as_ref().filter(|_| scaling.enabled) {
        let why = one_line(why, WHY_BYTES_MAX);
        (Reason::WriteFailed, format!("{target} could not be scaled: {why}; {ready}"))
    } else if !version.found {
        (Reason::TargetNotFound, format!("{target} does not exist, 0 replicas"))
    } else if let Some(trouble) = version.troubles_now().next() {
        (reason_of(trouble), format!("{}; {ready}", trouble_words(trouble)))
    } else if !scaling.enabled {
        (Reason::Disabled, format!("autoscale.enabled is false; {ready}"))
    } else if version.is_over_max() {
        let max = scaling.max;
        let sentence = format!("the load wants more than maxReplicas, {max}, allows; {ready}");
        (Reason::AtMaxReplicas, sentence)
    } else if scaling.held {
        (Reason::NotLeading, format!("no router leads, so the count stays as it is; {ready}"))
    } else {
        course(version, &ready)
    };
    (reason, format!("{name}: {sentence}"))
}

/// Where nothing is wrong: which way it goes.
fn course(version: &VersionReport, ready: &str) -> (Reason, String) {
    let there = version.ready.saturating_add(version.starting);
    if version.starting > 0 || there < version.desired {
        (Reason::ScalingUp, format!("{ready}, {} starting", version.starting))
    } else if version.draining > 0 || there > version.desired {
        (Reason::ScalingDown, format!("{ready}, {} draining", version.draining))
    } else {
        let (min, max) = (version.scaling.min, version.scaling.max);
        (Reason::Stable, format!("{ready}, between {min} and {max}"))
    }
}

/// Why a version that takes requests cannot answer them.
pub(super) fn silence(version: &VersionReport) -> (Reason, String) {
    let name = &version.name;
    let none = format!("{name} takes {} % and has 0 ready replicas", version.effective_percentile);
    if let Some(trouble) = version.troubles_now().next() {
        return (reason_of(trouble), format!("{none}: {}", trouble_words(trouble)));
    }
    if version.starting > 0 || version.desired > 0 {
        let (starting, desired) = (version.starting, version.desired);
        return (
            Reason::ReplicasStarting,
            format!("{none}: {starting} starting of {desired} desired"),
        );
    }
    let target = &version.target;
    (Reason::NoReadyReplicas, format!("{none}, and {target} asks for 0: scale it up"))
}

/// Unschedulable pods wait for room; the others need a hand.
pub(in super::super) const fn reason_of(trouble: &Trouble) -> Reason {
    match trouble.kind {
        TroubleKind::Unschedulable => Reason::PodsPending,
        TroubleKind::ImagePull
        | TroubleKind::Config
        | TroubleKind::CrashLoop
        | TroubleKind::Failed => Reason::PodsFailing,
    }
}

/// `2 pods cannot be scheduled (Unschedulable; fraud-blue-7x: 0/3 nodes are available)`.
pub(in super::super) fn trouble_words(trouble: &Trouble) -> String {
    let what = match trouble.kind {
        TroubleKind::Unschedulable => "without a node",
        TroubleKind::ImagePull => "without their image",
        TroubleKind::Config => "that cannot be made",
        TroubleKind::CrashLoop => "crashing again and again",
        TroubleKind::Failed => "failed",
    };
    let pods = count(usize::try_from(trouble.count).unwrap_or(usize::MAX), "pod");
    let Trouble { word, pod, message, .. } = trouble;
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{pods} {what} ({word}, first {pod}{message})")
}

/// `2/3`: ready and desired replicas of all versions.
pub(super) fn replicas(versions: &[VersionReport]) -> String {
    let sum =
        |of: fn(&VersionReport) -> u32| -> u64 { versions.iter().map(|v| u64::from(of(v))).sum() };
    format!("{}/{}", sum(|version| version.ready), sum(|version| version.desired))
}

/// `blue=80% green=20%`: who takes requests; `None` when nobody does.
pub(super) fn traffic(versions: &[VersionReport]) -> Option<String> {
    let live = versions.iter().filter(|version| version.effective_percentile > 0);
    let shares: Vec<String> =
        live.map(|v| format!("{}={}%", v.name, v.effective_percentile)).collect();
    (!shares.is_empty()).then(|| shares.join(" "))
}
