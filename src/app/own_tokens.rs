//! The router's own tokens: where their signing keys are kept, and how the check of tokens sees them.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{
    auth::KeySet,
    config::RouterConfig,
    platform::{Vault, kubernetes::Kubernetes},
    ring::{OwnVault, Ring},
    tokens::{Keys, OwnKeys},
};

/// The ring as the check of tokens sees it. The check is made before the ring, which needs the
/// platform; until [`OwnTokens::begin`] there are no keys, and no request either.
#[derive(Debug)]
pub(super) struct OwnTokens {
    issuer: String,
    ring: OnceLock<Arc<Ring>>,
    /// The last set, with what was made of it.
    last: ArcSwap<(Arc<KeySet>, Arc<Keys>)>,
    /// Held while `last` is changed.
    changing: Mutex<()>,
}

impl OwnTokens {
    pub(super) fn new(config: &RouterConfig) -> Arc<Self> {
        let none = (Arc::default(), Keys::new(KeySet::default()));
        Arc::new(Self {
            issuer: config.ring.issuer.clone(),
            ring: OnceLock::new(),
            last: ArcSwap::from_pointee(none),
            changing: Mutex::default(),
        })
    }

    /// From now on this ring says which keys there are.
    pub(super) fn begin(&self, ring: &Arc<Ring>) {
        drop(self.ring.set(Arc::clone(ring)));
    }

    fn of(&self, set: &Arc<KeySet>) -> Option<Arc<Keys>> {
        let last = self.last.load();
        let (known, keys) = &**last;
        Arc::ptr_eq(set, known).then(|| Arc::clone(keys))
    }
}

impl OwnKeys for OwnTokens {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn keys(&self) -> Arc<Keys> {
        let Some(ring) = self.ring.get() else { return Arc::clone(&self.last.load().1) };
        if let Some(keys) = self.of(&ring.keys()) {
            return keys;
        }
        let _changing = self.changing.lock();
        let set = ring.keys();
        // Another thread may have been here before.
        self.of(&set).unwrap_or_else(|| {
            let keys = Keys::new(KeySet::clone(&set));
            self.last.store(Arc::new((set, Arc::clone(&keys))));
            keys
        })
    }
}

/// Where the keys of this router are kept.
pub(super) fn vault(
    config: &RouterConfig,
    cluster: Option<&Kubernetes>,
) -> anyhow::Result<Arc<dyn Vault>> {
    match (cluster, &config.signing_keys) {
        (Some(cluster), _) => Ok(cluster.signing_keys()),
        (None, Some(file)) => {
            let vault = OwnVault::in_file(file.clone());
            Ok(Arc::new(vault.map_err(|why| anyhow::anyhow!("the signing keys: {why}"))?))
        }
        (None, None) => Ok(Arc::new(OwnVault::in_memory())),
    }
}
