//! Keys from Secrets: each Secret is watched by its name, and made where there is none.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Request};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::{
    client::{ApiServer, CallError},
    facts::Fact,
    objects::{Meta, Object as _, ObjectKey, Secret},
    report::SecretState,
    watch::{News, Subject, Watch},
};
use crate::{
    domain::KeyDigest,
    lifecycle::Lifecycle,
    platform::{
        new_key,
        spec::{
            key_digest,
            types::{API_VERSION, KIND},
        },
    },
};

/// The most Secrets that are watched, each on a connection of its own: the API server's client has
/// no HTTP/2. Endpoints beyond it have no keys, and say so.
pub(super) const SECRETS_MAX: usize = 1000;
/// How long keys are not made again after that failed.
const MAKE_AGAIN_AFTER: Duration = Duration::from_secs(5);
const PRIMARY: &str = "primaryKey";
const SECONDARY: &str = "secondaryKey";
/// Marks a Secret that a router made, and may make again when it is deleted.
const MADE_BY: &str = "modelway";

/// Who made a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// A router; as long as there was none, a router may make it.
    Router,
    Person,
}

/// One Secret.
#[derive(Debug)]
struct Kept {
    watch: Watch,
    /// Nothing has been heard yet.
    is_unknown: bool,
    state: SecretState,
    /// The newest good keys: primary, then secondary. They stay when the Secret turns bad.
    digests: Vec<KeyDigest>,
    /// Whose the keys are.
    owner: Owner,
    make_at: Option<Instant>,
    making: bool,
}

/// All Secrets that endpoints in force name.
pub(super) struct Keys {
    lifecycle: Lifecycle,
    server: ApiServer,
    facts: mpsc::Sender<Fact>,
    kept: HashMap<ObjectKey, Kept>,
}

impl Keys {
    pub(super) fn new(lifecycle: Lifecycle, server: ApiServer, facts: mpsc::Sender<Fact>) -> Self {
        Self { lifecycle, server, facts, kept: HashMap::new() }
    }

    /// Watches exactly these.
    pub(super) fn follow(&mut self, wanted: &HashSet<ObjectKey>) {
        self.kept.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if self.kept.contains_key(key) || self.kept.len() >= SECRETS_MAX {
                continue;
            }
            let subject = Subject {
                namespace: Some(Arc::clone(&key.namespace)),
                name: Some(Arc::clone(&key.name)),
                ..Subject::all("/api/v1", "secrets")
            };
            let about = key.clone();
            let wrap = move |news| Fact::Secret(about.clone(), news);
            let watch =
                Watch::start(&self.lifecycle, &self.server, subject, self.facts.clone(), wrap);
            let kept = Kept {
                watch,
                is_unknown: true,
                state: SecretState::Missing,
                digests: Vec::new(),
                owner: Owner::Router,
                make_at: None,
                making: false,
            };
            self.kept.insert(key.clone(), kept);
        }
    }

    /// Takes news of a Secret.
    pub(super) fn hear(&mut self, key: &ObjectKey, news: News<Secret>) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        kept.is_unknown = false;
        let object = match news {
            News::All(objects) => objects.into_iter().find(|object| object.key() == *key),
            News::Changed(object) => Some(object),
            News::Gone(_) => None,
        };
        let Some(object) = object else {
            // Keys that were given out stay valid while it is away; what we made ourselves is made
            // anew, with other keys, which is how both are revoked at once.
            if kept.is_lost() {
                tracing::warn!(secret = %key, "the Secret is gone; its last good keys stay in force");
            }
            kept.state = SecretState::Missing;
            return;
        };
        kept.owner = if is_made(&object) { Owner::Router } else { Owner::Person };
        match digests(&object) {
            Ok(digests) => {
                kept.digests = digests;
                kept.state = match kept.owner {
                    Owner::Router => SecretState::Made,
                    Owner::Person => SecretState::Found,
                };
            }
            Err(state) => kept.state = state,
        }
    }

    /// How keys that were to be made came out.
    pub(super) fn made(&mut self, key: &ObjectKey, result: Result<(), CallError>) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        kept.making = false;
        if let Err(error) = result {
            kept.make_at = Some(Instant::now() + MAKE_AGAIN_AFTER);
            if error.code() == Some(403) {
                kept.state = SecretState::Forbidden { verb: "create" };
            }
            tracing::warn!(secret = %key, %error, "keys cannot be made");
        }
    }

    /// The keys in force, and how it is with their Secret.
    pub(super) fn of(&self, key: &ObjectKey) -> (Vec<KeyDigest>, SecretState) {
        match self.kept.get(key) {
            None => (Vec::new(), SecretState::Missing),
            Some(kept) => (kept.digests.clone(), kept.seen_state()),
        }
    }

    /// A Secret of which nothing is known yet, not even that it may not be read.
    pub(super) fn unknown(&self) -> Option<&ObjectKey> {
        let mut kept = self.kept.iter();
        kept.find(|(_, kept)| kept.is_unknown && !kept.is_refused()).map(|(key, _)| key)
    }

    /// Makes the Secret where there is none; only the leader does.
    pub(super) fn make(&mut self, key: &ObjectKey, owner: Option<&Meta>) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        let is_due = kept.make_at.is_none_or(|at| at <= Instant::now());
        let is_absent =
            matches!(kept.state, SecretState::Missing | SecretState::Forbidden { verb: "create" });
        if kept.is_unknown || !is_absent || kept.making || !is_due || kept.is_lost() {
            return;
        }
        kept.making = true;
        let (server, facts, about) = (self.server.clone(), self.facts.clone(), key.clone());
        let body = body(key, owner);
        self.lifecycle.spawn("make keys", async move {
            let result = create(&server, &about, &body).await;
            drop(facts.send(Fact::KeysMade(about, result)).await);
        });
    }
}

