//! A router with HTTPS, its authority, and endpoints of each kind.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, sync::Weak, time::Duration};

use parking_lot::Mutex;

use crate::{
    client::Hello,
    pki::{Authority, Leaf},
    support::{
        replica::Replica,
        router::Router,
        watch::{metric, until},
    },
};

/// The key of the endpoint `keyed`.
pub(crate) const KEY: &str = "site-primary-key-0123456789abcdef";
/// A request to the scripted replica.
pub(crate) const SCORE: &str = "POST /api/v1/endpoint/plain/score";
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The router and what belongs to it.
pub(crate) struct Site {
    pub(crate) router: Router,
    /// Where HTTPS is.
    pub(crate) secure: SocketAddr,
    pub(crate) replica: Replica,
    pub(crate) authority: Authority,
    /// The pairs, the first for `localhost`.
    pub(crate) leaves: Vec<Leaf>,
    folder: tempfile::TempDir,
}

/// The hosts of the pairs, in order.
const HOSTS: [&[&str]; 4] = [
    &["localhost", "127.0.0.1"],
    &["one.example", "two.example"],
    &["*.wild.example"],
    &["deep.wild.example", "ONE.example"],
];

/// The site that most tests share, made by the first that needs it.
pub(crate) fn site() -> Arc<Site> {
    static SHARED: Mutex<Weak<Site>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    shared.upgrade().unwrap_or_else(|| {
        let site = Arc::new(Site::start(&[]));
        *shared = Arc::downgrade(&site);
        site
    })
}

fn endpoints(replica: SocketAddr) -> String {
    let head = "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\n";
    let endpoint = |name: &str, spec: &str| {
        format!(
            "{head}metadata: {{name: {name}}}\nspec:\n  {spec}\n  versions:\n  - {{name: only, \
             maxConcurrentRequestsPerReplica: 1000, targetRef: {{kind: Addresses, \
             addresses: [\"{replica}\"]}}, probe: {{tcp: {{}}}}}}\n---\n"
        )
    };
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n\
         stringData: {{primaryKey: {KEY}, secondaryKey: site-secondary-key-0123456789ab}}\n---\n"
    );
    let chat = format!(
        "{head}metadata: {{name: chat}}\nspec:\n  auth: {{mode: None}}\n  versions:\n  - \
         {{name: model, replicas: 1, autoscale: {{enabled: false}}, maxQueueWait: 10s, \
         maxConcurrentRequestsPerReplica: 8, targetRef: {{kind: Process, command: \
         [modelway, model, --port, \"{{port}}\"]}}}}\n---\n"
    );
    [
        secret,
        endpoint("plain", "auth: {mode: None}"),
        endpoint("small", "auth: {mode: None}\n  limits: {maxPayload: 1000}"),
        endpoint("single", "auth: {mode: None}").replace(
            "{name: only, maxConcurrentRequestsPerReplica: 1000,",
            "{name: one, maxQueueWait: 60s,",
        ),
        endpoint("keyed", "auth: {mode: Key, secretRef: {name: keys}}"),
        chat,
    ]
    .concat()
}

impl Site {
    /// A site of one's own, with further arguments for the router.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let authority = Authority::new("authority of the test");
        let leaves: Vec<Leaf> = HOSTS.iter().map(|hosts| authority.sign(hosts)).collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut flags = vec!["--tls-port".to_owned(), "0".to_owned()];
        for (number, leaf) in leaves.iter().enumerate() {
            let pair = folder.path().join(format!("pair-{number}"));
            leaf.put(&pair);
            flags.extend(["--tls-dir".to_owned(), pair.display().to_string()]);
        }
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        Self::with(authority, leaves, folder, &flags)
    }

    /// A site with exactly these flags about TLS.
    pub(crate) fn with(
        authority: Authority,
        leaves: Vec<Leaf>,
        folder: tempfile::TempDir,
        flags: &[&str],
    ) -> Self {
        let replica = Replica::start();
        let router = Router::start(&endpoints(replica.address), flags);
        let secure = address(&router, "https").expect("the router says where HTTPS is");
        router.await_replicas("only", "ready", 3, SOON);
        router.await_replicas("model", "ready", 1, SOON);
        Self { router, secure, replica, authority, leaves, folder }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// A client that trusts the authority, for `localhost`.
    pub(crate) fn hello(&self) -> Hello {
        Hello::to("localhost", Some(self.authority.roots()))
    }

    /// How many handshakes ended so.
    pub(crate) fn handshakes(&self, result: &str) -> f64 {
        metric(&self.router, "modelway_tls_handshakes_total", &[&format!("result=\"{result}\"")])
    }

    /// Waits until at least this many handshakes have ended so.
    pub(crate) fn await_handshakes(&self, result: &str, count: f64) {
        until(SOON, &format!("{count} handshakes {result}"), || {
            (self.handshakes(result) > count - 0.5).then_some(())
        });
    }
}

/// An address that the router has printed after this word.
pub(crate) fn address(router: &Router, word: &str) -> Option<SocketAddr> {
    let lines = router.lines();
    let line = lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))?;
    let line = line.trim();
    let rest = line.strip_prefix("https://").or_else(|| line.strip_prefix("http://"))?;
    rest.split([' ', '/']).next()?.parse().ok()
}
