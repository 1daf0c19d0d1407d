//! The live state of a version from outside: slots, queue, edits.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{Acquired, AllHere, Refused, Registry, Slot, VersionState, Waiting};
use crate::domain::{
    AuthPolicy, Autoscale, Catalog, Endpoint, ErrorProfile, LoadSource, Name, Replica, ReplicaId,
    ReplicaState, Signal, Version, VersionKey, VersionKind,
};

fn key() -> VersionKey {
    VersionKey { endpoint: Name::new("demo").unwrap(), version: Name::new("blue").unwrap() }
}

pub(super) fn version(replicas: &[(u64, ReplicaState)]) -> Version {
    let address = ([127, 0, 0, 1], 5001).into();
    Version {
        name: Name::new("blue").unwrap(),
        kind: VersionKind::Treatment,
        traffic_percentile: 100,
        mirror_percentile: 0,
        scoring_path: "/score".into(),
        slots_per_replica: 1,
        max_queue_wait: Duration::from_millis(500),
        max_queue_length: Some(3),
        request_timeout: Duration::from_secs(60),
        stream_idle_timeout: Duration::from_secs(300),
        on_disconnect: None,
        fallback_to_default: false,
        autoscale: Autoscale {
            enabled: false,
            min_replicas: 1,
            max_replicas: 10,
            target_utilization: 70,
            scale_down_window: Duration::from_secs(60),
        },
        startable: false,
        rolling: false,
        replicas: replicas
            .iter()
            .map(|(id, state)| Replica {
                id: ReplicaId(*id),
                name: format!("demo-blue-{id}").into(),
                ordinal: None,
                http: address,
                grpc: address,
                state: *state,
                generation: 1,
            })
            .collect(),
    }
}

fn catalog(versions: Vec<Version>) -> Catalog {
    let name = Name::new("demo").unwrap();
    let endpoint = endpoint(name.clone(), versions);
    Catalog { revision: 1, endpoints: [(name, Arc::new(endpoint))].into() }
}

pub(super) fn endpoint(name: Name, versions: Vec<Version>) -> Endpoint {
    Endpoint {
        name,
        auth: AuthPolicy::open(),
        forward_credentials: false,
        max_payload_bytes: 1,
        sticky_by: None,
        error_profile: ErrorProfile::Kubernetes,
        hosts: Vec::new(),
        server_timing: false,
        versions,
        default_version: 0,
    }
}

struct Room {
    registry: Arc<Registry>,
    signals: Arc<Mutex<Vec<Signal>>>,
}

impl Room {
    fn with(replicas: &[(u64, ReplicaState)]) -> Self {
        let signals = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&signals);
        let registry =
            Registry::new(Arc::new(move |signal| sink.lock().push(signal)), Arc::new(AllHere));
        let room = Self { registry, signals };
        room.apply(replicas);
        room
    }

    fn apply(&self, replicas: &[(u64, ReplicaState)]) {
        self.registry.apply(&catalog(vec![version(replicas)]));
    }

    fn version(&self) -> Arc<VersionState> {
        self.registry.version(&key()).unwrap()
    }

    fn slot(&self) -> Slot {
        match self.version().acquire().unwrap() {
            Acquired::Slot(slot) => slot,
            Acquired::Waiting(_) => panic!("no free slot"),
        }
    }

    fn wait(&self) -> Waiting {
        match self.version().acquire().unwrap() {
            Acquired::Slot(_) => panic!("a free slot"),
            Acquired::Waiting(waiting) => waiting,
        }
    }

    fn take_signals(&self) -> Vec<Signal> {
        std::mem::take(&mut self.signals.lock())
    }
}

use ReplicaState::{Draining, Ready, Starting};

#[tokio::test]
async fn a_freed_slot_goes_to_the_one_who_has_waited_longest() {
    let room = Room::with(&[(1, Ready)]);
    let slot = room.slot();
    let first = room.wait();
    let mut second = room.wait();
    drop(slot);
    let slot = first.await;
    assert!(futures_pending(&mut second));
    drop(slot);
    assert_eq!(second.await.target().id, ReplicaId(1));
}

fn futures_pending(waiting: &mut Waiting) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(waiting).poll(&mut context).is_pending()
}

#[tokio::test]
async fn an_abandoned_waiter_gives_up_its_place_and_a_handed_over_slot_is_not_lost() {
    let room = Room::with(&[(1, Ready)]);
    let slot = room.slot();
    let first = room.wait();
    let second = room.wait();
    let third = room.wait();
    drop(first);
    assert_eq!(room.registry.peek_load(&key()).unwrap().queued, 2);
    drop(slot);
    // The slot has been handed to the second, which leaves without having looked.
    drop(second);
    assert_eq!(third.await.target().id, ReplicaId(1));
    assert_eq!(room.registry.peek_load(&key()).unwrap().busy, 0);
}

#[tokio::test]
async fn a_place_in_front_is_never_given_to_two() {
    let room = Room::with(&[(1, Ready)]);
    let in_front = || match room.version().wait_again() {
        Acquired::Slot(_) => panic!("a free slot"),
        Acquired::Waiting(waiting) => waiting,
    };
    let slot = room.slot();
    let mut first = in_front();
    drop(slot);
    let slot = (&mut first).await;
    let mut second = in_front();
    // The first leaves the place that it had; nobody else may have got it meanwhile.
    drop(first);
    assert!(futures_pending(&mut second));
    assert_eq!(room.registry.peek_load(&key()).unwrap().queued, 1);
    drop(slot);
    assert_eq!(second.await.target().id, ReplicaId(1));
}

