//! One connection to a replica.

use std::{
    error::Error as StdError, future::Future, io, net::SocketAddr, sync::Arc, task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::Either};
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::AbortHandle};

use super::heads::{CountedIo, Heads};
use crate::net::{Alarm, Socket, SocketIo};

/// Upper bound of hyper's buffers for one direction of one connection. Large enough that a 10 MB
/// body costs few system calls, small enough that 64 uploads at once stay below 64 MiB.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Flow-control window of one gRPC stream from a replica.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Flow-control window of a whole HTTP/2 connection from a replica.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How often a busy HTTP/2 connection to a replica is asked whether it lives, and how long that may
/// take: a host that is gone without a word must not hold calls until TCP gives up.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Fields of a replica's answer.
const ANSWER_FIELDS_MAX: usize = 128;
/// What an HTTP/1 replica may send before and with the head of its answer, in bytes: any number of
/// informational answers (1xx), and one head, which [`BUFFER_BYTES_MAX`] bounds on its own. Twice
/// that, because the read that brings the head may bring as much of the body.
const BEFORE_ANSWER_BYTES_MAX: u64 = 2 * BUFFER_BYTES_MAX as u64;
/// All fields of an HTTP/2 replica's head or trailers together, with 32 bytes for each (RFC 9113
/// §6.5.2).
const ANSWER_HEADER_LIST_BYTES_MAX: u32 = 128 * 1024;

/// What is spoken with the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time.
    Http1,
    /// HTTP/2 without TLS, for gRPC.
    Http2,
}

