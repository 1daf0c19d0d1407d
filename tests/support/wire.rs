//! Clients that send exactly the bytes a test wants: HTTP/1 on a bare socket, HTTP/2 on `h2`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "code of tests, outside of any #[test] function"
)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use socket2::SockRef;

/// No answer is waited for longer than this.
const READ_LIMIT: Duration = Duration::from_secs(45);

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its fields in order, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// Its body as far as it came.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) complete: bool,
}

impl Answer {
    /// Every value of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The one value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [] => None,
            [value] => Some(value),
            ref values => panic!("{name} came {} times: {values:?}", values.len()),
        }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The `error.code` of the router's own answers; empty where there is none.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A bare HTTP/1 connection.
pub(crate) struct Wire {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the router accepts");
        stream.set_nodelay(true).expect("an option of every socket");
        Self { stream, rest: Vec::new() }
    }

    /// Sends bytes; whether they all went out.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        assert!(self.try_send(bytes), "the router has closed");
        self
    }

    /// Sends FIN.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Closes with RST.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// Makes the receive buffer as small as the kernel allows.
    pub(crate) fn shrink_window(&self) {
        SockRef::from(&self.stream).set_recv_buffer_size(4096).expect("an option");
    }

    /// Reads one answer, final or 1xx, to a request that was not HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    /// Reads one answer; `None` when the connection ends before its head is there.
    pub(crate) fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        let mut answer = self.head()?;
        let (status, length) = (answer.status, answer.field("content-length").map(str::to_owned));
        if to_head || status < 200 || status == 204 || status == 304 {
            answer.complete = true;
        } else if answer.field("transfer-encoding").is_some() {
            answer.complete = self.chunks(&mut answer.body);
        } else if let Some(length) = length {
            let length = length.parse().expect("a length");
            while self.rest.len() < length && self.more(READ_LIMIT) {}
            let count = self.rest.len().min(length);
            answer.body = self.rest.drain(..count).collect();
            answer.complete = count == length;
        } else {
            while self.more(READ_LIMIT) {}
            answer.body = std::mem::take(&mut self.rest);
            answer.complete = true;
        }
        Some(answer)
    }

    /// Whether the connection is closed by the router within this time; nothing may come before.
    pub(crate) fn closes_within(&mut self, limit: Duration) -> bool {
        assert!(self.rest.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.rest));
        let begun = Instant::now();
        let closed = !self.more(limit) && begun.elapsed() < limit;
        assert!(self.rest.is_empty(), "unexpected: {:?}", String::from_utf8_lossy(&self.rest));
        closed
    }

    /// Whether nothing comes and nothing closes for this long.
    pub(crate) fn is_quiet_for(&mut self, length: Duration) -> bool {
        let begun = Instant::now();
        self.rest.is_empty() && !self.more(length) && begun.elapsed() >= length
    }

    /// Reads the head of an answer.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if !self.more(READ_LIMIT) {
                return None;
            }
        };
        let head: Vec<u8> = self.rest.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("an answer head in ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().expect("a status line");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let fields = lines
            .map(|line| line.split_once(':').expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Answer { status, fields, body: Vec::new(), complete: false })
    }

    /// Reads chunks to their end; whether the end came.
    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(end) = self.rest.windows(2).position(|w| w == b"\r\n") else {
                if self.more(READ_LIMIT) {
                    continue;
                }
                return false;
            };
            let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
            let size = usize::from_str_radix(line.trim(), 16).expect("the size of a chunk");
            while self.rest.len() < end + 2 + size + 2 {
                if !self.more(READ_LIMIT) {
                    body.extend(self.rest.drain(..).skip(end + 2));
                    return false;
                }
            }
            body.extend_from_slice(&self.rest[end + 2..end + 2 + size]);
            self.rest.drain(..end + 2 + size + 2);
            if size == 0 {
                return true;
            }
        }
    }

    /// Reads something; `false` on the end and after `limit`.
    fn more(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).expect("an option");
        let mut piece = vec![0; 64 * 1024];
        let count = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done.unwrap_or(0),
            }
        };
        self.rest.extend_from_slice(&piece[..count]);
        count > 0
    }
}

/// Sends one request on a fresh connection and reads the answer.
pub(crate) fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    Wire::connect(address).send(bytes).answer()
}

/// An HTTP/1 request: line without version, fields each with its line end, body.
pub(crate) fn request(line: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() && line.starts_with("GET") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    format!("{line} HTTP/1.1\r\nhost: test\r\n{fields}{length}\r\n{body}")
}

/// Runs `work` with an HTTP/2 connection (prior knowledge).
pub(crate) fn with_h2<T>(
    address: SocketAddr,
    work: impl AsyncFnOnce(SendRequest<Bytes>) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime.expect("a runtime"), async move {
        let stream = tokio::net::TcpStream::connect(address).await.expect("the router accepts");
        stream.set_nodelay(true).expect("an option of every socket");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let task = tokio::task::spawn_local(async move { drop(connection.await) });
        let limit = Duration::from_secs(80);
        let done = tokio::time::timeout(limit, work(sender)).await.expect("an end in time");
        task.abort();
        done
    })
}

/// An HTTP/2 request.
pub(crate) fn h2_request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let uri = format!("http://test{path}");
    let request = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    fields.iter().fold(request, |r, (n, v)| r.header(*n, *v)).body(()).expect("a request")
}

/// Reads an HTTP/2 answer; `complete` says whether its stream ended without an error.
pub(crate) async fn h2_answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let response = response.await?;
    let (parts, mut stream) = response.into_parts();
    let mut body = Vec::new();
    let complete = loop {
        match stream.data().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(data)) => {
                stream.flow_control().release_capacity(data.len()).expect("it was used");
                body.extend_from_slice(&data);
            }
        }
    };
    Ok(Answer { status: parts.status.as_u16(), fields: fields(&parts.headers), body, complete })
}

/// Sends a request with a whole body and reads the answer.
pub(crate) async fn h2_ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: &'static [u8],
) -> Result<Answer, h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let (response, mut stream) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(Bytes::from_static(body), true)?;
    }
    h2_answer(response).await
}

/// Sends this many bytes under flow control and, if wanted, the end; `Err` when the router resets.
pub(crate) async fn h2_upload(
    stream: &mut h2::SendStream<Bytes>,
    length: u64,
    ends: bool,
) -> Result<(), h2::Error> {
    static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let mut left = usize::try_from(length).expect("an address space");
    while left > 0 {
        stream.reserve_capacity(left.min(ZEROS.len()));
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(granted) = granted else { return Ok(()) };
        let count = granted?.min(left).min(ZEROS.len());
        stream.send_data(Bytes::from_static(&ZEROS[..count]), ends && count == left)?;
        left -= count;
    }
    Ok(())
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
