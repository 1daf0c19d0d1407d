//! The router's own configuration file: the weakest of file, environment and flags.

use std::{net::IpAddr, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;

use crate::platform::spec::DurationText;

/// What the file of `--config` may say; every field has a flag and a variable of the same name.
/// Relative paths are relative to where the router is started.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouterFile {
    /// Endpoint files.
    pub files: Vec<PathBuf>,
    /// Address for clients.
    pub address: Option<IpAddr>,
    /// Port for clients.
    pub port: Option<u16>,
    /// Address of the admin port.
    pub admin_address: Option<IpAddr>,
    /// The admin port.
    pub admin_port: Option<u16>,
    /// File with the admin token.
    pub admin_token_file: Option<PathBuf>,
    /// File with the keys that tokens are signed with.
    pub signing_keys: Option<PathBuf>,
    /// How often such a key is made.
    pub signing_rotation: Option<DurationText>,
    /// The issuer that the router's own tokens name.
    pub token_issuer: Option<String>,
    /// Data-plane threads.
    pub workers: Option<usize>,
    /// How long accepting goes on after SIGTERM.
    pub drain_delay: Option<DurationText>,
    /// How long requests may take to finish after that.
    pub drain_timeout: Option<DurationText>,
    /// Whether there is an access log.
    pub access_log: Option<bool>,
    /// Form of logs: auto, json or text.
    pub log_format: Option<String>,
    /// Output of replica processes: prefixed, off, or a folder.
    pub replica_output: Option<String>,
    /// The most client connections at once.
    pub connections_max: Option<usize>,
    /// The most client connections of one address.
    pub connections_per_address: Option<usize>,
    /// Requests of one client connection.
    pub requests_per_connection: Option<NonZeroU32>,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams_max: Option<u32>,
    /// How long a new connection may say nothing.
    pub silence_limit: Option<DurationText>,
    /// How long the head of a request may take.
    pub head_limit: Option<DurationText>,
    /// How long the body of a request may pause.
    pub body_stall_limit: Option<DurationText>,
    /// How long a client may leave its answer unread.
    pub write_stall_limit: Option<DurationText>,
    /// How long a connection is kept without a request.
    pub idle_limit: Option<DurationText>,
    /// Wrong credentials of one address that are looked at closely at once.
    pub failed_credentials_burst: Option<NonZeroU32>,
    /// Further ones in each second.
    pub failed_credentials_rate: Option<NonZeroU32>,
    /// Which limit of memory counts: cgroup, off or a size.
    pub memory_limit: Option<String>,
    /// A reused connection that closes within this time did not start the request.
    pub reuse_retry_limit: Option<DurationText>,
    /// Port for clients by HTTPS.
    pub tls_port: Option<u16>,
    /// File with the certificate and its chain.
    pub tls_cert: Option<PathBuf>,
    /// File with its private key.
    pub tls_key: Option<PathBuf>,
    /// Folders with a certificate and its key each.
    pub tls_dirs: Vec<PathBuf>,
    /// File with the authorities of clients' certificates.
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients without a certificate are refused: require or optional.
    pub tls_client_auth: Option<String>,
    /// What becomes of requests without TLS: serve, redirect or refuse.
    pub plain: Option<String>,
    /// The port of HTTPS in redirects.
    pub redirect_port: Option<u16>,
    /// Certificates that vouch for outside issuers.
    pub issuer_ca: Option<PathBuf>,
    /// Whether endpoints are objects of a Kubernetes cluster.
    pub kubernetes: bool,
    /// Namespaces whose endpoints are served.
    pub namespaces: Vec<String>,
    /// Whether pods with azureml-fe's labels are served too.
    pub legacy_labels: bool,
    /// The Lease that says which router scales.
    pub lease_name: Option<String>,
    /// What stands before the path in scoring URIs.
    pub public_url: Option<String>,
    /// Labels of the routers' own pods.
    pub router_selector: Option<String>,
    /// How long the last keys of a Secret that was deleted or emptied stay valid.
    pub key_grace: Option<DurationText>,
    /// The Secret with the keys that tokens are signed with.
    pub signing_secret: Option<String>,
    /// Path of a kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    pub context: Option<String>,
}