/// Why a request has no answer from the replica.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection could be made: the replica has seen nothing.
    #[error("no connection to the replica")]
    Unreachable(#[source] io::Error),
    /// The replica closed without a byte of answer.
    #[error("the replica closed the connection before replying")]
    Closed {
        /// How long after its last byte was sent, by the socket's own account: the time in which
        /// this thread did something else must not count.
        after: Duration,
        /// Whether the connection had served a request before.
        reused: bool,
    },
    /// The connection ended before anything of the request was written.
    #[error("the connection closed before the request was sent")]
    Unsent,
    /// HTTP/2: the replica said that it did not begin (`REFUSED_STREAM`, RFC 9113 §8.7).
    #[error("the replica refused the stream")]
    Refused,
    /// The answer is not HTTP, or ends in the middle of its head.
    #[error("the replica's answer is invalid")]
    Invalid(#[source] hyper::Error),
    /// The request could not be sent to its end; the fault is in its body.
    #[error("the request body failed")]
    Body,
}

impl Failure {
    /// Whether the router itself was short of something, so that the failure says nothing about the
    /// replica: open files, buffers, memory, local ports.
    pub fn is_the_routers(&self) -> bool {
        use rustix::io::Errno;
        let Self::Unreachable(error) = self else { return false };
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        let code = error.raw_os_error();
        short.iter().any(|errno| Some(errno.raw_os_error()) == code)
    }
}

/// Whether an HTTP/2 connection is given no further call after this error: all but a reset that the
/// replica has sent. Who breaks the rules in one stream may be about to break them in all.
pub fn spoils_connection(error: &hyper::Error) -> bool {
    let stream = error.source().and_then(|error| error.downcast_ref::<h2::Error>());
    stream.is_some_and(|error| !(error.is_reset() && error.is_remote()))
}

/// Runs what hyper wants to run on the current thread.
#[derive(Debug, Clone, Copy)]
pub struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

enum Sender<B> {
    Http1(http1::SendRequest<B>),
    Http2(http2::SendRequest<B>),
}

/// A connection to a replica, ready for a request.
pub struct Connection<B> {
    sender: Sender<B>,
    socket: Arc<Socket>,
    /// Heads of an HTTP/2 connection.
    heads: Heads,
    task: AbortHandle,
    /// For the deadlines of its requests.
    alarm: Alarm,
    /// Whether it has served a request before.
    pub(super) reused: bool,
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Connects and says hello, within `limit`.
    pub(super) async fn open(
        address: SocketAddr,
        protocol: Protocol,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let opened = tokio::time::timeout(limit, Self::open_unbounded(address, protocol)).await;
        match opened {
            Ok(connection) => connection.map_err(Failure::Unreachable),
            Err(_) => Err(Failure::Unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn open_unbounded(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let socket = Socket::new(TcpStream::connect(address).await?)?;
        let io = SocketIo(Arc::clone(&socket));
        let heads = Heads::default();
        let (sender, task) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .max_buf_size(BUFFER_BYTES_MAX)
                    .max_headers(ANSWER_FIELDS_MAX)
                    .handshake(TokioIo::new(io))
                    .await
                    .map_err(io::Error::other)?;
                let connection = connection.with_upgrades();
                let task = tokio::task::spawn_local(async move {
                    // Its error is also the error of the request, where it is judged.
                    drop(connection.await);
                });
                (Sender::Http1(sender), task.abort_handle())
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(LocalExecutor)
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_TIMEOUT)
                    .max_header_list_size(ANSWER_HEADER_LIST_BYTES_MAX)
                    .handshake(TokioIo::new(CountedIo::new(io, heads.clone())))
                    .await
                    .map_err(io::Error::other)?;
                let task = tokio::task::spawn_local(async move {
                    drop(connection.await);
                });
                (Sender::Http2(sender), task.abort_handle())
            }
        };
        Ok(Self { sender, socket, heads, task, alarm: Alarm::default(), reused: false })
    }

    /// The socket below.
    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Whether another request can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready() && self.socket.is_quiet(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// Whether it has served a request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// A second handle to an HTTP/2 connection, which carries many requests at once.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                sender: Sender::Http2(sender.clone()),
                socket: Arc::clone(&self.socket),
                heads: self.heads.clone(),
                task: self.task.clone(),
                alarm: Alarm::default(),
                reused: true,
            }),
        }
    }

    /// Closes the connection at once, whatever the replica is doing.
    pub fn abort(&self) {
        if matches!(self.sender, Sender::Http1(_)) {
            self.task.abort();
        }
    }

    /// Sends a request and waits for the head of the answer; `None` when the deadline passes
    /// first.
    pub fn send(
        &mut self,
        request: Request<B>,
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Option<Result<Response<Incoming>, Failure>>> {
        let before = self.socket.received();
        // Outside of the future, which would otherwise have room for the request twice.
        let mut answer = match &mut self.sender {
            Sender::Http1(sender) => {
                self.socket.expect_at_most(Some(BEFORE_ANSWER_BYTES_MAX));
                Either::Left(Box::pin(sender.send_request(request)))
            }
            Sender::Http2(sender) => Either::Right(Box::pin(sender.send_request(request))),
        };
        std::future::poll_fn(move |cx| match answer.poll_unpin(cx) {
            Poll::Ready(answer) => {
                self.socket.expect_at_most(None);
                self.heads.begin_anew();
                Poll::Ready(Some(answer.map_err(|error| self.judge(error, before))))
            }
            Poll::Pending => self.alarm.poll(deadline, cx).map(|()| None),
        })
    }

    fn judge(&self, error: hyper::Error, received_before: u64) -> Failure {
        if error.is_canceled() {
            return Failure::Unsent;
        }
        if let Some(stream) = error.source().and_then(|e| e.downcast_ref::<h2::Error>()) {
            return match stream.reason() {
                Some(h2::Reason::REFUSED_STREAM) => Failure::Refused,
                // A replica that leaves in order does not touch later streams (RFC 9113 §6.8).
                Some(h2::Reason::NO_ERROR) if stream.is_go_away() && stream.is_remote() => {
                    Failure::Refused
                }
                Some(_) if !stream.is_io() => Failure::Invalid(error),
                _ => Failure::Closed { after: self.socket.since_write(), reused: self.reused },
            };
        }
        if error.is_user() {
            return Failure::Body;
        }
        if error.is_parse() || self.socket.received() > received_before {
            return Failure::Invalid(error);
        }
        Failure::Closed { after: self.socket.since_write(), reused: self.reused }
    }
}

/// A connection that nobody can use any more is closed at once, whatever it is doing.
impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        if matches!(self.sender, Sender::Http1(_)) {
            self.task.abort();
        }
    }
}

impl<B> std::fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.socket.peer())
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}
