//! One router, and a lane for each thread of the suite: endpoints of its own with a replica of its
//! own, so that everything which that replica sees belongs to the case of the moment.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use crate::{
    recorder::{Recorded, Recorder},
    support::router::Router,
    text::Names,
};

/// How many cases run at once.
pub(crate) const LANES: usize = 12;
/// The key of the endpoints that want one.
const KEY: &str = "hostile-primary-key-0123456789abcdef";
/// `maxPayload` of the endpoint for small requests.
pub(crate) const SMALL_BYTES_MAX: usize = 1000;

/// How long the replicas may take to be found ready.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The router with its replicas.
pub(crate) struct World {
    pub(crate) router: Router,
    lanes: Vec<Recorder>,
}

/// One thread's own part of it.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'w> {
    number: usize,
    /// Where clients come in.
    pub(crate) address: SocketAddr,
    recorder: &'w Recorder,
}

impl World {
    /// Starts everything.
    pub(crate) fn start() -> Self {
        let lanes: Vec<Recorder> = (0..LANES).map(|_| Recorder::start()).collect();
        let mut yaml = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n\
             stringData: {{primaryKey: {KEY}, secondaryKey: {KEY}-2}}\n---\n"
        );
        for (number, lane) in lanes.iter().enumerate() {
            let keyed = "auth: {mode: Key, secretRef: {name: keys}}";
            for (suffix, spec) in [
                ("", format!("auth: {{mode: None}}\n  hosts: [lane-{number}.example]")),
                ("-key", keyed.to_owned()),
                ("-small", format!("{keyed}\n  limits: {{maxPayload: {SMALL_BYTES_MAX}}}")),
            ] {
                write!(
                    yaml,
                    "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\n\
                     metadata: {{name: lane-{number}{suffix}}}\nspec:\n  {spec}\n  versions:\n  \
                     - {{name: only, maxConcurrentRequestsPerReplica: 1000, \
                     targetRef: {{kind: Addresses, addresses: [\"{}\"]}}, probe: {{tcp: {{}}}}}}\n---\n",
                    lane.address
                )
                .expect("text");
            }
        }
        let world = Self { router: Router::start(&yaml, &[]), lanes };
        world.router.await_replicas("only", "ready", LANES * 3, START_LIMIT);
        world
    }

    /// The lane of this number.
    pub(crate) fn lane(&self, number: usize) -> Lane<'_> {
        Lane { number, address: self.router.data, recorder: &self.lanes[number] }
    }
}

impl Lane<'_> {
    /// What the placeholders of a case stand for in this lane.
    pub(crate) fn names(&self, id: &str) -> Names {
        let number = self.number;
        let base = format!("/api/v1/endpoint/lane-{number}");
        Names::from([
            ("id", id.to_owned()),
            ("path", format!("{base}/{id}")),
            ("get", format!("GET {base}/{id} HTTP/1.1\r\nHost: t\r\n\r\n")),
            ("keyed", format!("{base}-key/{id}")),
            ("small", format!("{base}-small/{id}")),
            ("host", format!("lane-{number}.example")),
            ("key", KEY.to_owned()),
            ("base", base),
        ])
    }

    /// The path of a request that is as good as any.
    pub(crate) fn good_path(&self, mark: &str) -> String {
        format!("/api/v1/service/lane-{}/good?{mark}", self.number)
    }

    /// Takes out what the replica has seen.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        self.recorder.take()
    }
}
