//! The last decisions of the autoscaler: written by `control`, read by `admin`.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::domain::Decision;

/// How many decisions are kept; an older one makes room for a new one.
pub const DECISIONS_MAX: usize = 1_000;

/// The last [`DECISIONS_MAX`] decisions. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct DecisionLog(Arc<Mutex<VecDeque<Arc<Decision>>>>);

impl DecisionLog {
    /// A log without decisions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the newest decision.
    pub fn push(&self, decision: Decision) {
        let mut decisions = self.0.lock();
        decisions.truncate(DECISIONS_MAX - 1);
        decisions.push_front(Arc::new(decision));
    }

    /// The decisions that pass the filter, newest first, at most `limit`.
    pub fn newest(&self, limit: usize, passes: impl Fn(&Decision) -> bool) -> Vec<Arc<Decision>> {
        let decisions = self.0.lock();
        decisions.iter().filter(|decision| passes(decision)).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::domain::{DecisionInputs, VersionKey};

    fn decision(to: u32) -> Decision {
        Decision {
            time: SystemTime::UNIX_EPOCH,
            key: VersionKey { endpoint: "demo".parse().unwrap(), version: "blue".parse().unwrap() },
            from: 0,
            to,
            reason: String::new(),
            inputs: DecisionInputs {
                busy: 0,
                queued: 0,
                ready: 0,
                starting: 0,
                slots_per_replica: 1,
                utilization: None,
                target_utilization: 70,
                min_replicas: 0,
                max_replicas: 10,
                window_want: 0,
            },
        }
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_make_room() {
        let log = DecisionLog::new();
        for to in 0..=1_000 {
            log.clone().push(decision(to));
        }
        let all = log.newest(usize::MAX, |_| true);
        assert_eq!(all.len(), DECISIONS_MAX);
        assert_eq!((all[0].to, all[999].to), (1_000, 1));
        let even: Vec<u32> =
            log.newest(2, |decision| decision.to % 2 == 0).iter().map(|d| d.to).collect();
        assert_eq!(even, [1_000, 998]);
    }
}
