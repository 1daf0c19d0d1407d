//! Replicas in buckets by busy count: the least busy one is found in constant time.
//!
//! Promises: [`Buckets::take`] returns a usable replica with the fewest busy slots; among equals
//! the one that has waited longest; never one whose tokens are all busy.
//!
//! How: each bucket is a doubly linked list threaded through the entries by index. Taking moves a
//! replica from the head of its bucket to the tail of the next; giving back moves it down. The
//! lowest non-empty bucket can only move by one with each such step, so it is tracked, not searched.

use std::sync::{Arc, atomic::AtomicU64};

use super::{slot::Target, standing::Standing};

/// How many requests at once a replica gets that was set aside, until it has answered one: if it
/// still hangs, each of them is lost for as long as `requestTimeout`.
const TRIAL_REQUESTS_MAX: u32 = 1;

/// A replica among the others of its version.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "five independent facts, set and asked one by one"
)]
pub(super) struct Entry {
    /// Where requests go.
    pub(super) target: Arc<Target>,
    /// Slots in use.
    pub(super) busy: u32,
    /// Slots this router may hand out.
    pub(super) tokens: u32,
    /// Whether it gets new work: it is fit and not set aside.
    pub(super) usable: bool,
    /// Whether its platform says that it is ready, and has said so since it failed last.
    pub(super) is_fit: bool,
    /// What its requests say about it.
    pub(super) standing: Standing,
    /// Whether it gets no work ever again: draining, or gone from the catalog.
    pub(super) ending: bool,
    /// Whether the catalog still has it. When not, it is forgotten as soon as it is not busy.
    pub(super) known: bool,
    /// Whether the control plane has been told that it is idle for good.
    pub(super) announced: bool,
    /// The generation in which it was last said to be ready.
    pub(super) generation: u64,
    /// Answers to its requests so far.
    pub(super) answers: Arc<AtomicU64>,
    /// The generation in which it failed.
    pub(super) failed_in: Option<u64>,
    link: Option<Link>,
}

impl Entry {
    /// Settles whether it gets new work.
    pub(super) fn judge(&mut self) {
        self.usable = self.is_fit && self.standing.aside().is_none();
    }

    /// How many requests it may have.
    fn room(&self) -> u32 {
        if self.standing.is_on_trial() { self.tokens.min(TRIAL_REQUESTS_MAX) } else { self.tokens }
    }
}

#[derive(Debug, Clone, Copy)]
struct Link {
    bucket: u32,
    previous: Option<u32>,
    next: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    head: Option<u32>,
    tail: Option<u32>,
}

/// All replicas of a version.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    entries: Vec<Option<Entry>>,
    vacant: Vec<u32>,
    ends: Vec<Ends>,
    /// No bucket below this one has a replica.
    lowest: usize,
}

impl Buckets {
    /// Adds a replica that is neither usable nor busy; returns its index, which stays until
    /// [`Buckets::remove`].
    pub(super) fn insert(&mut self, target: Arc<Target>, tokens: u32, generation: u64) -> u32 {
        let entry = Entry {
            target,
            busy: 0,
            tokens,
            usable: false,
            is_fit: false,
            standing: Standing::default(),
            ending: false,
            known: true,
            announced: false,
            generation,
            answers: Arc::default(),
            failed_in: None,
            link: None,
        };
        if let Some(index) = self.vacant.pop() {
            if let Some(place) = self.entries.get_mut(index as usize) {
                *place = Some(entry);
            }
            return index;
        }
        self.entries.push(Some(entry));
        u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 replicas")
    }

    /// Forgets a replica that is not busy.
    pub(super) fn remove(&mut self, index: u32) {
        self.unlink(index);
        if let Some(place) = self.entries.get_mut(index as usize)
            && place.take().is_some()
        {
            self.vacant.push(index);
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)?.as_ref()
    }

