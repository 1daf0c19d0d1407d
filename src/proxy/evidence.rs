//! What the fate of one request says about its replica, and about nobody else.
//!
//! Promises: nothing that a client does or leaves undone is held against a replica. Only silence
//! counts that the replica alone can end: it has had all that the client sent for nearly all of
//! `requestTimeout`. Uploads that the client drags out, a short `grpc-timeout`, an answer that the
//! client does not read, and whoever leaves, say nothing.

use std::time::{Duration, Instant};

use super::routes::LiveVersion;
use crate::replica::{Aside, Slot};

/// For how much of `requestTimeout` a replica must have been silent although it was its turn, in
/// percent. The rest is for connecting and for uploads that take a moment; a client that takes more
/// has taken it from the replica.
const SILENCE_PERCENT: u32 = 90;

/// A request has timed out. `since` is when it became the replica's turn; `None`: it was not.
pub(crate) fn timed_out(version: &LiveVersion, slot: &Slot, since: Option<Instant>) {
    let limit = version.settings().request_timeout;
    if since.is_some_and(|since| is_its_own(since.elapsed(), limit)) {
        follow(version, slot.timed_out());
    }
}

/// No connection could be made.
pub(crate) fn unreachable(version: &LiveVersion, slot: &Slot) {
    follow(version, slot.connection_failed());
}

fn is_its_own(silence: Duration, limit: Duration) -> bool {
    silence >= limit * SILENCE_PERCENT / 100
}

fn follow(version: &LiveVersion, aside: Option<Aside>) {
    if let Some(aside) = aside {
        version.metrics.set_asides(aside.cause);
        tokio::task::spawn_local(aside.over());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_nine_tenths_of_the_time_on() {
        let limit = Duration::from_secs(10);
        assert!(!is_its_own(Duration::from_millis(8_999), limit));
        assert!(is_its_own(Duration::from_secs(9), limit));
    }
}
