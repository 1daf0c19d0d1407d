//! Streaming answers: Server-Sent Events, and the echo of the request body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header::CACHE_CONTROL};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Model,
    answer::{self, Answer, BodyError},
    behaviour,
    score::{Progress, cut_off},
};

/// `/stream` and `/v1/chat/completions`: events in the form of OpenAI's chat completions, whatever
/// the request body says, and `[DONE]`. When the client leaves, the stream stops, as that of most
/// language model servers does.
pub(super) async fn events(model: Arc<Model>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let (wish, (chunks, interval)) =
        match model.behaviour.wish(&parts).and_then(|wish| Ok((wish, behaviour::pace(&parts)?))) {
            Ok(both) => both,
            Err(why) => return answer::text(StatusCode::BAD_REQUEST, why),
        };
    let visit = model.truth.arrive(&parts.headers);
    let worker = Arc::clone(&model);
    let work = async move { worker.perform(visit, body, wish).await };
    let Some((progress, _request_bytes)) = model.outlast(work).await else {
        return cut_off();
    };
    if !wish.status.is_success() {
        progress.finish();
        return answer::text(wish.status, "failed as told");
    }
    let events = Events {
        name: model.behaviour.name.clone(),
        chunks,
        sent: 0,
        interval,
        next: Box::pin(sleep_until(Instant::now())),
        progress: Some(progress),
    };
    let mut answer = answer::with_body(wish.status, "text/event-stream", events.boxed_unsync());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

struct Events {
    name: String,
    chunks: u32,
    sent: u32,
    interval: Duration,
    next: Pin<Box<Sleep>>,
    progress: Option<Progress>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.progress.is_none() {
            return Poll::Ready(None);
        }
        ready!(this.next.as_mut().poll(context));
        if this.sent == this.chunks {
            if let Some(progress) = this.progress.take() {
                progress.finish();
            }
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n")))));
        }
        let choice = serde_json::json!({
            "index": 0, "delta": {"content": format!("token{} ", this.sent)}
        });
        let event = serde_json::json!({
            "object": "chat.completion.chunk", "model": this.name, "choices": [choice]
        });
        this.sent += 1;
        // From the last deadline, not from now: a late poll must not slow the whole stream.
        let next = this.next.deadline() + this.interval;
        this.next.as_mut().reset(next);
        Poll::Ready(Some(Ok(Frame::data(format!("data: {event}\n\n").into()))))
    }
}

/// `/echo`: the request body comes back frame by frame, while it is being sent.
pub(super) async fn echo(model: Arc<Model>, request: Request<Incoming>) -> Answer {
    let (parts, incoming) = request.into_parts();
    let wish = match model.behaviour.wish(&parts) {
        Ok(wish) => wish,
        Err(why) => return answer::text(StatusCode::BAD_REQUEST, why),
    };
    let visit = model.truth.arrive(&parts.headers);
    let Some(progress) = model.perform_first(visit, wish).await else {
        return cut_off();
    };
    let body = Echo { incoming, progress: Some(progress) };
    let mut answer =
        answer::with_body(wish.status, "application/octet-stream", body.boxed_unsync());
    if let Some(kind) = parts.headers.get(http::header::CONTENT_TYPE) {
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind.clone());
    }
    answer
}

/// The upload as an answer, counted.
struct Echo {
    incoming: Incoming,
    progress: Option<Progress>,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(context));
        match frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(progress)) = (frame.data_ref(), &this.progress) {
                    progress.visit().received(data.len());
                }
                if this.incoming.is_end_stream() {
                    this.progress.take().into_iter().for_each(Progress::finish);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.progress.take().into_iter().for_each(Progress::abort);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.progress.take().into_iter().for_each(Progress::finish);
                Poll::Ready(None)
            }
        }
    }
}
