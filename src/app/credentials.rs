//! Keys, tokens and callers as the admin port asks for them, gathered from who knows them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    admin,
    domain::{
        AuthMode, Catalog, ClearKeys, ClearText, CredentialError, IssuedToken, KeySlot, Name,
        Review, Right,
    },
    platform::{KeyStore, Reviewer},
};

/// Who knows what the admin port asks for.
pub(super) struct Credentials {
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) reviewer: Option<Arc<dyn Reviewer>>,
}

impl Credentials {
    /// An endpoint that takes keys.
    fn with_keys(&self, name: &Name) -> Result<(), CredentialError> {
        let catalog = self.catalog.borrow();
        let unknown = || CredentialError::UnknownEndpoint(name.to_string());
        let endpoint = catalog.endpoints.get(name).ok_or_else(unknown)?;
        let has_keys = match endpoint.auth.mode {
            AuthMode::Key => true,
            AuthMode::Token => !endpoint.auth.keys.is_empty(),
            AuthMode::None => false,
        };
        if has_keys {
            return Ok(());
        }
        let mode = format!("{:?}", endpoint.auth.mode);
        Err(CredentialError::Unsuitable(format!(
            "endpoint {name} has no keys: its auth.mode is {mode}"
        )))
    }
}

impl admin::Credentials for Credentials {
    fn keys(&self, endpoint: Name) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
        match self.with_keys(&endpoint) {
            Ok(()) => self.keys.show(endpoint),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn regenerate(
        &self,
        endpoint: Name,
        slot: KeySlot,
    ) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
        match self.with_keys(&endpoint) {
            Ok(()) => self.keys.regenerate(endpoint, slot),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn token(&self, endpoint: &Name) -> Result<IssuedToken, CredentialError> {
        Err(CredentialError::Unsuitable(format!(
            "endpoint {endpoint} takes no tokens: its auth.mode is not Token"
        )))
    }

    fn jwks(&self) -> Value {
        serde_json::json!({"keys": []})
    }

    fn review(
        &self,
        token: ClearText,
        right: Right,
        endpoint: Name,
    ) -> BoxFuture<'static, Option<Review>> {
        let Some(reviewer) = &self.reviewer else { return Box::pin(std::future::ready(None)) };
        let review = reviewer.review(token, right, endpoint);
        Box::pin(async move { Some(review.await) })
    }
}
