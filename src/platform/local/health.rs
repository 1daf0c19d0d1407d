//! Whether a replica is healthy, from what its probes found; and when to ask again. Pure: the
//! clock is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::platform::{
    probe::{Failure, Found},
    spec::{Probe, ProbeKind},
};

/// How many probes in a row must fail before a ready replica gets no more work.
const FAILURES_MAX: u32 = 3;
/// The first interval between probes of a replica that is not ready.
const START_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// The longest interval between probes of a replica that is not ready, or has just failed one.
const START_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// How much longer each interval is than the one before, in percent. Small, because the interval is
/// also how late a start is noticed.
const START_INTERVAL_GROWTH: u32 = 120;
/// How many probes of a busy replica may go unanswered before it is asked only once it has no work.
/// Each one waits in its backlog for as long as it works, and Python's servers have room for five:
/// more would keep requests out.
const EXCUSED_MAX: u32 = 3;
/// How far away "never" is: a replica without a probe is asked again only when suspected.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// The health of one replica.
#[derive(Debug)]
pub(super) struct Health {
    ready: bool,
    suspected: bool,
    failures: u32,
    /// Probes in a row that a busy replica left unanswered.
    excused: u32,
    /// The interval at the start cadence.
    interval: Duration,
    /// Since when it is not ready.
    since: Instant,
    deadline: Option<Duration>,
    period: Duration,
    /// When to ask next; `None`: as soon as the data plane has no work there.
    pub(super) next: Option<Instant>,
}

/// What a probe changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It is ready (again).
    Ready,
    /// It is not ready, or still not, and why.
    NotReady(String),
    /// It was not ready for longer than its deadline allows, and why.
    Expired(String),
}

impl Health {
    /// A replica that has just started: asked at once, and expired when it is not ready within
    /// `deadline`, now or after any later failure. Without a probe it is ready until suspected.
    pub(super) fn new(now: Instant, probe: &Probe, deadline: Option<Duration>) -> Self {
        let unasked = probe.kind == ProbeKind::None;
        let period = if unasked { NEVER } else { probe.period };
        let next = Some(if unasked { now + NEVER } else { now });
        let interval = START_INTERVAL_MIN;
        let ready = unasked;
        let (suspected, failures, excused, since) = (false, 0, 0, now);
        Self { ready, suspected, failures, excused, interval, since, deadline, period, next }
    }

    /// Whether it may get work.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The data plane could not connect: it is not ready until a probe passes, which is due now.
    pub(super) fn suspect(&mut self, now: Instant) {
        if self.ready {
            self.fall(now);
        }
        self.suspected = true;
        self.next = Some(now);
    }

