//! Every fault of the API server, over real sockets: the watch is in step again in time, and never
//! asks too often.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    super::{Rhythm, fault::Cause, rhythm::PROMISE},
    fake_api::{FakeApi, Fault, Verb},
    seat::{SLACK, SPEED, Seat, api_with, path, pod, pods},
};

const SOON: Duration = Duration::from_secs(10);
/// How long each fault lasts: forty seconds of production.
const FAULT_LASTS: Duration = Duration::from_secs(4);
/// LISTs in any minute of production.
const LISTS_A_MINUTE: usize = 12;
const FOR_EVER: u32 = u32::MAX;

/// What goes wrong, under which verbs, and what the watch must count it as.
type Case = (&'static str, Vec<(Verb, Fault, u32)>, Cause);

fn cases() -> Vec<Case> {
    let watch = |fault| vec![(Verb::Watch, fault, FOR_EVER)];
    // A LIST is only asked for once the watch has lost its place.
    let list =
        |fault| vec![(Verb::Watch, Fault::Status(410, ""), 1), (Verb::List, fault, FOR_EVER)];
    let both =
        |fault: Fault| vec![(Verb::Watch, fault.clone(), FOR_EVER), (Verb::List, fault, FOR_EVER)];
    let not_json = r#"{"type":"ADDED","object":{"metadata":"#;
    vec![
        ("HTTP 410", watch(Fault::Status(410, "too old")), Cause::OutOfStep),
        ("ERROR 410", watch(Fault::ErrorEvent(410, "too old")), Cause::OutOfStep),
        ("ERROR 504", watch(Fault::ErrorEvent(504, "Timeout")), Cause::OutOfStep),
        (
            "HTTP 504 for a version",
            watch(Fault::Status(504, "Too large resource version: 9, current: 1")),
            Cause::OutOfStep,
        ),
        ("HTTP 504 of a load balancer", both(Fault::Status(504, "upstream")), Cause::Refused),
        ("ERROR 500", watch(Fault::ErrorEvent(500, "etcd")), Cause::Refused),
        ("403 for the watch", watch(Fault::Status(403, "forbidden")), Cause::Refused),
        ("403 for all", both(Fault::Status(403, "forbidden")), Cause::Refused),
        ("500 for the watch", watch(Fault::Status(500, "")), Cause::Refused),
        ("500 for all", both(Fault::Status(500, "")), Cause::Refused),
        ("a watch start that hangs", watch(Fault::Hang), Cause::Silent),
        ("a half-open watch", watch(Fault::Mute), Cause::Silent),
        ("a LIST that hangs", list(Fault::Hang), Cause::Silent),
        ("a LIST that hangs in its middle", list(Fault::HangInBody), Cause::Silent),
        ("everything hangs", both(Fault::Hang), Cause::Silent),
        ("a reset watch", watch(Fault::Reset), Cause::Broken),
        ("a reset in the middle of a line", watch(Fault::ResetMidLine), Cause::Broken),
        ("a reset LIST", list(Fault::Reset), Cause::Broken),
        ("a watch that ends at once", watch(Fault::EndAtOnce), Cause::Broken),
        ("a garbage line", watch(Fault::Line("<html>")), Cause::Garbled),
        ("half a line", watch(Fault::Line(not_json)), Cause::Garbled),
        ("a LIST that is none", list(Fault::Body("<html>")), Cause::Garbled),
        ("a LIST without a version", list(Fault::Body(r#"{"items":[]}"#)), Cause::Garbled),
        ("a LIST of something else", list(Fault::Body("[]")), Cause::Garbled),
        ("a LIST cut short", list(Fault::Body(r#"{"items":[{"#)), Cause::Broken),
    ]
}

#[tokio::test]
async fn every_fault_ends_in_step_again_in_time_and_without_a_storm() {
    let mut all = JoinSet::new();
    for case in cases() {
        all.spawn(survives(case));
    }
    while let Some(done) = all.join_next().await {
        done.expect("the case holds");
    }
}

async fn survives((name, faults, cause): Case) {
    let api = api_with(3);
    let mut seat = Seat::take(&api);
    seat.until(SOON, name, |seat| seat.picture.len() == 3).await;
    for (verb, fault, times) in faults {
        api.fault(verb, "/api/v1/pods", fault, times);
    }
    api.cut_connections();
    api.put(&path("meanwhile"), pod("Running"));
    api.remove(&path("pod-0"));
    seat.stay(FAULT_LASTS).await;
    let counted = seat.progress();
    assert!(counted.failures.contains_key(&cause), "{name}: {counted:?}");
    assert!(seat.picture.contains_key("pod-1"), "{name}: what was known stays");
    if !name.starts_with("403 for the watch") {
        assert_eq!(counted.is_forbidden, name == "403 for all", "{name}: {counted:?}");
    }

    api.heal();
    api.put(&path("after"), pod("Running"));
    let took = seat
        .until(PROMISE / SPEED + SLACK, name, |seat| {
            seat.picture.contains_key("meanwhile")
                && seat.picture.contains_key("after")
                && !seat.picture.contains_key("pod-0")
        })
        .await;
    let lists = most_in(&list_times(&api), Duration::from_secs(60) / SPEED);
    println!("{name}: in step after {took:?}, at most {lists} LISTs in a minute's share");
    assert!(lists <= LISTS_A_MINUTE, "{name}: {lists} LISTs");
    seat.until_watch(SOON, name, |progress| progress.trouble.is_none() && !progress.is_forbidden)
        .await;
}

#[tokio::test]
async fn an_api_server_that_comes_back_is_heard_within_two_seconds() {
    let mut api = api_with(2);
    api.stop();
    // Production's own times: two seconds are the promise.
    let mut seat = Seat::with(&api, pods(), Rhythm::default(), 64);
    let away = Duration::from_secs(3);
    seat.stay(away).await;
    let progress = seat.progress();
    let tries = progress.failures[&Cause::Unreachable];
    assert!((2..=5).contains(&tries), "{tries} tries in {away:?}");
    assert_eq!((progress.lists, progress.is_listed), (0, false));
    assert!(progress.trouble.as_deref().is_some_and(|words| words.contains("cannot be reached")));
    api.restart();
    let took = seat.until(Duration::from_secs(2), "the pods", |seat| seat.alls == 1).await;
    println!("ready {took:?} after the API server is back");
    assert_eq!(api.count(Verb::List, ""), 1);
}

#[tokio::test]
async fn an_api_server_that_boots_with_403_and_500_is_heard_within_two_seconds_of_its_end() {
    let api = api_with(2);
    for (code, times) in [(500, 2), (403, 2)] {
        api.fault(Verb::List, "", Fault::Status(code, "booting"), times);
    }
    let mut seat = Seat::with(&api, pods(), Rhythm::default(), 64);
    seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
    let lists = list_times(&api);
    assert_eq!(lists.len(), 5);
    let gap = lists[4] - lists[3];
    assert!(gap < Duration::from_secs(2), "{gap:?} between the last failure and the answer");
}

#[tokio::test]
async fn a_refusing_api_server_costs_no_list_when_it_returns() {
    let mut api = api_with(2);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
    api.stop();
    seat.until_watch(SOON, "trouble", |progress| progress.trouble.is_some()).await;
    seat.stay(Duration::from_secs(2)).await;
    api.restart();
    api.put(&path("new"), pod("Running"));
    seat.until(PROMISE / SPEED + SLACK, "the new pod", |s| s.picture.contains_key("new")).await;
    assert_eq!((seat.alls, api.count(Verb::List, "")), (1, 1), "the watch goes on where it was");
}

#[tokio::test]
async fn an_odd_object_is_left_out_and_ends_nothing() {
    let api = api_with(1);
    let mut odd = pod("Running");
    odd["spec"]["nodeName"] = serde_json::json!({ "not": "a name" });
    api.put(&path("odd"), odd.clone());
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the LIST", |seat| seat.alls == 1).await;
    assert_eq!(seat.picture.len(), 1);
    api.put(&path("odder"), odd);
    api.put(&path("good"), pod("Running"));
    seat.until(SOON, "the good one", |seat| seat.picture.contains_key("good")).await;
    api.remove(&path("odder"));
    seat.until(SOON, "the odd one's end", |seat| seat.gones == 1).await;
    let progress = seat.progress();
    assert_eq!((progress.unread, progress.lists), (2, 1), "{progress:?}");
    assert!(progress.failures.is_empty(), "{progress:?}");
}

#[tokio::test]
async fn versions_that_are_forgotten_or_set_back_are_found_again() {
    let api = api_with(4);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
    api.remove_unheard(&path("pod-3"));
    api.forget_versions();
    seat.until(PROMISE / SPEED + SLACK, "after 410", |seat| seat.alls == 2).await;
    assert!(!seat.picture.contains_key("pod-3"), "a delete in the gap comes with the LIST");

    api.set_version_back(2);
    seat.until(PROMISE / SPEED + SLACK, "after 504", |seat| seat.alls == 3).await;
    api.put(&path("new"), pod("Running"));
    seat.until(SOON, "the new pod", |seat| seat.picture.contains_key("new")).await;
    assert_eq!(seat.progress().failures[&Cause::OutOfStep], 2);
}

pub(super) fn list_times(api: &FakeApi) -> Vec<Instant> {
    api.seen().iter().filter(|seen| seen.verb == Verb::List).map(|seen| seen.at).collect()
}

/// The most of these that fall in one window.
fn most_in(times: &[Instant], window: Duration) -> usize {
    let within =
        |from: Instant| times.iter().filter(|at| **at >= from && **at - from < window).count();
    times.iter().map(|from| within(*from)).max().unwrap_or(0)
}

#[tokio::test]
async fn the_retry_of_a_watch_is_spaced() {
    let api = api_with(1);
    api.fault(Verb::Watch, "", Fault::Status(500, ""), FOR_EVER);
    let mut seat = Seat::with(&api, pods(), Rhythm::default(), 64);
    seat.stay(Duration::from_secs(4)).await;
    let starts = api.count(Verb::Watch, "");
    // 0.25, 0.5, 1 and 2 s apart, a quarter more or less.
    assert!((3..=6).contains(&starts), "{starts} starts");
}