impl Kept {
    /// A person's keys were here and the Secret is gone: making others would lock clients out.
    fn is_lost(&self) -> bool {
        self.owner == Owner::Person && !self.digests.is_empty()
    }

    fn is_refused(&self) -> bool {
        self.watch.progress().is_forbidden
    }

    fn seen_state(&self) -> SecretState {
        if self.is_refused() {
            SecretState::Forbidden { verb: "watch" }
        } else {
            self.state.clone()
        }
    }
}

fn is_made(secret: &Secret) -> bool {
    secret.metadata.labels.get("app.kubernetes.io/managed-by").is_some_and(|by| &**by == MADE_BY)
}

/// Primary, then secondary where there is one.
fn digests(secret: &Secret) -> Result<Vec<KeyDigest>, SecretState> {
    let read = |field: &'static str| {
        let text = secret.data.get(field)?;
        let unusable = |why| SecretState::Unusable(format!("`{field}` {why}").into());
        Some(key_digest(text).map_err(unusable))
    };
    let primary = read(PRIMARY).ok_or(SecretState::Lacks(PRIMARY))??;
    let secondary = read(SECONDARY).transpose()?;
    Ok([primary].into_iter().chain(secondary).collect())
}

fn body(key: &ObjectKey, owner: Option<&Meta>) -> serde_json::Value {
    let data: BTreeMap<_, _> =
        [PRIMARY, SECONDARY].into_iter().map(|field| (field, STANDARD.encode(new_key()))).collect();
    let owners = owner.map(|owner| {
        json!([{"apiVersion": API_VERSION, "kind": KIND, "name": &*owner.name, "uid": &*owner.uid}])
    });
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": &*key.name,
            "namespace": &*key.namespace,
            "labels": {"app.kubernetes.io/managed-by": MADE_BY},
            "ownerReferences": owners,
        },
        "data": data,
    })
}

/// A Secret that somebody else has made meanwhile is as good.
async fn create(
    server: &ApiServer,
    key: &ObjectKey,
    body: &serde_json::Value,
) -> Result<(), CallError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/namespaces/{}/secrets", key.namespace))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("names of objects are made of letters that paths may have");
    match server.call::<serde::de::IgnoredAny>(request).await {
        Err(error) if error.code() == Some(409) => Ok(()),
        result => result.map(|_| ()),
    }
}
