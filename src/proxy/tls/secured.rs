//! A connection under TLS, shared between hyper and whoever says its last words.

use std::{
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::net::{Socket, SocketIo};

/// A connection after its handshake. hyper keeps what it reads and writes to itself until it is
/// dropped, so the stream is behind a lock that nobody else wants while hyper works.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: Mutex<TlsStream<SocketIo>>,
    socket: Arc<Socket>,
}

impl Secured {
    pub(super) fn new(stream: TlsStream<SocketIo>) -> Arc<Self> {
        let socket = Arc::clone(&stream.get_ref().0.0);
        Arc::new(Self { stream: Mutex::new(stream), socket })
    }

    /// The socket underneath.
    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Does something with the stream, which is then as good as one's own.
    pub(crate) fn with<T>(&self, work: impl FnOnce(Pin<&mut TlsStream<SocketIo>>) -> T) -> T {
        work(Pin::new(&mut *self.stream.lock()))
    }

    /// Writes what fits at once; for last words on a connection that is about to close.
    pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream.lock();
        stream.get_mut().1.writer().write_all(bytes)?;
        self.flush_now(&mut stream)
    }

    /// Tells the client that nothing more comes, so that what came is not taken for a part
    /// (RFC 8446 §6.1). After an answer that was cut off it must not be said.
    pub(crate) fn close_notify(&self) {
        let mut stream = self.stream.lock();
        stream.get_mut().1.send_close_notify();
        // What does not fit into the socket would not be read by such a client.
        drop(self.flush_now(&mut stream));
    }

    fn flush_now(&self, stream: &mut TlsStream<SocketIo>) -> io::Result<()> {
        let session = stream.get_mut().1;
        let mut records = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut records)?;
        }
        self.socket.write_now(&records).map(drop)
    }
}

/// The side of a [`Secured`] connection that hyper owns.
#[derive(Debug, Clone)]
pub(crate) struct SecuredIo(pub(crate) Arc<Secured>);

impl AsyncRead for SecuredIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for SecuredIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.with(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(|stream| stream.poll_shutdown(cx))
    }
}
