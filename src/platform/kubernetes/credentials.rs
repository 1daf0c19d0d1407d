//! Keys of Secrets in clear text, for who may have them: read, and one of them replaced.
//!
//! A write is a merge patch of the one field under the `resourceVersion` that was read, so that of
//! two changes at once neither is lost, and a Secret that was made anew meanwhile is not touched.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use http::{Method, Request, header::CONTENT_TYPE};
use serde_json::json;

use super::{
    Kubernetes,
    client::{ApiServer, CallError, FIELD_MANAGER},
    objects::{ObjectKey, Secret},
};
use crate::{
    domain::{ClearKeys, ClearText, CredentialError, KeySlot, Name},
    platform::{KeyStore, new_key},
};

/// How often a write is tried whose Secret was changed by somebody else meanwhile.
const TRIES_MAX: usize = 4;

impl KeyStore for Kubernetes {
    fn show(&self, endpoint: Name) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
        let (server, place) = (self.server.clone(), self.board.secret(&endpoint));
        Box::pin(async move {
            let secret = place.ok_or_else(|| unknown(&endpoint))?;
            clear(&read(&server, &secret).await?, &secret)
        })
    }

    fn regenerate(
        &self,
        endpoint: Name,
        slot: KeySlot,
    ) -> BoxFuture<'static, Result<ClearKeys, CredentialError>> {
        let (server, place) = (self.server.clone(), self.board.secret(&endpoint));
        Box::pin(async move {
            let secret = place.ok_or_else(|| unknown(&endpoint))?;
            replace(&server, &secret, slot).await
        })
    }
}

fn unknown(endpoint: &Name) -> CredentialError {
    CredentialError::UnknownEndpoint(endpoint.to_string())
}

async fn replace(
    server: &ApiServer,
    key: &ObjectKey,
    slot: KeySlot,
) -> Result<ClearKeys, CredentialError> {
    let new = new_key();
    for _ in 0..TRIES_MAX {
        let seen = read(server, key).await?;
        let patch = json!({
            "metadata": {
                "uid": &*seen.metadata.uid,
                "resourceVersion": &*seen.metadata.resource_version,
            },
            "data": {slot.field(): STANDARD.encode(&new)},
        });
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("{}?fieldManager={FIELD_MANAGER}", url(key)))
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .expect("names of objects are made of letters that paths may have");
        match server.call::<Secret>(request).await {
            Ok(secret) => return clear(&secret, key),
            Err(error) if error.code() == Some(409) => {}
            Err(error) => return Err(told(&error, key, "patch")),
        }
    }
    Err(CredentialError::Unavailable(format!(
        "Secret {key} was changed by others {TRIES_MAX} times meanwhile; try again"
    )))
}

async fn read(server: &ApiServer, key: &ObjectKey) -> Result<Secret, CredentialError> {
    let request = Request::get(url(key))
        .body(Vec::new())
        .expect("names of objects are made of letters that paths may have");
    server.call(request).await.map_err(|error| told(&error, key, "get"))
}

fn url(key: &ObjectKey) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}", key.namespace, key.name)
}

fn clear(secret: &Secret, key: &ObjectKey) -> Result<ClearKeys, CredentialError> {
    let field = |slot: KeySlot| -> Result<Option<ClearText>, CredentialError> {
        let Some(text) = secret.data.get(slot.field()) else { return Ok(None) };
        let bytes = STANDARD.decode(&**text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let unusable =
            || CredentialError::Refused(format!("{} of Secret {key} is not text", slot.field()));
        Ok(Some(ClearText::new(bytes.ok_or_else(unusable)?)))
    };
    let lacks = || {
        CredentialError::Refused(format!(
            "Secret {key} has no primaryKey; `modelway keys regenerate … --primary` gives it one"
        ))
    };
    Ok(ClearKeys {
        primary: field(KeySlot::Primary)?.ok_or_else(lacks)?,
        secondary: field(KeySlot::Secondary)?,
    })
}

/// What a failed call means for who asked. The API server's words hold no value of a Secret.
fn told(error: &CallError, key: &ObjectKey, verb: &str) -> CredentialError {
    match error.code() {
        Some(404) => CredentialError::Refused(format!(
            "Secret {key} does not exist; a router makes it within seconds where it may"
        )),
        Some(403) => CredentialError::Refused(format!(
            "the router's role lacks the verb {verb} on secrets in namespace {}: add the namespace to \
             secretNamespaces of the chart",
            key.namespace
        )),
        Some(422) => CredentialError::Refused(format!("Secret {key} cannot be changed: {error}")),
        _ => CredentialError::Unavailable(format!("Secret {key}: {error}; try again")),
    }
}
