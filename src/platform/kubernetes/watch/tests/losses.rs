//! LISTs that have lost most of what was there, events that never came, and very many objects.

use std::time::Duration;

use super::{
    super::{Rhythm, rhythm::PROMISE},
    fake_api::{FakeApi, Fault, Verb},
    faults::list_times,
    seat::{SLACK, SPEED, Seat, api_with, path, pod, pods, rhythm},
};

const SOON: Duration = Duration::from_secs(10);

/// Makes the watch LIST again.
fn force_list(api: &FakeApi) {
    api.fault(Verb::Watch, "", Fault::Status(410, ""), 1);
    api.cut_connections();
}

#[tokio::test]
async fn a_list_that_is_empty_once_is_never_told() {
    let api = api_with(5);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
    api.fault(Verb::List, "", Fault::Empty, 1);
    force_list(&api);
    seat.until_watch(SOON, "the doubt", |progress| {
        progress.trouble.as_deref().is_some_and(|words| words.contains("5 of 5"))
    })
    .await;
    assert_eq!((seat.alls, seat.picture.len()), (1, 5));
    // What comes by an event meanwhile is believed at once.
    api.remove(&path("pod-0"));
    seat.until(SOON, "the event", |seat| seat.gones == 1).await;
    seat.until(PROMISE / SPEED + SLACK, "the second opinion", |seat| seat.alls == 2).await;
    assert_eq!(seat.picture.len(), 4);
    let lists = list_times(&api);
    assert_eq!(lists.len(), 3);
    assert!(lists[2] - lists[1] >= Rhythm::default().confirm_after / SPEED);
    let last = api.seen().into_iter().rfind(|seen| seen.verb == Verb::List).expect("a LIST");
    assert!(!last.query.contains("resourceVersion"), "the cache is not asked twice: {last:?}");
}

#[tokio::test]
async fn a_list_that_stays_empty_is_told() {
    let api = api_with(5);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
    api.fault(Verb::List, "", Fault::Empty, u32::MAX);
    force_list(&api);
    let took =
        seat.until(PROMISE / SPEED + SLACK, "the loss", |seat| seat.picture.is_empty()).await;
    println!("a loss for good is told after {took:?}");
    assert_eq!(seat.alls, 2);
    assert_eq!(list_times(&api).len(), 3);
}

#[tokio::test]
async fn a_loss_of_one_or_of_half_is_believed_at_once() {
    for (count, lost) in [(1, 1), (4, 2)] {
        let api = api_with(count);
        let mut seat = Seat::take(&api);
        seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
        for number in 0..lost {
            api.remove_unheard(&path(&format!("pod-{number}")));
        }
        force_list(&api);
        seat.until(SOON, "the second LIST", |seat| seat.alls == 2).await;
        assert_eq!(seat.picture.len(), count - lost);
        assert_eq!(list_times(&api).len(), 2);
    }
}

#[tokio::test]
async fn an_event_that_the_api_server_lost_is_found_by_the_next_look_over() {
    let api = api_with(4);
    let rhythm = Rhythm { look_over: Duration::from_secs(3), ..rhythm() };
    let mut seat = Seat::with(&api, pods(), rhythm, 64);
    seat.until(SOON, "the pods", |seat| seat.alls == 1).await;
    api.remove_unheard(&path("pod-3"));
    seat.until(SOON, "the look-over", |seat| !seat.picture.contains_key("pod-3")).await;
    let last = api.seen().into_iter().rfind(|seen| seen.verb == Verb::List).expect("a LIST");
    assert!(last.query.contains("resourceVersionMatch=NotOlderThan"), "{last:?}");
    assert!(seat.progress().failures.is_empty(), "{:?}", seat.progress());
}

#[tokio::test]
async fn ten_thousand_objects_are_one_list() {
    const COUNT: usize = 10_000;
    let api = FakeApi::start();
    let mut big = pod("Running");
    big["metadata"]["annotations"]["manifest"] = "{\\\"[}\"".repeat(150).into();
    for number in 0..COUNT {
        api.put(&path(&format!("pod-{number}")), big.clone());
    }
    // The fake is built without optimisation and shares the machine with other tests.
    let patient = Duration::from_secs(60);
    let rhythm = Rhythm { list_answer: patient, list_stall: patient, ..Rhythm::default() };
    let mut seat = Seat::with(&api, pods(), rhythm, 64);
    let took = seat.until(patient, "all pods", |seat| seat.alls == 1).await;
    println!("{COUNT} pods of 1 KiB, from the fake: {took:?}");
    assert_eq!(seat.picture.len(), COUNT);
    assert_eq!(seat.picture["pod-9999"], "Running");
    api.put(&path("pod-1"), pod("Failed"));
    seat.until(SOON, "a change", |seat| seat.picture["pod-1"] == "Failed").await;
    assert_eq!(list_times(&api).len(), 1);
}
