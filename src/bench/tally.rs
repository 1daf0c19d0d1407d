//! Every outcome of a run, counted as it comes.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use http::HeaderValue;

use super::{Outcome, TransportError};

/// The longest time a histogram tells apart, in microseconds: one hour. Longer ones count as this.
const TIME_US_MAX: u64 = 3_600_000_000;
/// Digits that a histogram keeps: an error of at most 0.1 %.
const DIGITS: u8 = 3;
/// Kinds of answers (status, source, code) and versions that are told apart; more are `other`.
const KEYS_MAX: usize = 256;
/// The key of answers and versions beyond that.
const OTHER: &str = "other";

/// Outcomes of a run.
#[derive(Debug, Clone)]
pub struct Tally {
    /// From the due time (open loop) or the call (closed loop) to the last byte, in microseconds;
    /// answers and timeouts.
    pub(super) latency: Histogram<u64>,
    /// From the call to the last byte, in microseconds.
    pub(super) service: Histogram<u64>,
    /// `Server-Timing`, in microseconds.
    pub(super) queue: Histogram<u64>,
    pub(super) replica: Histogram<u64>,
    pub(super) router: Histogram<u64>,
    pub(super) statuses: BTreeMap<StatusKey, u64>,
    pub(super) versions: BTreeMap<String, u64>,
    pub(super) transport: BTreeMap<TransportError, u64>,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) failed_answers: u64,
    pub(super) missed: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

/// Answers that are shown in one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatusKey {
    pub(super) status: u16,
    pub(super) source: Option<String>,
    pub(super) code: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latency: histogram(),
            service: histogram(),
            queue: histogram(),
            replica: histogram(),
            router: histogram(),
            statuses: BTreeMap::new(),
            versions: BTreeMap::new(),
            transport: BTreeMap::new(),
            sent: 0,
            answered: 0,
            failed_answers: 0,
            missed: 0,
            request_bytes: 0,
            response_bytes: 0,
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_US_MAX, DIGITS)
        .expect("the bounds are 1 and an hour, and 3 digits are allowed")
}

impl Tally {
    /// Requests that were begun.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Requests that ended in a whole answer or in an error.
    pub fn ended(&self) -> u64 {
        self.answered + self.transport.values().sum::<u64>()
    }

    /// A request was begun.
    pub fn send(&mut self) {
        self.sent += 1;
    }

    /// A request was due, and as many as allowed were in flight.
    pub fn miss(&mut self) {
        self.missed += 1;
    }

    /// A request has ended: `latency` since it was due, `service` since it was begun.
    pub fn end(
        &mut self,
        outcome: &Outcome,
        latency: Duration,
        service: Duration,
        request_bytes: u64,
    ) {
        let answered = match outcome {
            Outcome::Failed(error) => {
                *self.transport.entry(*error).or_default() += 1;
                // A timeout left out would make a slow server look fast.
                if *error == TransportError::Timeout {
                    self.latency.saturating_record(microseconds(latency));
                    self.service.saturating_record(microseconds(service));
                }
                return;
            }
            Outcome::Answered(answered) => answered,
        };
        self.latency.saturating_record(microseconds(latency));
        self.service.saturating_record(microseconds(service));
        self.answered += 1;
        self.failed_answers += u64::from(answered.status.as_u16() >= 400);
        self.request_bytes += request_bytes;
        self.response_bytes += answered.bytes;
        let timing = answered.timing;
        let parts = [
            (&mut self.queue, timing.queue_ms),
            (&mut self.replica, timing.replica_ms),
            (&mut self.router, timing.router_ms),
        ];
        for (histogram, time_ms) in parts {
            if let Some(time) = time_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()) {
                histogram.saturating_record(microseconds(time));
            }
        }
        let key = StatusKey {
            status: answered.status.as_u16(),
            source: text(answered.source.as_ref()),
            code: answered.code.clone(),
        };
        let other = StatusKey { status: key.status, source: None, code: Some(OTHER.to_owned()) };
        count(&mut self.statuses, key, other);
        if let Some(version) = text(answered.version.as_ref()) {
            count(&mut self.versions, version, OTHER.to_owned());
        }
    }
}

/// Counts under `key`, or under `other` when there are too many keys.
fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, other: K) {
    let known = counts.len() < KEYS_MAX || counts.contains_key(&key);
    *counts.entry(if known { key } else { other }).or_default() += 1;
}

fn text(value: Option<&HeaderValue>) -> Option<String> {
    Some(value?.to_str().ok()?.to_owned())
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(TIME_US_MAX)
}
