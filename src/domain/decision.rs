//! A scaling decision with everything that led to it.

use std::time::SystemTime;

use serde::Serialize;

use super::VersionKey;

/// What the autoscaler decided for one version, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// When, on the wall clock (for people; nothing is computed from it).
    pub time: SystemTime,
    /// For which version.
    pub key: VersionKey,
    /// Replicas before: ready and starting.
    pub from: u32,
    /// Replicas wanted.
    pub to: u32,
    /// The reason in words, for example
    /// `2 → 4: 5 busy + 3 queued over 2 replicas × 1 slot = 400 % > 70 %`.
    pub reason: String,
    /// The numbers behind the reason.
    pub inputs: DecisionInputs,
}

/// Which way a decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
    /// As they are.
    Hold,
}

/// The inputs of a decision, as the admin API shows them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionInputs {
    /// Busy slots.
    pub busy: u32,
    /// Waiting requests.
    pub queued: u32,
    /// Ready replicas.
    pub ready: u32,
    /// Replicas that are starting: capacity to come.
    pub starting: u32,
    /// Slots of each replica.
    pub slots_per_replica: u32,
    /// (busy + queued) / (ready × slots), as a ratio; infinite loads over no slots are `None`.
    pub utilization: Option<f64>,
    /// Target utilization in percent.
    pub target_utilization: u32,
    /// The fewest replicas allowed.
    pub min_replicas: u32,
    /// The most replicas allowed.
    pub max_replicas: u32,
    /// The highest want within the scale-down window.
    pub window_want: u32,
}

impl Decision {
    /// Which way it goes.
    pub fn direction(&self) -> Direction {
        match self.to.cmp(&self.from) {
            std::cmp::Ordering::Greater => Direction::Up,
            std::cmp::Ordering::Less => Direction::Down,
            std::cmp::Ordering::Equal => Direction::Hold,
        }
    }

    /// The reason without its counts, for those who tell counts of their own: what was ordered in
    /// the end can differ from what was decided.
    pub fn cause(&self) -> &str {
        self.reason.split_once(": ").map_or(&self.reason, |(_counts, cause)| cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_reason_without_its_counts() {
        let inputs = DecisionInputs {
            busy: 0,
            queued: 1,
            ready: 0,
            starting: 1,
            slots_per_replica: 1,
            utilization: None,
            target_utilization: 70,
            min_replicas: 1,
            max_replicas: 4,
            window_want: 2,
        };
        let key =
            VersionKey { endpoint: "demo".parse().unwrap(), version: "blue".parse().unwrap() };
        let reason = "1 → 2: 0 busy + 1 queued and no ready replica, 1 starting".to_owned();
        let decision =
            Decision { time: SystemTime::UNIX_EPOCH, key, from: 1, to: 2, reason, inputs };
        assert_eq!(decision.cause(), "0 busy + 1 queued and no ready replica, 1 starting");
    }
}
