//! The bytes of a client connection: the socket's own, or what TLS makes of them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls::{Secured, SecuredIo};
use crate::net::{Socket, SocketIo};

/// What hyper reads and writes, below the clocks. Clones are the same connection: one is hyper's,
/// another is for what is said when hyper has ended.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// Plain HTTP.
    Plain(SocketIo),
    /// HTTPS.
    Secured(SecuredIo),
}

impl Link {
    /// Plain HTTP on this socket.
    pub(crate) fn plain(socket: Arc<Socket>) -> Self {
        Self::Plain(SocketIo(socket))
    }

    /// HTTPS after its handshake.
    pub(crate) fn secured(stream: Arc<Secured>) -> Self {
        Self::Secured(SecuredIo(stream))
    }

    /// The socket underneath, for who watches whether the client is still there.
    pub(crate) fn socket(&self) -> &Arc<Socket> {
        match self {
            Self::Plain(SocketIo(socket)) => socket,
            Self::Secured(SecuredIo(stream)) => stream.socket(),
        }
    }

    /// Whether nobody on the way can read along.
    pub(crate) fn is_secured(&self) -> bool {
        matches!(self, Self::Secured(_))
    }

    /// How long ago bytes of a layer that holds some back went out. `None`: there is no such layer,
    /// and whoever writes knows.
    pub(crate) fn since_progress(&self) -> Option<Duration> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(SecuredIo(stream)) => Some(stream.socket().since_write()),
        }
    }

    /// Writes what fits at once; for last words on a connection that is about to close.
    pub(crate) fn write_now(&self, bytes: &[u8]) {
        // What does not fit into an empty socket buffer would not be read by such a client.
        match self {
            Self::Plain(SocketIo(socket)) => drop(socket.write_now(bytes)),
            Self::Secured(SecuredIo(stream)) => drop(stream.write_now(bytes)),
        }
    }

    /// Says, where that can be said, that everything was sent and nothing more comes.
    pub(crate) fn say_end(&self) {
        match self {
            Self::Plain(_) => {}
            Self::Secured(SecuredIo(stream)) => stream.close_notify(),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Secured(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Secured(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::Secured(io) => Pin::new(io).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Secured(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Secured(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
