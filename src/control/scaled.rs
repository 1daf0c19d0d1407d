//! One version under the driver: its history, what is on order, and who is on the way out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{
    autoscale::{self, Demand, History, Sample, Verdict, VictimView},
    domain::{
        Autoscale, Decision, Direction, LoadSource, Replica, ReplicaId, ReplicaState, Version,
        VersionKey,
    },
    platform::Orders,
};

/// How long an order counts as capacity to come before the catalog shows it. A local process is in
/// the catalog within milliseconds, a pod within one watch event; after this long the order is
/// taken for lost and may be given again.
pub const ORDER_UNSEEN_MAX: Duration = Duration::from_secs(2);

/// What every look needs besides the version itself.
pub(super) struct Room {
    pub(super) load: Arc<dyn LoadSource>,
    pub(super) orders: Arc<dyn Orders>,
    /// The zero of the time that `autoscale` is given.
    pub(super) begun: Instant,
}

/// What the driver knows of one version.
pub(super) struct Scaled {
    key: VersionKey,
    settings: Autoscale,
    slots_per_replica: u32,
    history: History,
    order: Option<Order>,
    /// The count of an order that was given and never seen: given again without a new record.
    lost_order: Option<u32>,
    /// In the order of choice: the least missed first. Bounded by the replicas in the catalog.
    victims: Vec<Victim>,
    wanted: Option<u32>,
    /// The level of the alarm; `None` when it may have rung or its version may be another one.
    armed: Option<u32>,
}

/// Replicas ordered, and perhaps not in the catalog yet.
#[derive(Debug, Clone, Copy)]
struct Order {
    count: u32,
    given: Instant,
}

/// A replica that was told to drain; kept until it is gone from the catalog.
#[derive(Debug, Clone, Copy)]
struct Victim {
    id: ReplicaId,
    retired: bool,
}

impl Scaled {
    pub(super) fn new(key: VersionKey, version: &Version, room: &Room) -> Self {
        // Nobody has asked for the load until now, so its peak may be hours old: dropped.
        let _old_peak = room.load.take_load(&key);
        Self {
            key,
            settings: version.autoscale,
            slots_per_replica: version.slots_per_replica,
            history: History::default(),
            order: None,
            lost_order: None,
            victims: Vec::new(),
            wanted: None,
            armed: None,
        }
    }

    pub(super) fn wanted(&self) -> Option<u32> {
        self.wanted
    }

    pub(super) fn is_victim(&self, replica: ReplicaId) -> bool {
        self.victims.iter().any(|victim| victim.id == replica)
    }

    /// Takes over the version of a new catalog.
    pub(super) fn take_over(&mut self, version: &Version, room: &Room) {
        // The data plane may have forgotten the version and got it anew since the last look.
        self.armed = None;
        let rules = (version.autoscale, version.slots_per_replica);
        if rules != (self.settings, self.slots_per_replica) {
            (self.settings, self.slots_per_replica) = rules;
            // What was enough under the old rules is no proof under the new ones.
            self.history.interrupt();
        }
        // A victim is retired only once the catalog shows it draining; one that is shown otherwise
        // after that has been taken back by its platform, and counts again.
        self.victims.retain(|victim| {
            let shown = version.replicas.iter().find(|one| one.id == victim.id);
            shown.is_some_and(|one| !victim.retired || one.state == ReplicaState::Draining)
        });
        self.take_back_covered(version, room);
    }

    /// Takes back victims that cannot go because somebody else has added a replica on top of them:
    /// the next look chooses from the new top.
    fn take_back_covered(&mut self, version: &Version, room: &Room) {
        if self.victims.is_empty() {
            return;
        }
        let top = self.counting(version).filter_map(|replica| replica.ordinal).max();
        let Some(top) = top else { return };
        let covered = |id| {
            let shown = version.replicas.iter().find(|replica| replica.id == id);
            shown.and_then(|replica| replica.ordinal).is_some_and(|ordinal| ordinal < top)
        };
        self.victims.retain(|victim| {
            let back = !victim.retired && covered(victim.id);
            if back {
                room.orders.readmit(victim.id);
            }
            !back
        });
    }

    /// Hands the version back as it is: nobody would ever end or revive replicas that drain.
    pub(super) fn let_go(&mut self, version: Option<&Version>, room: &Room) {
        room.load.arm_pressure(&self.key, u32::MAX);
        if version.is_some() {
            while let Some(replica) = self.last_revivable() {
                room.orders.readmit(replica);
            }
        }
    }

    /// Samples, decides and acts. Returns what is to be recorded.
    pub(super) fn look(&mut self, version: &Version, room: &Room) -> Option<Decision> {
        let now = Instant::now();
        self.settle_order(version, now);
        let verdict = self.decide(version, room, now);
        let recorded = match verdict.direction() {
            Direction::Up => self.grow(&verdict, room, now),
            // What is on order cannot be chosen as a victim before the catalog shows it; and in a
            // rollout the surplus is its platform's, which takes it away itself.
            Direction::Down if self.order.is_none() && !version.rolling => {
                self.lost_order = None;
                self.shrink(version, verdict.to, room);
                true
            }
            Direction::Down | Direction::Hold => {
                // Nothing more is missing, so the next order of that count is news again.
                self.lost_order = None;
                false
            }
        };
        let total = self.total(version);
        self.wanted = Some(total);
        self.arm(total, room);
        recorded.then(|| self.decision(&verdict))
    }

    /// Arms the alarm, unless it is: a peak below its level proves that it has not rung.
    fn arm(&mut self, total: u32, room: &Room) {
        let level = autoscale::alarm_level(&self.settings, self.slots_per_replica, total);
        if self.armed != Some(level) {
            room.load.arm_pressure(&self.key, level);
            self.armed = Some(level);
        }
    }

