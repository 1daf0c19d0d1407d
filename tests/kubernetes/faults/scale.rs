//! A large cluster: what it costs to take it in, to know it, and to hear of one pod.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::world::{NAMESPACE, World, endpoint, endpoint_path};
use crate::support::{
    router::{Router, binary},
    watch::{metric, pass, until},
};

/// Versions of each endpoint.
const VERSIONS: usize = 6;
/// Pods for each endpoint.
const PODS_PER_ENDPOINT: usize = 10;
/// Endpoints in CI; `MODELWAY_TEST_ENDPOINTS=1000` is what docs/performance.md shows.
const ENDPOINTS: usize = 100;
/// How long the router is looked at while nothing happens.
const REST: Duration = Duration::from_secs(5);
/// Events one after the other.
const UPDATES: usize = 20;
/// Clock ticks per second in /proc, on every Linux of today.
const TICKS: f64 = 100.0;

/// One model that listens on every address of this machine: every pod is alive.
struct Everywhere {
    child: Child,
    port: u16,
}

impl Everywhere {
    fn start() -> Self {
        let mut child = Command::new(binary())
            .args(["model", "--address", "0.0.0.0", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line that says where it listens");
        let (_, port) = line.trim().rsplit_once(':').expect("an address");
        Self { child, port: port.parse().expect("a port") }
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_large_cluster_costs_what_is_said() {
    let endpoints = std::env::var("MODELWAY_TEST_ENDPOINTS")
        .map_or(ENDPOINTS, |n| n.parse().expect("a number"));
    // Bounds for a debug build on a busy machine, a multiple of what was seen.
    let factor = u32::try_from(endpoints.div_ceil(ENDPOINTS)).expect("a small number");
    let model = Everywhere::start();
    let world = World::new();
    fill(&world, endpoints, model.port);
    let begun = Instant::now();
    let router = world.router();
    until(Duration::from_secs(60) * factor, "/readyz", || {
        (router.admin_get("/readyz").0 == 200).then_some(())
    });
    let synced = (begun.elapsed(), cpu(&router));
    let pods = endpoints * PODS_PER_ENDPOINT;
    let wanted = u32::try_from(pods).expect("not so many");
    until(Duration::from_secs(60) * factor, "every pod ready", || {
        pass(Duration::from_millis(50));
        (ready_replicas(&router) >= f64::from(wanted)).then_some(())
    });
    let ready = (begun.elapsed(), cpu(&router));
    println!("{endpoints} endpoints with {VERSIONS} versions each, {pods} pods");
    println!("catalog after {:?}, {:.2} s of CPU", synced.0, synced.1);
    println!("all pods ready after {:?}, {:.2} s of CPU", ready.0, ready.1);
    println!("peak memory {} KiB", peak_kib(&router));
    // The statuses of all endpoints are written meanwhile, each at its own pace.
    pass(REST);
    let before = cpu(&router);
    pass(REST);
    let rest = (cpu(&router) - before) / REST.as_secs_f64();
    println!("at rest {:.1} % of a core", rest * 100.0);
    let one = updates(&world, &router);
    println!("one pod, from the event to the catalog: {one:?} (median of {UPDATES})");
    assert!(one < Duration::from_secs(1), "an update of one pod took {one:?}");
    assert!(peak_kib(&router) < 200 * 1024 * u64::from(factor), "{} KiB", peak_kib(&router));
    assert!(rest < 0.25 * f64::from(factor), "{rest} of a core at rest");
}

fn fill(world: &World, endpoints: usize, port: u16) {
    for number in 0..endpoints {
        let names: Vec<String> = (0..VERSIONS).map(|v| format!("model{number}-v{v}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &names {
            world.deployment(NAMESPACE, name);
        }
        for pod in 0..PODS_PER_ENDPOINT {
            let deployment = names[pod % VERSIONS];
            let ip = ip(number * PODS_PER_ENDPOINT + pod);
            world.pod(deployment, &format!("{deployment}-{pod}"), ip);
        }
        world.api.put(&endpoint_path(NAMESPACE, &format!("model{number}")), endpoint(port, &names));
    }
}

fn ip(number: usize) -> Ipv4Addr {
    let [.., high, low] = u32::try_from(number + 1).expect("not so many").to_be_bytes();
    Ipv4Addr::new(127, 17, high, low)
}

/// The time from a pod's end to the first catalog without it.
fn updates(world: &World, router: &Router) -> Duration {
    let ready = |endpoint: &str| {
        let item = router.admin_json(&format!("/api/v1/endpoints/{endpoint}"));
        item["versions"][0]["replicas"]["ready"].as_u64().expect("a count")
    };
    let mut times: Vec<Duration> = (0..UPDATES)
        .map(|update| {
            let endpoint = format!("model{update}");
            let before = ready(&endpoint);
            let begun = Instant::now();
            world.remove_pod(&format!("{endpoint}-v0-0"));
            until(Duration::from_secs(20), "the pod gone from the catalog", || {
                (ready(&endpoint) < before).then_some(())
            });
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[UPDATES / 2]
}

fn ready_replicas(router: &Router) -> f64 {
    metric(router, "modelway_replicas", &["state=\"ready\""])
}

/// Seconds of CPU since the start.
fn cpu(router: &Router) -> f64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", router.pid())).expect("it runs");
    let (_, rest) = text.rsplit_once(')').expect("a name in brackets");
    // utime and stime: proc_pid_stat(5), counted from the state.
    let ticks = rest.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / TICKS
}

/// The most memory that was resident at once.
fn peak_kib(router: &Router) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", router.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("on every Linux");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
