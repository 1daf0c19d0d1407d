//! Replicas that fail, as their version sees them.

use std::{collections::BTreeMap, future::Future, task::Context};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{Name, Replica, ReplicaState, SignalSink, VersionKey},
    replica::{Acquired, AllHere, Slot, tests::version},
};

/// A version whose replicas are said to be ready, and what it has signalled.
struct Stage {
    version: Arc<VersionState>,
    signals: Arc<Mutex<Vec<Signal>>>,
    generations: BTreeMap<u64, u64>,
}

impl Stage {
    fn with(replicas: u64, slots: u32) -> Self {
        let signals: Arc<Mutex<Vec<Signal>>> = Arc::default();
        let heard = Arc::clone(&signals);
        let sink: SignalSink = Arc::new(move |signal| heard.lock().push(signal));
        let name = Name::new("demo").unwrap();
        let key = VersionKey { endpoint: name.clone(), version: name };
        let stage = Self {
            version: VersionState::new(key, sink, Arc::new(AllHere)),
            signals,
            generations: (0..replicas).map(|id| (id, 1)).collect(),
        };
        stage.apply(slots);
        stage
    }

    fn apply(&self, slots: u32) {
        let mut said = version(&[]);
        said.slots_per_replica = slots;
        said.replicas =
            self.generations.iter().map(|(id, generation)| replica(*id, *generation)).collect();
        self.version.apply(&said);
    }

    /// The platform does what it is told: each probe passes.
    fn probe(&mut self, slots: u32) {
        for signal in self.signals.lock().drain(..) {
            if let Signal::Failed(id, generation) = signal
                && let Some(now) = self.generations.get_mut(&id.0)
                && *now == generation
            {
                *now += 1;
            }
        }
        self.apply(slots);
    }

    fn slot(&self) -> Option<Slot> {
        match self.version.acquire() {
            Ok(Acquired::Slot(slot)) => Some(slot),
            Ok(Acquired::Waiting(_)) | Err(_) => None,
        }
    }

    fn slot_on(&self, id: u64) -> Slot {
        let mut others = Vec::new();
        loop {
            let slot = self.slot().expect("a slot there");
            if slot.target().id.0 == id {
                return slot;
            }
            others.push(slot);
        }
    }

    fn ready(&self) -> (u32, u32) {
        let load = self.version.load(false);
        (load.ready, load.aside)
    }
}

fn replica(id: u64, generation: u64) -> Replica {
    let mut made = version(&[(id, ReplicaState::Ready)]).replicas.remove(0);
    made.generation = generation;
    made
}

fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
}

