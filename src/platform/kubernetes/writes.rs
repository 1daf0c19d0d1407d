//! What is to be written to targets: one job per target at a time, the newest wish wins.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::mpsc, time::Instant};

use super::{
    client::ApiServer,
    facts::Fact,
    leader::Term,
    objects::Workload,
    report::Scale,
    scale::{self, Known, WriteBudget, WriteError, Written},
    seats::ordinal,
    target::{Target, WorkloadKind},
};
use crate::lifecycle::Lifecycle;

/// How long after a write that failed the next one may follow.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long pods that are marked may live on before their end is ordered again: by then the
/// controller has acted on the first order, or it never came to that.
pub(super) const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A pod that is to go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Victim {
    pub(super) name: Arc<str>,
    pub(super) uid: Arc<str>,
}

/// One thing to do at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Job {
    /// At least so many.
    Grow(u32),
    /// Exactly so many.
    Set(u32),
    /// So many less as there are victims, who are marked first.
    Shrink(Vec<Victim>),
}

/// How a job came out.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Written, or nothing was to be written.
    Done(Written),
    /// Not this time; the victims wait.
    Failed { error: WriteError, victims: Vec<Victim> },
}

/// What is known of, and wished from, one target.
#[derive(Debug, Default)]
struct Desk {
    known: Option<Known>,
    grow: Option<u32>,
    set: Option<u32>,
    victims: BTreeMap<Arc<str>, Victim>,
    is_running: bool,
    budget: WriteBudget,
    not_before: Option<Instant>,
    trouble: Option<Box<str>>,
    last: Option<Scale>,
    last_write: Option<Instant>,
    /// Why the autoscaler wants the count that is written next.
    reason: Option<Box<str>>,
}

/// All targets that were ever written to or seen, as long as an endpoint uses them.
pub(super) struct Writes {
    lifecycle: Lifecycle,
    server: ApiServer,
    facts: mpsc::Sender<Fact>,
    desks: HashMap<Target, Desk>,
}

impl Writes {
    pub(super) fn new(lifecycle: Lifecycle, server: ApiServer, facts: mpsc::Sender<Fact>) -> Self {
        Self { lifecycle, server, facts, desks: HashMap::new() }
    }

    /// Keeps only these targets.
    pub(super) fn retain(&mut self, keep: impl Fn(&Target) -> bool) {
        self.desks.retain(|target, desk| desk.is_running || keep(target));
    }

    /// What the watch shows of a target. It may be older than our own last write, which is then
    /// what counts.
    pub(super) fn see(&mut self, target: &Target, workload: Option<&Workload>) {
        let desk = self.desks.entry(target.clone()).or_default();
        desk.known = workload.and_then(|workload| {
            let shown = &workload.metadata.resource_version;
            let is_old =
                desk.known.as_ref().is_some_and(|known| is_older(shown, &known.resource_version));
            if is_old {
                return desk.known.take();
            }
            let replicas = workload.spec.replicas.unwrap_or(1);
            Some(Known { resource_version: shown.clone(), replicas })
        });
    }

    /// `spec.replicas` as far as it is known.
    pub(super) fn replicas(&self, target: &Target) -> Option<u32> {
        Some(self.desks.get(target)?.known.as_ref()?.replicas)
    }

    /// Why the last write failed.
    pub(super) fn trouble(&self, target: &Target) -> Option<&str> {
        self.desks.get(target)?.trouble.as_deref()
    }

    /// The last change that we made.
    pub(super) fn last(&self, target: &Target) -> Option<&Scale> {
        self.desks.get(target)?.last.as_ref()
    }

    /// Whether nothing was written to the target lately, and nothing is about to be.
    pub(super) fn is_quiet(&self, target: &Target) -> bool {
        self.desks.get(target).is_none_or(|desk| {
            let is_settled = desk.last_write.is_none_or(|at| at.elapsed() >= ORDER_AGAIN_AFTER);
            is_settled && !desk.is_running && desk.victims.is_empty()
        })
    }

    /// The autoscaler's reason for what it orders next.
    pub(super) fn explain(&mut self, target: &Target, reason: &str) {
        self.desk(target).reason = Some(reason.into());
    }

    pub(super) fn grow(&mut self, target: &Target, replicas: u32) {
        self.desk(target).grow = Some(replicas);
    }

    pub(super) fn set(&mut self, target: &Target, replicas: u32) {
        self.desk(target).set = Some(replicas);
    }

    pub(super) fn shrink(&mut self, target: &Target, victims: impl Iterator<Item = Victim>) {
        let desk = self.desk(target);
        desk.victims.extend(victims.map(|victim| (Arc::clone(&victim.uid), victim)));
    }

    fn desk(&mut self, target: &Target) -> &mut Desk {
        self.desks.entry(target.clone()).or_default()
    }

