//! gRPC: an echo of every message under any path, and the standard health service.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{
    Model,
    answer::{self, Answer, BodyError},
    behaviour::Wish,
    score::Progress,
};

const CONTENT_TYPE: &str = "application/grpc";
/// `HealthCheckResponse` of grpc.health.v1 in a message frame: field 1 is the state.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 2];
/// gRPC status INTERNAL: the message was cut off, or a failure was wished for.
const INTERNAL: u16 = 13;
/// gRPC status INVALID_ARGUMENT.
const INVALID_ARGUMENT: u16 = 3;

/// Whether the request is a gRPC call.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(CONTENT_TYPE.as_bytes()))
}

/// Answers one call. A wished `x-model-status` is a gRPC status here when it is below 17.
pub(super) async fn call(model: Arc<Model>, request: Request<Incoming>) -> Answer {
    if request.uri().path() == "/grpc.health.v1.Health/Check" {
        let state = if model.is_healthy() { SERVING } else { NOT_SERVING };
        let body = http_body_util::Full::new(Bytes::from_static(state))
            .map_err(|never| match never {})
            .with_trailers(async { Some(Ok(trailers(0, 1))) });
        return answer::with_body(StatusCode::OK, CONTENT_TYPE, body.boxed_unsync());
    }
    let (mut parts, incoming) = request.into_parts();
    let asked = parts.headers.get("x-model-status").and_then(|value| value.to_str().ok());
    let status = asked.and_then(|text| text.parse::<u16>().ok()).filter(|status| *status <= 16);
    if status.is_some() {
        parts.headers.remove("x-model-status");
    }
    let Ok(wish) = model.behaviour.wish(&parts) else {
        return failed(INVALID_ARGUMENT);
    };
    let status = status.unwrap_or_else(|| grpc_status(wish));
    let visit = model.truth.arrive(&parts.headers);
    let Some(progress) = model.perform_first(visit, wish).await else {
        return failed(INTERNAL);
    };
    if status != 0 {
        progress.finish();
        return failed(status);
    }
    let body = Echo { incoming, frames: Frames::default(), progress: Some(progress) };
    answer::with_body(StatusCode::OK, CONTENT_TYPE, body.boxed_unsync())
}

fn grpc_status(wish: Wish) -> u16 {
    if wish.status.is_success() { 0 } else { INTERNAL }
}

/// An answer without messages: the status is in its head.
fn failed(status: u16) -> Answer {
    let mut answer = answer::whole(StatusCode::OK, CONTENT_TYPE, Bytes::new());
    answer.headers_mut().extend(trailers(status, 0));
    answer
}

fn trailers(status: u16, messages: u64) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status));
    trailers.insert("x-model-trailer", HeaderValue::from_static("yes"));
    trailers.insert("x-model-messages", HeaderValue::from(messages));
    trailers
}

/// Counts messages in a stream of `flag, length, message`, wherever the frames are cut.
#[derive(Debug, Default)]
struct Frames {
    head: Vec<u8>,
    left: u64,
    messages: u64,
}

impl Frames {
    fn read(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left > 0 {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                data = data.get(taken..).unwrap_or_default();
                self.left -= taken as u64;
                self.messages += u64::from(self.left == 0);
                continue;
            }
            let (taken, rest) = data.split_at((5 - self.head.len()).min(data.len()));
            self.head.extend_from_slice(taken);
            data = rest;
            if let [_flag, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u64::from(u32::from_be_bytes(length));
                self.messages += u64::from(self.left == 0);
                self.head.clear();
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.head.is_empty() && self.left == 0
    }
}

/// The messages as they come, then trailers that say how many there were.
struct Echo {
    incoming: Incoming,
    frames: Frames,
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
        let Some(progress) = this.progress.take() else {
            return Poll::Ready(None);
        };
        loop {
            return match Pin::new(&mut this.incoming).poll_frame(context) {
                Poll::Pending => {
                    this.progress = Some(progress);
                    Poll::Pending
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue; // the client's trailers, of which gRPC has none
                    };
                    progress.visit().received(data.len());
                    this.frames.read(&data);
                    this.progress = Some(progress);
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Err(error))) => {
                    progress.abort();
                    Poll::Ready(Some(Err(error.into())))
                }
                Poll::Ready(None) => {
                    let status = if this.frames.is_whole() { 0 } else { INTERNAL };
                    progress.finish();
                    Poll::Ready(Some(Ok(Frame::trailers(trailers(status, this.frames.messages)))))
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_counted_wherever_the_frames_are_cut(
            lengths in prop::collection::vec(0_usize..40, 0..10), cut in 1_usize..20,
        ) {
            let mut wire = Vec::new();
            for length in &lengths {
                wire.push(0);
                wire.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
                wire.extend(std::iter::repeat_n(7, *length));
            }
            let mut frames = Frames::default();
            wire.chunks(cut).for_each(|piece| frames.read(piece));
            prop_assert!(frames.is_whole());
            prop_assert_eq!(frames.messages, lengths.len() as u64);
            frames.read(&[0, 0]);
            prop_assert!(!frames.is_whole());
        }
    }
}
