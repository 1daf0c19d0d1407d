//! Whether an endpoint accepts a token: the cache first, then the keys as they are now.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;

use super::{
    Issuers,
    cache::{Mark, Origin, Verdict},
    source::SourceId,
};
use crate::{
    auth::{KeySet, MAX_TOKEN_BYTES, Peek, TokenFault, Tokens, own_issuer, verify},
    domain::{Name, TokenPolicy},
};

/// A set of keys with an identity: no two sets of one process have the same.
#[derive(Debug)]
pub struct Keys {
    set: KeySet,
    id: u64,
}

impl Keys {
    /// A new set.
    pub fn new(set: KeySet) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { set, id: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    /// The keys.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

/// Who knows the router's own signing keys. Both calls return at once.
pub trait OwnKeys: fmt::Debug + Send + Sync {
    /// The issuer that its tokens name.
    fn issuer(&self) -> &str;
    /// The public halves of the keys that are accepted now. The same value as long as they do not
    /// change: a new one makes every cached token be verified again.
    fn keys(&self) -> Arc<Keys>;
}

impl Tokens for Issuers {
    fn check(
        &self,
        endpoint: &Name,
        policy: &Arc<TokenPolicy>,
        token: &str,
    ) -> Result<(), TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLong);
        }
        let mark = Mark::of(token, policy);
        let now = (self.clock)();
        if self.cache.has(&mark, endpoint, policy, now, |origin| self.keys_of(origin)) {
            return Ok(());
        }
        let peek = Peek::read(token)?;
        let (verified, origin, keys) = match &self.own {
            Some(own) if own.issuer() == peek.issuer() => {
                let keys = own.keys();
                if keys.set().is_empty() {
                    return Err(TokenFault::KeysUnavailable);
                }
                let rules = own_issuer(own.issuer(), endpoint);
                (verify(&peek, keys.set(), &rules, now)?, Origin::Own, keys)
            }
            _ => {
                let rules = policy.issuers.iter().find(|issuer| issuer.issuer == peek.issuer());
                let rules = rules.ok_or(TokenFault::Issuer)?;
                let source =
                    self.source(&SourceId::of(rules)).ok_or(TokenFault::KeysUnavailable)?;
                let keys = source.keys().ok_or(TokenFault::KeysUnavailable)?;
                (verify(&peek, keys.set(), rules, now)?, Origin::Issuer(source), keys)
            }
        };
        let verdict = Verdict {
            endpoint: endpoint.clone(),
            policy: Arc::clone(policy),
            accepted_until: verified.accepted_until,
            origin,
            keys: keys.id(),
        };
        self.cache.put(mark, verdict);
        Ok(())
    }

    fn coming(&self, policy: &TokenPolicy, token: &str) -> Option<BoxFuture<'static, ()>> {
        let peek = Peek::read(token).ok()?;
        let rules = policy.issuers.iter().find(|issuer| issuer.issuer == peek.issuer())?;
        let ended = self.source(&SourceId::of(rules))?.ask()?;
        Some(Box::pin(ended))
    }

    fn remembers(&self, endpoint: &Name, policy: &Arc<TokenPolicy>, token: &str) -> bool {
        let mark = Mark::of(token, policy);
        self.cache.has(&mark, endpoint, policy, (self.clock)(), |origin| self.keys_of(origin))
    }
}

impl Issuers {
    /// Which set of keys of an origin is in force.
    fn keys_of(&self, origin: &Origin) -> Option<u64> {
        match origin {
            Origin::Issuer(source) => source.keys_id(),
            Origin::Own => self.own.as_ref().map(|own| own.keys().id()),
        }
    }
}
