//! Where a router gets its endpoints from: files, or a cluster.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    edits::{Edits, FileKeys},
    files::{Files, Ready, tell},
    own_tokens,
    start::Say,
};
use crate::{
    config::RouterConfig,
    control::{DecisionSink, always_leads},
    domain::{AuthMode, CatalogSink, LoadSource},
    lifecycle::Lifecycle,
    platform::{
        KeyStore, Platform, Reviewer, Vault,
        kubernetes::{self, Kubernetes},
        local::{self, Local, Seen},
    },
    telemetry::Metrics,
};

/// The source, before anything runs.
pub(super) enum Source {
    /// Files, read and found good.
    Files(Box<Files>, Ready),
    /// A cluster.
    Cluster(kubernetes::Settings),
}

/// The source at work.
pub(super) struct Begun {
    pub(super) platform: Arc<dyn Platform>,
    /// Whether this router scales.
    pub(super) leads: watch::Receiver<bool>,
    /// Who else wants to know of decisions.
    pub(super) decided: Option<DecisionSink>,
    /// Where the keys are kept.
    pub(super) keys: Arc<dyn KeyStore>,
    /// Who knows callers of the admin port.
    pub(super) reviewer: Option<Arc<dyn Reviewer>>,
    /// Where the keys that tokens are signed with are kept.
    pub(super) vault: Arc<dyn Vault>,
}

impl Source {
    /// Reads the files, unless the endpoints come from a cluster.
    pub(super) fn open(config: &RouterConfig, say: &Say) -> anyhow::Result<Self> {
        if let Some(settings) = &config.kubernetes {
            return Ok(Self::Cluster(settings.clone()));
        }
        let binary = std::env::current_exe().context("cannot find the router's own binary")?;
        let mut files = Files::new(config.files.clone(), binary);
        let ready = files.load().map_err(|problems| {
            tell(say, &problems);
            match problems.len() {
                1 => anyhow::anyhow!("the endpoints have a problem, see above"),
                count => anyhow::anyhow!("the endpoints have {count} problems, see above"),
            }
        })?;
        Ok(Self::Files(Box::new(files), ready))
    }

    /// Says what a person at a terminal wants to know first.
    pub(super) fn greet(&self, say: &Say, base: &str, admin: SocketAddr) {
        match self {
            Self::Files(_, ready) => greet(say, ready, base),
            Self::Cluster(settings) => {
                let scope = match settings.namespaces.as_slice() {
                    [] => "all namespaces".to_owned(),
                    names => names.join(", "),
                };
                say(&format!("endpoints of {scope}"));
                say(&format!("scoring   {base}/api/v1/endpoint/NAME/score"));
            }
        }
        say(&format!("admin     http://{admin}"));
        say("Ctrl-C    ends the router and its replicas");
    }

    /// Starts the platform.
    pub(super) async fn begin(
        self,
        lifecycle: &Lifecycle,
        config: &RouterConfig,
        sink: CatalogSink,
        load: Arc<dyn LoadSource>,
        metrics: &Arc<Metrics>,
        say: &Say,
    ) -> anyhow::Result<Begun> {
        let catalog = lifecycle.condition("catalog");
        match self {
            Self::Files(files, ready) => {
                let sink: CatalogSink = Arc::new(move |new| {
                    sink(new);
                    catalog.met();
                });
                let output = config.replica_output.clone();
                let settings = local::Settings::of_this_binary()?;
                let local = Local::start(lifecycle, sink, load, output, settings);
                local.apply(ready.endpoints);
                let watched = (files.paths().to_vec(), files.seen_first());
                let edits = Arc::new(Edits {
                    files: Mutex::new(*files),
                    local: local.clone(),
                    metrics: Arc::clone(metrics),
                    say: Arc::clone(say),
                });
                follow(lifecycle, watched, &edits);
                Ok(Begun {
                    platform: Arc::new(local),
                    leads: always_leads(),
                    decided: None,
                    keys: Arc::new(FileKeys(edits)),
                    reviewer: None,
                    vault: own_tokens::vault(config, None)?,
                })
            }
            Self::Cluster(settings) => {
                let cluster = Kubernetes::start(lifecycle, settings, sink, catalog).await?;
                let (leads, told) = (cluster.leads(), cluster.clone());
                let decided: DecisionSink = Arc::new(move |decision| told.decided(decision));
                Ok(Begun {
                    leads,
                    decided: Some(decided),
                    keys: Arc::new(cluster.clone()),
                    reviewer: Some(Arc::new(cluster.clone())),
                    vault: own_tokens::vault(config, Some(&cluster))?,
                    platform: Arc::new(cluster),
                })
            }
        }
    }
}

/// Applies every edit of the files.
fn follow(lifecycle: &Lifecycle, watched: (Vec<PathBuf>, Seen), edits: &Arc<Edits>) {
    let (paths, seen) = watched;
    if !paths.is_empty() {
        let edits = Arc::clone(edits);
        local::watch_since(lifecycle, paths, seen, move || edits.reload());
    }
}

fn greet(say: &Say, ready: &Ready, base: &str) {
    tell(say, &ready.warnings);
    for spec in &ready.endpoints {
        let name = &spec.endpoint.name;
        let uri = format!("{base}/api/v1/endpoint/{name}/score");
        let key = ready.new_keys.iter().find(|(endpoint, _)| endpoint == name).map(|(_, key)| key);
        say(&format!("endpoint  {name}"));
        say(&format!("  scoring  {uri}"));
        let credential = match (spec.endpoint.auth.mode, key) {
            (AuthMode::None, _) => String::new(),
            (_, Some(key)) => {
                say(&format!("  key      {key}"));
                format!(" -H 'Authorization: Bearer {key}'")
            }
            (AuthMode::Token, None) => {
                say(
                    "  token    of the router or of one of its issuers; before you paste: export MODELWAY_TOKEN=…",
                );
                " -H \"Authorization: Bearer $MODELWAY_TOKEN\"".to_owned()
            }
            (_, None) => {
                say("  key      as in its Secret; before you paste: export MODELWAY_KEY=…");
                " -H \"Authorization: Bearer $MODELWAY_KEY\"".to_owned()
            }
        };
        // Without the type curl announces a form, and a real scoring script gets nothing.
        let content = "-H 'Content-Type: application/json' -d '{\"data\": [1, 2, 3]}'";
        // Alone on its line, so that the whole line can be pasted.
        say(&format!("curl {uri}{credential} {content}"));
    }
}
