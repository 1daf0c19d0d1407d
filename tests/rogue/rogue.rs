//! The replica of the rows: a real TCP server that does to a request what its row says, and counts
//! connections.
//!
//! The request names its row in `x-row`. A row whose acts begin before the request is armed: the
//! next connection is treated so. A request without a row gets an ordinary answer.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use socket2::SockRef;

use super::{frames, row::Act};
use crate::support::replica::pause;

/// No read waits longer, so that no thread outlives its test for long.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// What one act waits for another to be read by itself.
const PAUSE: Duration = Duration::from_millis(40);
/// Longer than the limit of slow rows.
const DEAF: Duration = Duration::from_secs(6);
/// Between two bytes of a drip.
const DRIP: Duration = Duration::from_millis(100);

/// The replica. Dropping it closes the port and the connections.
pub(crate) struct Rogue {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    rows: HashMap<&'static str, Vec<Act>>,
    armed: Mutex<Option<Vec<Act>>>,
    /// What the next gRPC call is called, and what is done to it: its fields are compressed.
    now: Mutex<(String, Vec<Act>)>,
    /// Connection and value of `x-ask` of each request.
    seen: Mutex<Vec<(usize, String)>>,
    streams: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

/// Which protocol it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

impl Rogue {
    pub(crate) fn start(speaks: Speaks, rows: HashMap<&'static str, Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Shared {
            rows,
            armed: Mutex::default(),
            now: Mutex::default(),
            seen: Mutex::default(),
            streams: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, speaks, &accepting));
        Self { address, shared }
    }

    /// The next connection is treated so, before it has said anything.
    pub(crate) fn arm(&self, acts: &[Act]) {
        *self.shared.armed.lock() = Some(acts.to_vec());
    }

    /// The next gRPC call has this name, and these acts are done to it.
    pub(crate) fn expect(&self, ask: &str, acts: &[Act]) {
        *self.shared.now.lock() = (ask.to_owned(), acts.to_vec());
    }

    /// The connections on which the request with this `x-ask` came.
    pub(crate) fn connections(&self, ask: &str) -> Vec<usize> {
        let seen = self.shared.seen.lock();
        seen.iter().filter(|(_, asked)| asked == ask).map(|(connection, _)| *connection).collect()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        for stream in self.shared.streams.lock().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    pub(super) fn row(&self, name: &str) -> Option<Vec<Act>> {
        self.rows.get(name).cloned()
    }

    /// What is to be done to the call that has just come.
    pub(super) fn now(&self, connection: usize) -> Vec<Act> {
        let (ask, acts) = self.now.lock().clone();
        self.note(connection, &ask);
        acts
    }

    pub(super) fn note(&self, connection: usize, ask: &str) {
        self.seen.lock().push((connection, ask.to_owned()));
    }
}

fn accept(listener: &TcpListener, speaks: Speaks, shared: &Arc<Shared>) {
    for number in 0.. {
        let Ok((stream, _)) = listener.accept() else { return };
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        let Ok(copy) = stream.try_clone() else { return };
        shared.streams.lock().push(copy);
        let armed = shared.armed.lock().take();
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            drop(stream.set_nodelay(true));
            drop(stream.set_read_timeout(Some(READ_LIMIT)));
            let mut peer = Peer { stream, rest: Vec::new(), shared: &shared };
            let goes_on = armed.is_none_or(|acts| acts.iter().all(|act| peer.act(act)));
            if goes_on {
                match speaks {
                    Speaks::Http1 => serve(&mut peer, number),
                    Speaks::Http2 => frames::serve(&mut peer, number),
                }
            }
            peer.close();
        });
    }
}

/// One connection of the router.
pub(super) struct Peer<'s> {
    stream: TcpStream,
    /// Read and not used yet.
    pub(super) rest: Vec<u8>,
    pub(super) shared: &'s Shared,
}

/// HTTP/1 requests until the connection ends.
fn serve(peer: &mut Peer<'_>, number: usize) {
    while let Some(head) = peer.head() {
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            let found = fields.find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        peer.shared.note(number, &field("x-ask"));
        let length = field("content-length").parse().unwrap_or(0);
        let acts = peer.shared.row(&field("x-row"));
        let is_ordinary = acts.is_none();
        let goes_on = acts.unwrap_or_else(ordinary).iter().all(|act| match act {
            Act::Read => peer.read(length),
            Act::ReadHead => true,
            other => peer.act(other),
        });
        // Ordinary answers say that they are the last, so that each row begins with a connection of
        // its own.
        if !goes_on || is_ordinary {
            return;
        }
    }
}

fn ordinary() -> Vec<Act> {
    let bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nclean";
    vec![Act::Read, Act::Send(bytes.to_vec())]
}

impl Peer<'_> {
    /// The bytes up to the empty line.
    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            self.more()?;
        }
    }

    /// Reads this many bytes of a body.
    fn read(&mut self, length: usize) -> bool {
        while self.rest.len() < length {
            if self.more().is_none() {
                return false;
            }
        }
        self.rest.drain(..length);
        true
    }

    /// Reads something.
    pub(super) fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        self.rest.extend_from_slice(&piece[..count]);
        Some(())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Does one act; whether the connection goes on.
    pub(super) fn act(&mut self, act: &Act) -> bool {
        match act {
            Act::Read | Act::ReadHead => true,
            Act::Send(bytes) => self.send(bytes),
            Act::Flood(bytes, count) => (0..*count).all(|_| self.send(bytes)),
            Act::Pause => {
                pause(PAUSE);
                true
            }
            Act::Drip(bytes) => bytes.iter().all(|byte| {
                pause(DRIP);
                self.send(&[*byte])
            }),
            Act::Silence => {
                while self.more().is_some() {
                    self.rest.clear();
                }
                false
            }
            Act::Deaf => {
                pause(DEAF);
                false
            }
            Act::Close => false,
            Act::Reset => {
                drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
                // Only the last handle that is closed resets.
                let here = self.stream.peer_addr().ok();
                self.shared.streams.lock().retain(|stream| stream.peer_addr().ok() != here);
                let (unused, _other) = unused_stream();
                self.stream = unused;
                false
            }
        }
    }

    fn close(self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

/// A connection that nobody uses, to put in the place of one that has to be dropped.
fn unused_stream() -> (TcpStream, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    (TcpStream::connect(address).expect("it listens"), listener)
}
