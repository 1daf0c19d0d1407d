//! Open-loop load through the Service while everything happens to a real cluster that may happen
//! to it: the books of the clients and of the models have to agree at the end.

use std::{
    collections::HashMap,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    installed::{Installed, LIMIT, key, pods},
    quickstart::{await_ready, install},
    support::{
        book::{Balance, Book},
        cluster::Cluster,
        kubectl::Kubectl,
        ledger::{Load, Plan},
        tool::leave_out,
        watch::{pass, until},
    },
};

/// How long the load goes on in CI; `MODELWAY_TEST_MINUTES` sets another length.
const LENGTH: Duration = Duration::from_secs(75);
/// Between the end of an event and the next one.
const EVENT_INTERVAL: Duration = Duration::from_secs(3);
/// How long the API server stays away.
const OUTAGE: Duration = Duration::from_secs(8);
/// How long the load goes on around a rollout of the router.
const AROUND: Duration = Duration::from_secs(4);
/// The longest load: the rest of the events of the last round included.
const LOAD_MAX: Duration = Duration::from_secs(3600);

/// What may happen: its name, and how.
type Event<'a> = (&'static str, fn(&Storm<'a>));

/// Quiet and busy in turn, so that the autoscaler goes up and down. On average 25 requests a second,
/// which keeps twenty minutes below the most requests of one load.
fn wave(since: Duration) -> f64 {
    if since.as_secs() % 24 < 12 { 40.0 } else { 10.0 }
}

#[test]
fn installed_from_the_manifests_it_loses_nothing_whatever_happens_to_the_cluster() {
    let test = "a storm over a real cluster";
    let Some(cluster) = Cluster::start(test) else { return };
    if !cluster.is_own() {
        return leave_out(test, "it takes away parts of the node, which is somebody's here");
    }
    let installed = install(&cluster);
    let storm = Storm::new(&cluster, &installed);
    let (ups, downs) = storm.blow();
    assert!(ups >= 1.0 && downs >= 1.0, "too little happened: up {ups}, down {downs}");
    storm.roll_the_router();
    storm.assert_nothing_crashed();
}

/// An endpoint as in the quick start, whose models keep books in a folder of the node.
struct Storm<'a> {
    cluster: &'a Cluster,
    installed: &'a Installed<'a>,
    here: Kubectl,
    ledger: PathBuf,
    key: String,
}

impl<'a> Storm<'a> {
    fn new(cluster: &'a Cluster, installed: &'a Installed<'a>) -> Self {
        let folder = cluster.dir().join("ledger");
        fs::create_dir(&folder).expect("a folder in the cluster's own");
        // The models run as a user without rights.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("ours");
        // No other level allows a folder of the node.
        let here = installed.namespace("storm", "privileged");
        here.apply(&with_books(&installed.quickstart(), &folder));
        let key = key(&here, "storm-keys");
        await_ready(&here, "storm");
        Self { cluster, installed, here, ledger: folder.join("lines"), key }
    }

    fn load(&self) -> Load {
        let plan = Plan {
            data: self.installed.service(),
            target: "/api/v1/endpoint/storm/score".to_owned(),
            rate: wave,
            length: LOAD_MAX,
            leavers_percent: 0,
        };
        Load::start_with_key(plan, &self.key)
    }

    /// Everything that happens to models and to the cluster, in turn. How often blue and green were
    /// scaled up and down.
    fn blow(&self) -> (f64, f64) {
        let minutes = env::var("MODELWAY_TEST_MINUTES").ok();
        let minutes = minutes.map(|text| text.parse::<u64>().expect("a number of minutes"));
        let length = minutes.map_or(LENGTH, |minutes| Duration::from_secs(60 * minutes));
        let events: [Event<'a>; 7] = [
            ("rollout of a model", |storm| storm.roll("deployment/storm-blue")),
            ("a model's pod deleted", |storm| storm.delete_one(&[])),
            ("split changed to 50", |storm| storm.split(50)),
            ("kubelet killed", Self::kill_kubelet),
            ("a model's pod deleted by force", |storm| {
                storm.delete_one(&["--grace-period=0", "--force"]);
            }),
            ("split changed to 20", |storm| storm.split(20)),
            ("API server away", Self::take_the_api_server),
        ];
        let load = self.load();
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < length || count < events.len() {
            let (name, happen) = events[count % events.len()];
            let start = Instant::now();
            happen(self);
            println!("{:>6.1?} {name}: took {:.1?}", begun.elapsed(), start.elapsed());
            pass(EVENT_INTERVAL);
            count += 1;
        }
        let decided = |direction: &str| {
            let labels = ["endpoint=\"storm\"", direction];
            self.installed.metric("modelway_scaling_decisions_total", &labels)
        };
        let (ups, downs) = (decided("\"up\""), decided("\"down\""));
        println!("{count} events in {:?}; scaled up {ups}, down {downs}", begun.elapsed());
        self.settle(load, 1);
        (ups, downs)
    }

