//! The keys that this installation signs its own tokens with.
//!
//! Promises: every router accepts a key before any router signs with it, and accepts it until the
//! last token signed with it has expired (contract §7); a bad or lost document takes away nothing that
//! worked; no private key is printed.
//!
//! How: the keys are one document in a [`Vault`], which all routers read and one of them writes: a
//! Secret of the cluster, a file, or the memory of the process. Each router derives from it, by
//! `schedule`, which keys it accepts and with which it signs. The one that leads adds a key when it is
//! time, and takes out those whose tokens have all expired.
//!
//! Not here: the form of a token (`auth`), who may have one (`admin`), the Secret (`platform`).

mod document;
mod schedule;
#[cfg(test)]
mod tests;
mod vault;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

pub use document::DOCUMENT_BYTES_MAX;
pub use schedule::{
    CUT_OFF_MAX, KEEP_AFTER, KEYS_MAX, ROTATE_BOUNDS, ROTATE_EVERY, SEEN_WITHIN, SIGN_AFTER,
    SIGN_FIRST_AFTER, SKEW, due, signer, spent,
};
pub use vault::OwnVault;

use crate::{
    auth::{Issued, KeySet, Order, SigningKey, issue, jwks},
    domain::{ClearText, Name},
    lifecycle::{Lifecycle, Phase},
    platform::{Held, Vault, VaultError},
};
use document::{Kept, read, write};

/// How often it is looked at whether a key is due or spent, beside every change.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// The pause after a write that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The wall clock, in seconds since 1970.
pub type Clock = fn() -> SystemTime;

/// What an admin sets about the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The issuer that the tokens name.
    pub issuer: String,
    /// How often a new key is made.
    pub rotate_every: Duration,
}

/// The keys as this router knows them. It is kept in step by a task until the process stops.
pub struct Ring {
    settings: Settings,
    clock: Clock,
    vault: Arc<dyn Vault>,
    known: ArcSwap<Known>,
}

/// What follows from one document.
struct Known {
    keys: Vec<(Kept, SigningKey)>,
    set: Arc<KeySet>,
    /// Since when this router has the first key.
    first_since: Instant,
    /// Why there are no keys, for who asks for a token.
    lacking: String,
}

/// No token can be issued now, for this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token can be issued now: {0}")]
pub struct NotNow(pub String);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Ring {
    /// Reads the vault and follows it. What a vault of one router needs is there when this returns.
    pub async fn start(
        lifecycle: &Lifecycle,
        settings: Settings,
        vault: Arc<dyn Vault>,
        clock: Clock,
    ) -> Arc<Self> {
        let lacking = "the signing keys were not read yet".to_owned();
        let known =
            Known { keys: Vec::new(), set: Arc::default(), first_since: Instant::now(), lacking };
        let ring = Arc::new(Self { settings, clock, vault, known: ArcSwap::from_pointee(known) });
        let mut held = ring.vault.held();
        // A ring in memory or in a file is complete at once; a first request may need it.
        if !ring.vault.is_shared() {
            ring.look(&mut held).await;
            ring.look(&mut held).await;
        }
        let (kept, life) = (Arc::clone(&ring), lifecycle.clone());
        lifecycle.spawn("signing keys", async move {
            tokio::select! {
                () = kept.follow(held) => {}
                () = life.reached(Phase::Stopped) => {}
            }
        });
        ring
    }

