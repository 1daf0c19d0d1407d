//! What to do so that the replicas of one version become what its spec asks for. Pure: facts in,
//! actions out; the actor does them.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    domain::Version,
    platform::spec::{Address, Probe, ProcessTarget, Target, VersionSpec},
};

/// Everything a replica is made from. A replica made from another recipe is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) source: Source,
    pub(super) grpc_port: Option<u16>,
    pub(super) probe: Probe,
}

/// Where one replica comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Process(ProcessTarget),
    Address(Address),
}

/// The replicas a version should have.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// Between `min` and `max` like ones; who moves the count within is the autoscaler.
    Count { recipe: Arc<Recipe>, min: u32, max: u32 },
    /// Exactly one of each.
    Each(Vec<Arc<Recipe>>),
}

/// The facts about one replica that plans depend on. A replica that is being stopped is not shown
/// to a plan.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    /// Which replica; stays the same when its process is started again.
    pub(super) seat: u64,
    pub(super) recipe: Arc<Recipe>,
    pub(super) healthy: bool,
    pub(super) busy: u32,
    /// When it began to drain, as a number that grows.
    pub(super) draining: Option<u64>,
    /// The replica out of date whose place it takes once it is healthy. Until then the data plane
    /// does not see it, so that nobody counts one place twice.
    pub(super) replaces: Option<u64>,
}

/// One step towards what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Make a new replica.
    Start(Arc<Recipe>),
    /// Make a new replica that takes the place of `old` once it is healthy.
    Replace { old: u64, recipe: Arc<Recipe> },
    /// The replacement is healthy: show it, and retire `old`.
    Supersede { old: u64, new: u64 },
    /// A replacement becomes a replica of its own.
    Adopt(u64),
    /// End a replacement that was never shown.
    Stop(u64),
    /// Give it no new work, and end it when it is idle.
    Retire(u64),
    /// Take it back from draining.
    Readmit(u64),
}

impl Recipe {
    /// Whether a replica made from one need not be made again for the other. How long a process may
    /// take to start or stop changes nothing of a process that runs.
    pub(super) fn makes_same(&self, other: &Self) -> bool {
        let same_source = match (&self.source, &other.source) {
            (Source::Process(one), Source::Process(two)) => {
                one.command == two.command
                    && one.env == two.env
                    && one.working_dir == two.working_dir
            }
            (one, two) => one == two,
        };
        same_source && self.grpc_port == other.grpc_port && self.probe == other.probe
    }
}

impl Wanted {
    /// What the spec asks for.
    pub(super) fn of(version: &Version, spec: &VersionSpec) -> Self {
        let recipe = |source| {
            Arc::new(Recipe { source, grpc_port: spec.grpc_port, probe: spec.probe.clone() })
        };
        match &spec.target {
            Target::Process(target) => {
                let autoscale = version.autoscale;
                let (min, max) = if autoscale.enabled {
                    (autoscale.min_replicas, autoscale.max_replicas)
                } else {
                    let replicas = spec.replicas.unwrap_or(1);
                    (replicas, replicas)
                };
                Self::Count { recipe: recipe(Source::Process(target.clone())), min, max }
            }
            Target::Addresses(addresses) => {
                let addresses: BTreeSet<_> = addresses.iter().cloned().collect();
                Self::Each(addresses.into_iter().map(Source::Address).map(recipe).collect())
            }
            // `Policy::FILES` refuses these; a router without a cluster has no replicas for them.
            Target::Cluster { .. } => Self::Each(Vec::new()),
        }
    }

    /// Whether a replica made from this recipe is one of those wanted.
    pub(super) fn asks_for(&self, recipe: &Recipe) -> bool {
        match self {
            Self::Count { recipe: wanted, .. } => wanted.makes_same(recipe),
            Self::Each(all) => all.iter().any(|wanted| wanted.makes_same(recipe)),
        }
    }
}

impl Fact {
    /// Whether it counts as a ready or starting replica of the version.
    fn is_live(&self) -> bool {
        self.draining.is_none() && self.replaces.is_none()
    }
}

