//! Handles to the series of one version or one endpoint, resolved when routes are built.
//!
//! Cost on the path of a request: a counter is one atomic addition on a handle that is already
//! there; `requests` and `rejected` find theirs by an index into a fixed array. A histogram is a
//! walk over at most 17 bounds, four atomic additions and one compare-and-swap loop for the sum.
//! Labels are formatted and looked up once, when a combination occurs for the first time.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::metrics::{self, Families};
use crate::domain::{AsideCause, Direction, Name, Reason, VersionKey};

/// The statuses of the router's own answers (contract §6, both error profiles), and 200, which
/// gRPC errors and answers that broke off after their head carry.
const OWN_CODES: [u16; 18] =
    [200, 308, 400, 401, 403, 404, 405, 408, 413, 414, 424, 429, 431, 499, 500, 502, 503, 504];
/// The label of a status that is not expected with its reason: it keeps the label set bounded.
pub(super) const OTHER_CODE: &str = "other";
const MODEL_CODE_MIN: u16 = 100;
const MODEL_CODES: usize = 500;
/// Cells of `Reason::Model`: 100–599 and other. Then a row of own codes and other per reason.
const MODEL_CELLS: usize = MODEL_CODES + 1;
const OWN_CELLS: usize = OWN_CODES.len() + 1;
const CELLS: usize = MODEL_CELLS + Reason::ALL.len() * OWN_CELLS;

pub(super) const DIRECTIONS: [Direction; 3] = [Direction::Up, Direction::Down, Direction::Hold];

pub(super) const fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
        Direction::Hold => "hold",
    }
}

/// Why a caller at the admin port may not see or change credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminRefusal {
    /// No credential.
    Missing,
    /// A credential that is not one.
    Malformed,
    /// A credential of nobody.
    Wrong,
    /// Somebody who may not, or nobody may.
    Forbidden,
    /// From another machine, or made by a browser for a web page.
    Foreign,
    /// Nobody could be asked about it.
    Unavailable,
}

impl AdminRefusal {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Malformed,
        Self::Wrong,
        Self::Forbidden,
        Self::Foreign,
        Self::Unavailable,
    ];

    /// The value of the label `refusal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
            Self::Forbidden => "forbidden",
            Self::Foreign => "foreign",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a request was sent a second time (contract §5, "retry").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryCause {
    /// The connection could not be made.
    ConnectFailed,
    /// A reused connection closed at once, before one byte of answer.
    ReusedClosed,
    /// The replica refused the HTTP/2 stream unprocessed.
    RefusedStream,
}

impl RetryCause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 3] = [Self::ConnectFailed, Self::ReusedClosed, Self::RefusedStream];

    /// The value of the label `cause`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::ReusedClosed => "reused_closed",
            Self::RefusedStream => "refused_stream",
        }
    }
}

/// The series of one version. Stays usable after the version has left the catalog: what is counted
/// from then on is shown to nobody.
#[derive(Debug)]
pub struct VersionMetrics {
    key: VersionKey,
    families: Arc<Families>,
    /// Set when the series are removed, so that a late request cannot bring one back.
    retired: Mutex<bool>,
    requests: Box<[OnceLock<IntCounter>]>,
    retries: [IntCounter; RetryCause::ALL.len()],
    scaling_decisions: [IntCounter; DIRECTIONS.len()],
    set_asides: [IntCounter; AsideCause::ALL.len()],
    /// From the head of the request to the last byte of the answer, in seconds.
    pub request_seconds: Histogram,
    /// What the router itself added, in seconds.
    pub router_seconds: Histogram,
    /// The wait for a slot, in seconds; 0 for a request that did not wait.
    pub queue_wait_seconds: Histogram,
    /// From sending to the replica to the last byte of its answer, in seconds.
    pub replica_seconds: Histogram,
    /// Payload bytes of requests sent on to replicas.
    pub request_bytes: IntCounter,
    /// Payload bytes of answers sent to clients.
    pub response_bytes: IntCounter,
    pub(super) busy: IntGauge,
    pub(super) slots: IntGauge,
    pub(super) queued: IntGauge,
    pub(super) set_aside: IntGauge,
    pub(super) replicas: [IntGauge; super::registry::REPLICA_STATES.len()],
}

