//! Where endpoints and replicas come from, and how a version is scaled.
//!
//! Promises: every platform publishes whole [`Catalog`](crate::domain::Catalog)s through a
//! [`CatalogSink`](crate::domain::CatalogSink) and obeys [`Orders`]; the last good catalog stays
//! when its source is bad or away.
//!
//! Not here: how many replicas are wanted (`autoscale`), and when (`control`).

mod inbox;
pub mod kubernetes;
pub mod local;
mod probe;
pub mod spec;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::domain::{
    ClearKeys, ClearText, CredentialError, KeySlot, Name, ReplicaId, ReplicaStatus, Review, Right,
    VersionKey,
};

/// Bytes of a generated key: 256 bits (contract §7).
const KEY_BYTES: usize = 32;

/// Where endpoints and replicas come from, as the rest of the router sees it. Calls return at once.
pub trait Platform: Send + Sync {
    /// Who obeys the autoscale driver.
    fn orders(&self) -> Arc<dyn Orders>;
    /// The data plane says that a replica is idle: what waits for that goes on now.
    fn idle(&self, replica: ReplicaId);
    /// All replicas as they are now, those on their way out and on their way in included.
    fn replicas(&self) -> Vec<ReplicaStatus>;
    /// Time since the source of the catalog last proved that it is in step with it.
    fn source_age(&self) -> Duration;
    /// Ends what the platform has started; the catalog stays as it was. Whoever calls this has
    /// ended the data plane's work.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// Where the keys of endpoints are kept in clear text, as far as anybody may ask for them.
pub trait KeyStore: Send + Sync {
    /// The keys of an endpoint as they are kept now.
    fn show(&self, endpoint: Name) -> BoxFuture<'static, Result<ClearKeys, CredentialError>>;
    /// Puts a new key in the place of one of them and leaves the other one as it is. When this has
    /// returned, the new key is written; it is in force within 1 s.
    fn regenerate(
        &self,
        endpoint: Name,
        slot: KeySlot,
    ) -> BoxFuture<'static, Result<ClearKeys, CredentialError>>;
}

/// Who knows callers of the admin port: the cluster.
pub trait Reviewer: Send + Sync {
    /// Whether the bearer of this token may do that with the credentials of the endpoint.
    fn review(&self, token: ClearText, right: Right, endpoint: Name) -> BoxFuture<'static, Review>;
}

/// Where the keys that this installation signs tokens with are kept, as one text.
pub trait Vault: Send + Sync {
    /// What it holds; `None` until that is known.
    fn held(&self) -> watch::Receiver<Option<Held>>;
    /// Whether this router is the one that writes.
    fn leads(&self) -> watch::Receiver<bool>;
    /// Whether other routers read it too.
    fn is_shared(&self) -> bool;
    /// Puts a new text in the place of what was held.
    fn write(&self, text: ClearText, over: Held) -> BoxFuture<'static, Result<(), VaultError>>;
}

/// What a [`Vault`] holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The text; `None`: there is none.
    pub text: Option<ClearText>,
    /// Which state of the vault this is.
    pub revision: Box<str>,
}

/// Why a [`Vault`] was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It does not hold any more what was to be replaced; what it holds now is told.
    #[error("it was changed by somebody else")]
    Changed,
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// A new key in clear text: 256 random bits (contract §7) in letters that a header may have.
pub fn new_key() -> String {
    let bytes: [u8; KEY_BYTES] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An identity that no replica of this router process has had.
fn next_id() -> ReplicaId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ReplicaId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What the autoscale driver asks of a platform. Calls return at once; the platform does the work
/// and publishes a new catalog for every step.
pub trait Orders: Send + Sync {
    /// Bring the version to `wanted` replicas by taking draining ones back and starting new ones. Counts ready and starting
    /// replicas, not draining ones; a count that is reached already changes nothing.
    fn start(&self, key: &VersionKey, wanted: u32);
    /// Give the replica no new work: its state becomes draining.
    fn drain(&self, replica: ReplicaId);
    /// Take a draining replica back because load returned.
    fn readmit(&self, replica: ReplicaId);
    /// End replicas that are idle (see `LoadSource::is_idle`), for good.
    fn retire(&self, key: &VersionKey, replicas: &[ReplicaId]);
    /// A connection to the replica failed in this generation: probe it again before use.
    fn suspect(&self, replica: ReplicaId, generation: u64);
}
