//! The times of a watch: how long each step may take, and how often it is tried.

use std::{ops::RangeInclusive, time::Duration};

use rand::RngExt as _;
use tokio::time::Instant;

/// Within this time after a fault has ended a watch is in step again.
#[cfg(test)]
pub(super) const PROMISE: Duration = Duration::from_secs(35);

/// The times of one watch. The default is production's; tests run the same loop faster.
#[derive(Debug, Clone)]
pub(in super::super) struct Rhythm {
    /// Until a LIST is answered at all. The API server takes about a second to put 10 000 pods
    /// together; two LISTs that hang still leave room in the promise of 35 s.
    pub(super) list_answer: Duration,
    /// Between two pieces of the answer to a LIST.
    pub(super) list_stall: Duration,
    /// For a LIST in all: a slow line may take its time with a large cluster, not for ever.
    pub(super) list_whole: Duration,
    /// Until a watch is answered; the API server does that before it looks for events.
    pub(super) watch_answer: Duration,
    /// How long one watch lasts, in seconds; the API server ends it, and sends a bookmark just
    /// before. Drawn anew each time, so that the watches of many routers do not end together.
    pub(super) watch_seconds: RangeInclusive<u32>,
    /// How much longer a watch may last before its connection is held for dead.
    pub(super) watch_grace: Duration,
    /// The pause before an API server that refuses connections, or a LIST that failed, is tried
    /// again: ready 2 s after the API server is back.
    pub(super) retry: Duration,
    /// The first pause before a failed watch is started again; each further one is twice as long.
    pub(super) backoff_first: Duration,
    /// The longest of these pauses.
    pub(super) backoff_longest: Duration,
    /// After so many failures in a row the position may be what is wrong: LIST again.
    pub(super) relist_after: u32,
    /// How long a LIST that lost most objects waits for the second opinion.
    pub(super) confirm_after: Duration,
    /// How often a watch without fault is looked over with a LIST, against events that the API
    /// server lost: its caches have gone stale before (kube-state-metrics, controller-manager).
    pub(super) look_over: Duration,
    /// So many LISTs at once when none was needed for long.
    pub(super) list_burst: u32,
    /// The time after which one more LIST is allowed.
    pub(super) list_every: Duration,
    /// The least time between two LISTs.
    pub(super) list_gap: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            list_answer: Duration::from_secs(10),
            list_stall: Duration::from_secs(5),
            list_whole: Duration::from_secs(60),
            watch_answer: Duration::from_secs(5),
            watch_seconds: 20..=24,
            watch_grace: Duration::from_secs(4),
            retry: Duration::from_secs(1),
            backoff_first: Duration::from_millis(250),
            backoff_longest: Duration::from_secs(5),
            relist_after: 3,
            confirm_after: Duration::from_secs(5),
            look_over: Duration::from_secs(5 * 60),
            // 6 + 60 s / 10 s = 12 in any minute: one per 5 s on average.
            list_burst: 6,
            list_every: Duration::from_secs(10),
            list_gap: Duration::from_secs(1),
        }
    }
}

impl Rhythm {
    pub(super) fn draw_watch_seconds(&self) -> u32 {
        rand::rng().random_range(self.watch_seconds.clone())
    }

    /// The pause before the next try of an API server that is away.
    pub(super) fn retry_pause(&self) -> Duration {
        jitter(self.retry)
    }

    /// The pause after so many failures of a watch in a row.
    pub(super) fn backoff_pause(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        jitter(self.backoff_first.saturating_mul(doubled).min(self.backoff_longest))
    }

    pub(super) fn next_look_over(&self) -> Instant {
        Instant::now() + jitter(self.look_over)
    }
}

/// A quarter more or less, so that many watches that failed together do not come back together.
fn jitter(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.75..=1.25))
}

/// How many LISTs are allowed: a token bucket whose credit is time.
#[derive(Debug)]
pub(super) struct Allowance {
    cost: Duration,
    most: Duration,
    gap: Duration,
    credit: Duration,
    as_of: Instant,
    last: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(rhythm: &Rhythm) -> Self {
        let most = rhythm.list_every.saturating_mul(rhythm.list_burst);
        Self {
            cost: rhythm.list_every,
            most,
            gap: rhythm.list_gap,
            credit: most,
            as_of: Instant::now(),
            last: None,
        }
    }

    /// When the next LIST is allowed; not later than now if one is.
    pub(super) fn next(&self) -> Instant {
        let paid = self.as_of + self.cost.saturating_sub(self.credit);
        self.last.map_or(paid, |last| paid.max(last + self.gap))
    }

    pub(super) fn take(&mut self) {
        let now = Instant::now();
        let earned = now.saturating_duration_since(self.as_of);
        self.credit = self.credit.saturating_add(earned).min(self.most).saturating_sub(self.cost);
        self.as_of = now;
        self.last = Some(now);
    }

    /// The LIST never reached the API server.
    pub(super) fn give_back(&mut self) {
        self.credit = self.credit.saturating_add(self.cost).min(self.most);
        self.last = None;
    }
}
