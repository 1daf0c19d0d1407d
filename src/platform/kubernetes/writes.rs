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
use crate::{domain::Direction, lifecycle::Lifecycle};

/// How long after a write that failed the next one may follow.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long pods that are marked may live on before their end is ordered again: by then the
/// controller has acted on the first order, or it never came to that.
pub(super) const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How long our own last write counts against an older word of the watch. Watches are in step
/// within 35 s; after that, a cluster that says older things was restored from a backup.
const OWN_WORD_MAX: Duration = Duration::from_secs(40);

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
    Shrink(Removal),
}

/// Pods that go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Removal {
    victims: Vec<Victim>,
    /// The count that a try before this one was to reach. Where it is reached, that try got through
    /// and only its answer was lost: to lower the count again would end a pod that is in use.
    aim: Option<u32>,
}

/// How a job came out.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Written, or nothing was to be written.
    Done(Written),
    /// Not this time; what was to be removed waits.
    Failed { error: WriteError, removal: Option<Removal> },
}

/// Why the autoscaler wanted what it ordered last, in each direction.
#[derive(Debug, Default)]
struct Reasons {
    up: Option<Box<str>>,
    down: Option<Box<str>>,
}

impl Reasons {
    fn of(&self, from: u32, to: u32) -> Box<str> {
        let reason = if to > from { &self.up } else { &self.down };
        reason.clone().unwrap_or_else(|| "as the spec says".into())
    }
}

/// A job that was begun.
#[derive(Debug, Clone, Copy)]
struct Running {
    /// It removes replicas.
    removes: bool,
    /// Its term is over: what it leaves behind is nobody's.
    is_laid_down: bool,
}

/// What is known of, and wished from, one target.
#[derive(Debug, Default)]
struct Desk {
    known: Option<Known>,
    grow: Option<u32>,
    set: Option<u32>,
    victims: BTreeMap<Arc<str>, Victim>,
    /// A removal that failed.
    again: Option<Removal>,
    /// What failed last was a removal: growing is not kept waiting by it.
    has_failed: bool,
    running: Option<Running>,
    budget: WriteBudget,
    not_before: Option<Instant>,
    trouble: Option<Box<str>>,
    last: Option<Scale>,
    last_write: Option<Instant>,
    /// When the count was changed by us.
    changed_at: Option<Instant>,
    reasons: Reasons,
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
        self.desks.retain(|target, desk| desk.running.is_some() || keep(target));
    }

    /// What the watch shows of a target. It may be older than our own last write, which is then
    /// what counts.
    pub(super) fn see(&mut self, target: &Target, workload: Option<&Workload>) {
        let desk = self.desks.entry(target.clone()).or_default();
        desk.known = workload.and_then(|workload| {
            let shown = &workload.metadata.resource_version;
            let is_fresh = desk.changed_at.is_some_and(|at| at.elapsed() < OWN_WORD_MAX);
            let is_old =
                desk.known.as_ref().is_some_and(|known| is_older(shown, &known.resource_version));
            if is_old && is_fresh {
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
            is_settled && desk.running.is_none() && desk.pending() == 0
        })
    }

    /// Whether pods are being removed, or wait for that: the count is going to be lowered for them.
    pub(super) fn is_removing(&self, target: &Target) -> bool {
        let desk = self.desks.get(target);
        desk.is_some_and(|desk| desk.removes() || desk.pending() > 0)
    }

    /// The autoscaler's reason for what it has ordered. One decision may become several writes, and
    /// a removal is written only when its replicas are idle.
    pub(super) fn explain(&mut self, target: &Target, direction: Direction, reason: &str) {
        let reasons = &mut self.desk(target).reasons;
        match direction {
            Direction::Up => reasons.up = Some(reason.into()),
            Direction::Down => reasons.down = Some(reason.into()),
            Direction::Hold => {}
        }
    }

    pub(super) fn grow(&mut self, target: &Target, replicas: u32) {
        self.desk(target).grow = Some(replicas);
    }

    pub(super) fn set(&mut self, target: &Target, replicas: u32) {
        let desk = self.desk(target);
        // What the autoscaler once wanted is not why.
        desk.reasons = Reasons::default();
        desk.set = Some(replicas);
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
            (desk.again, desk.has_failed) = (None, false);
            if let Some(running) = &mut desk.running {
                running.is_laid_down = true;
            }
            (desk.trouble, desk.not_before) = (None, None);
        }
    }

    /// Starts what can be started now.
    pub(super) fn carry_on(&mut self, term: &Arc<Term>) {
        let now = Instant::now();
        for (target, desk) in &mut self.desks {
            if desk.running.is_some() || desk.not_before.is_some_and(|at| at > now) {
                continue;
            }
            if let Err(free_at) = desk.budget.ask(now) {
                desk.not_before = Some(free_at);
                continue;
            }
            let Some(job) = desk.next_job() else { continue };
            let removes = matches!(job, Job::Shrink(_));
            desk.running = Some(Running { removes, is_laid_down: false });
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
        let is_laid_down = desk.running.take().is_some_and(|running| running.is_laid_down);
        match outcome {
            Outcome::Done(written) => {
                desk.budget.spend(Instant::now(), &written);
                let Written { from, to, resource_version } = written;
                desk.trouble = None;
                desk.known = Some(Known { resource_version, replicas: to });
                desk.last_write = Some(Instant::now());
                if from != to {
                    desk.changed_at = desk.last_write;
                    let reason = desk.reasons.of(from, to);
                    tracing::info!(%target, from, to, %reason, "scaled");
                    desk.last = Some(Scale { time: Timestamp::now(), from, to, reason });
                }
            }
            Outcome::Failed { error, removal } => {
                desk.not_before = Some(Instant::now() + RETRY_AFTER);
                if !is_laid_down {
                    desk.has_failed = removal.is_some();
                    desk.again = removal;
                }
                if !matches!(error, WriteError::NotLeader) {
                    tracing::warn!(%target, %error, "cannot be scaled");
                    desk.trouble = Some(error.to_string().into());
                }
            }
        }
    }
}

