//! The decision: one sample in, one verdict out.

use std::time::Duration;

use super::{
    capacity::{want, within_bounds},
    history::History,
    verdict::{Cause, Verdict},
};
use crate::domain::{Autoscale, DecisionInputs};

/// What is known of a version at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, since any fixed moment; never goes back.
    pub now: Duration,
    /// Replicas that may get work.
    pub ready: u32,
    /// Capacity to come: starting replicas and those ordered but not seen yet.
    pub starting: u32,
    /// The load; `None` when it is not known.
    pub demand: Option<Demand>,
}

/// The load of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Busy slots.
    pub busy: u32,
    /// Waiting requests.
    pub queued: u32,
    /// The highest `busy + queued` since the last sample.
    pub peak: u32,
}

impl Demand {
    /// Busy and queued together, now.
    pub fn load(&self) -> u32 {
        self.busy.saturating_add(self.queued)
    }

    /// The load that decides: the peak since the last sample, never less than the load now.
    pub fn highest(&self) -> u32 {
        self.peak.max(self.load())
    }
}

/// How many replicas the version should have now.
///
/// - More at once, when the load wants more than are ready and starting.
/// - Fewer when the highest want of a fully covered window is lower; then all surplus at once.
/// - To `maxReplicas` at once when there are more: that follows an edit, which is an instruction
///   and not a guess about demand.
/// - As they are when autoscaling is off or the load is not known.
pub fn decide(
    settings: &Autoscale,
    slots_per_replica: u32,
    sample: Sample,
    history: &mut History,
) -> Verdict {
    let total = sample.ready.saturating_add(sample.starting);
    let hold = |cause, inputs| Verdict { from: total, to: total, cause, inputs };
    if !settings.enabled {
        return hold(Cause::Disabled, inputs(settings, slots_per_replica, sample, 0));
    }
    let Some(demand) = sample.demand else {
        history.interrupt();
        let window_want = want(settings, slots_per_replica, history.highest());
        return hold(Cause::NoData, inputs(settings, slots_per_replica, sample, window_want));
    };

    let window = settings.scale_down_window;
    history.record(sample.now, demand.highest(), window);
    let wanted = want(settings, slots_per_replica, demand.highest());
    let window_want = want(settings, slots_per_replica, history.highest());
    let inputs = inputs(settings, slots_per_replica, sample, window_want);

    let up = within_bounds(settings, wanted);
    if up > total {
        let cause = if wanted > total {
            Cause::Load { load: demand.highest(), wanted }
        } else {
            Cause::BelowMinimum
        };
        return Verdict { from: total, to: up, cause, inputs };
    }
    let down = within_bounds(settings, window_want);
    if down < total && history.covers(sample.now, window) {
        let cause = Cause::Quiet { highest: history.highest(), window, wanted: window_want };
        return Verdict { from: total, to: down, cause, inputs };
    }
    if total > settings.max_replicas {
        let to = settings.max_replicas;
        return Verdict { from: total, to, cause: Cause::AboveMaximum, inputs };
    }
    hold(Cause::Steady, inputs)
}

fn inputs(
    settings: &Autoscale,
    slots_per_replica: u32,
    sample: Sample,
    window_want: u32,
) -> DecisionInputs {
    let demand = sample.demand.unwrap_or_default();
    let slots = sample.ready.saturating_mul(slots_per_replica);
    DecisionInputs {
        busy: demand.busy,
        queued: demand.queued,
        ready: sample.ready,
        starting: sample.starting,
        slots_per_replica,
        utilization: (slots > 0).then(|| f64::from(demand.load()) / f64::from(slots)),
        target_utilization: settings.target_utilization,
        min_replicas: settings.min_replicas,
        max_replicas: settings.max_replicas,
        window_want,
    }
}