    /// Ends victims without work. Asks for the catalog's word too: a starting replica that the data
    /// plane has never heard of is idle, and may still become ready before the platform reads the
    /// order to drain it. Where the platform removes from the top, one waits for all above it: the
    /// platform would end the highest in its place.
    pub(super) fn retire_idle(&mut self, version: &Version, room: &Room) {
        if self.victims.iter().all(|victim| victim.retired) {
            return;
        }
        let done = |replica: &Replica| {
            replica.state == ReplicaState::Draining && room.load.is_idle(replica.id)
        };
        let in_use = version.replicas.iter().filter(|replica| !done(replica));
        let highest_in_use = in_use.filter_map(|replica| replica.ordinal).max();
        let may_go = |replica: &Replica| {
            done(replica) && (replica.ordinal.is_none() || replica.ordinal > highest_in_use)
        };
        let mut idle = Vec::new();
        for victim in self.victims.iter_mut().filter(|victim| !victim.retired) {
            let shown = version.replicas.iter().find(|replica| replica.id == victim.id);
            if shown.is_some_and(may_go) {
                victim.retired = true;
                idle.push(victim.id);
            }
        }
        if !idle.is_empty() {
            room.orders.retire(&self.key, &idle);
        }
    }

    fn decide(&mut self, version: &Version, room: &Room, now: Instant) -> Verdict {
        let total = self.total(version);
        let load = room.load.take_load(&self.key);
        self.armed = self.armed.filter(|level| load.is_some_and(|load| load.peak <= *level));
        // The data plane knows first of a failed connection, the catalog of a new replica.
        let ready = load.map_or_else(|| version.count(ReplicaState::Ready), |load| load.ready);
        let ready = ready.min(total);
        let sample = Sample {
            now: now.saturating_duration_since(room.begun),
            ready,
            starting: total - ready,
            demand: load.map(|load| Demand {
                busy: load.busy,
                queued: load.queued,
                peak: load.peak,
            }),
        };
        autoscale::decide(&self.settings, self.slots_per_replica, sample, &mut self.history)
    }

    /// Takes victims back, the most useful first, then starts new ones. Returns whether this is
    /// news.
    fn grow(&mut self, verdict: &Verdict, room: &Room, now: Instant) -> bool {
        let mut missing = verdict.to.saturating_sub(verdict.from);
        while missing > 0
            && let Some(replica) = self.last_revivable()
        {
            room.orders.readmit(replica);
            missing -= 1;
        }
        if missing > 0 {
            room.orders.start(&self.key, verdict.to);
        }
        self.order = Some(Order { count: verdict.to, given: now });
        self.lost_order.take() != Some(verdict.to)
    }

    /// Drains the surplus over `to`. A victim ends when it is idle, however long that takes: its
    /// requests have their own limits, and an endless stream is somebody's work.
    fn shrink(&mut self, version: &Version, to: u32, room: &Room) {
        let surplus = self.counted(version).saturating_sub(to);
        let views: Vec<_> = self.counting(version).map(|replica| view(replica, room)).collect();
        let chosen = autoscale::victims(&views, usize::try_from(surplus).unwrap_or(usize::MAX));
        for id in chosen {
            room.orders.drain(id);
            self.victims.push(Victim { id, retired: false });
        }
    }

    /// Removes and returns the victim that was chosen last, hence missed most, of those that can
    /// still come back.
    fn last_revivable(&mut self) -> Option<ReplicaId> {
        let index = self.victims.iter().rposition(|victim| !victim.retired)?;
        Some(self.victims.remove(index).id)
    }

    fn settle_order(&mut self, version: &Version, now: Instant) {
        let counted = self.counted(version);
        if self.lost_order.is_some_and(|count| counted >= count) {
            self.lost_order = None;
        }
        let Some(order) = self.order else { return };
        if counted >= order.count {
            self.order = None;
        } else if now.saturating_duration_since(order.given) >= ORDER_UNSEEN_MAX {
            tracing::warn!(version = %self.key, wanted = order.count, counted, "ordered replicas did not come");
            self.order = None;
            self.lost_order = Some(order.count);
        }
    }

    /// Ready, starting, and on order.
    fn total(&self, version: &Version) -> u32 {
        self.counted(version).max(self.order.map_or(0, |order| order.count))
    }

    /// Ready and starting in the catalog.
    fn counted(&self, version: &Version) -> u32 {
        u32::try_from(self.counting(version).count()).unwrap_or(u32::MAX)
    }

    /// The replicas that count: neither draining nor told to.
    fn counting<'a>(&'a self, version: &'a Version) -> impl Iterator<Item = &'a Replica> {
        version.replicas.iter().filter(|replica| {
            replica.state != ReplicaState::Draining && !self.is_victim(replica.id)
        })
    }

    fn decision(&self, verdict: &Verdict) -> Decision {
        Decision {
            time: SystemTime::now(),
            key: self.key.clone(),
            from: verdict.from,
            to: verdict.to,
            reason: verdict.reason(),
            inputs: verdict.inputs,
        }
    }
}

/// A replica whose connection failed is of no more use now than one that starts.
fn view(replica: &Replica, room: &Room) -> VictimView {
    let load = room.load.replica_load(replica.id);
    let usable = replica.state == ReplicaState::Ready && load.is_some_and(|load| load.usable);
    VictimView {
        id: replica.id,
        state: if usable { ReplicaState::Ready } else { ReplicaState::Starting },
        busy: load.map_or(0, |load| load.busy),
        // Identities are never used again and grow.
        started: replica.id.0,
        ordinal: replica.ordinal,
    }
}