    /// Takes the result of a probe. `busy`: the data plane has work in progress there.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        busy: bool,
    ) -> Option<Change> {
        let failure = match result {
            Ok(()) => {
                self.excused = 0;
                return self.pass(now);
            }
            Err(failure) => failure,
        };
        // A server with one thread cannot answer a probe while it works: its silence says nothing.
        let at_work = busy && failure.found == Found::Silent;
        if self.ready {
            // With all threads at work and a full backlog it does not even take the connection.
            let excused = at_work || (busy && failure.found == Found::Unreachable);
            if excused {
                self.excuse(now);
                return None;
            }
            return self.fail(now, failure);
        }
        if self.suspected && at_work {
            let change = self.pass(now);
            self.excuse(now);
            return change;
        }
        let expired = self.deadline.filter(|limit| now.duration_since(self.since) >= *limit);
        if let Some(limit) = expired
            && !busy
        {
            let reason = failure.reason;
            return Some(Change::Expired(format!("not ready for {limit:?}: {reason}")));
        }
        self.next = Some(now + self.interval);
        self.interval = (self.interval * START_INTERVAL_GROWTH / 100).min(START_INTERVAL_MAX);
        Some(Change::NotReady(failure.reason))
    }

    fn pass(&mut self, now: Instant) -> Option<Change> {
        let changed = !self.ready;
        self.ready = true;
        self.suspected = false;
        self.failures = 0;
        self.next = Some(now + self.period);
        changed.then_some(Change::Ready)
    }

    /// The silence of a busy replica says nothing, but is not asked for again and again.
    fn excuse(&mut self, now: Instant) {
        self.excused += 1;
        self.next = (self.excused < EXCUSED_MAX).then(|| now + self.period);
    }

    fn fail(&mut self, now: Instant, failure: Failure) -> Option<Change> {
        self.failures += 1;
        self.next = Some(now + self.period.min(START_INTERVAL_MAX));
        // Nothing listens: asking twice more would only send more requests there.
        if failure.found != Found::Refused && self.failures < FAILURES_MAX {
            return None;
        }
        self.fall(now);
        self.next = Some(now + self.interval);
        Some(Change::NotReady(failure.reason))
    }

    fn fall(&mut self, now: Instant) {
        self.ready = false;
        self.failures = 0;
        self.interval = START_INTERVAL_MIN;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);
    const DEADLINE: Duration = Duration::from_secs(10);

    fn fresh(now: Instant, kind: ProbeKind) -> Health {
        let probe = Probe { kind, period: PERIOD, timeout: Duration::from_secs(1) };
        Health::new(now, &probe, Some(DEADLINE))
    }

    fn ready(now: Instant) -> Health {
        let mut health = fresh(now, ProbeKind::Tcp);
        assert_eq!(health.observe(now, Ok(()), false), Some(Change::Ready));
        health
    }

    fn failed(found: Found) -> Result<(), Failure> {
        Err(Failure { found, reason: "why".to_owned() })
    }

    fn why() -> Change {
        Change::NotReady("why".to_owned())
    }

    #[test]
    fn the_start_cadence_begins_at_50_ms_and_ends_at_one_second() {
        let mut now = Instant::now();
        let mut health = fresh(now, ProbeKind::Tcp);
        assert_eq!(health.next, Some(now), "the first probe is due at once");
        let mut intervals = Vec::new();
        for _ in 0..20 {
            health.observe(now, failed(Found::Refused), true);
            let next = health.next.unwrap();
            intervals.push(next - now);
            now = next;
        }
        assert_eq!(intervals[0], Duration::from_millis(50));
        assert_eq!(intervals[19], Duration::from_secs(1));
        assert!(intervals.is_sorted());
    }

    #[test]
    fn a_start_expires_at_its_deadline_unless_it_is_at_work() {
        let now = Instant::now();
        let mut health = fresh(now, ProbeKind::Tcp);
        let early = now + DEADLINE - Duration::from_millis(1);
        assert_eq!(health.observe(early, failed(Found::Wrong), false), Some(why()));
        assert_eq!(health.observe(now + DEADLINE, failed(Found::Wrong), true), Some(why()));
        let expired = health.observe(now + DEADLINE, failed(Found::Wrong), false);
        assert_eq!(expired, Some(Change::Expired("not ready for 10s: why".to_owned())));
    }

    #[test]
    fn the_third_failure_in_a_row_takes_a_ready_replica_out() {
        let now = Instant::now();
        let mut health = ready(now);
        assert_eq!(health.observe(now, failed(Found::Wrong), false), None);
        assert_eq!(health.observe(now, failed(Found::Silent), false), None);
        assert_eq!(health.observe(now, Ok(()), false), None, "a pass begins the count again");
        assert_eq!(health.observe(now, failed(Found::Wrong), false), None);
        assert_eq!(health.observe(now, failed(Found::Wrong), false), None);
        assert_eq!(health.observe(now, failed(Found::Wrong), false), Some(why()));
        assert!(!health.is_ready());
        assert_eq!(health.observe(now, Ok(()), false), Some(Change::Ready));
    }

    #[test]
    fn silence_of_a_busy_replica_is_never_held_against_it_and_a_refusal_always_is() {
        let now = Instant::now();
        let mut health = ready(now);
        for _ in 0..10 {
            assert_eq!(health.observe(now, failed(Found::Silent), true), None);
            assert_eq!(health.observe(now, failed(Found::Unreachable), true), None);
        }
        assert!(health.is_ready());
        assert_eq!(health.observe(now, failed(Found::Refused), true), Some(why()));
    }

    #[test]
    fn a_busy_replica_that_does_not_answer_is_asked_three_times_and_then_when_it_has_no_work() {
        let now = Instant::now();
        let mut health = ready(now);
        for next in [Some(now + PERIOD), Some(now + PERIOD), None, None] {
            assert_eq!(health.observe(now, failed(Found::Silent), true), None);
            assert_eq!(health.next, next);
        }
        assert_eq!(health.observe(now, Ok(()), true), None);
        assert_eq!(health.next, Some(now + PERIOD));
    }

    #[test]
    fn a_suspected_busy_replica_is_ready_when_it_accepts_a_connection() {
        let now = Instant::now();
        let mut health = ready(now);
        health.suspect(now);
        assert!(!health.is_ready());
        assert_eq!(health.next, Some(now), "the probe is due at once");
        assert_eq!(health.observe(now, failed(Found::Silent), false), Some(why()));
        assert_eq!(health.observe(now, failed(Found::Unreachable), true), Some(why()));
        assert_eq!(health.observe(now, failed(Found::Silent), true), Some(Change::Ready));
    }

    #[test]
    fn without_a_probe_a_replica_is_ready_until_suspected() {
        let now = Instant::now();
        let mut health = fresh(now, ProbeKind::None);
        assert!(health.is_ready());
        assert!(health.next.unwrap() > now + Duration::from_secs(86_400));
        health.suspect(now);
        assert_eq!(health.observe(now, failed(Found::Refused), false), Some(why()));
        assert_eq!(health.observe(now, Ok(()), false), Some(Change::Ready));
    }
}
