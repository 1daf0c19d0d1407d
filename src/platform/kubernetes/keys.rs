//! Keys from Secrets: each Secret is watched by its name, and made where there is none.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Request};
use jiff::Timestamp;
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
pub(super) const MADE_BY: &str = "modelway";

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
    /// Since when the Secret has no keys any more.
    lost: Option<Loss>,
    make_at: Option<Instant>,
    making: bool,
}

/// A Secret that had keys was deleted or emptied.
#[derive(Debug, Clone, Copy)]
struct Loss {
    /// When its last keys end.
    ends_at: Instant,
    /// The same for people.
    until: Timestamp,
    /// Whether the Secret is still there.
    is_emptied: bool,
    /// The last keys have ended.
    is_over: bool,
}

/// All Secrets that endpoints in force name.
pub(super) struct Keys {
    lifecycle: Lifecycle,
    server: ApiServer,
    facts: mpsc::Sender<Fact>,
    /// How long the last keys stay valid when their Secret is deleted or emptied.
    grace: Duration,
    kept: HashMap<ObjectKey, Kept>,
}

impl Keys {
    pub(super) fn new(
        lifecycle: Lifecycle,
        server: ApiServer,
        facts: mpsc::Sender<Fact>,
        grace: Duration,
    ) -> Self {
        Self { lifecycle, server, facts, grace, kept: HashMap::new() }
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
                lost: None,
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
            // Keys that were given out stay valid for a while; what we made ourselves is made anew,
            // with other keys, which is how both are revoked at once.
            kept.lose(key, self.grace, false);
            kept.state = SecretState::Missing;
            return;
        };
        kept.owner = if is_made(&object) { Owner::Router } else { Owner::Person };
        match digests(&object) {
            Ok(digests) => {
                kept.digests = digests;
                kept.lost = None;
                kept.state = match kept.owner {
                    Owner::Router => SecretState::Made,
                    Owner::Person => SecretState::Found,
                };
            }
            Err(state) => {
                if is_emptied(&object) {
                    kept.lose(key, self.grace, true);
                }
                kept.state = state;
            }
        }
    }

    /// Ends the keys whose Secret has had none for longer than the grace; whose keys these were.
    pub(super) fn expire(&mut self) -> Vec<ObjectKey> {
        let now = Instant::now();
        let mut ended = Vec::new();
        for (key, kept) in &mut self.kept {
            if let Some(loss) = &mut kept.lost
                && !loss.is_over
                && loss.ends_at <= now
            {
                loss.is_over = true;
                tracing::warn!(secret = %key, "the last keys of the Secret are not valid any more");
                ended.push(key.clone());
            }
        }
        ended
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
            Some(kept) => (kept.in_force(), kept.seen_state()),
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

    /// The Secret is gone, or has no keys any more.
    fn lose(&mut self, key: &ObjectKey, grace: Duration, is_emptied: bool) {
        if let Some(loss) = &mut self.lost {
            // The time runs on from the first loss, or else taking turns would make it endless.
            loss.is_emptied = is_emptied;
        } else if !self.digests.is_empty() {
            let until = Timestamp::now().saturating_add(grace).unwrap_or(Timestamp::MAX);
            tracing::warn!(
                secret = %key,
                is_emptied,
                %until,
                "the Secret has no keys any more; its last keys stay valid for a while"
            );
            let ends_at = Instant::now() + grace;
            self.lost = Some(Loss { ends_at, until, is_emptied, is_over: false });
        }
    }

    fn in_force(&self) -> Vec<KeyDigest> {
        if self.lost.is_some_and(|loss| loss.is_over) { Vec::new() } else { self.digests.clone() }
    }

    fn is_refused(&self) -> bool {
        self.watch.progress().is_forbidden
    }

    fn seen_state(&self) -> SecretState {
        if self.is_refused() {
            SecretState::Forbidden { verb: "watch" }
        } else if let Some(Loss { until, is_emptied, is_over, .. }) = self.lost {
            SecretState::Lost { until, is_emptied, is_over }
        } else {
            self.state.clone()
        }
    }
}

fn is_made(secret: &Secret) -> bool {
    secret.metadata.labels.get("app.kubernetes.io/managed-by").is_some_and(|by| &**by == MADE_BY)
}

/// There is no primary key, not even one that cannot be used.
fn is_emptied(secret: &Secret) -> bool {
    secret.data.get(PRIMARY).is_none_or(|text| text.is_empty())
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

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
