//! Everything that can go wrong with a watch, under load: requests are answered all the while, the
//! picture is right again soon after, and the API server is not stormed with LISTs.
#![expect(clippy::print_stdout, reason = "the line with the figures of a storm")]

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use super::world::{LIMIT, Model, NAMESPACE, World, await_ready, failures, load};
use crate::{
    fake_api::{
        Fault::{self, Empty, EndAtOnce, ErrorEvent, Hang, HangInBody, Mute, Reset, Status},
        Seen,
        Verb::{self, List, Watch},
    },
    support::watch::pass,
};

const PODS: &str = "/api/v1/pods";
/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(12);
/// In step again so long after the fault ended.
const CONVERGED: Duration = Duration::from_secs(35);
/// At most so many LISTs of one kind in any minute.
const LISTS_MAX: usize = 12;
/// As often as it is asked, while the fault lasts.
const ALWAYS: u32 = 1_000_000;

/// What goes wrong, and how often.
type Storm = (&'static str, fn(&World), &'static [(Verb, Fault, u32)]);

const STORMS: &[Storm] = &[
    ("HTTP 410", forget, &[(Watch, Status(410, "Gone"), ALWAYS)]),
    ("ERROR 410", forget, &[(Watch, ErrorEvent(410, "too old resource version"), ALWAYS)]),
    ("ERROR 504", go_back, &[(Watch, ErrorEvent(504, "Too large resource version"), ALWAYS)]),
    ("LIST hangs", forget, &[(List, Hang, 2)]),
    ("LIST hangs in its body", forget, &[(List, HangInBody, 2)]),
    ("half-open watch", cut, &[(Watch, Mute, 1)]),
    ("403", forget, &[(Watch, Status(403, "no"), ALWAYS), (List, Status(403, "no"), ALWAYS)]),
    ("500", forget, &[(Watch, Status(500, "no"), ALWAYS), (List, Status(500, "no"), ALWAYS)]),
    ("LIST is empty once", forget, &[(List, Empty, 1)]),
    ("resets", cut, &[(Watch, Reset, ALWAYS), (List, Reset, ALWAYS)]),
    ("watches end at once", cut, &[(Watch, EndAtOnce, ALWAYS)]),
];

fn cut(world: &World) {
    world.api.cut_connections();
}

fn forget(world: &World) {
    world.api.forget_versions();
    world.api.cut_connections();
}

/// As after a restore of etcd.
fn go_back(world: &World) {
    world.api.set_version_back(1);
    world.api.cut_connections();
}

#[test]
fn every_fault_of_a_watch_is_survived() {
    // The same models are the pods of every cluster: what differs is what the API servers say.
    let models = [Model::start(), Model::start(), Model::start()];
    thread::scope(|scope| {
        let storms: Vec<_> =
            STORMS.iter().map(|storm| scope.spawn(|| weather(storm, &models))).collect();
        let ends: Vec<_> = storms.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let lost = ends.iter().filter(|end| end.is_err()).count();
        assert_eq!(lost, 0, "storms that were not survived, see above");
    });
}

fn weather((name, begin, faults): &Storm, models: &[Model; 3]) {
    let [first, second, third] = models;
    let world = World::new();
    world.deployment(NAMESPACE, "blue");
    world.endpoint("demo", &["blue"]);
    world.pod("blue", "blue-a", first.ip);
    world.pod("blue", "blue-b", second.ip);
    let router = world.router();
    await_ready(&router, "blue", &["blue-a", "blue-b"], LIMIT);
    let load = load(&router, "demo");
    for (verb, fault, times) in *faults {
        world.api.fault(*verb, PODS, fault.clone(), *times);
    }
    begin(&world);
    // What happens meanwhile has to be known afterwards.
    world.remove_pod("blue-b");
    world.pod("blue", "blue-c", third.ip);
    pass(FAULT);
    world.api.heal();
    let healed = Instant::now();
    await_ready(&router, "blue", &["blue-a", "blue-c"], CONVERGED);
    let took = healed.elapsed();
    load.stop();
    let outcomes = load.outcomes();
    assert_eq!(failures(&outcomes), Vec::<String>::new(), "{name}");
    let seen = world.api.seen();
    let lists = lists_per_minute(&seen);
    let most = lists.values().copied().max().unwrap_or_default();
    println!(
        "{name}: in step after {took:?}, {} requests answered, at most {most} LISTs a minute of a kind",
        outcomes.len()
    );
    assert!(most <= LISTS_MAX, "{name}: {lists:?}");
}

/// The most LISTs of each kind in any minute.
fn lists_per_minute(seen: &[Seen]) -> BTreeMap<&str, usize> {
    let mut times: BTreeMap<&str, Vec<Instant>> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.verb == List) {
        times.entry(&seen.path).or_default().push(seen.at);
    }
    let minute = Duration::from_secs(60);
    let most = |times: &[Instant]| {
        let within = |begin: &Instant| {
            times.iter().filter(|time| **time >= *begin && **time < *begin + minute).count()
        };
        times.iter().map(within).max().unwrap_or_default()
    };
    times.into_iter().map(|(path, times)| (path, most(&times))).collect()
}
