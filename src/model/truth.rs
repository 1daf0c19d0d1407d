//! What really happened: executions by request id, and how many requests were there at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use dashmap::DashMap;
use http::HeaderMap;
use serde::Serialize;

use super::ledger::{Entry, Ledger};

/// The most request ids that are told apart. Executions of further ids are still counted, as
/// `uncountedIds`. About 100 bytes each.
pub const IDS_MAX: usize = 1_000_000;
/// Longer ids are cut to this many bytes.
const ID_BYTES_MAX: usize = 256;

/// The record of one model server; all counts only grow, except `open` and `in_progress`.
#[derive(Debug)]
pub struct Truth {
    counts: DashMap<Box<str>, u32>,
    ids_max: usize,
    ledger: Option<Ledger>,
    concurrency: Option<usize>,
    started_at: String,
    own_ids: AtomicU64,
    distinct: AtomicUsize,
    uncounted: AtomicU64,
    executions: AtomicU64,
    duplicates: AtomicU64,
    open: AtomicUsize,
    highest_open: AtomicUsize,
    in_progress: AtomicUsize,
    highest: AtomicUsize,
    beyond: AtomicU64,
    bytes_in: AtomicU64,
    aborted: AtomicU64,
    cancelled: AtomicU64,
}

/// The answer of `GET /stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Executions begun.
    pub executions: u64,
    /// Different request ids among them.
    pub distinct_ids: usize,
    /// Executions of an id that had been executed before.
    pub duplicates: u64,
    /// Executions whose id was not told apart, see [`IDS_MAX`].
    pub uncounted_ids: u64,
    /// Requests whose upload is whole and whose work is not done.
    pub in_progress: usize,
    /// The most that `in_progress` ever was.
    pub highest_concurrency: usize,
    /// Requests whose head has arrived and whose work is not done.
    pub open: usize,
    /// The most that `open` ever was.
    pub highest_open: usize,
    /// Requests that found `--concurrency` others in progress.
    pub beyond_concurrency: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Uploads that ended early; they are never executed, except where bodies are echoed.
    pub aborted: u64,
    /// Executions that were cut off before their end.
    pub cancelled: u64,
    /// When the server was made, RFC 3339.
    pub started_at: String,
}

/// One request from the arrival of its head until its work is done; dropping it early means that
/// it was cut off.
#[derive(Debug)]
pub(super) struct Visit {
    truth: Arc<Truth>,
    id: String,
    client_id: String,
    working: bool,
    executing: bool,
}

impl Truth {
    pub(super) fn new(ledger: Option<Ledger>, concurrency: Option<usize>) -> Self {
        Self::with_ids_max(ledger, concurrency, IDS_MAX)
    }

    fn with_ids_max(ledger: Option<Ledger>, concurrency: Option<usize>, ids_max: usize) -> Self {
        Self {
            counts: DashMap::new(),
            ids_max,
            ledger,
            concurrency,
            started_at: jiff::Timestamp::now().to_string(),
            own_ids: AtomicU64::new(0),
            distinct: AtomicUsize::new(0),
            uncounted: AtomicU64::new(0),
            executions: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            highest_open: AtomicUsize::new(0),
            in_progress: AtomicUsize::new(0),
            highest: AtomicUsize::new(0),
            beyond: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        }
    }

    /// The counts now.
    pub fn stats(&self) -> Stats {
        Stats {
            executions: self.executions.load(Relaxed),
            distinct_ids: self.distinct.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            uncounted_ids: self.uncounted.load(Relaxed),
            in_progress: self.in_progress.load(Relaxed),
            highest_concurrency: self.highest.load(Relaxed),
            open: self.open.load(Relaxed),
            highest_open: self.highest_open.load(Relaxed),
            beyond_concurrency: self.beyond.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            started_at: self.started_at.clone(),
        }
    }

    /// Executions by request id, as a JSON object.
    pub(super) fn executions_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Counts(&self.counts)).unwrap_or_default()
    }

    /// How often the id was executed.
    pub fn executions_of(&self, id: &str) -> u32 {
        self.counts.get(id).map_or(0, |count| *count)
    }

    /// A request has arrived. Its id is `x-request-id`, else a number of our own.
    pub(super) fn arrive(self: &Arc<Self>, headers: &HeaderMap) -> Visit {
        let id = headers
            .get("x-request-id")
            .map_or_else(|| format!("own-{}", self.own_ids.fetch_add(1, Relaxed)), harmless);
        let client_id = headers.get("x-ms-client-request-id").map(harmless).unwrap_or_default();
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.highest_open.fetch_max(open, Relaxed);
        Visit { truth: Arc::clone(self), id, client_id, working: false, executing: false }
    }

    fn count(&self, id: &str) {
        if let Some(mut count) = self.counts.get_mut(id) {
            *count = count.saturating_add(1);
            self.duplicates.fetch_add(1, Relaxed);
            return;
        }
        // Reserve first: threads that race for the last place must not both get it.
        if self.distinct.fetch_add(1, Relaxed) >= self.ids_max {
            self.distinct.fetch_sub(1, Relaxed);
            self.uncounted.fetch_add(1, Relaxed);
            return;
        }
        let mut count = self.counts.entry(id.into()).or_insert(0);
        *count = count.saturating_add(1);
        if *count > 1 {
            // Another thread met the same id between the look-up and here.
            self.distinct.fetch_sub(1, Relaxed);
            self.duplicates.fetch_add(1, Relaxed);
        }
    }
}

