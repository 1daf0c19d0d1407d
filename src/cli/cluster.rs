//! The flags of `serve` that are about a Kubernetes cluster.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    config::{KEY_GRACE, KEY_GRACE_MAX, LEASE_NAME, RouterFile, SIGNING_SECRET},
    platform::{
        kubernetes::{Access, Settings},
        spec::DurationText,
    },
};

/// Where the cluster is and what is served of it.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ClusterArgs {
    /// Endpoints are InferenceEndpoint objects of a Kubernetes cluster, not files
    #[arg(long, env = "MODELWAY_KUBERNETES")]
    kubernetes: bool,
    /// Namespaces whose endpoints are served, separated by commas [default: all]
    #[arg(long, env = "MODELWAY_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Serve pods with azureml-fe's labels too, grouped by `azuremlappname`
    #[arg(long, env = "MODELWAY_LEGACY_LABELS")]
    legacy_labels: bool,
    /// The Lease that says which router scales, in the router's own namespace [default: modelway]
    #[arg(long, env = "MODELWAY_LEASE_NAME")]
    lease_name: Option<String>,
    /// What stands before the path in scoring URIs, for example <https://models.example>
    #[arg(long, env = "MODELWAY_PUBLIC_URL")]
    public_url: Option<String>,
    /// Labels by which routers find each other's pods, in their own namespace [default: none]
    #[arg(long, env = "MODELWAY_ROUTER_SELECTOR")]
    router_selector: Option<String>,
    /// How long the last keys of a Secret that was deleted or emptied stay valid [default: 5m]
    #[arg(long, env = "MODELWAY_KEY_GRACE", value_parser = humantime::parse_duration)]
    key_grace: Option<Duration>,
    /// The Secret with the keys that tokens are signed with, in the router's own namespace [default:
    /// modelway-signing-keys]
    #[arg(long, env = "MODELWAY_SIGNING_SECRET", value_name = "NAME")]
    signing_secret: Option<String>,
    /// Path of a kubeconfig [default: KUBECONFIG, the pod's service account, ~/.kube/config]
    #[arg(long, env = "MODELWAY_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, env = "MODELWAY_CONTEXT")]
    context: Option<String>,
}

/// Where the pod says its own namespace (a field of the pod's spec fills it in).
const OWN_NAMESPACE: &str = "MODELWAY_POD_NAMESPACE";

impl ClusterArgs {
    /// The settings, when the endpoints come from a cluster: flags and variables, then the file.
    pub(super) fn settings(
        self,
        file: &RouterFile,
        identity: String,
    ) -> anyhow::Result<Option<Settings>> {
        if !self.kubernetes && !file.kubernetes {
            return Ok(None);
        }
        let key_grace = self.key_grace.or(file.key_grace.map(|DurationText(grace)| grace));
        let key_grace = key_grace.unwrap_or(KEY_GRACE);
        if key_grace > KEY_GRACE_MAX {
            anyhow::bail!(
                "key-grace is at most {}, not {}",
                humantime::format_duration(KEY_GRACE_MAX),
                humantime::format_duration(key_grace)
            );
        }
        let namespaces =
            if self.namespaces.is_empty() { file.namespaces.clone() } else { self.namespaces };
        let public_url = self.public_url.or_else(|| file.public_url.clone()).unwrap_or_default();
        Ok(Some(Settings {
            access: Access {
                kubeconfig: self.kubeconfig.or_else(|| file.kubeconfig.clone()),
                context: self.context.or_else(|| file.context.clone()),
            },
            namespaces,
            legacy_labels: self.legacy_labels || file.legacy_labels,
            lease: self
                .lease_name
                .or_else(|| file.lease_name.clone())
                .unwrap_or_else(|| LEASE_NAME.to_owned()),
            identity,
            own_namespace: std::env::var(OWN_NAMESPACE).ok(),
            router_selector: self.router_selector.or_else(|| file.router_selector.clone()),
            public_url: public_url.trim_end_matches('/').to_owned(),
            key_grace,
            signing_secret: self
                .signing_secret
                .or_else(|| file.signing_secret.clone())
                .unwrap_or_else(|| SIGNING_SECRET.to_owned()),
        }))
    }
}
