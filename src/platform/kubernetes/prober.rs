//! Probes of pods that are not known to be usable yet: often at first, because every interval is
//! also how late a start is noticed.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::facts::Fact;
use crate::{
    domain::ReplicaId,
    lifecycle::{Lifecycle, Phase},
    platform::{
        probe::{Failure, Found, Place, ask},
        spec::Probe,
    },
};

/// The first interval between probes of one pod.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
/// The longest interval.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// How much longer each interval is than the one before, in percent.
const INTERVAL_GROWTH: u32 = 120;
/// Probes in progress at once, over all pods: a rollout of thousands must not use up the sockets.
const AT_ONCE_MAX: usize = 256;

/// Starts probes, and bounds how many ask at once.
pub(super) struct Prober {
    lifecycle: Lifecycle,
    facts: mpsc::Sender<Fact>,
    turns: Arc<Semaphore>,
}

/// A running probe; dropped, it ends.
#[derive(Debug)]
pub(super) struct Probing {
    _ends_when_dropped: oneshot::Sender<()>,
    place: Place,
}

impl Probing {
    /// Whether it asks there.
    pub(super) fn is_at(&self, place: Place) -> bool {
        self.place == place
    }
}

impl Prober {
    pub(super) fn new(lifecycle: Lifecycle, facts: mpsc::Sender<Fact>) -> Self {
        Self { lifecycle, facts, turns: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Asks until the answer is good; tells the good one, and each failure that is another than the
    /// one before.
    pub(super) fn start(&self, replica: ReplicaId, place: Place, probe: Probe) -> Probing {
        let (end, mut ended) = oneshot::channel();
        let (lifecycle, facts) = (self.lifecycle.clone(), self.facts.clone());
        let turns = Arc::clone(&self.turns);
        self.lifecycle.spawn("pod probe", async move {
            tokio::select! {
                () = until_good(replica, place, &probe, &facts, &turns) => {}
                _ = &mut ended => {}
                () = lifecycle.reached(Phase::Stopped) => {}
            }
        });
        Probing { _ends_when_dropped: end, place }
    }
}

async fn until_good(
    replica: ReplicaId,
    place: Place,
    probe: &Probe,
    facts: &mpsc::Sender<Fact>,
    turns: &Semaphore,
) {
    let mut interval = INTERVAL_MIN;
    let mut told: Option<Found> = None;
    loop {
        let Ok(turn) = turns.acquire().await else { return };
        let result = ask(place, probe).await;
        drop(turn);
        let found = result.as_ref().err().map(|Failure { found, .. }| *found);
        if found.is_none() || found != told {
            told = found;
            if facts.send(Fact::Probed(replica, place, result)).await.is_err() {
                return;
            }
        }
        if found.is_none() {
            return;
        }
        tokio::time::sleep(interval).await;
        interval = (interval * INTERVAL_GROWTH / 100).min(INTERVAL_MAX);
    }
}
