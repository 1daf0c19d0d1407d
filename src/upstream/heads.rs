//! How many heads an HTTP/2 replica may send that nobody has waited for.
//!
//! h2 keeps every informational head (1xx) until somebody asks for it, which nobody does: ten bytes
//! on the wire become some hundred in memory, without a bound. So the frames are counted as they
//! come in, before h2 sees them.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::SocketIo;

/// Heads and trailers that a replica may send between two answers. Each call has two, and each
/// answer begins the count anew, so an honest replica is far from it.
const HEADS_MAX: u32 = 10_000;
/// RFC 9113 §4.1.
const FRAME_HEAD_BYTES: usize = 9;
/// The kind of a HEADERS frame (RFC 9113 §6.2).
const HEADERS: u8 = 1;

/// Heads since the last answer; clones are the same count.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Arc<AtomicU32>);

impl Heads {
    /// An answer has come.
    pub(super) fn begin_anew(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The socket of an HTTP/2 connection, with an eye on what comes in.
#[derive(Debug)]
pub(super) struct CountedIo {
    io: SocketIo,
    heads: Heads,
    frames: Frames,
}

/// Where one frame ends and the next one begins.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of `head` that have come.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl Frames {
    /// Takes bytes; how many HEADERS frames began in them.
    fn take(&mut self, mut bytes: &[u8]) -> u32 {
        let mut heads = 0;
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let (Some(room), true) = (self.head.get_mut(self.have..), self.left == 0) else {
                break;
            };
            let count = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(count);
            room.get_mut(..count).unwrap_or_default().copy_from_slice(now);
            self.have += count;
            bytes = later;
            if self.have == FRAME_HEAD_BYTES {
                let [a, b, c, kind, ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.have = 0;
                heads += u32::from(kind == HEADERS);
            }
        }
        heads
    }
}

impl CountedIo {
    pub(super) fn new(io: SocketIo, heads: Heads) -> Self {
        Self { io, heads, frames: Frames::default() }
    }
}

impl AsyncRead for CountedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let heads = self.frames.take(buf.filled().get(before..).unwrap_or_default());
        if heads > 0 && self.heads.0.fetch_add(heads, Ordering::Relaxed) + heads > HEADS_MAX {
            let why = format!("the replica sent over {HEADS_MAX} heads without an answer");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heads_are_counted_however_the_bytes_are_cut(
            frames in prop::collection::vec((0..10_u8, 0..40_usize), 0..30),
            cuts in prop::collection::vec(1..20_usize, 1..50),
        ) {
            let mut bytes = Vec::new();
            for (kind, length) in &frames {
                bytes.extend([0, 0, u8::try_from(*length).unwrap(), *kind, 0, 0, 0, 0, 1]);
                // A payload that looks like frames must not be taken for them.
                bytes.extend(std::iter::repeat_n(HEADERS, *length));
            }
            let (mut counter, mut counted, mut rest) = (Frames::default(), 0, &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                counted += counter.take(now);
                rest = later;
            }
            let heads = frames.iter().filter(|(kind, _)| *kind == HEADERS).count();
            prop_assert_eq!(counted as usize, heads);
        }
    }
}
