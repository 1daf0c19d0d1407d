//! What is watched, and the requests that ask for it.

use std::{fmt, sync::Arc};

use http::Request;
use kube::core::{
    params::{GetParams, ListParams, VersionMatch, WatchParams},
    request::{Error, Request as Builder},
};

/// What is watched: one kind, in one namespace or in all.
#[derive(Debug, Clone)]
pub(in super::super) struct Subject {
    /// `/api/v1`, `/apis/apps/v1` and so on.
    pub(in super::super) group_path: &'static str,
    /// The kind as it stands in paths: `pods`.
    pub(in super::super) plural: &'static str,
    /// All namespaces without one.
    pub(in super::super) namespace: Option<Arc<str>>,
    /// Only the object of this name: all that a role with `resourceNames` may watch.
    pub(in super::super) name: Option<Arc<str>>,
    /// As `kubectl -l` takes it.
    pub(in super::super) label_selector: Option<String>,
    /// Only metadata is sent.
    pub(in super::super) metadata_only: bool,
}

/// How new the answer to a LIST must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Whatever the API server has in its cache: cheap for it, and possible while etcd is away.
    Any,
    /// At least as new as what is known already, so that a look-over never goes back in time.
    NotOlderThan(Box<str>),
    /// As etcd has it: for an answer that contradicts the cache.
    Latest,
}

impl Subject {
    /// Every object of the kind, in all namespaces.
    pub(in super::super) fn all(group_path: &'static str, plural: &'static str) -> Self {
        Self {
            group_path,
            plural,
            namespace: None,
            name: None,
            label_selector: None,
            metadata_only: false,
        }
    }

    /// The request of a LIST.
    pub(super) fn list(&self, freshness: &Freshness) -> Result<Request<Vec<u8>>, Error> {
        let (resource_version, version_match) = match freshness {
            Freshness::Any => (Some("0".to_owned()), None),
            Freshness::NotOlderThan(version) => {
                (Some(version.to_string()), Some(VersionMatch::NotOlderThan))
            }
            Freshness::Latest => (None, None),
        };
        let params = ListParams {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector(),
            version_match,
            resource_version,
            ..ListParams::default()
        };
        let builder = Builder::new(self.path());
        if self.metadata_only { builder.list_metadata(&params) } else { builder.list(&params) }
    }

    /// The request for the one object, where only one is watched. A role that may only `get` and
    /// `watch` by name is enough for it, and a LIST would need more.
    pub(super) fn get(&self) -> Option<Result<Request<Vec<u8>>, Error>> {
        let name = self.name.as_ref()?;
        let (builder, params) = (Builder::new(self.path()), GetParams::default());
        Some(if self.metadata_only {
            builder.get_metadata(name, &params)
        } else {
            builder.get(name, &params)
        })
    }

    /// The request of a WATCH that begins behind `version` and that the API server ends by itself.
    pub(super) fn watch(&self, version: &str, seconds: u32) -> Result<Request<Vec<u8>>, Error> {
        let params = WatchParams {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector(),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: false,
        };
        let builder = Builder::new(self.path());
        if self.metadata_only {
            builder.watch_metadata(&params, version)
        } else {
            builder.watch(&params, version)
        }
    }

    fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => {
                format!("{}/namespaces/{namespace}/{}", self.group_path, self.plural)
            }
            None => format!("{}/{}", self.group_path, self.plural),
        }
    }

    fn field_selector(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("metadata.name={name}"))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(namespace), None) => write!(f, " in {namespace}"),
            (None, _) => Ok(()),
        }?;
        match &self.label_selector {
            Some(labels) => write!(f, " with {labels}"),
            None => Ok(()),
        }
    }
}