impl Visit {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Some of the upload has arrived.
    pub(super) fn received(&self, bytes: usize) {
        self.truth.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// The upload is whole (or, where bodies are echoed, has begun): the request is in progress.
    pub(super) fn work(&mut self) {
        if std::mem::replace(&mut self.working, true) {
            return;
        }
        let now = self.truth.in_progress.fetch_add(1, Relaxed) + 1;
        self.truth.highest.fetch_max(now, Relaxed);
        if self.truth.concurrency.is_some_and(|limit| now > limit) {
            self.truth.beyond.fetch_add(1, Relaxed);
        }
    }

    /// The model starts; returns the number of this execution, counted from 1.
    pub(super) fn execute(&mut self) -> u64 {
        self.executing = true;
        self.truth.count(&self.id);
        if let Some(ledger) = &self.truth.ledger {
            ledger.note(&self.id, &self.client_id, Entry::Start);
        }
        self.truth.executions.fetch_add(1, Relaxed) + 1
    }

    /// The upload ended early.
    pub(super) fn abort(self) {
        self.truth.aborted.fetch_add(1, Relaxed);
    }

    /// The work is done.
    pub(super) fn finish(mut self) {
        if std::mem::take(&mut self.executing)
            && let Some(ledger) = &self.truth.ledger
        {
            ledger.note(&self.id, &self.client_id, Entry::End);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.executing {
            self.truth.cancelled.fetch_add(1, Relaxed);
            if let Some(ledger) = &self.truth.ledger {
                ledger.note(&self.id, &self.client_id, Entry::Cancelled);
            }
        }
        if self.working {
            self.truth.in_progress.fetch_sub(1, Relaxed);
        }
        self.truth.open.fetch_sub(1, Relaxed);
    }
}

/// An id as it can stand in the ledger: a tab would be a false column.
fn harmless(value: &http::HeaderValue) -> String {
    let bytes = value.as_bytes();
    let kept = bytes.get(..ID_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(kept).replace(|char: char| char.is_control(), "_")
}

/// Serializes without a second copy of a million ids.
struct Counts<'a>(&'a DashMap<Box<str>, u32>);

impl Serialize for Counts<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|entry| (entry.key().clone(), *entry.value())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(truth: &Arc<Truth>, id: &'static str) -> Visit {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", http::HeaderValue::from_static(id));
        truth.arrive(&headers)
    }

    #[test]
    fn an_id_executed_twice_is_one_duplicate() {
        let truth = Arc::new(Truth::new(None, None));
        for id in ["a", "b", "a"] {
            let mut visit = visit(&truth, id);
            visit.execute();
            visit.finish();
        }
        let stats = truth.stats();
        assert_eq!((stats.executions, stats.distinct_ids, stats.duplicates), (3, 2, 1));
        assert_eq!((truth.executions_of("a"), truth.executions_of("c")), (2, 0));
        let json: serde_json::Value = serde_json::from_slice(&truth.executions_json()).unwrap();
        assert_eq!(json, serde_json::json!({"a": 2, "b": 1}));
    }

    #[test]
    fn ids_beyond_the_bound_are_counted_but_not_told_apart() {
        let truth = Arc::new(Truth::with_ids_max(None, None, 2));
        for id in ["a", "b", "c", "c", "a"] {
            visit(&truth, id).execute();
        }
        let stats = truth.stats();
        assert_eq!((stats.executions, stats.distinct_ids), (5, 2));
        assert_eq!((stats.uncounted_ids, stats.duplicates), (2, 1));
    }

    #[test]
    fn the_highest_concurrency_stays_after_the_requests_are_gone() {
        let truth = Arc::new(Truth::new(None, Some(1)));
        let mut both = [visit(&truth, "a"), visit(&truth, "b")];
        both.iter_mut().for_each(Visit::work);
        assert_eq!(truth.stats().in_progress, 2);
        both.into_iter().for_each(Visit::finish);
        let stats = truth.stats();
        assert_eq!((stats.in_progress, stats.open), (0, 0));
        assert_eq!((stats.highest_concurrency, stats.highest_open), (2, 2));
        assert_eq!(stats.beyond_concurrency, 1);
    }

    #[test]
    fn an_id_cannot_add_a_column_to_the_ledger() {
        let truth = Arc::new(Truth::new(None, None));
        assert_eq!(visit(&truth, "a\tend").id(), "a_end");
    }

    #[test]
    fn the_ledger_has_a_line_for_each_start_and_each_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let truth = Arc::new(Truth::new(Some(Ledger::open(&path, "blue-1").unwrap()), None));
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", http::HeaderValue::from_static("a"));
        headers.insert("x-ms-client-request-id", http::HeaderValue::from_static("mine"));
        let mut done = truth.arrive(&headers);
        done.execute();
        done.finish();
        visit(&truth, "b").execute();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        let words: Vec<_> = lines.iter().map(|line| (line[0], line[2], line[3])).collect();
        let replica = "blue-1";
        assert_eq!(
            words,
            [
                ("a", "start", replica),
                ("a", "end", replica),
                ("b", "start", replica),
                ("b", "cancelled", replica)
            ]
        );
        assert!(lines.iter().all(|line| line[1].parse::<u64>().is_ok()));
        let pid = std::process::id().to_string();
        assert!(lines.iter().all(|line| line[4] == pid));
        let clients: Vec<_> = lines.iter().map(|line| line[5]).collect();
        assert_eq!(clients, ["mine", "mine", "", ""]);
    }
}
