//! The API server is away when the router starts.

use std::time::{Duration, Instant};

use super::world::{LIMIT, Model, World, await_ready};
use crate::support::watch::{pass, until};

/// Contract §2: ready this long after the API server is there.
const READY_LIMIT: Duration = Duration::from_secs(5);
/// How long it is away: as long as the longest pause between tries, and more.
const AWAY: Duration = Duration::from_secs(7);
/// The most lines that it may say meanwhile: each of the six watches and the lease at the first,
/// second, fourth and eighth failure. A line for each try would be more.
const LINES_MAX: usize = 28;

#[test]
fn it_waits_for_the_api_server_and_is_ready_soon_after_it_comes() {
    let mut world = World::new();
    world.deployment("models", "blue");
    world.endpoint("demo", &["blue"]);
    let model = Model::start();
    world.pod("blue", "blue-a", model.ip);
    world.api.stop();
    let router = world.router();
    let why = until(LIMIT, "the reason in /readyz", || {
        let (status, body) = router.admin_get("/readyz");
        assert_eq!(status, 503, "{body}");
        (body.contains("catalog") && body.contains("refused")).then_some(body)
    });
    println!("{why}");
    let said = router.errors().len() + router.lines().len();
    pass(AWAY);
    assert_eq!(router.admin_get("/readyz").0, 503);
    let lines = router.errors().len() + router.lines().len() - said;
    assert!(lines <= LINES_MAX, "{lines} lines: {:#?}", router.errors());
    world.api.restart();
    let back = Instant::now();
    until(LIMIT, "ready", || (router.admin_get("/readyz").0 == 200).then_some(()));
    let took = back.elapsed();
    println!("ready {took:?} after the API server came; {lines} lines meanwhile");
    assert!(took <= READY_LIMIT, "ready after {took:?}");
    await_ready(&router, "blue", &["blue-a"], LIMIT);
}

#[test]
fn sigterm_ends_it_at_once_while_the_api_server_is_away() {
    let mut world = World::new();
    world.api.stop();
    let mut router = world.router();
    router.signal("TERM");
    let begun = Instant::now();
    let status = router.wait(LIMIT).expect("it ends");
    println!("ended after {:?}", begun.elapsed());
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