#[tokio::test(start_paused = true)]
async fn three_timeouts_in_a_row_set_a_replica_aside_until_its_time_and_its_probe() {
    let mut stage = Stage::with(2, 1);
    assert!(stage.slot_on(0).timed_out().is_none());
    assert!(stage.slot_on(0).timed_out().is_none());
    let aside = stage.slot_on(0).timed_out().expect("the third");
    assert_eq!(aside.cause, AsideCause::TimedOut);
    assert_eq!(*stage.signals.lock(), [Signal::Failed(ReplicaId(0), 1)]);
    assert_eq!(stage.ready(), (1, 1));
    // The probe passes at once, the time is not over.
    stage.probe(1);
    assert_eq!(stage.ready(), (1, 1));
    let mut over = std::pin::pin!(aside.over());
    assert!(is_pending(over.as_mut()));
    let held = stage.slot().expect("the other one");
    let Ok(Acquired::Waiting(waiting)) = stage.version.acquire() else { panic!("no place") };
    tokio::time::advance(Duration::from_secs(1)).await;
    over.await;
    assert_eq!(stage.ready(), (2, 0));
    assert_eq!(waiting.await.target().id, ReplicaId(0), "who waits gets it at once");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_probe_does_not_pass_stays_out_when_its_time_is_over() {
    let mut stage = Stage::with(2, 1);
    let mut aside = None;
    for _ in 0..3 {
        aside = stage.slot_on(0).timed_out();
    }
    aside.expect("the third").over().await;
    assert_eq!(stage.ready(), (1, 0));
    stage.probe(1);
    assert_eq!(stage.ready(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replica_on_trial_gets_one_request_at_a_time_until_it_answers_well() {
    let mut stage = Stage::with(2, 10);
    let mut aside = None;
    for _ in 0..3 {
        aside = stage.slot_on(0).timed_out();
    }
    aside.expect("the third").over().await;
    stage.probe(10);
    let held: Vec<Slot> = std::iter::from_fn(|| stage.slot()).collect();
    let on_trial = held.iter().filter(|slot| slot.target().id == ReplicaId(0)).count();
    assert_eq!((on_trial, held.len()), (1, 11));
    let slot = held.iter().find(|slot| slot.target().id == ReplicaId(0)).unwrap();
    slot.answered(500);
    assert!(stage.slot().is_none(), "an error is no good answer");
    slot.answered(200);
    assert_eq!(std::iter::from_fn(|| stage.slot()).map(drop).take(1).count(), 1);
    // Nothing is held against it any more: three timeouts are needed again.
    assert!(slot.timed_out().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_never_set_aside_and_comes_back_when_it_becomes_the_last() {
    let stage = Stage::with(1, 1);
    for _ in 0..10 {
        assert!(stage.slot_on(0).timed_out().is_none());
    }
    assert_eq!(stage.ready(), (1, 0));
    let mut stage = Stage::with(2, 1);
    for _ in 0..3 {
        drop(stage.slot_on(0).timed_out());
    }
    stage.probe(1);
    assert_eq!(stage.ready(), (1, 1));
    assert!(stage.slot_on(1).connection_failed().is_some());
    assert_eq!(stage.ready(), (1, 0), "the other one is back");
    assert_eq!(stage.slot_on(0).target().id, ReplicaId(0));
}

#[tokio::test(start_paused = true)]
async fn what_began_before_the_last_good_probe_says_nothing() {
    let mut stage = Stage::with(2, 3);
    let old: Vec<Slot> = (0..3).map(|_| stage.slot_on(0)).collect();
    assert!(old[0].connection_failed().is_some());
    assert!(old[1].connection_failed().is_none(), "it is out already");
    stage.probe(3);
    assert_eq!(stage.ready(), (2, 0));
    assert!(old[2].connection_failed().is_none());
    assert!(old.iter().all(|slot| slot.timed_out().is_none()));
    assert_eq!(stage.ready(), (2, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Fails(usize, AsideCause),
    Answers(usize, bool),
    Probes,
    Joins(u64),
    Leaves(u64),
    Passes(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cause = prop_oneof![Just(AsideCause::Unreachable), Just(AsideCause::TimedOut)];
    let step = prop_oneof![
        6 => (any::<usize>(), cause).prop_map(|(at, cause)| Step::Fails(at, cause)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, well)| Step::Answers(at, well)),
        3 => Just(Step::Probes),
        1 => (0..8_u64).prop_map(Step::Joins),
        1 => (0..8_u64).prop_map(Step::Leaves),
        1 => (0..3_000_u64).prop_map(Step::Passes),
    ];
    prop::collection::vec(step, 0..150)
}

/// One history; the replicas that are left all get work in the end.
async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut stage = Stage::with(5, 4);
    let mut asides = tokio::task::JoinSet::new();
    for step in steps {
        match step {
            Step::Fails(at, cause) => {
                let slots: Vec<Slot> = std::iter::from_fn(|| stage.slot()).collect();
                let slot = (!slots.is_empty()).then(|| &slots[at % slots.len()]);
                let aside = slot.and_then(|slot| match cause {
                    AsideCause::Unreachable => slot.connection_failed(),
                    AsideCause::TimedOut => slot.timed_out(),
                });
                if let Some(aside) = aside {
                    asides.spawn(aside.over());
                }
            }
            Step::Answers(at, is_well) => {
                let slots: Vec<Slot> = std::iter::from_fn(|| stage.slot()).collect();
                if !slots.is_empty() {
                    slots[at % slots.len()].answered(if is_well { 200 } else { 500 });
                }
            }
            Step::Probes => stage.probe(4),
            Step::Joins(id) => {
                stage.generations.entry(id).or_insert(1);
                stage.apply(4);
            }
            Step::Leaves(id) => {
                stage.generations.remove(&id);
                stage.apply(4);
            }
            Step::Passes(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        let (ready, aside) = stage.ready();
        prop_assert!(aside <= share(ready + aside), "{ready} ready, {aside} set aside");
    }
    while asides.join_next().await.is_some() {}
    stage.probe(4);
    stage.probe(4);
    let all = u32::try_from(stage.generations.len()).unwrap();
    prop_assert_eq!(stage.ready(), (all, 0));
    let ids: std::collections::BTreeSet<u64> = {
        let slots: Vec<Slot> = std::iter::from_fn(|| stage.slot()).collect();
        slots.iter().map(|slot| slot.target().id.0).collect()
    };
    prop_assert_eq!(ids.len(), stage.generations.len());
    Ok(())
}

proptest! {
    #[test]
    fn never_more_than_the_share_is_set_aside_and_everybody_comes_back(steps in steps()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play(steps))?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_answers_others_meanwhile_is_not_set_aside() {
    let stage = Stage::with(2, 8);
    let slow: Vec<Slot> = (0..5).map(|_| stage.slot_on(0)).collect();
    stage.slot_on(0).answered(200);
    for slot in &slow {
        assert!(slot.timed_out().is_none());
    }
    assert_eq!(stage.ready(), (2, 0));
    // Three that began after its last answer are another matter.
    drop(slow);
    let hung: Vec<Slot> = (0..3).map(|_| stage.slot_on(0)).collect();
    assert_eq!(hung.iter().filter_map(Slot::timed_out).count(), 1);
    assert_eq!(stage.ready(), (1, 1));
}
