//! The Secret with the keys that this installation signs tokens with: watched by every router, written
//! by the one that leads, each time under the `resourceVersion` that it has read.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use http::{Method, Request, header::CONTENT_TYPE};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::{mpsc, watch as latest};

use super::{
    client::{ApiServer, CallError, FIELD_MANAGER},
    keys::MADE_BY,
    objects::{Object as _, ObjectKey, Secret},
    watch::{News, Subject, Watch},
};
use crate::{
    domain::ClearText,
    lifecycle::{Lifecycle, Phase},
    platform::{Held, Vault, VaultError},
};

/// The field of the Secret.
const FIELD: &str = "keys.json";
/// How much news waits; there is one object.
const NEWS_WAITING_MAX: usize = 8;

/// The Secret as it was last heard of.
pub(super) struct SigningSecret {
    server: ApiServer,
    key: ObjectKey,
    held: latest::Receiver<Option<Held>>,
    leads: latest::Receiver<bool>,
    /// Ends with this.
    _watch: Watch,
}

impl SigningSecret {
    /// Begins to watch the Secret of this name in the router's own namespace.
    pub(super) fn watch(
        lifecycle: &Lifecycle,
        server: &ApiServer,
        name: &str,
        leads: latest::Receiver<bool>,
    ) -> Self {
        let key =
            ObjectKey { namespace: server.own_namespace.as_str().into(), name: Arc::from(name) };
        let subject = Subject {
            namespace: Some(Arc::clone(&key.namespace)),
            name: Some(Arc::clone(&key.name)),
            ..Subject::all("/api/v1", "secrets")
        };
        let (sender, news) = mpsc::channel(NEWS_WAITING_MAX);
        let watch = Watch::start(lifecycle, server, subject, sender, |news: News<Secret>| news);
        let (tell, held) = latest::channel(None);
        let (about, life) = (key.clone(), lifecycle.clone());
        lifecycle.spawn("signing secret", async move {
            tokio::select! {
                () = hear(about, news, tell) => {}
                () = life.reached(Phase::Stopped) => {}
            }
        });
        Self { server: server.clone(), key, held, leads, _watch: watch }
    }
}

async fn hear(
    key: ObjectKey,
    mut news: mpsc::Receiver<News<Secret>>,
    tell: latest::Sender<Option<Held>>,
) {
    while let Some(news) = news.recv().await {
        let object = match news {
            News::All(objects) => objects.into_iter().find(|object| object.key() == key),
            News::Changed(object) => Some(object),
            News::Gone(_) => None,
        };
        tell.send_replace(Some(object.map(|object| content(&object)).unwrap_or_default()));
    }
}

/// What a Secret holds. One without the field, or with bytes that are no text, holds an empty text,
/// which is no document: nobody writes over it.
fn content(secret: &Secret) -> Held {
    let bytes = secret.data.get(FIELD).and_then(|data| STANDARD.decode(&**data).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let revision = secret.metadata.resource_version.clone();
    Held { text: Some(ClearText::new(text)), revision }
}

impl Vault for SigningSecret {
    fn held(&self) -> latest::Receiver<Option<Held>> {
        self.held.clone()
    }

    fn leads(&self) -> latest::Receiver<bool> {
        self.leads.clone()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn write(&self, text: ClearText, over: Held) -> BoxFuture<'static, Result<(), VaultError>> {
        let (server, key) = (self.server.clone(), self.key.clone());
        Box::pin(async move {
            let request =
                if over.text.is_some() { patch(&key, &text, &over) } else { create(&key, &text) };
            let written = server.call::<IgnoredAny>(request).await;
            written.map(|_| ()).map_err(|error| told(&error, &key))
        })
    }
}

fn data(text: &ClearText) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(FIELD, STANDARD.encode(text.reveal()))])
}

fn create(key: &ObjectKey, text: &ClearText) -> Request<Vec<u8>> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": &*key.name,
            "namespace": &*key.namespace,
            "labels": {"app.kubernetes.io/managed-by": MADE_BY},
        },
        "data": data(text),
    });
    Request::post(format!(
        "/api/v1/namespaces/{}/secrets?fieldManager={FIELD_MANAGER}",
        key.namespace
    ))
    .header(CONTENT_TYPE, "application/json")
    .body(body.to_string().into_bytes())
    .expect("names of objects are made of letters that paths may have")
}

fn patch(key: &ObjectKey, text: &ClearText, over: &Held) -> Request<Vec<u8>> {
    let body = json!({
        "metadata": {"resourceVersion": &*over.revision},
        "data": data(text),
    });
    let (namespace, name) = (&key.namespace, &key.name);
    Request::builder()
        .method(Method::PATCH)
        .uri(format!("/api/v1/namespaces/{namespace}/secrets/{name}?fieldManager={FIELD_MANAGER}"))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(body.to_string().into_bytes())
        .expect("names of objects are made of letters that paths may have")
}

fn told(error: &CallError, key: &ObjectKey) -> VaultError {
    match error.code() {
        // Somebody else has made, changed or deleted it: the watch says how it is now.
        Some(404 | 409) => VaultError::Changed,
        Some(403) => VaultError::Failed(format!(
            "the router's role lacks the verb create or patch on Secret {key}"
        )),
        _ => VaultError::Failed(format!("Secret {key}: {error}")),
    }
}
