//! Bodies of answers: whole, or of any size made frame by frame.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

use super::score::Progress;

/// An error that ends a body early.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The answer to any request.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// The largest frame of a made-up body, in bytes.
const FRAME_BYTES: usize = 64 * 1024;
static FILLING: [u8; FRAME_BYTES] = [b'x'; FRAME_BYTES];

/// An answer with a whole body.
pub(super) fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    with_body(status, content_type, body)
}

/// A short answer for a person.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain", text.into())
}

/// An answer around any body.
pub(super) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: UnsyncBoxBody<Bytes, BodyError>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}

/// A body of a given size: a head, as many `x` as needed, a tail. The work counts as done before
/// the last byte is handed over, so that nobody can see the answer whole and the slot taken.
pub(super) struct Filler {
    head: Bytes,
    fill_bytes: u64,
    tail: Bytes,
    progress: Option<Progress>,
}

impl Filler {
    /// `size` bytes in all; without room for head and tail, only `x`.
    pub(super) fn new(head: Bytes, tail: Bytes, size: u64, progress: Progress) -> Self {
        let around = (head.len() + tail.len()) as u64;
        match size.checked_sub(around) {
            Some(fill_bytes) => Self { head, fill_bytes, tail, progress: Some(progress) },
            None => Self {
                head: Bytes::new(),
                fill_bytes: size,
                tail: Bytes::new(),
                progress: Some(progress),
            },
        }
    }

    /// The whole body in one piece; the work is done.
    pub(super) fn into_bytes(mut self) -> Bytes {
        let mut bytes = Vec::new();
        while self.left() > 0 {
            bytes.extend_from_slice(&self.next());
        }
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
        bytes.into()
    }

    fn left(&self) -> u64 {
        self.fill_bytes + (self.head.len() + self.tail.len()) as u64
    }

    fn next(&mut self) -> Bytes {
        if !self.head.is_empty() {
            return std::mem::take(&mut self.head);
        }
        if self.fill_bytes == 0 {
            return std::mem::take(&mut self.tail);
        }
        let bytes = usize::try_from(self.fill_bytes).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
        self.fill_bytes -= bytes as u64;
        Bytes::from_static(FILLING.get(..bytes).unwrap_or_default())
    }
}

impl Body for Filler {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = (this.left() > 0).then(|| this.next());
        if this.left() == 0
            && let Some(progress) = this.progress.take()
        {
            progress.finish();
        }
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
