//! A router with what the attacks need behind it, and a look at its process.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};

use crate::support::{
    replica::{Replica, Step, answer},
    router::Router,
    watch::metric,
};

/// The key of the endpoint `keyed`.
pub(crate) const KEY: &str = "floods-primary-key-0123456789abcdef";
/// Where good requests go.
pub(crate) const GOOD: &str = "/api/v1/endpoint/good/score";
/// Where hostile ones go.
pub(crate) const BAD: &str = "/api/v1/endpoint/bad/score";

/// A router with an endpoint for good traffic, one for the rest, and one with a key.
pub(crate) struct World {
    pub(crate) router: Router,
    /// Behind `good` and `keyed`.
    _good: Replica,
    /// Behind `bad`.
    pub(crate) bad: Replica,
    _alone: MutexGuard<'static, ()>,
}

/// Endpoint files for these two replicas; `slots` are those of `bad`.
fn endpoints(good: &Replica, bad: &Replica, slots: u32) -> String {
    let mut yaml = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n\
         stringData: {{primaryKey: {KEY}, secondaryKey: {KEY}-2}}\n---\n"
    );
    let keyed = "{mode: Key, secretRef: {name: keys}}";
    for (name, auth, replica, slots) in [
        ("good", "{mode: None}", good, 1000),
        ("bad", "{mode: None}", bad, slots),
        ("keyed", keyed, good, 1000),
    ] {
        let address = replica.address;
        write!(
            yaml,
            "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\n\
             metadata: {{name: {name}}}\nspec:\n  auth: {auth}\n  versions:\n  - {{name: only, \
             maxConcurrentRequestsPerReplica: {slots}, requestTimeout: 300s, maxQueueLength: 1000, \
             targetRef: {{kind: Addresses, addresses: [\"{address}\"]}}, probe: {{tcp: {{}}}}}}\n---\n"
        )
        .expect("text");
    }
    yaml
}

impl World {
    /// With these further arguments for the router.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::make(1000, |yaml| Router::start(yaml, arguments))
    }

    /// With so many slots behind `bad`.
    pub(crate) fn with_slots(slots: u32, arguments: &[&str]) -> Self {
        Self::make(slots, |yaml| Router::start(yaml, arguments))
    }

    /// With so many files for the router.
    pub(crate) fn with_files(files: u32, arguments: &[&str]) -> Self {
        Self::make(1000, |yaml| Router::with_files(files, yaml, arguments))
    }

    fn make(slots: u32, start: impl FnOnce(&str) -> Router) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock();
        let (good, bad) = (Replica::start(), Replica::start());
        bad.script("stuck", |_, _| vec![Step::Body, Step::Hangup(Duration::from_secs(60))]);
        // An upload that came in whole keeps its request in progress for so long.
        bad.script("unread", |_, _| vec![Step::Hangup(Duration::from_secs(10))]);
        bad.script("second", |_, _| {
            vec![
                Step::Body,
                Step::Wait(Duration::from_secs(1)),
                Step::Send(answer("200 OK", "", "x")),
            ]
        });
        bad.script("large", |_, _| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 80000000\r\n\r\n";
            vec![Step::Body, Step::Send(head.to_vec()), Step::Flood(vec![0; 100_000], 800)]
        });
        let router = start(&endpoints(&good, &bad, slots));
        for version in ["good", "bad", "keyed"] {
            router.eventually(Duration::from_secs(20), "a ready replica", |router| {
                let replicas = router.admin_json("/api/v1/replicas");
                let replicas = replicas.as_array().expect("a list");
                let ready =
                    |r: &&serde_json::Value| r["endpoint"] == version && r["state"] == "ready";
                replicas.iter().find(ready).map(|_| ())
            });
        }
        Self { router, _good: good, bad, _alone: alone }
    }

    /// How many connections have met this limit.
    pub(crate) fn ended_by(&self, limit: &str) -> f64 {
        let label = format!("limit=\"{limit}\"");
        metric(&self.router, "modelway_connection_limits_total", &[&label])
    }

    /// A field of the router's `/proc/…/status` in KiB.
    pub(crate) fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.router.pid());
        let status = fs::read_to_string(path).expect("the router runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        let number = line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB");
        number.parse().expect("a number")
    }

    /// Resident memory of the router in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS")
    }

    /// CPU time of the router so far (proc_pid_stat(5): the 14th and the 15th field, in
    /// hundredths of a second).
    pub(crate) fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.router.pid());
        let stat = fs::read_to_string(path).expect("the router runs");
        let fields = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|f| f.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }
}

/// The largest value of something that is looked at again and again while `work` runs.
pub(crate) fn highest_while<T>(
    mut look: impl FnMut() -> u64 + Send,
    work: impl FnOnce() -> T,
) -> (u64, T) {
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut highest = look();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(20));
                highest = highest.max(look());
            }
            highest
        });
        let done = work();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        (looking.join().expect("looking does not fail"), done)
    })
}

/// A number from the environment for a long run.
pub(crate) fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// How long something took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}
