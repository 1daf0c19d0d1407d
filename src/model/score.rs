//! Work: taking in an upload, waiting for a turn, the time the model takes, the answer of `/score`.

use std::{
    future::{Future, pending},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Model,
    answer::{self, Answer, Filler},
    behaviour::Wish,
    truth::Visit,
};

/// The largest answer that is made in one piece, in bytes.
const WHOLE_BYTES_MAX: u64 = 16 * 1024;

/// An execution that has begun, with its turn at a server that works on a few requests at once.
/// Dropping it without [`Progress::finish`] means that it was cut off.
#[derive(Debug)]
pub(super) struct Progress {
    visit: Visit,
    turn: Option<OwnedSemaphorePermit>,
}

impl Progress {
    pub(super) fn visit(&self) -> &Visit {
        &self.visit
    }

    /// The work is done.
    pub(super) fn finish(self) {
        self.visit.finish();
        drop(self.turn);
    }

    /// The upload ended early although the work had begun.
    pub(super) fn abort(self) {
        self.visit.abort();
        drop(self.turn);
    }
}

impl Model {
    /// Waits for a turn and starts. Never returns when this execution is to be the last one: the
    /// process ends instead, and nobody gets an answer.
    pub(super) async fn begin(&self, mut visit: Visit) -> Progress {
        visit.work();
        let turn = match &self.behaviour.gate {
            Some(gate) => Arc::clone(gate).acquire_owned().await.ok(),
            None => None,
        };
        let execution = visit.execute();
        if self.last_execution.is_some_and(|last| execution >= last) {
            self.sudden_end.notify_one();
            pending::<()>().await;
        }
        Progress { visit, turn }
    }

    /// Takes in the upload frame by frame, waits for a turn, and works for as long as wished.
    /// `None` when the upload ended early. Also returns the size of the upload in bytes.
    pub(super) async fn perform(
        &self,
        mut visit: Visit,
        mut body: Incoming,
        wish: Wish,
    ) -> Option<(Progress, u64)> {
        let mut request_bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                visit.abort();
                return None;
            };
            if let Some(data) = frame.data_ref() {
                visit.received(data.len());
                request_bytes += data.len() as u64;
            }
        }
        visit.work();
        let progress = self.begin(visit).await;
        if !wish.latency.is_zero() {
            tokio::time::sleep(wish.latency).await;
        }
        Some((progress, request_bytes))
    }

    /// Starts and works for as long as wished before any of the upload is read. `None` when the
    /// client left meanwhile and the work was cut off.
    pub(super) async fn perform_first(
        self: &Arc<Self>,
        visit: Visit,
        wish: Wish,
    ) -> Option<Progress> {
        let worker = Arc::clone(self);
        let work = async move {
            let progress = worker.begin(visit).await;
            tokio::time::sleep(wish.latency).await;
            Some(progress)
        };
        self.outlast(work).await
    }

    /// Runs work so that it outlives its client, unless told not to. `None` when it was cut off.
    pub(super) async fn outlast<T, F>(&self, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        if !self.behaviour.ignore_disconnect {
            return work.await;
        }
        let (done, outcome) = oneshot::channel();
        self.life.spawn("work", async move {
            // Nobody listens when the client has left; the work is done all the same.
            let _gone = done.send(work.await);
        });
        outcome.await.ok().flatten()
    }
}

/// `/score`: the upload, the time it takes, a JSON answer that says what was done.
pub(super) async fn score(model: Arc<Model>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let wish = match model.behaviour.wish(&parts) {
        Ok(wish) => wish,
        Err(why) => return answer::text(StatusCode::BAD_REQUEST, why),
    };
    let visit = model.truth.arrive(&parts.headers);
    let worker = Arc::clone(&model);
    let work = async move {
        let (progress, request_bytes) = worker.perform(visit, body, wish).await?;
        Some(scored(&worker, &parts, wish, request_bytes, progress))
    };
    model.outlast(work).await.unwrap_or_else(cut_off)
}

/// The answer to a request whose upload or work was cut off; hardly anybody is left to read it.
pub(super) fn cut_off() -> Answer {
    answer::text(StatusCode::BAD_REQUEST, "the request ended early")
}

fn scored(
    model: &Model,
    parts: &Parts,
    wish: Wish,
    request_bytes: u64,
    progress: Progress,
) -> Answer {
    let object = json!({
        "model": model.behaviour.name,
        "replica": model.behaviour.replica,
        "requestBytes": request_bytes,
        "requestId": progress.visit().id(),
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "status": wish.status.as_u16(),
    });
    let json = object.to_string();
    let content_type = "application/json";
    let Some(size) = wish.body_bytes else {
        progress.finish();
        return answer::whole(wish.status, content_type, json.into());
    };
    // `{…}` becomes `{…,"padding":"xxx"}`, so that an answer of any usual size is valid JSON.
    let head = format!("{},\"padding\":\"", json.trim_end_matches('}'));
    let filler = Filler::new(head.into(), Bytes::from_static(b"\"}"), size, progress);
    if size <= WHOLE_BYTES_MAX {
        // One frame is one write to the socket instead of three.
        return answer::whole(wish.status, content_type, filler.into_bytes());
    }
    answer::with_body(wish.status, content_type, filler.boxed_unsync())
}
