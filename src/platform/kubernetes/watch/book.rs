//! How a watch is doing: written by the watch, read by whoever answers for the catalog's age.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::fault::{Cause, Fault};

/// How a watch is doing.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Progress {
    /// How long ago the API server last proved that the watch is in step: a LIST that was believed,
    /// an event, a bookmark, or a watch that lasted as long as it should. `None` before the first.
    pub(in super::super) proof_age: Option<Duration>,
    /// Whether everything was told once.
    pub(in super::super) is_listed: bool,
    /// How many objects there are.
    pub(in super::super) objects: usize,
    /// LISTs that reached the API server.
    pub(in super::super) lists: u64,
    /// Watches that were asked for.
    pub(in super::super) watch_starts: u64,
    /// Failures of either, by cause.
    pub(in super::super) failures: BTreeMap<Cause, u64>,
    /// Objects that could not be read.
    pub(in super::super) unread: u64,
    /// Whether the last failure is that we may not: a 401 or 403. Only a change of our rights, or
    /// the API server's end of booting, helps.
    pub(in super::super) is_forbidden: bool,
    /// What is wrong, in words; `None` while the watch is in step.
    pub(in super::super) trouble: Option<String>,
}

/// The page that the watch writes on.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Page>);

#[derive(Debug, Default)]
struct Page {
    progress: Progress,
    proven: Option<Instant>,
}

impl Book {
    pub(super) fn progress(&self) -> Progress {
        let page = self.0.lock();
        Progress { proof_age: page.proven.map(|at| at.elapsed()), ..page.progress.clone() }
    }

    pub(super) fn listing(&self) {
        self.0.lock().progress.lists += 1;
    }

    /// The LIST never reached the API server.
    pub(super) fn not_listing(&self) {
        let mut page = self.0.lock();
        page.progress.lists = page.progress.lists.saturating_sub(1);
    }

    pub(super) fn watching(&self) {
        self.0.lock().progress.watch_starts += 1;
    }

    /// Everything was told.
    pub(super) fn listed(&self) {
        self.0.lock().progress.is_listed = true;
    }

    /// The API server proved that the watch is in step.
    pub(super) fn proven(&self, objects: usize) {
        let mut page = self.0.lock();
        page.proven = Some(Instant::now());
        page.progress.objects = objects;
        page.progress.is_forbidden = false;
        page.progress.trouble = None;
    }

    pub(super) fn failed(&self, fault: &Fault) {
        let mut page = self.0.lock();
        *page.progress.failures.entry(fault.cause()).or_default() += 1;
        page.progress.is_forbidden = matches!(fault, Fault::Refused { code: 401 | 403, .. });
        page.progress.trouble = Some(fault.to_string());
    }

    /// Something is doubtful that is no failure.
    pub(super) fn doubts(&self, words: String) {
        self.0.lock().progress.trouble = Some(words);
    }

    pub(super) fn unread(&self) {
        self.0.lock().progress.unread += 1;
    }
}
