//! From a report to the status, with the times of the status before it.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    super::{
        api::{EndpointStatus, LastScale, VersionStatus},
        report::{Report, Scale, VersionReport, cut},
    },
    judge::{Judgement, judge},
    reason::Aspect,
    version,
};

/// The most bytes of the reason of a scale that a status keeps.
const SCALE_REASON_BYTES_MAX: usize = 256;

/// The status that a report makes, `previous` being the one before it (default for none). Times of
/// conditions move only when their status does.
pub(in super::super) fn compose(
    report: &Report,
    previous: &EndpointStatus,
    now: Timestamp,
) -> EndpointStatus {
    let versions = report.versions();
    let in_force = report.in_force.as_ref();
    let now = whole_seconds(now);
    EndpointStatus {
        observed_generation: report.generation,
        conditions: judge(report)
            .into_iter()
            .map(|judgement| condition(judgement, report.generation, previous, now))
            .chain(foreign(previous))
            .collect(),
        default_version: in_force.map(|in_force| in_force.default_version.to_string()),
        effective_traffic: version::traffic(versions),
        replicas: in_force.map(|_| version::replicas(versions)),
        scoring_uri: in_force.map(|in_force| in_force.scoring_uri.to_string()),
        versions: versions.iter().map(|of| version_status(of, previous)).collect(),
    }
}

/// Conditions that others have added stay.
fn foreign(previous: &EndpointStatus) -> impl Iterator<Item = Condition> {
    let is_ours = |condition: &Condition| {
        Aspect::ALL.into_iter().any(|aspect| aspect.as_str() == condition.type_)
    };
    previous.conditions.iter().filter(move |condition| !is_ours(condition)).cloned()
}

fn condition(
    judgement: Judgement,
    generation: i64,
    previous: &EndpointStatus,
    now: Timestamp,
) -> Condition {
    let Judgement { aspect, holds, reason, message } = judgement;
    let before = previous.conditions.iter().find(|condition| condition.type_ == aspect.as_str());
    let same = before.filter(|condition| condition.status == holds.as_str());
    Condition {
        type_: aspect.as_str().to_owned(),
        status: holds.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: same
            .map_or(Time(now), |condition| condition.last_transition_time.clone()),
    }
}

/// The last scale is the later one of this router's and that of the status before: a router that
/// has just started made none, and another may have led meanwhile.
fn version_status(of: &VersionReport, previous: &EndpointStatus) -> VersionStatus {
    let name = of.name.as_str();
    let before = previous.versions.iter().find(|version| version.name == name);
    let before = before.and_then(|before| before.last_scale.clone());
    let last_scale = of.last_scale.as_ref().map(last_scale);
    let last_scale = match (last_scale, before) {
        (Some(ours), Some(before)) if before.time > ours.time => Some(before),
        (ours, before) => ours.or(before),
    };
    VersionStatus {
        name: name.to_owned(),
        desired_replicas: number(of.desired),
        ready_replicas: number(of.ready),
        effective_percentile: i32::from(of.effective_percentile),
        last_scale,
    }
}

fn last_scale(scale: &Scale) -> LastScale {
    LastScale {
        time: Some(whole_seconds(scale.time)),
        from: number(scale.from),
        to: number(scale.to),
        reason: cut(scale.reason.to_string(), SCALE_REASON_BYTES_MAX),
    }
}

fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Kubernetes keeps times in whole seconds; a finer one would look changed when it comes back.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
    time.round(down).unwrap_or(time)
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
