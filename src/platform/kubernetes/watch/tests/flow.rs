//! Watches without faults.

use std::{sync::Arc, time::Duration};

use super::{
    super::{Subject, rhythm::PROMISE},
    fake_api::Verb,
    seat::{SLACK, Seat, api_with, path, pod, pods, rhythm},
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn everything_is_told_first_and_then_each_change() {
    let api = api_with(2);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "both pods", |seat| seat.picture.len() == 2).await;
    assert_eq!(seat.alls, 1);

    api.put(&path("new"), pod("Pending"));
    seat.until(SOON, "the new pod", |seat| seat.picture.contains_key("new")).await;
    api.put(&path("new"), pod("Running"));
    seat.until(SOON, "its phase", |seat| seat.picture["new"] == "Running").await;
    api.remove(&path("pod-0"));
    seat.until(SOON, "its end", |seat| !seat.picture.contains_key("pod-0")).await;

    assert_eq!((seat.alls, seat.gones), (1, 1));
    assert_eq!(api.count(Verb::List, "/api/v1/pods"), 1);
    let progress = seat.progress();
    assert!(progress.is_listed && progress.trouble.is_none(), "{progress:?}");
    assert_eq!((progress.objects, progress.lists), (2, 1));
    assert!(progress.proof_age.is_some_and(|age| age < SOON));
}

#[tokio::test]
async fn one_watch_follows_the_other_without_a_list_and_without_a_gap() {
    let api = api_with(1);
    let mut seat = Seat::take(&api);
    for number in 0..30 {
        api.put(&path(&format!("new-{number}")), pod("Running"));
        seat.stay(Duration::from_millis(200)).await;
    }
    seat.until(SOON, "all pods", |seat| seat.picture.len() == 31).await;
    let progress = seat.progress();
    assert!(progress.watch_starts >= 3, "{progress:?}");
    assert_eq!((progress.lists, seat.alls), (1, 1), "{progress:?}");
    assert!(progress.failures.is_empty(), "{progress:?}");
    assert!(progress.proof_age.is_some_and(|age| age < PROMISE / 10 + SLACK));
}

#[tokio::test]
async fn only_the_subject_is_asked_for() {
    let api = api_with(1);
    api.put("/api/v1/namespaces/other/pods/else", pod("Running"));
    let subject = Subject {
        namespace: Some(Arc::from("shop")),
        name: Some(Arc::from("pod-0")),
        label_selector: Some("app in (model,other)".to_owned()),
        metadata_only: true,
        ..pods()
    };
    let mut seat = Seat::with(&api, subject, rhythm(), 64);
    seat.until(SOON, "one pod", |seat| seat.picture.len() == 1).await;
    assert_eq!(seat.picture["pod-0"], "", "only metadata");
    assert_eq!(api.count(Verb::Get, "/api/v1/namespaces/shop/pods/pod-0"), 1);
    assert_eq!(api.count(Verb::List, "/api/v1/namespaces/shop/pods"), 0, "a role may lack `list`");
}

#[tokio::test]
async fn one_object_that_is_not_there_is_told_and_found_when_it_comes() {
    let api = api_with(0);
    let subject =
        Subject { namespace: Some(Arc::from("shop")), name: Some(Arc::from("pod-7")), ..pods() };
    let mut seat = Seat::with(&api, subject, rhythm(), 64);
    seat.until(SOON, "the word that there is none", |seat| seat.alls == 1).await;
    assert!(seat.picture.is_empty());
    api.put(&path("pod-7"), pod("Running"));
    seat.until(SOON, "the pod", |seat| seat.picture.len() == 1).await;
    api.put(&path("pod-8"), pod("Running"));
    api.remove(&path("pod-7"));
    seat.until(SOON, "its end", |seat| seat.picture.is_empty()).await;
    assert_eq!(seat.alls, 1, "the watch found the rest");
}

#[tokio::test]
async fn a_slow_listener_loses_nothing() {
    let api = api_with(1);
    let mut seat = Seat::with(&api, pods(), rhythm(), 1);
    seat.until(SOON, "the first pod", |seat| seat.picture.len() == 1).await;
    for number in 0..500 {
        api.put(&path(&format!("new-{number}")), pod("Running"));
    }
    // Longer than a watch lasts and its grace: nobody takes the news meanwhile.
    tokio::time::sleep(Duration::from_millis(2800)).await;
    seat.until(SOON, "all pods", |seat| seat.picture.len() == 501).await;
    assert_eq!((seat.alls, seat.progress().lists), (1, 1));
}

#[tokio::test]
async fn a_watch_ends_when_it_is_dropped() {
    let api = api_with(1);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the pod", |seat| seat.picture.len() == 1).await;
    let Seat { life, watch, mut news, .. } = seat;
    drop(watch);
    assert!(news.recv().await.is_none());
    life.finish_tasks(SOON).await;
}

#[tokio::test]
async fn a_watch_ends_with_the_process() {
    let api = api_with(1);
    let mut seat = Seat::take(&api);
    seat.until(SOON, "the pod", |seat| seat.picture.len() == 1).await;
    seat.life.enter(crate::lifecycle::Phase::Stopped);
    assert!(seat.news.recv().await.is_none());
}
