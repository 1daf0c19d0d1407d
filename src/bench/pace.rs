//! The schedule of an open loop, kept by a thread of its own.
//!
//! tokio's timer rounds up to a whole millisecond, which would be added to every latency. A kernel
//! timer in the event loop would do, but registering a descriptor with tokio is `unsafe`. A sleeping
//! thread is late by some 50 µs and needs nothing special.

use std::{
    io,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// Due requests that the generator may be behind with; then the thread waits, and the lateness
/// shows in the latency all the same.
const BACKLOG_MAX: usize = 1024;

/// Sends, at its time, the offset from `start` at which each request is due: request `n` after
/// `n / rate` seconds, before `duration`, at most `requests`. The thread ends with the schedule, or
/// with the first request due after the receiver is gone.
pub(super) fn schedule(
    start: Instant,
    rate: f64,
    duration: Duration,
    requests: Option<u64>,
) -> io::Result<mpsc::Receiver<Duration>> {
    let (ticks, receiver) = mpsc::channel(BACKLOG_MAX);
    let keep = move || {
        for n in 0..requests.unwrap_or(u64::MAX) {
            let offset = due(n, rate);
            if offset >= duration {
                break;
            }
            sleep((start + offset).saturating_duration_since(Instant::now()));
            if ticks.blocking_send(offset).is_err() {
                break;
            }
        }
    };
    // Nothing waits for the thread: it ends by itself, and it holds nothing.
    let _detached = thread::Builder::new().name("bench-schedule".to_owned()).spawn(keep)?;
    Ok(receiver)
}

/// When request `n` is due, counted from the start.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
fn due(n: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(n as f64 / rate).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        assert_eq!(due(0, 3.0), Duration::ZERO);
        assert_eq!(due(300_000, 3.0), Duration::from_secs(100_000));
        assert_eq!(due(7, 1000.0), Duration::from_millis(7));
        assert_eq!(due(u64::MAX, 1e-6), Duration::MAX);
    }

    #[test]
    fn nothing_is_due_early_and_nothing_after_the_end() {
        let start = Instant::now();
        let mut ticks = schedule(start, 1000.0, Duration::from_millis(20), None).unwrap();
        let mut offsets = Vec::new();
        while let Some(offset) = ticks.blocking_recv() {
            assert!(start.elapsed() >= offset);
            offsets.push(offset);
        }
        assert_eq!(offsets.len(), 20);
        assert_eq!(offsets[19], Duration::from_millis(19));
    }

    #[test]
    fn a_count_ends_the_schedule_as_well() {
        let mut ticks = schedule(Instant::now(), 1e5, Duration::MAX, Some(3)).unwrap();
        let count = std::iter::from_fn(|| ticks.blocking_recv()).count();
        assert_eq!(count, 3);
    }
}
