//! One HTTP/1 connection spoken by hand, so that a test decides when it sends, reads and leaves.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// How long an answer may take before a test gives up.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A kept-alive connection; requests go one after the other.
pub(crate) struct Line {
    stream: BufReader<TcpStream>,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Status line and fields, in lower case.
    head: String,
    /// The body as text.
    pub(crate) body: String,
}

/// One `POST` on a connection of its own, answered; `target` is path and query.
pub(crate) fn post(address: SocketAddr, target: &str, fields: &[(&str, &str)]) -> Answer {
    let mut line = Line::connect(address);
    line.send(target, fields);
    line.answer().expect("an answer")
}

impl Line {
    /// A fresh connection.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the port answers");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a socket option");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a small `POST` and does not wait for its answer.
    pub(crate) fn send(&mut self, target: &str, fields: &[(&str, &str)]) {
        use std::fmt::Write as _;
        let body = r#"{"data": [1, 2, 3]}"#;
        let mut text = format!("POST {target} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in fields {
            write!(text, "{name}: {value}\r\n").expect("a string takes everything");
        }
        write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("as above");
        self.stream.get_mut().write_all(text.as_bytes()).expect("the request is sent");
    }

    /// Reads one answer with its body; `None` when the connection ended instead.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.field("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.expect("answers here say how long they are")];
        self.stream.read_exact(&mut body).ok()?;
        answer.body = String::from_utf8(body).expect("text");
        Some(answer)
    }

    /// Sends and reads.
    pub(crate) fn ask(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(target, fields);
        self.answer().expect("an answer")
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub(crate) fn half_close(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("an open connection");
    }

    /// Leaves with a reset.
    pub(crate) fn reset(self) {
        let stream = self.stream.into_inner();
        let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("a socket option");
    }

    /// Whether the router has closed the connection, waiting for it at most so long.
    pub(crate) fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(limit)).expect("a socket option");
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

impl Answer {
    /// The first field of this name, in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find_map(|(found, value)| (found == name).then_some(value.trim()))
    }

    /// The version that answered.
    pub(crate) fn version(&self) -> &str {
        self.field("x-modelway-version").unwrap_or_default()
    }
}
