//! What was told, and the judgement of a LIST that has lost most of it.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::super::objects::ObjectKey;

/// A loss of fewer objects is believed at once: a namespace with one pod is often empty.
const LEAST_LOSS: usize = 2;

/// The names of what was told.
#[derive(Debug, Default)]
pub(super) struct Known {
    told: HashSet<ObjectKey>,
    suspect: Option<Suspect>,
}

/// A LIST that was not told.
#[derive(Debug)]
struct Suspect {
    since: Instant,
    keys: HashSet<ObjectKey>,
}

/// Whether a LIST is believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Believed,
    /// So many objects are missing; ask again.
    Doubted {
        lost: usize,
        of: usize,
    },
}

impl Known {
    /// Judges a LIST and, if it is believed, takes it for what is known. A LIST that confirms an
    /// earlier one that is at least `confirm_after` old is believed.
    pub(super) fn judge(&mut self, listed: HashSet<ObjectKey>, confirm_after: Duration) -> Verdict {
        let now = Instant::now();
        let lost = missing(&self.told, &listed);
        let is_sudden = is_most(lost, self.told.len());
        let confirmed = self.suspect.as_ref().is_some_and(|suspect| {
            now.duration_since(suspect.since) >= confirm_after
                && !is_most(missing(&suspect.keys, &listed), suspect.keys.len())
        });
        if !is_sudden || confirmed {
            self.told = listed;
            self.suspect = None;
            return Verdict::Believed;
        }
        let is_worse = self
            .suspect
            .as_ref()
            .is_none_or(|suspect| is_most(missing(&suspect.keys, &listed), suspect.keys.len()));
        if is_worse {
            self.suspect = Some(Suspect { since: now, keys: listed });
        }
        Verdict::Doubted { lost, of: self.told.len() }
    }

    /// When a LIST that was doubted may be confirmed.
    pub(super) fn confirm_at(&self, confirm_after: Duration) -> Option<Instant> {
        self.suspect.as_ref().map(|suspect| suspect.since + confirm_after)
    }

    /// An event told of the object.
    pub(super) fn insert(&mut self, key: ObjectKey) {
        if let Some(suspect) = &mut self.suspect {
            suspect.keys.insert(key.clone());
        }
        self.told.insert(key);
    }

    /// An event told that the object is gone.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        if let Some(suspect) = &mut self.suspect {
            suspect.keys.remove(key);
        }
        self.told.remove(key);
    }

    pub(super) fn len(&self) -> usize {
        self.told.len()
    }
}

fn missing(before: &HashSet<ObjectKey>, now: &HashSet<ObjectKey>) -> usize {
    before.iter().filter(|key| !now.contains(*key)).count()
}

fn is_most(lost: usize, of: usize) -> bool {
    lost >= LEAST_LOSS && lost * 2 > of
}