    /// Forgets every wish: another router leads now.
    pub(super) fn lay_down(&mut self) {
        for desk in self.desks.values_mut() {
            (desk.grow, desk.set) = (None, None);
            desk.victims.clear();
            (desk.trouble, desk.not_before) = (None, None);
        }
    }

    /// Starts what can be started now.
    pub(super) fn carry_on(&mut self, term: &Arc<Term>) {
        let now = Instant::now();
        for (target, desk) in &mut self.desks {
            if desk.is_running || desk.not_before.is_some_and(|at| at > now) {
                continue;
            }
            if let Err(free_at) = desk.budget.ask(now) {
                desk.not_before = Some(free_at);
                continue;
            }
            let Some(job) = desk.next_job() else { continue };
            desk.is_running = true;
            let (server, facts, known) =
                (self.server.clone(), self.facts.clone(), desk.known.clone());
            let (term, target) = (Arc::clone(term), target.clone());
            self.lifecycle.spawn("scale", async move {
                let outcome = carry_out(&server, &term, &target, known, job).await;
                drop(facts.send(Fact::Written(target, outcome)).await);
            });
        }
    }

    /// Takes the outcome of a job.
    pub(super) fn hear(&mut self, target: &Target, outcome: Outcome) {
        let Some(desk) = self.desks.get_mut(target) else { return };
        desk.is_running = false;
        match outcome {
            Outcome::Done(written) => {
                desk.budget.spend(Instant::now(), &written);
                let Written { from, to, resource_version } = written;
                desk.trouble = None;
                desk.known = Some(Known { resource_version, replicas: to });
                desk.last_write = Some(Instant::now());
                if from != to {
                    let reason = desk.reason.take().unwrap_or_else(|| "as the spec says".into());
                    tracing::info!(%target, from, to, %reason, "scaled");
                    desk.last = Some(Scale { time: Timestamp::now(), from, to, reason });
                }
            }
            Outcome::Failed { error, victims } => {
                desk.not_before = Some(Instant::now() + RETRY_AFTER);
                let victims = victims.into_iter().map(|victim| (Arc::clone(&victim.uid), victim));
                desk.victims.extend(victims);
                if !matches!(error, WriteError::NotLeader) {
                    tracing::warn!(%target, %error, "cannot be scaled");
                    desk.trouble = Some(error.to_string().into());
                }
            }
        }
    }
}

impl Desk {
    /// Removing comes first: a wish to grow was computed with the victims counted out.
    fn next_job(&mut self) -> Option<Job> {
        if !self.victims.is_empty() {
            return Some(Job::Shrink(std::mem::take(&mut self.victims).into_values().collect()));
        }
        let grow = self.grow.take().map(Job::Grow);
        grow.or_else(|| self.set.take().map(Job::Set))
    }
}

async fn carry_out(
    server: &ApiServer,
    term: &Term,
    target: &Target,
    known: Option<Known>,
    job: Job,
) -> Outcome {
    let (victims, result) = match job {
        Job::Grow(wanted) => {
            let result =
                scale::set_replicas(server, term, target, known, |now| now.max(wanted)).await;
            (Vec::new(), result)
        }
        Job::Set(wanted) => {
            (Vec::new(), scale::set_replicas(server, term, target, known, |_| wanted).await)
        }
        Job::Shrink(victims) => {
            let result = shrink(server, term, target, known, &victims).await;
            (victims, result)
        }
    };
    match result {
        Ok(written) => Outcome::Done(written),
        Err(error) => Outcome::Failed { error, victims },
    }
}

async fn shrink(
    server: &ApiServer,
    term: &Term,
    target: &Target,
    known: Option<Known>,
    victims: &[Victim],
) -> Result<Written, WriteError> {
    for Victim { name, uid } in victims {
        scale::mark_victim(server, term, &target.object.namespace, name, uid).await?;
    }
    // A StatefulSet is cut from the top: the lowest of the victims says where.
    let cut = victims.iter().filter_map(|victim| ordinal(&victim.name)).min();
    if let (WorkloadKind::StatefulSet, Some(cut)) = (target.kind, cut) {
        return scale::set_replicas(server, term, target, known, |now| now.min(cut)).await;
    }
    let count = u32::try_from(victims.len()).unwrap_or(u32::MAX);
    let aim = known.as_ref().map(|known| known.replicas.saturating_sub(count));
    // Where the aim is reached already, it was a try before this one that reached it, and whose
    // answer was lost.
    let wanted = |now: u32| if Some(now) == aim { now } else { now.saturating_sub(count) };
    scale::set_replicas(server, term, target, known, wanted).await
}

/// Whether a resourceVersion is from before another. They are numbers that grow, which Kubernetes
/// promises since 1.35 and has always done; what is no number is never older.
fn is_older(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => false,
    }
}