#[test]
fn the_queue_is_full_at_its_bound_and_refuses_at_once() {
    let room = Room::with(&[(1, Ready)]);
    let _slot = room.slot();
    let _waiting = [room.wait(), room.wait(), room.wait()];
    assert_eq!(room.version().acquire().unwrap_err(), Refused::QueueFull { length: 3 });
}

#[test]
fn without_a_replica_that_can_come_the_request_is_refused_at_once() {
    let room = Room::with(&[]);
    assert_eq!(room.version().acquire().unwrap_err(), Refused::NoReplicas);
    room.apply(&[(1, Starting)]);
    let _waiting = room.wait();
}

#[tokio::test]
async fn a_replica_that_becomes_ready_takes_the_waiters() {
    let room = Room::with(&[(1, Starting)]);
    let waiting = room.wait();
    room.apply(&[(1, Ready)]);
    assert_eq!(waiting.await.target().id, ReplicaId(1));
}

#[test]
fn a_draining_replica_gets_no_work_and_says_once_when_it_is_idle() {
    let room = Room::with(&[(1, Ready), (2, Ready)]);
    let first = room.slot();
    room.apply(&[(1, Draining), (2, Ready)]);
    assert!(!room.registry.is_idle(ReplicaId(1)));
    let second = room.slot();
    assert_eq!(second.target().id, ReplicaId(2));
    assert_eq!(room.take_signals(), []);
    drop(first);
    assert!(room.registry.is_idle(ReplicaId(1)));
    assert_eq!(room.take_signals(), [Signal::Idle(ReplicaId(1))]);
    room.apply(&[(1, Draining), (2, Ready)]);
    assert_eq!(room.take_signals(), [], "told once");
    room.apply(&[(1, Ready), (2, Ready)]);
    assert!(!room.registry.is_idle(ReplicaId(1)));
    assert_eq!(room.slot().target().id, ReplicaId(1));
}

#[test]
fn a_starting_replica_is_not_idle() {
    let room = Room::with(&[(1, Starting)]);
    assert!(!room.registry.is_idle(ReplicaId(1)));
    assert_eq!(room.take_signals(), []);
}

#[test]
fn a_failed_connection_takes_the_replica_out_until_its_next_generation() {
    let room = Room::with(&[(1, Ready), (2, Ready)]);
    let slot = room.slot();
    slot.connection_failed();
    slot.connection_failed();
    assert_eq!(room.take_signals(), [Signal::Failed(ReplicaId(1), 1)]);
    drop(slot);
    assert_eq!(room.registry.peek_load(&key()).unwrap().ready, 1);
    // A catalog of the same generation was built before the failure was known.
    room.apply(&[(1, Ready), (2, Ready)]);
    assert_eq!(room.registry.peek_load(&key()).unwrap().ready, 1);
    let mut next = version(&[(1, Ready), (2, Ready)]);
    next.replicas[0].generation = 2;
    room.registry.apply(&catalog(vec![next]));
    assert_eq!(room.registry.peek_load(&key()).unwrap().ready, 2);
}

#[tokio::test]
async fn a_removed_version_finishes_its_queue_before_its_replicas_are_idle() {
    let room = Room::with(&[(1, Ready)]);
    let slot = room.slot();
    let waiting = room.wait();
    let empty = Catalog::default();
    room.registry.apply(&empty);
    room.registry.release();
    assert!(!room.registry.is_idle(ReplicaId(1)));
    drop(slot);
    let slot = waiting.await;
    assert!(!room.registry.is_idle(ReplicaId(1)));
    drop(slot);
    assert!(room.registry.is_idle(ReplicaId(1)));
    assert_eq!(room.take_signals(), [Signal::Idle(ReplicaId(1))]);
}

#[test]
fn pressure_is_signalled_once_when_the_level_is_crossed() {
    let room = Room::with(&[(1, Ready), (2, Ready)]);
    room.registry.arm_pressure(&key(), 1);
    let _first = room.slot();
    assert_eq!(room.take_signals(), []);
    let _second = room.slot();
    let _third = room.wait();
    assert_eq!(room.take_signals(), [Signal::Pressure(key())]);
    room.registry.arm_pressure(&key(), 2);
    assert_eq!(room.take_signals(), [Signal::Pressure(key())], "already over: at once");
    let load = room.registry.take_load(&key()).unwrap();
    assert_eq!((load.busy, load.queued, load.peak), (2, 1, 3));
}

#[test]
fn slots_are_conserved_under_any_threads() {
    let room = Arc::new(Room::with(&[(1, Ready), (2, Ready), (3, Ready)]));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let room = Arc::clone(&room);
            std::thread::spawn(move || {
                for turn in 0..5_000 {
                    match room.version().acquire() {
                        Ok(Acquired::Slot(slot)) => drop(slot),
                        Ok(Acquired::Waiting(waiting)) if turn % 2 == 0 => drop(waiting),
                        Ok(Acquired::Waiting(waiting)) => drop(waiting.give_up()),
                        Err(_) => {}
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let load = room.registry.peek_load(&key()).unwrap();
    assert_eq!((load.busy, load.queued), (0, 0));
    let all = [room.slot(), room.slot(), room.slot()];
    let mut ids: Vec<_> = all.iter().map(|slot| slot.target().id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
}