    /// The public halves of the keys that are accepted now: the same value until they change.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.known.load().set)
    }

    /// The same for others (RFC 7517 §5).
    pub fn jwks(&self) -> Value {
        jwks(self.known.load().keys.iter().map(|(_, key)| key))
    }

    /// A token for an endpoint. `id` is a name that no other token has.
    pub fn issue(
        &self,
        endpoint: &Name,
        subject: &str,
        lifetime: Duration,
        id: &str,
    ) -> Result<Issued, NotNow> {
        let known = self.known.load();
        let made: Vec<u64> = known.keys.iter().map(|(kept, _)| kept.made).collect();
        // Nobody else has to hear of a key that only this router uses.
        let had_for =
            if self.vault.is_shared() { known.first_since.elapsed() } else { Duration::MAX };
        let now = (self.clock)();
        let index = if self.vault.is_shared() {
            signer(&made, seconds(now), had_for)
        } else {
            made.len().checked_sub(1)
        };
        let key = index.and_then(|index| known.keys.get(index));
        let (_, key) = key.ok_or_else(|| NotNow(known.why_none()))?;
        let issuer = self.settings.issuer.as_str();
        Ok(issue(key, &Order { issuer, endpoint, subject, lifetime, id }, now))
    }

    async fn follow(&self, mut held: watch::Receiver<Option<Held>>) {
        let mut leads = self.vault.leads();
        loop {
            let pause = if self.look(&mut held).await { LOOK_INTERVAL } else { RETRY_AFTER };
            tokio::select! {
                Ok(()) = held.changed() => {}
                Ok(()) = leads.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes in what the vault holds, and, where this router leads, writes what is due. Whether a
    /// write that was needed succeeded.
    async fn look(&self, held: &mut watch::Receiver<Option<Held>>) -> bool {
        let Some(held) = held.borrow_and_update().clone() else { return true };
        let keys = match &held.text {
            None => {
                self.lack("there are none yet");
                Vec::new()
            }
            Some(text) => match read(text.reveal()) {
                Ok(keys) => {
                    let kept = keys.iter().map(|(kept, _)| kept.clone()).collect();
                    self.take(keys);
                    kept
                }
                Err(fault) => {
                    tracing::error!(
                        %fault,
                        "the signing keys cannot be used; the last good ones stay. Put them right, or \
                         delete them: then new ones are made, and all tokens issued so far end"
                    );
                    self.lack(&format!("the document of the signing keys cannot be used: {fault}"));
                    return true;
                }
            },
        };
        if !*self.vault.leads().borrow() {
            return true;
        }
        let now = seconds((self.clock)());
        let Some(next) = next(keys, now, self.settings.rotate_every) else { return true };
        match self.vault.write(write(&next), held).await {
            Ok(()) | Err(VaultError::Changed) => true,
            Err(VaultError::Failed(why)) => {
                tracing::warn!(why, "the signing keys cannot be written");
                false
            }
        }
    }

    fn take(&self, keys: Vec<(Kept, SigningKey)>) {
        let old = self.known.load();
        let kids = |keys: &[(Kept, SigningKey)]| -> Vec<(u64, String)> {
            keys.iter().map(|(kept, key)| (kept.made, key.kid().to_owned())).collect()
        };
        let (before, after) = (kids(&old.keys), kids(&keys));
        if before == after {
            return;
        }
        let is_same_first = before.first() == after.first();
        let first_since = if is_same_first { old.first_since } else { Instant::now() };
        let names: Vec<String> = after.into_iter().map(|(_, kid)| kid).collect();
        tracing::info!(keys = ?names, "signing keys");
        let set = Arc::new(KeySet::of(keys.iter().map(|(_, key)| key)));
        self.known.store(Arc::new(Known { keys, set, first_since, lacking: String::new() }));
    }

    /// Says why there are none, where there are none; keys that were there stay.
    fn lack(&self, why: &str) {
        let old = self.known.load();
        if old.keys.is_empty() {
            self.known.store(Arc::new(Known {
                keys: Vec::new(),
                set: Arc::clone(&old.set),
                first_since: old.first_since,
                lacking: why.to_owned(),
            }));
        }
    }
}

impl Known {
    fn why_none(&self) -> String {
        if self.keys.is_empty() {
            return self.lacking.clone();
        }
        let seconds = SIGN_FIRST_AFTER.as_secs();
        format!("the first signing key is new; it signs when every router has it, in {seconds} s")
    }
}

/// The keys after what is due now; `None` when nothing is.
fn next(mut keys: Vec<Kept>, now: u64, rotate_every: Duration) -> Option<Vec<Kept>> {
    let made = |keys: &[Kept]| -> Vec<u64> { keys.iter().map(|kept| kept.made).collect() };
    let gone = spent(&made(&keys), now);
    keys.drain(..gone);
    let new = due(&made(&keys), now, rotate_every);
    keys.extend(new.map(|made| Kept { made, private: generate() }));
    (gone > 0 || new.is_some()).then_some(keys)
}

fn generate() -> ClearText {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .expect("a key for Ed25519 can always be made");
    ClearText::new(pair.serialize_pem())
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