    /// For what does not change whether and where the entry is filed.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0_u32..).zip(&self.entries).filter_map(|(index, entry)| Some((index, entry.as_ref()?)))
    }

    /// Changes an entry other than by taking and giving back, and files it again.
    pub(super) fn update(&mut self, index: u32, change: impl FnOnce(&mut Entry)) {
        self.unlink(index);
        if let Some(entry) = self.get_mut(index) {
            change(entry);
        }
        self.link(index);
    }

    /// A slot of the least busy usable replica. `except` is passed over where another has room.
    pub(super) fn take(&mut self, except: Option<u32>) -> Option<u32> {
        let hidden = except.filter(|index| self.get(*index).is_some_and(|e| e.link.is_some()));
        if let Some(index) = hidden {
            self.unlink(index);
        }
        let taken = self.first();
        if let Some(index) = taken {
            self.unlink(index);
            if let Some(entry) = self.get_mut(index) {
                entry.busy += 1;
            }
            self.link(index);
        }
        if let Some(index) = hidden {
            self.link(index);
        }
        taken
    }

    /// One slot of this replica is free again.
    pub(super) fn give_back(&mut self, index: u32) {
        self.unlink(index);
        if let Some(entry) = self.get_mut(index) {
            debug_assert!(entry.busy > 0, "a slot is given back once");
            entry.busy = entry.busy.saturating_sub(1);
        }
        self.link(index);
    }

    fn first(&mut self) -> Option<u32> {
        while let Some(ends) = self.ends.get(self.lowest) {
            if ends.head.is_some() {
                return ends.head;
            }
            self.lowest += 1;
        }
        None
    }

    /// Files the entry at the tail of its bucket if it can take work: ties go round.
    fn link(&mut self, index: u32) {
        let Some(entry) = self.get(index) else { return };
        if !entry.usable || entry.busy >= entry.room() || entry.link.is_some() {
            return;
        }
        let bucket = entry.busy;
        let place = bucket as usize;
        if self.ends.len() <= place {
            self.ends.resize(place + 1, Ends::default());
        }
        let Some(ends) = self.ends.get_mut(place) else { return };
        let previous = ends.tail;
        ends.tail = Some(index);
        if previous.is_none() {
            ends.head = Some(index);
        }
        self.lowest = self.lowest.min(place);
        if let Some(neighbour) = previous {
            self.set_next(neighbour, Some(index));
        }
        if let Some(entry) = self.get_mut(index) {
            entry.link = Some(Link { bucket, previous, next: None });
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(link) = self.get_mut(index).and_then(|entry| entry.link.take()) else { return };
        match link.previous {
            Some(previous) => self.set_next(previous, link.next),
            None => {
                if let Some(ends) = self.ends.get_mut(link.bucket as usize) {
                    ends.head = link.next;
                }
            }
        }
        match link.next {
            Some(next) => self.set_previous(next, link.previous),
            None => {
                if let Some(ends) = self.ends.get_mut(link.bucket as usize) {
                    ends.tail = link.previous;
                }
            }
        }
    }

    fn set_next(&mut self, index: u32, next: Option<u32>) {
        if let Some(link) = self.get_mut(index).and_then(|entry| entry.link.as_mut()) {
            link.next = next;
        }
    }

    fn set_previous(&mut self, index: u32, previous: Option<u32>) {
        if let Some(link) = self.get_mut(index).and_then(|entry| entry.link.as_mut()) {
            link.previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ReplicaId;

    fn target(id: u64) -> Arc<Target> {
        let address = ([127, 0, 0, 1], 1).into();
        Arc::new(Target { id: ReplicaId(id), name: "r".into(), http: address, grpc: address })
    }

    fn with(replicas: u64, tokens: u32) -> Buckets {
        let mut buckets = Buckets::default();
        for id in 0..replicas {
            let index = buckets.insert(target(id), tokens, 0);
            buckets.update(index, |entry| entry.usable = true);
        }
        buckets
    }

    #[test]
    fn the_least_busy_is_taken_and_ties_go_round() {
        let mut buckets = with(3, 2);
        let taken: Vec<_> = (0..7).map(|_| buckets.take(None)).collect();
        assert_eq!(
            taken,
            [Some(0), Some(1), Some(2), Some(0), Some(1), Some(2), None],
            "each once, then each twice, then full"
        );
        buckets.give_back(1);
        assert_eq!(buckets.take(None), Some(1));
    }

    #[test]
    fn an_idle_replica_waits_its_turn_so_that_none_is_hot() {
        let mut buckets = with(3, 1);
        for expected in [0, 1, 2, 0, 1, 2] {
            let index = buckets.take(None).unwrap();
            assert_eq!(index, expected);
            buckets.give_back(index);
        }
    }

    #[test]
    fn the_excepted_replica_is_passed_over_only_where_another_has_room() {
        let mut buckets = with(2, 1);
        assert_eq!(buckets.take(Some(0)), Some(1));
        assert_eq!(buckets.take(Some(0)), None);
        assert_eq!(buckets.take(None), Some(0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take,
        GiveBack(usize),
        Usable(u32, bool),
        Tokens(u32, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Take),
            4 => any::<usize>().prop_map(Step::GiveBack),
            1 => (0_u32..5, any::<bool>()).prop_map(|(i, u)| Step::Usable(i, u)),
            1 => (0_u32..5, 0_u32..4).prop_map(|(i, n)| Step::Tokens(i, n)),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn takes_are_always_minimal_and_within_tokens(steps in steps()) {
            let mut buckets = with(5, 3);
            let mut held: Vec<u32> = Vec::new();
            for step in steps {
                match step {
                    Step::Take => {
                        let fewest = buckets
                            .iter()
                            .filter(|(_, e)| e.usable && e.busy < e.tokens)
                            .map(|(_, e)| e.busy)
                            .min();
                        let taken = buckets.take(None);
                        let was = taken.map(|index| buckets.get(index).unwrap().busy - 1);
                        prop_assert_eq!(was, fewest);
                        held.extend(taken);
                    }
                    Step::GiveBack(at) if !held.is_empty() => {
                        let index = held.swap_remove(at % held.len());
                        buckets.give_back(index);
                    }
                    Step::GiveBack(_) => {}
                    Step::Usable(index, usable) => buckets.update(index, |e| e.usable = usable),
                    Step::Tokens(index, tokens) => buckets.update(index, |e| e.tokens = tokens),
                }
                let busy: u32 = buckets.iter().map(|(_, e)| e.busy).sum();
                prop_assert_eq!(busy as usize, held.len());
            }
        }
    }
}
