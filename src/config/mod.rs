//! What an operator may set about a router, with every default in one place.
//!
//! Promises: a [`RouterConfig`] is complete and within bounds. What is said in a [`RouterFile`] is
//! the weakest, `MODELWAY_…` variables are stronger, flags the strongest (contract §11).
//!
//! Not here: endpoints (`platform::spec`), the limits of the data plane (`proxy::Settings`).

mod file;

pub use file::RouterFile;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    domain::ClearText,
    lifecycle::MemoryLimit,
    platform::{kubernetes, local::Output},
    proxy, ring,
    telemetry::LogFormat,
    tokens::Roots,
};

/// Where clients come in.
pub const DATA_PORT: u16 = 8080;
/// Where clients come in by HTTPS.
pub const TLS_PORT: u16 = 8443;
/// Where health, metrics and the admin API are.
pub const ADMIN_PORT: u16 = 9001;
/// The Lease that says which router scales.
pub const LEASE_NAME: &str = "modelway";
/// How long the last keys of a Secret that was deleted or emptied stay valid: time to notice an
/// accident, and not so long that deleting a Secret would revoke nothing.
pub const KEY_GRACE: Duration = Duration::from_secs(5 * 60);
/// The longest such time that may be set.
pub const KEY_GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The issuer that the router's own tokens name.
pub const TOKEN_ISSUER: &str = "modelway";
/// The longest such name in bytes: it stands in every token.
pub const TOKEN_ISSUER_BYTES_MAX: usize = 256;
/// The Secret with the keys that tokens are signed with.
pub const SIGNING_SECRET: &str = "modelway-signing-keys";
/// The most data-plane threads; far above the cores of any machine this runs on.
pub const WORKERS_MAX: usize = 256;
/// How long a draining `serve` still accepts, so that load balancers notice that it is not ready.
pub const SERVE_DRAIN_DELAY: Duration = Duration::from_secs(5);
/// How long `dev` waits for the last requests.
pub const DEV_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// What `serve` adds to the longest `requestTimeout` to wait for the last requests.
pub const DRAIN_MARGIN: Duration = Duration::from_secs(15);
/// Of the files that the process may open, the share that clients may use; the rest is for
/// replicas, the admin port and files.
pub const CLIENT_FILES_PERCENT: u64 = 45;

/// The shortest admin token in bytes: shorter ones can be guessed.
pub const ADMIN_TOKEN_BYTES_MIN: usize = 16;
/// The longest admin token in bytes: it has to fit into a header.
pub const ADMIN_TOKEN_BYTES_MAX: usize = 4096;

/// Where the admin token is.
#[derive(Debug, Clone)]
pub enum AdminToken {
    /// In this file, which is read again when it changes.
    File(PathBuf),
    /// Here.
    Text(ClearText),
}

/// Everything about one router process.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Endpoint files; none means the embedded demo.
    pub files: Vec<PathBuf>,
    /// The cluster that the endpoints come from instead.
    pub kubernetes: Option<kubernetes::Settings>,
    /// Where clients come in.
    pub data: SocketAddr,
    /// HTTPS, where it is served.
    pub https: Option<HttpsConfig>,
    /// Where the admin port is.
    pub admin: SocketAddr,
    /// The credential for what the admin port shows and changes of secrets.
    pub admin_token: Option<AdminToken>,
    /// Whether callers on this machine need none while the admin port listens on loopback and there is
    /// no admin token.
    pub admin_open: bool,
    /// What is set about the router's own tokens.
    pub ring: ring::Settings,
    /// The file with the keys that tokens are signed with; `None`: they end with the process. A router
    /// of a cluster has them in a Secret.
    pub signing_keys: Option<PathBuf>,
    /// Data-plane threads.
    pub workers: usize,
    /// Which certificates of outside issuers are believed.
    pub issuer_roots: Roots,
    /// Limits and waits of the data plane.
    pub proxy: proxy::Settings,
    /// Which limit of memory counts.
    pub memory_limit: MemoryLimit,
    /// How long accepting goes on after SIGTERM.
    pub drain_delay: Duration,
    /// How long running requests may take after that; `None`: the longest `requestTimeout` and
    /// [`DRAIN_MARGIN`].
    pub drain_timeout: Option<Duration>,
    /// Whether there is an access log, and in which form.
    pub access_log: Option<LogFormat>,
    /// Where the output of replica processes goes.
    pub replica_output: Output,
}

/// HTTPS of one router.
#[derive(Debug, Clone)]
pub struct HttpsConfig {
    /// Where clients come in by it.
    pub address: SocketAddr,
    /// The certificates.
    pub tls: proxy::TlsSettings,
    /// What becomes of requests without it. Port 0 of a redirect stands for the one that is bound.
    pub plain: proxy::Plain,
}
