//! A seat from which a test follows one watch: what is told becomes a picture.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    super::{super::client::ApiServer, News, Progress, Rhythm, Subject, Watch},
    fake_api::FakeApi,
};
use crate::{lifecycle::Lifecycle, platform::kubernetes::objects::Pod};

/// How much faster than in production the tests run.
pub(super) const SPEED: u32 = 10;
/// What a busy machine with two cores may add to a time.
pub(super) const SLACK: Duration = Duration::from_secs(4);

/// Every pod by its name, with its phase.
pub(super) type Picture = BTreeMap<String, String>;

pub(super) struct Seat {
    pub(super) life: Lifecycle,
    pub(super) watch: Watch,
    pub(super) news: mpsc::Receiver<News<Pod>>,
    pub(super) picture: Picture,
    /// How often everything was told.
    pub(super) alls: usize,
    /// How often an object was told to be gone.
    pub(super) gones: usize,
}

impl Seat {
    /// Watches all pods of the API server.
    pub(super) fn take(api: &FakeApi) -> Self {
        Self::with(api, pods(), rhythm(), 64)
    }

    pub(super) fn with(api: &FakeApi, subject: Subject, rhythm: Rhythm, room: usize) -> Self {
        let life = Lifecycle::new();
        let server = server(api);
        let (out, news) = mpsc::channel(room);
        let watch = Watch::with_rhythm(&life, &server, subject, rhythm, out, |news| news);
        Self { life, watch, news, picture: Picture::new(), alls: 0, gones: 0 }
    }

    pub(super) fn progress(&self) -> Progress {
        self.watch.progress()
    }

    /// Takes news until the picture is so; how long that took.
    pub(super) async fn until(
        &mut self,
        limit: Duration,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Duration {
        let begun = Instant::now();
        while !is_so(self) {
            match timeout_at(begun + limit, self.news.recv()).await {
                Ok(Some(news)) => self.apply(news),
                Ok(None) => panic!("{what}: the watch has ended; {:?}", self.progress()),
                Err(tokio::time::error::Elapsed { .. }) => panic!(
                    "{what}: not within {limit:?}; {} pods; {:?}",
                    self.picture.len(),
                    self.progress()
                ),
            }
        }
        begun.elapsed()
    }

    /// Takes what comes for so long.
    pub(super) async fn stay(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(Some(news)) = timeout_at(end, self.news.recv()).await {
            self.apply(news);
        }
    }

    /// Waits until the watch is so.
    pub(super) async fn until_watch(
        &mut self,
        limit: Duration,
        what: &str,
        is_so: impl Fn(&Progress) -> bool,
    ) {
        let end = Instant::now() + limit;
        while !is_so(&self.progress()) {
            assert!(Instant::now() < end, "{what}: not within {limit:?}; {:?}", self.progress());
            self.stay(Duration::from_millis(2)).await;
        }
    }

    fn apply(&mut self, news: News<Pod>) {
        match news {
            News::All(pods) => {
                self.alls += 1;
                self.picture = pods.iter().map(entry).collect();
            }
            News::Changed(pod) => {
                let (name, phase) = entry(&pod);
                self.picture.insert(name, phase);
            }
            News::Gone(pod) => {
                self.gones += 1;
                self.picture.remove(&entry(&pod).0);
            }
        }
    }
}

pub(super) fn server(api: &FakeApi) -> ApiServer {
    let mut config = kube::Config::new(api.url().parse().expect("a URL"));
    config.default_retry = false;
    ApiServer::of(kube::Client::try_from(config).expect("a client"))
}

/// Production's times, [`SPEED`] times faster.
pub(super) fn rhythm() -> Rhythm {
    let usual = Rhythm::default();
    let faster = |time: Duration| time / SPEED;
    Rhythm {
        list_answer: faster(usual.list_answer),
        list_stall: faster(usual.list_stall),
        list_whole: faster(usual.list_whole),
        watch_answer: faster(usual.watch_answer),
        watch_seconds: 2..=2,
        watch_grace: faster(usual.watch_grace),
        retry: faster(usual.retry),
        backoff_first: faster(usual.backoff_first),
        backoff_longest: faster(usual.backoff_longest),
        confirm_after: faster(usual.confirm_after),
        look_over: faster(usual.look_over),
        list_every: faster(usual.list_every),
        list_gap: faster(usual.list_gap),
        ..usual
    }
}

pub(super) fn pods() -> Subject {
    Subject::all("/api/v1", "pods")
}

pub(super) fn path(name: &str) -> String {
    format!("/api/v1/namespaces/shop/pods/{name}")
}

pub(super) fn pod(phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "labels": { "app": "model" } },
        "spec": { "nodeName": "a" },
        "status": { "phase": phase },
    })
}

/// An API server with so many running pods: `pod-0`, `pod-1` and so on.
pub(super) fn api_with(count: usize) -> FakeApi {
    let api = FakeApi::start();
    for number in 0..count {
        api.put(&path(&format!("pod-{number}")), pod("Running"));
    }
    api
}

fn entry(pod: &Pod) -> (String, String) {
    (pod.metadata.name.to_string(), pod.status.phase.to_string())
}
