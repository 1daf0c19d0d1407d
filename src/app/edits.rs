//! What changes the endpoints of files while the router runs: edits of the files, and new keys.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    files::{Files, tell},
    start::Say,
};
use crate::{
    domain::{ClearKeys, CredentialError, KeySlot, Name},
    platform::{KeyStore, local::Local},
    telemetry::Metrics,
};

/// The files, and where their endpoints go.
pub(super) struct Edits {
    pub(super) files: Mutex<Files>,
    pub(super) local: Local,
    pub(super) metrics: Arc<Metrics>,
    pub(super) say: Say,
}

/// Shows and replaces the keys of files. Clones are the same.
#[derive(Clone)]
pub(super) struct FileKeys(pub(super) Arc<Edits>);

impl Edits {
    /// Applies the files as they are now; a bad one changes nothing and is told.
    pub(super) fn reload(&self) {
        if self.apply(&mut self.files.lock()) {
            (self.say)("edit   the endpoints were read again and are in force");
        }
    }

    fn apply(&self, files: &mut Files) -> bool {
        match files.load() {
            Ok(ready) => {
                for (endpoint, key) in &ready.new_keys {
                    (self.say)(&format!("key    {endpoint}  {key}"));
                }
                tell(&self.say, &ready.warnings);
                self.local.apply(ready.endpoints);
                true
            }
            Err(problems) => {
                self.metrics.configuration_refusals.inc();
                tell(&self.say, &problems);
                (self.say)("edit   refused, nothing changed; see the problems above");
                false
            }
        }
    }

    /// A new key, written or kept, and in force. Under the lock to the end, so that of two changes at
    /// once neither is lost.
    fn regenerate(&self, endpoint: &Name, slot: KeySlot) -> Result<ClearKeys, CredentialError> {
        let mut files = self.files.lock();
        let keys = files.regenerate(endpoint, slot)?;
        if self.apply(&mut files) {
            Ok(keys)
        } else {
            Err(CredentialError::Refused(
                "the endpoint files have problems (the router's output has them), so the new key is \
                 not in force yet; correct them, and it is"
                    .to_owned(),
            ))
        }
    }
}

impl KeyStore for FileKeys {
    fn show(&self, endpoint: Name) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
        let edits = Arc::clone(&self.0);
        blocking(move || edits.files.lock().keys(&endpoint))
    }

    fn regenerate(
        &self,
        endpoint: Name,
        slot: KeySlot,
    ) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
        let edits = Arc::clone(&self.0);
        blocking(move || edits.regenerate(&endpoint, slot))
    }
}

/// Files on a slow disk hold up nothing else.
fn blocking(
    work: impl FnOnce() -> Result<ClearKeys, CredentialError> + Send + 'static,
) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
    Box::pin(async move {
        let ended = tokio::task::spawn_blocking(work).await;
        ended.unwrap_or_else(|error| Err(CredentialError::Unavailable(error.to_string())))
    })
}
