//! Tokens that were verified, by digest, until they expire.
//!
//! A cached token costs one hash and one lock instead of a signature. Only good tokens are kept, so
//! nobody without one can push others out.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::source::Source;
use crate::domain::{Name, TokenPolicy};

/// The most tokens that are remembered; further ones push out the oldest. About 4 MiB; a client has
/// one token for hours, so this is for as many clients.
pub const CACHED_TOKENS_MAX: usize = 16 * 1024;
/// Parts with a lock each, so that threads of the data plane rarely meet.
const SHARDS: usize = 16;

/// Whose keys a token was verified with.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// Those of an outside issuer.
    Issuer(Arc<Source>),
    /// The router's own.
    Own,
}

/// That a token is good for an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) endpoint: Name,
    /// The rules by which it is good. Held, so that no other rules can have this address.
    pub(super) policy: Arc<TokenPolicy>,
    pub(super) accepted_until: SystemTime,
    pub(super) origin: Origin,
    /// The set of keys among which its key was.
    pub(super) keys: u64,
}

/// A token without its text, together with the rules that it was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    digest: [u8; 32],
    policy: usize,
}

impl Mark {
    pub(super) fn of(token: &str, policy: &Arc<TokenPolicy>) -> Self {
        Self { digest: Sha256::digest(token).into(), policy: Arc::as_ptr(policy).addr() }
    }
}

/// The verified tokens.
#[derive(Debug)]
pub(super) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    verdicts: HashMap<Mark, Verdict>,
    /// Oldest first. A mark whose verdict is gone may still be here.
    order: VecDeque<Mark>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Whether the token is known to be good. `current` gives the set of keys in force of an origin.
    pub(super) fn has(
        &self,
        mark: &Mark,
        endpoint: &Name,
        policy: &Arc<TokenPolicy>,
        now: SystemTime,
        current: impl FnOnce(&Origin) -> Option<u64>,
    ) -> bool {
        let mut shard = self.shard(mark).lock();
        let Some(verdict) = shard.verdicts.get(mark) else { return false };
        if verdict.endpoint != *endpoint || !Arc::ptr_eq(&verdict.policy, policy) {
            return false;
        }
        let holds = now < verdict.accepted_until && current(&verdict.origin) == Some(verdict.keys);
        if !holds {
            shard.verdicts.remove(mark);
        }
        holds
    }

    /// Remembers a good token.
    pub(super) fn put(&self, mark: Mark, verdict: Verdict) {
        let mut shard = self.shard(&mark).lock();
        if shard.verdicts.insert(mark, verdict).is_some() {
            return;
        }
        shard.order.push_back(mark);
        while shard.order.len() > CACHED_TOKENS_MAX / SHARDS {
            if let Some(oldest) = shard.order.pop_front() {
                shard.verdicts.remove(&oldest);
            }
        }
    }

    /// How many tokens are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().verdicts.len()).sum()
    }

    fn shard(&self, mark: &Mark) -> &Mutex<Shard> {
        let first = mark.digest.first().copied().unwrap_or_default();
        self.shards
            .get(usize::from(first) % SHARDS)
            .expect("the rest is below the number of shards")
    }
}
