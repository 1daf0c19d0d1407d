//! A TCP socket shared between the connection that moves its bytes and those who watch it.

use std::{
    any::Any,
    io,
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::BufMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// How often a socket with unread bytes is asked whether its peer has closed: the kernel wakes
/// nobody for a FIN behind bytes that nobody reads.
const UNREAD_POLL: Duration = Duration::from_millis(50);

/// A connected TCP socket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    received: AtomicU64,
    /// How many bytes may be read, since the connection began.
    read_max: AtomicU64,
    began: Instant,
    /// When something was written last, in microseconds since `began`.
    wrote_us: AtomicU64,
    /// What must live as long as the socket is open.
    held: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The side of a [`Socket`] that a connection owns.
#[derive(Debug, Clone)]
pub struct SocketIo(pub Arc<Socket>);

impl Socket {
    /// Takes over a connected stream. Small writes go out at once (`TCP_NODELAY`): a chunk of a
    /// streaming answer must not wait for the acknowledgement of the one before.
    pub fn new(stream: TcpStream) -> io::Result<Arc<Self>> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok(Arc::new(Self {
            stream,
            peer,
            received: AtomicU64::new(0),
            read_max: AtomicU64::new(u64::MAX),
            began: Instant::now(),
            wrote_us: AtomicU64::new(0),
            held: OnceLock::new(),
        }))
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Keeps a value until the socket is closed. One value for each socket; a second is dropped.
    pub fn hold(&self, value: impl Any + Send + Sync) {
        drop(self.held.set(Box::new(value)));
    }

    /// Bytes read since the connection began.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How long ago something was written; since the connection began when nothing was.
    pub fn since_write(&self) -> Duration {
        let wrote = Duration::from_micros(self.wrote_us.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(wrote)
    }

    /// Whether the peer has neither closed nor sent anything that nobody has read: what an idle
    /// connection must be before it is used again. One system call.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = SockRef::from(&self.stream).peek(&mut byte);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The first byte that nobody has read yet, which stays unread; `None`: the peer has closed.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let count = self.stream.peek(&mut byte).await?;
        Ok((count > 0).then_some(byte[0]))
    }

    /// Sends FIN; reading goes on.
    pub fn shutdown_write(&self) {
        // It fails only when the connection is gone already, which is what was asked for.
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Write));
    }

    /// Whether the peer has reset the connection, as far as the runtime knows; no system call.
    pub fn is_reset(&self) -> bool {
        self.stream.try_io(Interest::ERROR, || Ok(())).is_ok()
    }

    /// From now on at most so many bytes may come in; the read after them fails. `None`: any number.
    pub fn expect_at_most(&self, bytes: Option<u64>) {
        let end = bytes.map_or(u64::MAX, |bytes| self.received().saturating_add(bytes));
        self.read_max.store(end, Ordering::Relaxed);
    }

    /// Resolves when the peer has reset the connection (RST); a FIN does not count.
    pub async fn reset(&self) {
        // An error means that the runtime is going away, and nothing will be awaited any more.
        drop(self.stream.ready(Interest::ERROR).await);
    }

    /// Resolves when the peer has reset the connection or closed its side of it.
    pub async fn closed(&self) {
        loop {
            let Ok(state) = self.stream.ready(Interest::READABLE | Interest::ERROR).await else {
                return;
            };
            if state.is_error() || state.is_read_closed() || state.is_write_closed() {
                return;
            }
            if self.is_quiet() {
                self.nothing_to_read();
            } else {
                drop(tokio::time::timeout(UNREAD_POLL, self.reset()).await);
            }
        }
    }

    /// Reads and drops until the peer closes.
    pub async fn discard(&self) {
        let mut sink = vec![0_u8; 16 * 1024];
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Writes what fits at once; for last words on a connection that is about to close.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.try_write(bytes)
    }

    /// Tells the runtime that a read would block, without the system call that finds it out.
    fn nothing_to_read(&self) {
        let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        drop(self.stream.try_io(Interest::READABLE, would_block));
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received() > self.read_max.load(Ordering::Relaxed) {
            let why = "more came in than was to be expected";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let room = buf.remaining_mut();
            match self.stream.try_read_buf(buf) {
                Ok(count) => {
                    // A short read has emptied the socket (epoll(7), question 9); tokio's own
                    // `poll_read` saves the next, futile system call in the same way.
                    if count > 0 && count < room {
                        self.nothing_to_read();
                    }
                    self.received.fetch_add(count as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    let now_us = u64::try_from(self.began.elapsed().as_micros());
                    self.wrote_us.store(now_us.unwrap_or(u64::MAX), Ordering::Relaxed);
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncRead for SocketIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for SocketIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown_write();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (Arc<Socket>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (there, here) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::new(here.unwrap().0).unwrap(), there.unwrap())
    }

    async fn soon(wait: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(500), wait).await.is_ok()
    }

    #[tokio::test]
    async fn quiet_means_neither_closed_nor_unread() {
        let (socket, mut peer) = pair().await;
        assert!(socket.is_quiet());
        peer.write_all(b"x").await.unwrap();
        socket.stream.readable().await.unwrap();
        assert!(!socket.is_quiet());
        let mut byte = [0];
        SocketIo(Arc::clone(&socket)).read_exact(&mut byte).await.unwrap();
        assert!(socket.is_quiet());
        drop(peer);
        assert!(soon(socket.closed()).await);
        assert!(!socket.is_quiet());
    }

    #[tokio::test]
    async fn a_fin_behind_unread_bytes_is_seen() {
        let (socket, mut peer) = pair().await;
        peer.write_all(b"unread").await.unwrap();
        assert!(!soon(socket.closed()).await);
        peer.shutdown().await.unwrap();
        assert!(soon(socket.closed()).await);
        assert!(!soon(socket.reset()).await, "a FIN is not a reset");
        assert!(!socket.is_reset());
    }

    #[tokio::test]
    async fn what_comes_beyond_the_expected_is_not_read() {
        let (socket, mut peer) = pair().await;
        let mut io = SocketIo(Arc::clone(&socket));
        let mut piece = [0; 4];
        peer.write_all(&[0; 12]).await.unwrap();
        io.read_exact(&mut piece).await.unwrap();
        socket.expect_at_most(Some(3));
        io.read_exact(&mut piece).await.unwrap();
        let error = io.read_exact(&mut piece).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        socket.expect_at_most(None);
        io.read_exact(&mut piece).await.unwrap();
    }

    #[tokio::test]
    async fn a_reset_is_seen_behind_unread_bytes() {
        let (socket, mut peer) = pair().await;
        peer.write_all(b"unread").await.unwrap();
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert!(soon(socket.reset()).await);
        assert!(socket.is_reset());
    }
}
