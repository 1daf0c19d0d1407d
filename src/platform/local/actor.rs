//! The loop of the local platform: one turn takes what has come, changes the roster, publishes the
//! catalog once, and only then stops what nobody can reach any more.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{catalog::Publisher, replica::Replica, roster::Roster, supervise::Event};
use crate::{
    domain::{CatalogSink, ReplicaStatus},
    lifecycle::Phase,
    platform::inbox::Inbox,
};

/// How often replicas that are to go are asked for idleness, should a nudge be lost.
const IDLE_INTERVAL: Duration = Duration::from_millis(20);
/// How much news one turn takes before it publishes.
const NEWS_PER_TURN_MAX: usize = 64;

/// The actor; ends when everything is stopped.
pub(super) struct Actor {
    pub(super) roster: Roster,
    pub(super) inbox: Arc<Inbox>,
    pub(super) news: mpsc::Receiver<Event>,
    pub(super) sink: CatalogSink,
    pub(super) board: Arc<Mutex<Vec<ReplicaStatus>>>,
    pub(super) publisher: Publisher,
    /// Dropped with the actor, which is what [`Platform::shutdown`](crate::platform::Platform::shutdown) waits for.
    pub(super) alive: watch::Sender<()>,
}

impl Actor {
    /// Works until the process stops or a shutdown is done.
    pub(super) async fn run(mut self) {
        let lifecycle = self.roster.desk.lifecycle.clone();
        let stopped = lifecycle.reached(Phase::Stopped);
        tokio::pin!(stopped);
        while !(self.roster.stopping && self.roster.replicas.is_empty()) {
            let retiring = self.roster.has_retiring();
            tokio::select! {
                orders = self.inbox.take() => {
                    for order in orders {
                        self.roster.obey(order);
                    }
                }
                Some(event) = self.news.recv() => self.hear(event),
                () = tokio::time::sleep(IDLE_INTERVAL), if retiring => {}
                () = &mut stopped, if !self.roster.stopping => self.roster.stop_all(),
            }
            self.roster.settle();
            self.publish();
            self.stop_idle();
            self.show();
        }
        self.show();
        drop(self.alive);
    }

    /// One turn for a burst.
    fn hear(&mut self, first: Event) {
        self.roster.hear(first);
        for _ in 1..NEWS_PER_TURN_MAX {
            let Ok(event) = self.news.try_recv() else { return };
            self.roster.hear(event);
        }
    }

    fn publish(&mut self) {
        let changed = std::mem::take(&mut self.roster.dirty);
        // At the end the data plane keeps its last picture: an empty one would turn waiting
        // requests away.
        let applied = std::mem::take(&mut self.roster.applied);
        if (changed.is_empty() && !applied) || self.roster.stopping {
            return;
        }
        let Roster { specs, replicas, .. } = &self.roster;
        (self.sink)(self.publisher.next(specs, replicas, &changed));
    }

    /// Asks for idleness after the publication that lets it come true, stops after the one that
    /// takes the replica out.
    fn stop_idle(&mut self) {
        let idle = self.roster.take_idle(Instant::now());
        self.publish();
        for seat in idle {
            self.roster.stop(seat);
        }
    }

    fn show(&self) {
        *self.board.lock() = self.roster.replicas.values().map(Replica::status).collect();
    }
}