    /// The new router is ready before the old one goes; clients come back through the Service.
    ///
    /// While there are two, each gives a replica as many requests as it has slots: routers do not
    /// share them.
    fn roll_the_router(&self) {
        let load = self.load();
        pass(AROUND);
        let begun = Instant::now();
        let own = &self.installed.own;
        own.run(&["rollout", "restart", "deployment/modelway"]);
        own.run(&["rollout", "status", "deployment/modelway", "--timeout=50s"]);
        println!("another router is ready after {:?}", begun.elapsed());
        until(LIMIT, "the old router ends", || (self.installed.pods().len() == 1).then_some(()));
        println!("the old one is gone after {:?}", begun.elapsed());
        pass(AROUND);
        self.settle(load, 2);
    }

    fn settle(&self, load: Load, slots: usize) -> Balance {
        load.stop();
        let outcomes = load.outcomes();
        let book = Book::read(&self.with_pods_for_processes());
        let balance = book.balance(&outcomes, &[], |_| slots);
        println!("{balance}");
        assert!(balance.faults.is_empty(), "{balance}");
        assert!(balance.good == outcomes.len() && balance.good > 100, "{balance}");
        // The next load names its requests alike.
        fs::write(&self.ledger, "").expect("the test's own file");
        balance
    }

    /// The ledger with a number for each pod in the place of the process id, which is 1 in each.
    fn with_pods_for_processes(&self) -> PathBuf {
        let text = fs::read_to_string(&self.ledger).expect("the models have written");
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut lines = String::new();
        for line in text.lines() {
            let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            assert_eq!(fields[4], "1", "{line}");
            let next = numbers.len();
            fields[4] = numbers.entry(fields[3].clone()).or_insert(next).to_string();
            lines.push_str(&fields.join("\t"));
            lines.push('\n');
        }
        let path = self.ledger.with_file_name("pods");
        fs::write(&path, lines).expect("the test's own file");
        path
    }

    fn roll(&self, what: &str) {
        self.here.run(&["rollout", "restart", what]);
        self.here.run(&["rollout", "status", what, "--timeout=50s"]);
    }

    fn delete_one(&self, flags: &[&str]) {
        let all = pods(&self.here, "version=blue");
        let lives = |pod: &&serde_json::Value| pod["metadata"]["deletionTimestamp"].is_null();
        let victim = all.iter().find(lives).expect("a replica");
        let name = victim["metadata"]["name"].as_str().expect("a name");
        self.here.run(&[&["delete", "pod", name], flags].concat());
    }

    fn split(&self, green: u32) {
        let patch = serde_json::json!([
            {"op": "replace", "path": "/spec/versions/0/trafficPercentile", "value": 100 - green},
            {"op": "replace", "path": "/spec/versions/1/trafficPercentile", "value": green},
        ]);
        self.here.run(&["patch", "iep", "storm", "--type=json", "-p", &patch.to_string()]);
    }

    fn kill_kubelet(&self) {
        let before = self.cluster.pid("kubelet");
        self.cluster.signal("kubelet", "KILL");
        until(LIMIT, "another kubelet", || (self.cluster.pid("kubelet") != before).then_some(()));
    }

    /// The others of the control plane and of the node begin anew when it is back: as clients that
    /// have seen two outages within two minutes they would wait for up to a minute each.
    fn take_the_api_server(&self) {
        let answers = || self.here.try_run(&["get", "--raw", "/readyz"]).ok;
        self.cluster.hold("kube-apiserver");
        pass(OUTAGE);
        assert!(!answers(), "it is away");
        self.cluster.release("kube-apiserver");
        until(LIMIT, "the API server is back", || answers().then_some(()));
        for program in ["kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"] {
            self.cluster.signal(program, "KILL");
        }
    }

    /// No container was started again: none ran out of memory, none failed its liveness probe.
    fn assert_nothing_crashed(&self) {
        let models = pods(&self.here, "app=storm");
        for pod in self.installed.pods().iter().chain(&models) {
            let count = &pod["status"]["containerStatuses"][0]["restartCount"];
            assert_eq!(count, 0, "{}", pod["metadata"]["name"]);
        }
    }
}

/// The quick start as endpoint `storm`, busier, patient, and with books.
fn with_books(quickstart: &str, folder: &Path) -> String {
    let folder = folder.display();
    let mut text = quickstart.to_owned();
    for (from, to) in [
        ("namespace: models", "namespace: storm"),
        ("demo", "storm"),
        ("maxQueueWait: 5s", "maxQueueWait: 20s\n      maxQueueLength: 10000"),
        (
            "{minReplicas: 1, maxReplicas: 4}",
            "{minReplicas: 2, maxReplicas: 4, scaleDownWindow: 3s}",
        ),
        ("--latency, 20ms]", "--latency, \"lognormal:30ms,120ms\", --ledger, /ledger/lines]"),
        (
            "      automountServiceAccountToken: false\n",
            &format!(
                "      automountServiceAccountToken: false\n      \
                 volumes: [{{name: ledger, hostPath: {{path: {folder}}}}}]\n"
            ),
        ),
        (
            "          readinessProbe:\n",
            "          volumeMounts: [{name: ledger, mountPath: /ledger}]\n          readinessProbe:\n",
        ),
    ] {
        assert!(text.contains(from), "{from:?} is not in the quick start");
        text = text.replace(from, to);
    }
    text
}
