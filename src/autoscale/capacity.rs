//! The arithmetic between load and replicas. Integers only: a want must not depend on rounding.

use crate::domain::Autoscale;

/// Replicas that carry this load at the target utilization, before any bound:
/// ceil(load / (slots per replica × target)) (contract §8).
///
/// Example: 8 requests, 1 slot, 70 % want 12 replicas, because 11 carry only 7.7.
pub fn want(settings: &Autoscale, slots_per_replica: u32, load: u32) -> u32 {
    let replicas =
        (u64::from(load) * 100).div_ceil(percent_slots_per_replica(settings, slots_per_replica));
    u32::try_from(replicas).unwrap_or(u32::MAX)
}

/// The highest load that this many ready and starting replicas may have without wanting one more.
/// `u32::MAX` when no load can lead to one more: at `maxReplicas`, or when autoscaling is off.
pub fn alarm_level(settings: &Autoscale, slots_per_replica: u32, total: u32) -> u32 {
    if !settings.enabled || total >= settings.max_replicas {
        return u32::MAX;
    }
    let load = u64::from(total)
        .saturating_mul(percent_slots_per_replica(settings, slots_per_replica))
        / 100;
    u32::try_from(load).unwrap_or(u32::MAX)
}

/// The count moved into `minReplicas..=maxReplicas`.
pub(super) fn within_bounds(settings: &Autoscale, replicas: u32) -> u32 {
    replicas.max(settings.min_replicas).min(settings.max_replicas)
}

/// What one replica carries at the target, in hundredths of a request. Never 0, so that a checked
/// specification is not needed to divide by it.
fn percent_slots_per_replica(settings: &Autoscale, slots_per_replica: u32) -> u64 {
    (u64::from(slots_per_replica) * u64::from(settings.target_utilization)).max(1)
}