/// The next steps of replacing what is out of date, without a moment of fewer healthy replicas.
/// Level-triggered: asked after every change, it continues where the facts are.
pub(super) fn settle(wanted: &Wanted, facts: &[Fact]) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut gone = BTreeSet::new();
    let mut paired = BTreeSet::new();
    for fact in facts {
        let Some(old) = fact.replaces else { continue };
        let target = facts.iter().find(|other| other.seat == old && other.is_live());
        let still_old = target.is_some_and(|target| !wanted.asks_for(&target.recipe));
        if !wanted.asks_for(&fact.recipe) {
            gone.insert(fact.seat);
            actions.push(Action::Stop(fact.seat));
        } else if still_old {
            paired.insert(old);
            if fact.healthy {
                actions.push(Action::Supersede { old, new: fact.seat });
            }
        } else if matches!(wanted, Wanted::Each(_)) {
            actions.push(Action::Adopt(fact.seat));
        } else {
            gone.insert(fact.seat);
            actions.push(Action::Stop(fact.seat));
        }
    }
    let outdated = facts.iter().filter(|fact| {
        fact.is_live() && !wanted.asks_for(&fact.recipe) && !paired.contains(&fact.seat)
    });
    match wanted {
        Wanted::Count { recipe, .. } => {
            for fact in outdated {
                replace(fact, recipe, &mut actions);
            }
        }
        Wanted::Each(all) => {
            let held = facts.iter().filter(|fact| !gone.contains(&fact.seat));
            each(all, &held.collect::<Vec<_>>(), outdated, &mut actions);
        }
    }
    actions
}

/// One that is not healthy is worth no wait for its replacement.
fn replace(old: &Fact, recipe: &Arc<Recipe>, actions: &mut Vec<Action>) {
    let recipe = Arc::clone(recipe);
    if old.healthy {
        actions.push(Action::Replace { old: old.seat, recipe });
    } else {
        actions.extend([Action::Retire(old.seat), Action::Start(recipe)]);
    }
}

/// Pairs what is missing with what is out of date; what has no partner starts or goes.
fn each<'a>(
    all: &[Arc<Recipe>],
    held: &[&Fact],
    mut outdated: impl Iterator<Item = &'a Fact>,
    actions: &mut Vec<Action>,
) {
    for recipe in all {
        let holders = || held.iter().filter(|fact| fact.recipe.makes_same(recipe));
        if holders().any(|fact| fact.draining.is_none()) {
            continue;
        }
        if let Some(draining) = holders().next() {
            actions.push(Action::Readmit(draining.seat));
        } else if let Some(old) = outdated.next() {
            replace(old, recipe, actions);
        } else {
            actions.push(Action::Start(Arc::clone(recipe)));
        }
    }
    actions.extend(outdated.map(|fact| Action::Retire(fact.seat)));
}

/// Brings the count within its bounds: what a new version begins with, and what an edit changes.
pub(super) fn clamp(wanted: &Wanted, facts: &[Fact]) -> Vec<Action> {
    let Wanted::Count { min, max, .. } = wanted else { return Vec::new() };
    let mut live: Vec<&Fact> = facts.iter().filter(|fact| fact.is_live()).collect();
    let surplus = live.len().saturating_sub(usize::try_from(*max).unwrap_or(usize::MAX));
    // No capacity first, then the least work to wait for, then the newest.
    live.sort_by_key(|fact| (fact.healthy, fact.busy, std::cmp::Reverse(fact.seat)));
    let mut actions: Vec<_> =
        live.iter().take(surplus).map(|fact| Action::Retire(fact.seat)).collect();
    actions.extend(fill(wanted, facts, *min));
    actions
}

/// Brings the count up to `count`, bounded by the maximum: first back from draining, the one
/// drained last first because its connections and caches are the warmest; then new ones.
pub(super) fn fill(wanted: &Wanted, facts: &[Fact], count: u32) -> Vec<Action> {
    let Wanted::Count { recipe, max, .. } = wanted else { return Vec::new() };
    let live = facts.iter().filter(|fact| fact.is_live()).count();
    let count = usize::try_from(count.min(*max)).unwrap_or(usize::MAX);
    let missing = count.saturating_sub(live);
    let mut draining: Vec<&Fact> = facts
        .iter()
        .filter(|fact| fact.draining.is_some() && fact.recipe.makes_same(recipe))
        .collect();
    draining.sort_by_key(|fact| std::cmp::Reverse(fact.draining));
    let readmit = draining.iter().map(|fact| Action::Readmit(fact.seat));
    let start = std::iter::repeat_with(|| Action::Start(Arc::clone(recipe)));
    readmit.chain(start).take(missing).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
