//! A scripted replica: a real TCP server that does to each request what a test has written down,
//! and remembers every byte it was sent.
//!
//! A request chooses its script by the header `x-script`; without one it is answered with 200 and
//! the length of its body. `x-test` names the test a request belongs to, so that tests can share a
//! replica and still find their own requests.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "code of tests, outside of any #[test] function"
)]

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use socket2::SockRef;

/// How much of a body is kept; all of it is counted.
const BODY_KEPT_MAX: usize = 128 * 1024;
/// No read of a replica waits longer than this, so that no thread outlives its test for long.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// One thing that the replica does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Reads the body to its end.
    Body,
    /// Reads this many bytes of the body and leaves the rest.
    Part(usize),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Lets time pass.
    Wait(Duration),
    /// Reads until the router closes, at most so long; [`Seen::hung_up`] says how it ended.
    Hangup(Duration),
    /// Sends the same bytes until the router closes or this many were sent.
    Flood(Vec<u8>, usize),
    /// Closes (FIN).
    Close,
    /// Closes with RST.
    Reset,
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Which connection of this replica, from 0.
    pub(crate) connection: usize,
    /// Request line and fields as sent, without the empty line.
    pub(crate) head: String,
    /// The first bytes of the body.
    pub(crate) body: Vec<u8>,
    /// Bytes of the body so far.
    pub(crate) body_length: u64,
    /// Whether the body arrived to its end.
    pub(crate) complete: bool,
    /// Whether the router closed while the replica waited for that; `None`: it did not wait.
    pub(crate) hung_up: Option<bool>,
    /// Whether the script has run to its end.
    pub(crate) done: bool,
}

impl Seen {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Every value of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    /// The one value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [] => None,
            [value] => Some(value),
            ref values => panic!("{name} was sent {} times: {values:?}", values.len()),
        }
    }
}

type Script = Arc<dyn Fn(&Seen, usize) -> Vec<Step> + Send + Sync>;

/// The replica. Dropping it closes the port and the connections.
pub(crate) struct Replica {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// How long a connection may be idle after an answer; `None`: as long as it likes.
    idle_limit: Option<Duration>,
    scripts: Mutex<HashMap<String, (Script, usize)>>,
    seen: Mutex<Vec<Seen>>,
    news: Condvar,
    streams: Mutex<Vec<TcpStream>>,
    busy: AtomicUsize,
    busy_max: AtomicUsize,
    ended: AtomicBool,
}

/// Lets time pass where time itself is what is tested.
pub(crate) fn pause(length: Duration) {
    let until = Instant::now() + length;
    let (lock, never) = (Mutex::new(()), Condvar::new());
    let mut guard = lock.lock();
    while !never.wait_until(&mut guard, until).timed_out() {}
}

/// A complete answer with this status line, these fields and this body.
pub(crate) fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}").into_bytes()
}

impl Replica {
    /// A replica that keeps idle connections open.
    pub(crate) fn start() -> Self {
        Self::start_with_idle_limit(None)
    }