impl VersionMetrics {
    pub(super) fn new(families: &Arc<Families>, key: VersionKey) -> Self {
        let of = [key.endpoint.as_str(), key.version.as_str()];
        let [endpoint, version] = of;
        let f = families;
        Self {
            retired: Mutex::new(false),
            requests: std::iter::repeat_with(OnceLock::new).take(CELLS).collect(),
            retries: RetryCause::ALL
                .map(|cause| f.retries.with_label_values(&[endpoint, version, cause.as_str()])),
            scaling_decisions: DIRECTIONS.map(|direction| {
                f.scaling_decisions.with_label_values(&[
                    endpoint,
                    version,
                    direction_word(direction),
                ])
            }),
            set_asides: AsideCause::ALL
                .map(|cause| f.set_asides.with_label_values(&[endpoint, version, cause.as_str()])),
            request_seconds: f.request_seconds.with_label_values(&of),
            router_seconds: f.router_seconds.with_label_values(&of),
            queue_wait_seconds: f.queue_wait_seconds.with_label_values(&of),
            replica_seconds: f.replica_seconds.with_label_values(&of),
            request_bytes: f.request_bytes.with_label_values(&of),
            response_bytes: f.response_bytes.with_label_values(&of),
            busy: f.busy.with_label_values(&of),
            slots: f.slots.with_label_values(&of),
            queued: f.queued.with_label_values(&of),
            set_aside: f.set_aside.with_label_values(&of),
            replicas: super::registry::REPLICA_STATES
                .map(|state| f.replicas.with_label_values(&[endpoint, version, state])),
            families: Arc::clone(families),
            key,
        }
    }

    /// Counts one finished request with the status sent to the client. A status that is not
    /// expected with its reason is counted under `code="other"`.
    pub fn requests(&self, code: u16, reason: Reason) {
        let cell = self.requests.get(cell_index(code, reason));
        let cell = cell.expect("cell_index is below CELLS");
        cell.get_or_init(|| self.resolve(code, reason)).inc();
    }

    /// Counts one request sent a second time.
    pub fn retries(&self, cause: RetryCause) {
        if let Some(counter) = self.retries.get(cause as usize) {
            counter.inc();
        }
    }

    /// Counts one time that a replica was set aside.
    pub fn set_asides(&self, cause: AsideCause) {
        if let Some(counter) = self.set_asides.get(cause as usize) {
            counter.inc();
        }
    }

    /// Counts one decision of the autoscaler.
    pub fn scaling_decisions(&self, direction: Direction) {
        let at = DIRECTIONS.iter().position(|candidate| *candidate == direction);
        if let Some(counter) = at.and_then(|at| self.scaling_decisions.get(at)) {
            counter.inc();
        }
    }

    /// Shows the ratio, or nothing.
    pub(super) fn set_utilization(&self, ratio: Option<f64>) {
        let retired = self.retired.lock();
        let labels = [self.key.endpoint.as_str(), self.key.version.as_str()];
        match ratio {
            Some(ratio) if !*retired => {
                self.families.utilization.with_label_values(&labels).set(ratio);
            }
            _ => gone(self.families.utilization.remove_label_values(&labels)),
        }
    }

    fn resolve(&self, code: u16, reason: Reason) -> IntCounter {
        let retired = self.retired.lock();
        if *retired {
            return detached(&metrics::REQUESTS);
        }
        let code = code_label(code, reason);
        self.families.requests.with_label_values(&[
            self.key.endpoint.as_str(),
            self.key.version.as_str(),
            &code,
            reason.as_str(),
        ])
    }

    /// Removes every series of this version from the registry.
    pub(super) fn retire(&self) {
        let mut retired = self.retired.lock();
        *retired = true;
        let of = [self.key.endpoint.as_str(), self.key.version.as_str()];
        let [endpoint, version] = of;
        let f = &self.families;
        for family in
            [&f.request_seconds, &f.router_seconds, &f.queue_wait_seconds, &f.replica_seconds]
        {
            gone(family.remove_label_values(&of));
        }
        for family in [&f.request_bytes, &f.response_bytes] {
            gone(family.remove_label_values(&of));
        }
        for family in [&f.busy, &f.slots, &f.queued, &f.set_aside] {
            gone(family.remove_label_values(&of));
        }
        gone(f.utilization.remove_label_values(&of));
        for state in super::registry::REPLICA_STATES {
            gone(f.replicas.remove_label_values(&[endpoint, version, state]));
        }
        for cause in RetryCause::ALL {
            gone(f.retries.remove_label_values(&[endpoint, version, cause.as_str()]));
        }
        for cause in AsideCause::ALL {
            gone(f.set_asides.remove_label_values(&[endpoint, version, cause.as_str()]));
        }
        for direction in DIRECTIONS.map(direction_word) {
            gone(f.scaling_decisions.remove_label_values(&[endpoint, version, direction]));
        }
        // All of them, not only the filled cells: one may be resolved and not yet in its cell.
        for (code, reason) in combinations() {
            let code = code_label(code, reason);
            gone(f.requests.remove_label_values(&[endpoint, version, &code, reason.as_str()]));
        }
    }
}

