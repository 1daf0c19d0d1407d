//! The task that writes statuses.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    super::{api::EndpointStatus, client::ApiServer, objects::ObjectKey, report::Report},
    call::{self, Answer},
    compose::compose,
    pace::{Outcome, Pace},
};
use crate::lifecycle::{Lifecycle, Phase};

/// What the watch shows of an object.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Shown {
    /// `metadata.resourceVersion`: the status is written only onto this.
    pub(in super::super) resource_version: Box<str>,
    /// `status`.
    pub(in super::super) status: Arc<EndpointStatus>,
}

/// Writes statuses. Clones are the same writer.
#[derive(Clone)]
pub(in super::super) struct StatusWriter(Arc<Desk>);

/// What the writer shares with those who offer.
struct Desk {
    papers: Mutex<Papers>,
    news: Notify,
}

/// Bounded by the number of objects: one entry each, and the newest replaces the one before.
#[derive(Default)]
struct Papers {
    entries: HashMap<ObjectKey, Entry>,
    pace: Pace,
}

struct Entry {
    report: Arc<Report>,
    /// The newest that is known of the object, from the watch or from our own last write: the
    /// watch shows a write some milliseconds after its answer.
    shown: Shown,
}

/// One status to be written.
struct Job {
    key: ObjectKey,
    uid: Arc<str>,
    resource_version: Box<str>,
    status: Arc<EndpointStatus>,
}

/// Whose turn it is.
enum Turn {
    /// Nobody's now.
    Nobody,
    /// One whose status is as it should be.
    Unchanged,
    /// One to be written.
    Write(Job),
}

impl StatusWriter {
    /// Starts the task that writes while `leads` is true, until [`Phase::Stopped`].
    pub(in super::super) fn start(
        lifecycle: &Lifecycle,
        server: ApiServer,
        leads: watch::Receiver<bool>,
    ) -> Self {
        let desk = Arc::new(Desk { papers: Mutex::default(), news: Notify::new() });
        let task = Task { desk: Arc::clone(&desk), server, leads, said_forbidden: false };
        lifecycle.spawn("status", task.run(lifecycle.clone()));
        Self(desk)
    }

    /// Takes the newest report of an object and what the watch shows of it. Call it when either
    /// changes, leading or not. Does not wait.
    pub(in super::super) fn offer(&self, report: Arc<Report>, shown: Shown) {
        let key = report.key.clone();
        {
            let mut papers = self.0.papers.lock();
            papers.pace.news(&key, Instant::now());
            let shown = match papers.entries.remove(&key) {
                Some(known) if known.report.uid == report.uid => newest(known.shown, shown),
                _ => shown,
            };
            papers.entries.insert(key, Entry { report, shown });
        }
        self.0.news.notify_one();
    }

    /// The object is gone.
    pub(in super::super) fn forget(&self, key: &ObjectKey) {
        let mut papers = self.0.papers.lock();
        papers.entries.remove(key);
        papers.pace.forget(key);
    }
}

/// Of the two, the one that the API server made later. Its resource versions are numbers that grow
/// (KEP-5504); where they are not, the watch is believed.
fn newest(known: Shown, offered: Shown) -> Shown {
    let number = |shown: &Shown| shown.resource_version.parse::<u64>().ok();
    match (number(&known), number(&offered)) {
        (Some(known_at), Some(offered_at)) if known_at > offered_at => known,
        _ => offered,
    }
}

struct Task {
    desk: Arc<Desk>,
    server: ApiServer,
    leads: watch::Receiver<bool>,
    /// Whether it was said that the role lacks the verb, since the last write that succeeded.
    said_forbidden: bool,
}

impl Task {
    async fn run(mut self, lifecycle: Lifecycle) {
        let mut calls: JoinSet<(Job, Answer)> = JoinSet::new();
        let stopped = lifecycle.reached(Phase::Stopped);
        tokio::pin!(stopped);
        let mut led = false;
        loop {
            let leads = *self.leads.borrow_and_update();
            if leads && !led {
                self.desk.papers.lock().pace.all(Instant::now());
            }
            led = leads;
            let next = if leads { self.begin(&mut calls).await } else { None };
            tokio::select! {
                () = &mut stopped => return,
                () = changed(&mut self.leads) => {}
                () = self.desk.news.notified() => {}
                () = at(next) => {}
                Some(ended) = calls.join_next() => self.end(ended),
            }
        }
    }

    /// Begins every call whose time has come; says when the next one's comes.
    async fn begin(&self, calls: &mut JoinSet<(Job, Answer)>) -> Option<Instant> {
        loop {
            let next = self.next_turn();
            if let Turn::Nobody = next {
                break;
            }
            if let Turn::Write(job) = next {
                let server = self.server.clone();
                calls.spawn(async move {
                    let answer = call::write(&server, &job.key, &job.resource_version, &job.status);
                    let answer = answer.await;
                    (job, answer)
                });
            }
            // Composing a thousand statuses takes long enough to keep the actor waiting.
            tokio::task::yield_now().await;
        }
        self.desk.papers.lock().pace.next()
    }

    /// Takes the next object whose time has come.
    fn next_turn(&self) -> Turn {
        let now = Instant::now();
        let mut papers = self.desk.papers.lock();
        let Some(key) = papers.pace.take(now) else { return Turn::Nobody };
        let job = papers.entries.get(&key).and_then(|entry| {
            let status = compose(&entry.report, &entry.shown.status, Timestamp::now());
            let is_new = status != *entry.shown.status;
            is_new.then(|| Job {
                key: key.clone(),
                uid: Arc::clone(&entry.report.uid),
                resource_version: entry.shown.resource_version.clone(),
                status: Arc::new(status),
            })
        });
        job.map_or_else(
            || {
                papers.pace.done(&key, Outcome::Unchanged, now);
                Turn::Unchanged
            },
            Turn::Write,
        )
    }

    fn end(&mut self, ended: Result<(Job, Answer), tokio::task::JoinError>) {
        let Ok((job, answer)) = ended else { return };
        let mut papers = self.desk.papers.lock();
        let outcome = match answer {
            Answer::Written(resource_version) => {
                self.said_forbidden = false;
                let entry = papers.entries.get_mut(&job.key);
                if let Some(entry) = entry.filter(|entry| entry.report.uid == job.uid) {
                    let written = Shown { resource_version, status: job.status };
                    let before = std::mem::take(&mut entry.shown);
                    entry.shown = newest(before, written);
                }
                Outcome::Written
            }
            Answer::Gone => Outcome::Gone,
            Answer::Conflict => Outcome::Failed,
            Answer::Forbidden(message) => {
                if !std::mem::replace(&mut self.said_forbidden, true) {
                    call::warn_forbidden(&job.key, &message);
                }
                Outcome::Failed
            }
            Answer::Failed(error) => {
                tracing::debug!(endpoint = %job.key, %error, "the status was not written");
                Outcome::Failed
            }
        };
        papers.pace.done(&job.key, outcome, Instant::now());
    }
}

/// Resolves when leadership changes; never once nobody can lead any more.
async fn changed(leads: &mut watch::Receiver<bool>) {
    if leads.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
