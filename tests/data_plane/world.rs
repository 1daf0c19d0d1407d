//! The router that the tests of this suite share, with an endpoint for each kind of need.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

use crate::support::{
    replica::{Replica, Step, answer},
    router::Router,
};

/// The keys of the endpoint `keyed` and of those like it.
pub(crate) const PRIMARY: &str = "plane-primary-key-0123456789abcdef";
pub(crate) const SECONDARY: &str = "plane-secondary-key-0123456789abcdef";

/// A router with its replicas.
pub(crate) struct World {
    pub(crate) router: Router,
    replicas: BTreeMap<String, Replica>,
}

/// Endpoint, further lines of its spec, versions with their further lines.
type Endpoint = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const OPEN: &str = "auth: {mode: None}";
const KEYED: &str = "auth: {mode: Key, secretRef: {name: keys}}";
const MANY: &str = "maxConcurrentRequestsPerReplica: 1000";
const ONE_QUICK: &str = "requestTimeout: 700ms, streamIdleTimeout: 600ms, maxQueueWait: 30s";

const ENDPOINTS: &[Endpoint] = &[
    (
        "plain",
        "auth: {mode: None}\n  hosts: [plain.example]",
        &[
            ("blue", MANY),
            ("path", "maxConcurrentRequestsPerReplica: 100, scoringPath: /v2/models/m/infer"),
        ],
    ),
    ("keyed", KEYED, &[("only", MANY)]),
    (
        "trusted",
        "auth: {mode: Key, secretRef: {name: keys}, forwardCredentials: true}",
        &[("only", MANY)],
    ),
    (
        "managed",
        "auth: {mode: None}\n  errorProfile: managed",
        &[("only", "requestTimeout: 500ms, maxQueueLength: 1, maxQueueWait: 300ms")],
    ),
    (
        "by-header",
        "auth: {mode: None}\n  stickyBy: {header: x-user}",
        &[("aaa", "trafficPercentile: 50"), ("bbb", "trafficPercentile: 50")],
    ),
    (
        "by-cookie",
        "auth: {mode: None}\n  stickyBy: {cookie: session}",
        &[("aaa", "trafficPercentile: 50"), ("bbb", "trafficPercentile: 50")],
    ),
    ("upload", OPEN, &[("only", "maxConcurrentRequestsPerReplica: 100, requestTimeout: 300s")]),
    ("small", "auth: {mode: None}\n  limits: {maxPayload: 1000}", &[("only", MANY)]),
    ("quick", OPEN, &[("only", ONE_QUICK)]),
    ("single", OPEN, &[("only", "maxQueueWait: 30s")]),
    ("hostile", OPEN, &[("only", "maxQueueWait: 30s, requestTimeout: 20s")]),
    ("early", OPEN, &[("only", "maxQueueWait: 30s")]),
    ("late", OPEN, &[("only", "maxQueueWait: 30s")]),
    ("faults", OPEN, &[("only", "maxQueueWait: 30s, requestTimeout: 20s")]),
    ("retried", OPEN, &[("only", "maxQueueWait: 30s")]),
    ("timed", "auth: {mode: None}\n  serverTiming: true", &[("only", MANY)]),
    ("full", OPEN, &[("only", "maxQueueLength: 1, maxQueueWait: 300ms")]),
];

/// Endpoint `half` has a replica and a place at which nobody answers, `empty` has nothing.
fn half(live: &Replica) -> String {
    format!(
        "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\nmetadata: {{name: half}}\n\
         spec:\n  auth: {{mode: None}}\n  versions:\n  - {{name: only, maxQueueWait: 30s, \
         targetRef: {{kind: Addresses, addresses: [\"{}\", \"127.0.0.1:{}\"]}}, \
         probe: {{none: {{}}}}}}\n---\n",
        live.address,
        unused_port()
    ) + "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\nmetadata: {name: empty}\n\
         spec:\n  auth: {mode: None}\n  versions:\n  - {name: only, maxQueueWait: 30s, \
         targetRef: {kind: Addresses, addresses: []}}\n---\n"
}

/// A port that was free a moment ago and that nobody is told about.
fn unused_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port").port()
}

/// The world, made by the first test that needs it and ended with the last.
pub(crate) fn world() -> Arc<World> {
    static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    shared.upgrade().unwrap_or_else(|| {
        let world = Arc::new(World::start(&[]));
        *shared = Arc::downgrade(&world);
        world
    })
}

impl World {
    /// A world of one's own, with further arguments for the router.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut yaml = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n\
             stringData: {{primaryKey: {PRIMARY}, secondaryKey: {SECONDARY}}}\n---\n"
        );
        let mut replicas = BTreeMap::new();
        for (name, spec, versions) in ENDPOINTS {
            let head = "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\n";
            write!(yaml, "{head}metadata: {{name: {name}}}\nspec:\n  {spec}\n  versions:\n")
                .expect("text");
            for (version, more) in *versions {
                let replica = Replica::start();
                common_scripts(&replica);
                let address = replica.address;
                writeln!(
                    yaml,
                    "  - {{name: {version}, {more}, targetRef: {{kind: Addresses, \
                     addresses: [\"{address}\"]}}, probe: {{tcp: {{}}}}}}"
                )
                .expect("text");
                let alone = versions.len() == 1;
                let key = if alone { (*name).to_owned() } else { format!("{name}/{version}") };
                replicas.insert(key, replica);
            }
            yaml.push_str("---\n");
        }
        let live = Replica::start();
        yaml.push_str(&half(&live));
        replicas.insert("half".to_owned(), live);
        let router = Router::start(&yaml, arguments);
        Self { router, replicas }
    }

    /// The replica of an endpoint with one version, or of `endpoint/version`.
    pub(crate) fn replica(&self, name: &str) -> &Replica {
        self.replicas.get(name).expect("a replica of this name")
    }

    /// The sum of a metric over all series that carry these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (status, text) = self.router.admin_get("/metrics");
        assert_eq!(status, 200);
        let wanted: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
        text.lines()
            .filter(|line| line.starts_with(name) && wanted.iter().all(|w| line.contains(w)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric is exactly this much; the account of a request is told at its end.
    pub(crate) fn await_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} = {value}");
        self.router.eventually(Duration::from_secs(20), &what, |_| {
            ((self.metric(name, labels) - value).abs() < 0.5).then_some(())
        });
    }
}

/// Scripts that many tests use.
fn common_scripts(replica: &Replica) {
    replica.script("slow", |_, _| {
        vec![Step::Body, Step::Wait(Duration::from_millis(300)), ok("slow")]
    });
    replica.script("stuck", |_, _| vec![Step::Body, Step::Hangup(Duration::from_secs(40))]);
    replica.script("close", |_, _| vec![Step::Body, Step::Close]);
    replica.script("reset", |_, _| vec![Step::Body, Step::Reset]);
}

/// 200 with this body.
pub(crate) fn ok(body: &str) -> Step {
    Step::Send(answer("200 OK", "", body))
}
