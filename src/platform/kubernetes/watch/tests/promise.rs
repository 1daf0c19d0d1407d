//! Production's own times, in paused time: 35 s and 12 LISTs a minute, whatever goes wrong. The
//! transport is not a socket here; over sockets the same faults are in `faults`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::{
    super::{super::client::ApiServer, News, Rhythm, Watch, rhythm::PROMISE},
    seat::pods,
};
use crate::{lifecycle::Lifecycle, platform::kubernetes::objects::Pod};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Good,
    Status(u16),
    /// Watches only; a LIST is good.
    WatchStatus(u16),
    ErrorEvent(u16),
    Hang,
    WatchHang,
    Mute,
    EndAtOnce,
    Garbage,
    ListEmpty,
}

const FAULTS: [Mode; 15] = [
    Mode::Status(403),
    Mode::Status(429),
    Mode::Status(500),
    Mode::WatchStatus(403),
    Mode::WatchStatus(410),
    Mode::WatchStatus(500),
    Mode::ErrorEvent(410),
    Mode::ErrorEvent(500),
    Mode::ErrorEvent(504),
    Mode::Hang,
    Mode::WatchHang,
    Mode::Mute,
    Mode::EndAtOnce,
    Mode::Garbage,
    Mode::ListEmpty,
];

/// An API server with three pods whose state is its version.
struct Script {
    mode: Mode,
    version: u64,
    lists: Vec<Instant>,
}

#[tokio::test(start_paused = true)]
async fn after_every_fault_the_watch_is_in_step_within_the_promise() {
    let mut worst = (Duration::ZERO, None);
    for mode in FAULTS {
        for lasts in [1, 7, 23, 61, 200, 1_000] {
            let took = converge(mode, Duration::from_secs(lasts)).await;
            if took > worst.0 {
                worst = (took, Some((mode, lasts)));
            }
        }
    }
    println!("the slowest: {worst:?}");
}

async fn converge(mode: Mode, lasts: Duration) -> Duration {
    let script = Arc::new(Mutex::new(Script { mode: Mode::Good, version: 10, lists: Vec::new() }));
    let shared = Arc::clone(&script);
    let service = tower::service_fn(move |request: Request<Body>| {
        let shared = Arc::clone(&shared);
        let query = request.uri().query().unwrap_or_default().to_owned();
        async move { Ok::<_, Infallible>(answer(&query, &shared).await) }
    });
    let server = ApiServer::of(kube::Client::new(service, "default"));
    let life = Lifecycle::new();
    let (out, mut news) = mpsc::channel(64);
    let watch =
        Watch::with_rhythm(&life, &server, pods(), Rhythm::default(), out, |news: News<Pod>| news);
    until_version(&mut news, "10", Duration::from_secs(2), mode).await;

    script.lock().mode = mode;
    let drained = Instant::now() + lasts;
    while let Ok(Some(_)) = timeout_at(drained, news.recv()).await {}
    let proof_age = watch.progress().proof_age;
    {
        let mut script = script.lock();
        script.mode = Mode::Good;
        script.version += 1;
    }
    let took = until_version(&mut news, "11", PROMISE, mode).await;
    assert!(proof_age.is_some_and(|age| age <= lasts + PROMISE), "{mode:?}: {proof_age:?}");
    let script = script.lock();
    let minute = Duration::from_secs(60);
    for from in &script.lists {
        let count = script.lists.iter().filter(|at| **at >= *from && **at - *from < minute).count();
        assert!(count <= 12, "{mode:?} for {lasts:?}: {count} LISTs in a minute");
    }
    took
}

async fn until_version(
    news: &mut mpsc::Receiver<News<Pod>>,
    version: &str,
    limit: Duration,
    mode: Mode,
) -> Duration {
    let begun = Instant::now();
    loop {
        let Ok(Some(one)) = timeout_at(begun + limit, news.recv()).await else {
            panic!("{mode:?}: version {version} is not told within {limit:?}");
        };
        let told = match &one {
            News::All(pods) => pods.first(),
            News::Changed(pod) | News::Gone(pod) => Some(pod),
        };
        if told.is_some_and(|pod| &*pod.metadata.resource_version == version) {
            return begun.elapsed();
        }
    }
}

async fn answer(query: &str, script: &Mutex<Script>) -> Answer {
    let field = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let is_watch = field("watch").is_some();
    let (mode, version) = {
        let mut script = script.lock();
        if !is_watch {
            script.lists.push(Instant::now());
        }
        (script.mode, script.version)
    };
    match mode {
        Mode::Status(code) => return whole(code, "{}".to_owned()),
        Mode::WatchStatus(code) if is_watch => return whole(code, "{}".to_owned()),
        Mode::Hang => std::future::pending().await,
        Mode::WatchHang if is_watch => std::future::pending().await,
        _ => {}
    }
    if !is_watch {
        let items: Vec<String> = (0..3).map(|number| pod(number, version)).collect();
        let items = if mode == Mode::ListEmpty { String::new() } else { items.join(",") };
        let meta = format!(r#"{{"resourceVersion":"{version}"}}"#);
        return whole(200, format!(r#"{{"metadata":{meta},"items":[{items}]}}"#));
    }
    let seconds: u64 = field("timeoutSeconds").and_then(|text| text.parse().ok()).expect("seconds");
    let is_behind = field("resourceVersion").is_some_and(|from| from != version.to_string());
    match mode {
        Mode::Mute => streamed(stream::pending().boxed()),
        Mode::EndAtOnce => whole(200, String::new()),
        Mode::Garbage => whole(200, "<html>\n".to_owned()),
        Mode::ErrorEvent(code) => {
            whole(200, format!("{{\"type\":\"ERROR\",\"object\":{{\"code\":{code}}}}}\n"))
        }
        // Forces the LIST that is empty.
        Mode::ListEmpty if version == 10 => whole(410, "{}".to_owned()),
        _ => {
            let first = is_behind
                .then(|| format!("{{\"type\":\"MODIFIED\",\"object\":{}}}\n", pod(0, version)));
            let last = async move {
                sleep(Duration::from_secs(seconds)).await;
                format!(
                    "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\
                     \"{version}\"}}}}}}\n"
                )
            };
            streamed(stream::iter(first).chain(stream::once(last)).boxed())
        }
    }
}

fn pod(number: u32, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"pod-{number}","namespace":"a","resourceVersion":"{version}"}}}}"#
    )
}

fn whole(code: u16, text: String) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(text)).boxed_unsync();
    Response::builder().status(code).body(body).expect("an answer")
}

fn streamed(lines: stream::BoxStream<'static, String>) -> Answer {
    let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line))));
    Response::new(StreamBody::new(frames).boxed_unsync())
}