    /// A replica that closes a connection this long after an answer.
    pub(crate) fn start_with_idle_limit(idle_limit: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Shared {
            idle_limit,
            scripts: Mutex::default(),
            seen: Mutex::default(),
            news: Condvar::new(),
            streams: Mutex::default(),
            busy: AtomicUsize::new(0),
            busy_max: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Registers a script; it is told the request and how many asked for this script before.
    pub(crate) fn script(
        &self,
        name: &str,
        script: impl Fn(&Seen, usize) -> Vec<Step> + Send + Sync + 'static,
    ) {
        self.shared.scripts.lock().insert(name.to_owned(), (Arc::new(script), 0));
    }

    /// The requests of one test so far.
    pub(crate) fn seen(&self, test: &str) -> Vec<Seen> {
        let seen = self.shared.seen.lock();
        seen.iter().filter(|seen| seen.field("x-test") == Some(test)).cloned().collect()
    }

    /// All requests so far.
    pub(crate) fn all_seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// The only request of this test.
    pub(crate) fn only(&self, test: &str) -> Seen {
        match &self.seen(test)[..] {
            [one] => one.clone(),
            many => panic!("{} requests of {test}: {many:#?}", many.len()),
        }
    }

    /// Waits for a request of this test of which `is` holds.
    pub(crate) fn await_seen(&self, test: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let until = Instant::now() + Duration::from_secs(20);
        let mut seen = self.shared.seen.lock();
        loop {
            let mine = seen.iter().filter(|seen| seen.field("x-test") == Some(test));
            if let Some(found) = mine.clone().find(|seen| is(seen)) {
                return found.clone();
            }
            let all: Vec<_> = mine.collect();
            assert!(Instant::now() < until, "no such request of {test}: {all:#?}");
            drop(all);
            self.shared.news.wait_until(&mut seen, until);
        }
    }

    /// The most requests that were in progress at once.
    pub(crate) fn highest_concurrency(&self) -> usize {
        self.shared.busy_max.load(Ordering::Relaxed)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        for stream in self.shared.streams.lock().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        // Wakes the accepting thread, which then sees that it has ended.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0.. {
        let Ok((stream, _)) = listener.accept() else { return };
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        if let Ok(copy) = stream.try_clone() {
            shared.streams.lock().push(copy);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let connection =
                Connection { stream, rest: Vec::new(), number, is_counted: false, shared: &shared };
            connection.serve();
        });
    }
}

struct Connection<'s> {
    stream: TcpStream,
    /// Bytes read and not used yet.
    rest: Vec<u8>,
    number: usize,
    /// Whether the request counts as one in progress.
    is_counted: bool,
    shared: &'s Shared,
}

