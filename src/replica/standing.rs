//! What the requests of one replica say about its health. Pure: the clock is an argument.
//!
//! A replica is set aside for a time that doubles with each further time, and begins anew with an
//! answer. What it is set aside for must be its own doing: the caller tells only of requests whose
//! client had done its part.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::AsideCause;

/// How many requests in a row must time out before a replica is set aside. One or two may be
/// inputs that are too large for the model; nobody sees three in a row without an answer between
/// them unless every request there is like that.
const TIMEOUTS_MAX: u32 = 3;
/// How long a replica is set aside for the first time.
const ASIDE_MIN: Duration = Duration::from_secs(1);
/// The longest time that a replica is set aside at once: a replica that is mended gets work again
/// within half a minute.
const ASIDE_MAX: Duration = Duration::from_secs(30);
/// How many of the replicas of a version may be set aside, in percent, rounded down: so never the
/// last one. Where more of them fail, the fault is more likely in the requests or the network, and
/// the others could not carry the load.
const SHARE_MAX_PERCENT: u32 = 50;

/// What is held against one replica.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// Requests in a row that timed out.
    timeouts: u32,
    /// How often it failed since it last answered well.
    times: u32,
    /// Since it was set aside: one request at a time, until it has answered one well.
    on_trial: bool,
    aside: Option<(Instant, AsideCause)>,
}

/// How many of so many replicas may be set aside.
pub(super) fn share(replicas: u32) -> u32 {
    u32::try_from(u64::from(replicas) * u64::from(SHARE_MAX_PERCENT) / 100).unwrap_or(u32::MAX)
}

impl Standing {
    /// A request failed. `may_be_aside`: the share of its version has room. Whether it gets no more
    /// work until its next good probe.
    pub(super) fn fails(&mut self, cause: AsideCause, may_be_aside: bool, now: Instant) -> bool {
        let wait = match cause {
            // The first failure to connect is most often a restart: the next good probe is proof
            // enough.
            AsideCause::Unreachable => wait(self.times),
            AsideCause::TimedOut => {
                self.timeouts += 1;
                let needed = if self.on_trial { 1 } else { TIMEOUTS_MAX };
                if self.timeouts < needed || !may_be_aside {
                    return false;
                }
                wait(self.times + 1)
            }
        };
        self.timeouts = 0;
        self.times = self.times.saturating_add(1);
        if may_be_aside && !wait.is_zero() {
            self.on_trial = true;
            self.aside = Some((now + wait, cause));
        }
        true
    }

    /// It answered. An answer is well below status 500: a replica that has just crashed may answer
    /// with errors before it crashes again.
    pub(super) fn answers(&mut self, is_well: bool) {
        self.timeouts = 0;
        if is_well {
            *self = Self::default();
        }
    }

    /// Its platform found it ready once more: what was counted before says nothing about it now.
    pub(super) fn rises(&mut self) {
        self.timeouts = 0;
    }

    /// It may get work again, on trial.
    pub(super) fn comes_back(&mut self) {
        self.aside = None;
    }

    /// Until when it is set aside, and why.
    pub(super) fn aside(&self) -> Option<(Instant, AsideCause)> {
        self.aside
    }

    /// How often it failed since it last answered well.
    pub(super) fn times(&self) -> u32 {
        self.times
    }

    /// Whether it gets one request at a time.
    pub(super) fn is_on_trial(&self) -> bool {
        self.on_trial
    }

    /// Whether nothing is held against it.
    pub(super) fn is_clean(&self) -> bool {
        self.timeouts == 0 && self.times == 0
    }
}

/// The wait that follows after so many failures.
fn wait(times: u32) -> Duration {
    match times.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => ASIDE_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(ASIDE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use AsideCause::{TimedOut, Unreachable};
    use proptest::prelude::*;

    use super::*;

    /// What happens to a replica, and for how many seconds it is set aside then; `None`: it stays.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Fails(AsideCause),
        /// Fails while the share of its version is used up.
        FailsAlone(AsideCause),
        Answers(bool),
        Rises,
    }
    use Event::{Answers, Fails, FailsAlone, Rises};

    const T: Event = Fails(TimedOut);
    const U: Event = Fails(Unreachable);
    const WELL: Event = Answers(true);
    const ERROR: Event = Answers(false);

    fn told(standing: &mut Standing, event: Event, now: Instant) -> Option<u64> {
        let fell = match event {
            Fails(cause) => standing.fails(cause, true, now),
            FailsAlone(cause) => standing.fails(cause, false, now),
            Answers(is_well) => {
                standing.answers(is_well);
                false
            }
            Rises => {
                standing.rises();
                false
            }
        };
        let until = standing.aside().map_or(now, |(until, _)| until);
        standing.comes_back();
        fell.then(|| (until - now).as_secs())
    }

    #[test]
    fn what_happens_to_a_replica_decides_how_long_it_is_set_aside() {
        let none: &[Option<u64>] = &[];
        let cases: &[(&[Event], &[Option<u64>])] = &[
            (&[T, T, T], &[None, None, Some(1)]),
            (&[T, T, WELL, T, T, T], &[None, None, None, None, None, Some(1)]),
            (&[T, T, ERROR, T, T, T], &[None, None, None, None, None, Some(1)]),
            (&[T, T, Rises, T, T, T], &[None, None, None, None, None, Some(1)]),
            (&[T, T, T, T, T, T], &[None, None, Some(1), Some(2), Some(4), Some(8)]),
            (&[T, T, T, T, WELL, T], &[None, None, Some(1), Some(2), None, None]),
            (&[T, T, T, ERROR, T], &[None, None, Some(1), None, Some(2)]),
            (&[U, U, U, U, U, U, U, U], &[0, 1, 2, 4, 8, 16, 30, 30].map(Some)),
            (&[U, WELL, U, WELL, U], &[Some(0), None, Some(0), None, Some(0)]),
            (&[U, ERROR, U, ERROR, U], &[Some(0), None, Some(1), None, Some(2)]),
            (&[U, T, T, T], &[Some(0), None, None, Some(2)]),
            (&[T, T, T, U], &[None, None, Some(1), Some(1)]),
            (&[FailsAlone(TimedOut); 5], &[None; 5]),
            (&[FailsAlone(TimedOut), FailsAlone(TimedOut), T], &[None, None, Some(1)]),
            (&[FailsAlone(Unreachable); 4], &[Some(0); 4]),
            (&[], none),
        ];
        for (events, expected) in cases {
            let (mut standing, now) = (Standing::default(), Instant::now());
            let waits: Vec<_> =
                events.iter().map(|event| told(&mut standing, *event, now)).collect();
            assert_eq!(waits, *expected, "{events:?}");
        }
    }

    #[test]
    fn the_share_is_half_and_never_the_last_one() {
        let shares: Vec<u32> = (0..=7).map(share).collect();
        assert_eq!(shares, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(share(u32::MAX), u32::MAX / 2);
    }

    proptest! {
        #[test]
        fn no_history_sets_a_replica_aside_for_longer_than_the_longest_time(
            history in prop::collection::vec(0..6_u8, 0..300),
        ) {
            let (mut standing, now) = (Standing::default(), Instant::now());
            for event in history {
                let event = [T, U, FailsAlone(TimedOut), FailsAlone(Unreachable), ERROR, Rises]
                    [usize::from(event)];
                if let Some(seconds) = told(&mut standing, event, now) {
                    prop_assert!(seconds <= ASIDE_MAX.as_secs());
                }
            }
            standing.answers(true);
            prop_assert!(standing.is_clean() && !standing.is_on_trial());
        }
    }
}
