//! Keys, tokens and callers as the admin port asks for them, gathered from who knows them.

use std::{sync::Arc, time::SystemTime};

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
    ring::Ring,
};

/// For whom a token of the admin port is: whoever has it.
const SUBJECT: &str = "bearer";

/// Who knows what the admin port asks for.
pub(super) struct Credentials {
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) reviewer: Option<Arc<dyn Reviewer>>,
    pub(super) ring: Arc<Ring>,
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
        let catalog = self.catalog.borrow();
        let unknown = || CredentialError::UnknownEndpoint(endpoint.to_string());
        let policy = &catalog.endpoints.get(endpoint).ok_or_else(unknown)?.auth;
        let Some(token) = policy.token.as_ref().filter(|_| policy.mode == AuthMode::Token) else {
            return Err(CredentialError::Unsuitable(format!(
                "endpoint {endpoint} takes no tokens: its auth.mode is {:?}",
                policy.mode
            )));
        };
        let id = uuid::Uuid::new_v4().to_string();
        let issued = self.ring.issue(endpoint, SUBJECT, token.lifetime, &id);
        let issued = issued.map_err(|error| CredentialError::Unavailable(error.to_string()))?;
        Ok(IssuedToken {
            access_token: ClearText::new(issued.access_token),
            refresh_after: seconds(issued.refresh_after),
            expiry_on: seconds(issued.expires),
        })
    }

    fn jwks(&self) -> Value {
        self.ring.jwks()
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

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