impl Connection<'_> {
    fn serve(mut self) {
        drop(self.stream.set_nodelay(true));
        let mut first = true;
        loop {
            let idle_limit = if first { None } else { self.shared.idle_limit };
            first = false;
            let Some(head) = self.head(idle_limit) else { break };
            let busy = self.shared.busy.fetch_add(1, Ordering::Relaxed) + 1;
            self.shared.busy_max.fetch_max(busy, Ordering::Relaxed);
            self.is_counted = true;
            let goes_on = self.request(head);
            self.count_out();
            if !goes_on {
                break;
            }
        }
        // The list holds a second handle, which would keep the connection open.
        drop(self.stream.shutdown(Shutdown::Both));
    }

    fn request(&mut self, head: String) -> bool {
        let seen = Seen { connection: self.number, head, ..Seen::default() };
        let name = seen.field("x-script").unwrap_or_default().to_owned();
        let script = {
            let mut scripts = self.shared.scripts.lock();
            scripts.get_mut(&name).map(|(script, count)| {
                *count += 1;
                (Arc::clone(script), *count - 1)
            })
        };
        assert!(name.is_empty() || script.is_some(), "no script {name}");
        let index = {
            let mut all = self.shared.seen.lock();
            all.push(seen.clone());
            all.len() - 1
        };
        self.shared.news.notify_all();
        let mut body = Body::of(&seen);
        let goes_on = match script {
            None => {
                self.step(&Step::Body, index, &mut body) && {
                    let length = body.length.to_string();
                    self.send_last(&answer("200 OK", "", &length))
                }
            }
            Some((script, count)) => {
                let steps = script(&seen, count);
                let (last, before) = steps.split_last().expect("a script has steps");
                before.iter().all(|step| self.step(step, index, &mut body))
                    && match last {
                        Step::Send(bytes) => self.send_last(bytes),
                        other => self.step(other, index, &mut body),
                    }
            }
        };
        self.note(index, |seen| seen.done = true);
        goes_on
    }

    /// A request is in progress until its last byte is handed out: after that the next one may come
    /// on another connection before this thread runs again.
    fn send_last(&mut self, bytes: &[u8]) -> bool {
        let (last, before) = bytes.split_last().expect("an answer has bytes");
        let sent = self.stream.write_all(before).is_ok();
        self.count_out();
        sent && self.stream.write_all(&[*last]).is_ok()
    }

    fn count_out(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.shared.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.shared.seen.lock().get_mut(index) {
            change(seen);
        }
        self.shared.news.notify_all();
    }

    /// Whether the connection goes on.
    fn step(&mut self, step: &Step, index: usize, body: &mut Body) -> bool {
        match step {
            Step::Body => {
                let complete = self.read_body(index, body, usize::MAX);
                self.note(index, |seen| seen.complete = complete);
                complete
            }
            Step::Part(count) => {
                self.read_body(index, body, *count);
                true
            }
            Step::Send(bytes) => self.stream.write_all(bytes).is_ok(),
            Step::Wait(length) => {
                pause(*length);
                true
            }
            Step::Hangup(limit) => {
                let hung_up = self.await_hangup(*limit);
                self.note(index, |seen| seen.hung_up = Some(hung_up));
                !hung_up
            }
            Step::Flood(bytes, count) => (0..*count).all(|_| self.stream.write_all(bytes).is_ok()),
            Step::Close => false,
            Step::Reset => {
                drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
                // Only the last handle that is closed resets.
                let here = self.stream.peer_addr().ok();
                self.shared.streams.lock().retain(|stream| stream.peer_addr().ok() != here);
                if let Ok(unused) = TcpStream::connect(self.stream.local_addr().expect("bound")) {
                    self.stream = unused;
                }
                false
            }
        }
    }

    fn await_hangup(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut sink = [0; 16 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => return false,
                Err(_) => return true,
            }
        }
    }

    /// The bytes up to the empty line; `None` when the connection ends or is idle too long.
    fn head(&mut self, idle_limit: Option<Duration>) -> Option<String> {
        let mut limit = idle_limit.unwrap_or(READ_LIMIT);
        loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head[..end]).into_owned());
            }
            self.more(limit)?;
            limit = READ_LIMIT;
        }
    }

    fn more(&mut self, limit: Duration) -> Option<()> {
        self.stream.set_read_timeout(Some(limit)).ok()?;
        let mut piece = vec![0; 64 * 1024];
        let count = self.stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        self.rest.extend_from_slice(&piece[..count]);
        Some(())
    }

    /// Reads up to `most` bytes of the body; whether its end was reached.
    fn read_body(&mut self, index: usize, body: &mut Body, most: usize) -> bool {
        let mut read = 0;
        loop {
            let piece = body.take(&mut self.rest);
            if !piece.is_empty() {
                read += piece.len();
                let length = body.length;
                let room = |kept: usize| BODY_KEPT_MAX.saturating_sub(kept).min(piece.len());
                self.note(index, |seen| {
                    seen.body_length = length;
                    seen.body.extend_from_slice(&piece[..room(seen.body.len())]);
                });
            }
            if body.ended {
                return true;
            }
            if read >= most || self.more(READ_LIMIT).is_none() {
                return false;
            }
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The framing of a request body.
struct Body {
    /// Bytes left of the body or of the current chunk.
    left: u64,
    chunked: bool,
    length: u64,
    ended: bool,
}

impl Body {
    fn of(seen: &Seen) -> Self {
        let chunked = seen.field("transfer-encoding").is_some();
        let left = seen.field("content-length").map_or(0, |n| n.parse().expect("a length"));
        Self { left, chunked, length: 0, ended: !chunked && left == 0 }
    }

    /// Takes what belongs to the body from the front of `rest`.
    fn take(&mut self, rest: &mut Vec<u8>) -> Vec<u8> {
        let mut taken = Vec::new();
        while !self.ended {
            if self.left > 0 {
                let count = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                taken.extend(rest.drain(..count));
                self.left -= count as u64;
                self.length += count as u64;
                if self.left > 0 {
                    break;
                }
                self.ended = !self.chunked;
            } else if !self.next_chunk(rest) {
                break;
            }
        }
        taken
    }

    /// Reads the line of a chunk, with the line end of the one before; whether it was all there.
    fn next_chunk(&mut self, rest: &mut Vec<u8>) -> bool {
        let skip = if rest.starts_with(b"\r\n") && self.length > 0 { 2 } else { 0 };
        let Some(end) = rest[skip..].windows(2).position(|w| w == b"\r\n") else { return false };
        let line = String::from_utf8_lossy(&rest[skip..skip + end]).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).expect("the router sends well-formed chunks");
        if size == 0 {
            let Some(last) = rest[skip..].windows(4).position(|w| w == b"\r\n\r\n") else {
                return false;
            };
            rest.drain(..skip + last + 4);
            self.ended = true;
            return true;
        }
        rest.drain(..skip + end + 2);
        self.left = size;
        true
    }
}