impl Desk {
    /// Whether the running job removes replicas.
    fn removes(&self) -> bool {
        self.running.is_some_and(|running| running.removes)
    }

    /// How many pods wait to be removed.
    fn pending(&self) -> usize {
        self.victims.len() + self.again.as_ref().map_or(0, |removal| removal.victims.len())
    }

    /// Removing comes first: a wish to grow was computed with the victims counted out. A removal
    /// that failed lets growing pass, which then counts them in.
    fn next_job(&mut self) -> Option<Job> {
        if std::mem::take(&mut self.has_failed)
            && let Some(wanted) = self.grow.take()
        {
            let pending = u32::try_from(self.pending()).unwrap_or(u32::MAX);
            return Some(Job::Grow(wanted.saturating_add(pending)));
        }
        if let Some(removal) = self.again.take() {
            return Some(Job::Shrink(removal));
        }
        if !self.victims.is_empty() {
            let victims = std::mem::take(&mut self.victims).into_values().collect();
            return Some(Job::Shrink(Removal { victims, aim: None }));
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
    let (removal, result) = match job {
        Job::Grow(wanted) => {
            let result =
                scale::set_replicas(server, term, target, known, |now| now.max(wanted)).await;
            (None, result)
        }
        Job::Set(wanted) => {
            (None, scale::set_replicas(server, term, target, known, |_| wanted).await)
        }
        Job::Shrink(mut removal) => {
            let result = shrink(server, term, target, known, &mut removal).await;
            (Some(removal), result)
        }
    };
    match result {
        Ok(written) => Outcome::Done(written),
        Err(error) => Outcome::Failed { error, removal },
    }
}

async fn shrink(
    server: &ApiServer,
    term: &Term,
    target: &Target,
    known: Option<Known>,
    removal: &mut Removal,
) -> Result<Written, WriteError> {
    let Removal { victims, aim } = removal;
    // From the top: where the marks of a StatefulSet's pods end half-way, no pod above is in use.
    victims.sort_by_key(|victim| std::cmp::Reverse(ordinal(&victim.name)));
    let mut live = Vec::new();
    for victim in &*victims {
        let Victim { name, uid } = victim;
        // What is gone already no longer counts.
        if scale::mark_victim(server, term, &target.object.namespace, name, uid).await? {
            live.push(victim);
        }
    }
    // A StatefulSet is cut from the top: the lowest of the victims says where.
    if target.kind == WorkloadKind::StatefulSet {
        let cut = live.iter().filter_map(|victim| ordinal(&victim.name)).min();
        let wanted = |now: u32| cut.map_or(now, |cut| now.min(cut));
        return scale::set_replicas(server, term, target, known, wanted).await;
    }
    let count = u32::try_from(live.len()).unwrap_or(u32::MAX);
    if aim.is_none() {
        *aim = known.as_ref().map(|known| known.replicas.saturating_sub(count));
    }
    let aim = *aim;
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

#[cfg(test)]
#[path = "writes_tests.rs"]
mod tests;