/// The series of one endpoint, or of requests that found none.
#[derive(Debug)]
pub struct EndpointMetrics {
    endpoint: Option<Name>,
    families: Arc<Families>,
    retired: Mutex<bool>,
    rejected: [OnceLock<IntCounter>; Reason::ALL.len()],
}

impl EndpointMetrics {
    pub(super) fn new(families: &Arc<Families>, endpoint: Option<Name>) -> Self {
        Self {
            endpoint,
            families: Arc::clone(families),
            retired: Mutex::new(false),
            rejected: [const { OnceLock::new() }; Reason::ALL.len()],
        }
    }

    /// Counts a request that the router refused before a replica got it.
    pub fn rejected(&self, reason: Reason) {
        let cell = self.rejected.get(reason as usize).expect("Reason::ALL holds every reason");
        let counter = cell.get_or_init(|| {
            let retired = self.retired.lock();
            if *retired {
                return detached(&metrics::REJECTED);
            }
            self.families.rejected.with_label_values(&[self.label(), reason.as_str()])
        });
        counter.inc();
    }

    pub(super) fn retire(&self) {
        let mut retired = self.retired.lock();
        *retired = true;
        for reason in Reason::ALL {
            gone(self.families.rejected.remove_label_values(&[self.label(), reason.as_str()]));
        }
    }

    fn label(&self) -> &str {
        self.endpoint.as_ref().map_or("", Name::as_str)
    }
}

/// A counter that no registry shows.
fn detached(series: &metrics::Series) -> IntCounter {
    IntCounter::new(series.name, series.help).expect("a declared series has a valid name and help")
}

/// An error means that the series was not there, which is what removing it is for.
fn gone(_removed: prometheus::Result<()>) {}

fn own_code(code: u16) -> Option<usize> {
    OWN_CODES.iter().position(|own| *own == code)
}

fn model_code(code: u16) -> Option<usize> {
    let at = usize::from(code.checked_sub(MODEL_CODE_MIN)?);
    (at < MODEL_CODES).then_some(at)
}

fn cell_index(code: u16, reason: Reason) -> usize {
    match reason {
        Reason::Model => model_code(code).unwrap_or(MODEL_CODES),
        _ => MODEL_CELLS + reason as usize * OWN_CELLS + own_code(code).unwrap_or(OWN_CODES.len()),
    }
}

fn code_label(code: u16, reason: Reason) -> String {
    let expected = match reason {
        Reason::Model => model_code(code).is_some(),
        _ => own_code(code).is_some(),
    };
    if expected { code.to_string() } else { OTHER_CODE.to_owned() }
}

/// One status and reason for every cell that can be filled; 0 stands for any other status.
fn combinations() -> impl Iterator<Item = (u16, Reason)> {
    let model = (100..600).chain([0]).map(|code| (code, Reason::Model));
    let own = Reason::ALL.into_iter().filter(|reason| *reason != Reason::Model);
    model.chain(
        own.flat_map(|reason| OWN_CODES.into_iter().chain([0]).map(move |code| (code, reason))),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_status_and_reason_has_its_own_cell() {
        let cells: BTreeSet<usize> = combinations().map(|(code, r)| cell_index(code, r)).collect();
        assert_eq!(cells.len(), combinations().count());
        assert!(cells.iter().all(|cell| *cell < CELLS));
        let labels: BTreeSet<_> =
            combinations().map(|(code, r)| (code_label(code, r), r.as_str())).collect();
        assert_eq!(labels.len(), cells.len());
    }

    #[test]
    fn a_reason_is_at_its_place_in_the_list_of_all() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
