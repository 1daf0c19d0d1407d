//! A closed loop of clients: each has one connection and sends the next request when it has the
//! answer to the last.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::wire::head;

/// Payload of each request.
const REQUEST_BYTES: usize = 200;

/// Clients at work; they stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    tally: Rc<Tally>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Tally {
    requests: Cell<u64>,
    failed: Cell<u64>,
    latencies_us: RefCell<Vec<u32>>,
}

/// What the clients saw since they were last asked.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Load {
    /// Starts the clients on this thread.
    pub(crate) fn start(address: SocketAddr, connections: usize, request: &str) -> Self {
        let tally = Rc::new(Tally::default());
        let request: Rc<[u8]> = request.as_bytes().into();
        let client = |_| {
            let (tally, request) = (Rc::clone(&tally), Rc::clone(&request));
            tokio::task::spawn_local(async move {
                if run(address, &request, &tally).await.is_none() {
                    tally.failed.set(tally.failed.get() + 1);
                }
            })
        };
        let tasks = (0..connections).map(client).collect();
        Self { tally, tasks }
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> Seen {
        let mut latencies_us = self.tally.latencies_us.take();
        latencies_us.sort_unstable();
        let at = |share: usize| {
            let found = latencies_us.get(latencies_us.len() * share / 100).copied();
            Duration::from_micros(found.unwrap_or(0).into())
        };
        Seen {
            requests: self.tally.requests.take(),
            failed: self.tally.failed.take(),
            p50: at(50),
            p99: at(99),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// One client, until its connection ends, which no proxy here has a reason to do.
async fn run(address: SocketAddr, request: &[u8], tally: &Tally) -> Option<()> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let sent = Instant::now();
        stream.write_all(request).await.ok()?;
        buffer.clear();
        let is_ok = loop {
            stream.read_buf(&mut buffer).await.ok().filter(|count| *count > 0)?;
            if let Some(head) = head(&buffer).filter(|head| buffer.len() >= head.body + head.length)
            {
                break head.is_ok;
            }
        };
        if !is_ok {
            tally.failed.set(tally.failed.get() + 1);
        }
        tally.requests.set(tally.requests.get() + 1);
        let us = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
        tally.latencies_us.borrow_mut().push(us);
    }
}

/// A scoring request of [`REQUEST_BYTES`] with a key.
pub(crate) fn request(path: &str, key: &str) -> String {
    let body = format!(r#"{{"data": "{}"}}"#, "x".repeat(REQUEST_BYTES - r#"{"data": ""}"#.len()));
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
