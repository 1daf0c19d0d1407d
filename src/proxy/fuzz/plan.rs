//! What an input of the data plane's target says: what the client sends, what the replica does.

/// Behaviours that take turns.
const BEHAVIOURS: usize = 4;
/// Requests of one input.
const SPECS_MAX: usize = 12;
/// Stands between the bytes of the client and the answer of the replica in an input of raw bytes.
const REPLICA_MARK: &[u8] = b"\n--replica--\n";

/// A whole input.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the client does.
    pub(super) client: Client,
    /// Whether the client's bytes come in pieces.
    pub(super) cut: bool,
    /// Whether the client resets the connection and reads nothing.
    pub(super) reset: bool,
    /// How long the client keeps its side open behind its last byte, in seconds.
    pub(super) patience_s: u64,
    /// What the replica does to one request after the other.
    pub(super) behaviours: [Behaviour; BEHAVIOURS],
    /// What it sends as [`Behaviour::Raw`].
    pub(super) raw_answer: Vec<u8>,
}

/// What the client does.
#[derive(Debug)]
pub(super) enum Client {
    /// Sends these bytes as HTTP/1.
    Http1(Vec<u8>),
    /// Sends the preface of HTTP/2, empty settings, and these bytes.
    RawHttp2(Vec<u8>),
    /// Sends these requests over one HTTP/2 connection.
    Http2(Vec<Spec>),
}

/// What the replica does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Answers with a length.
    Length,
    /// Answers in chunks.
    Chunked,
    /// Answers 204.
    Empty,
    /// Says 100 and 103 first.
    Interim,
    /// Answers without a length and closes.
    UntilClose,
    /// Answers before it reads the body.
    Early,
    /// Closes without a word.
    Close,
    /// Closes in the middle of the answer's body.
    Truncated,
    /// Says two lengths.
    TwoLengths,
    /// Sends a second answer behind the first.
    Extra,
    /// Is silent.
    Silent,
    /// Sends bytes of the input and closes.
    Raw,
}

impl Behaviour {
    const ALL: [Self; 12] = [
        Self::Length,
        Self::Chunked,
        Self::Empty,
        Self::Interim,
        Self::UntilClose,
        Self::Early,
        Self::Close,
        Self::Truncated,
        Self::TwoLengths,
        Self::Extra,
        Self::Silent,
        Self::Raw,
    ];

    /// Whether it answers every request completely, after reading all of it.
    pub(super) fn is_good(self) -> bool {
        matches!(
            self,
            Self::Length | Self::Chunked | Self::Empty | Self::Interim | Self::UntilClose
        )
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) fields: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
    /// How the end of the body is told.
    pub(super) framing: SpecFraming,
    /// Whether it is broken off behind the body (HTTP/2).
    pub(super) reset: bool,
}

/// How the length of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpecFraming {
    Length,
    Chunked,
    /// One byte more is announced than comes.
    Lie,
    Both,
}

const METHODS: [&str; 8] = ["POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"];

const TARGETS: [&str; 14] = [
    "/api/v1/service/demo/score",
    "/api/v1/endpoint/demo/score",
    "/api/v1/service/demo/v2/models/m/infer",
    "/api/v1/service/demo",
    "/api/v1/service/keyed/score?key=x",
    "/api/v1/service/tiny/score",
    "/api/v1/service/nobody/score",
    "/api/v1/service/demo/../keyed/score",
    "/api/v1/service/demo/%2e%2e/score",
    "/api/v1/service/demo//score",
    "/metrics",
    "/",
    "*",
    "http://demo.example/anything?q=1",
];

const FIELDS: [(&str, &str); 32] = [
    ("authorization", "Bearer first"),
    ("authorization", "Bearer wrong"),
    ("api-key", "first"),
    ("connection", "close"),
    ("connection", "authorization, x-request-id, host"),
    ("connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
    ("te", "gzip"),
    ("trailer", "x-after"),
    ("expect", "100-continue"),
    ("expect", "something"),
    ("upgrade", "h2c"),
    ("upgrade", "websocket"),
    ("connection", "upgrade"),
    ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ("proxy-connection", "keep-alive"),
    ("transfer-encoding", "identity"),
    ("transfer-encoding", "gzip, chunked"),
    ("content-length", "3"),
    ("x-request-id", "forged"),
    ("x-modelway-source", "router"),
    ("x-ms-client-request-id", "\u{1}bad\t id with spaces, and more than forty characters"),
    ("azureml-model-deployment", "green"),
    ("azureml-model-deployment", "nobody"),
    ("cookie", "a=b; session=c"),
    ("host", "demo.example"),
    ("host", "a b"),
    ("content-type", "application/grpc"),
    ("x-ms-aml-grpc-service-route", "/api/v1/service/demo"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x_underscore", "1"),
];

/// Reads an input from the front; what is not there is zero.
struct Input<'b>(&'b [u8]);

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.byte() % from.len();
        *from.get(index).expect("less than the length")
    }

    fn spec(&mut self) -> Spec {
        let (method, target) = (self.pick(&METHODS), self.pick(&TARGETS));
        let count = self.byte() % 5;
        let fields = (0..count).map(|_| self.pick(&FIELDS)).collect();
        let length = match self.byte() {
            small @ 0..200 => small / 4,
            large => (large - 199) * 80,
        };
        let seed = self.byte();
        let body = (0..length).map(|at| u8::try_from((at + seed) % 251).expect("small"));
        let framing = self.pick(&[
            SpecFraming::Length,
            SpecFraming::Length,
            SpecFraming::Chunked,
            SpecFraming::Chunked,
            SpecFraming::Lie,
            SpecFraming::Both,
        ]);
        let reset = self.byte() % 8 == 7;
        Spec { method, target, fields, body: body.collect(), framing, reset }
    }
}

impl Plan {
    /// The plan that these bytes say; any bytes say one.
    pub(super) fn read(data: &[u8]) -> Self {
        let mut input = Input(data);
        let mode = input.byte();
        let behaviours = std::array::from_fn(|_| input.pick(&Behaviour::ALL));
        let (specs, http2) = (mode & 1 != 0, mode & 2 != 0);
        let mut raw_answer = Vec::new();
        let client = if specs {
            let mut specs = Vec::new();
            while !input.0.is_empty() && specs.len() < SPECS_MAX {
                specs.push(input.spec());
            }
            if http2 { Client::Http2(specs) } else { Client::Http1(written(&specs)) }
        } else {
            let (bytes, answer) = split(input.0);
            raw_answer = answer.to_vec();
            if http2 { Client::RawHttp2(bytes.to_vec()) } else { Client::Http1(bytes.to_vec()) }
        };
        let patience_s = [0, 3, 0, 400].get(mode >> 4 & 3).copied().unwrap_or(0);
        let (cut, reset) = (mode & 4 != 0, mode & 8 != 0);
        Self { client, cut, reset, patience_s, behaviours, raw_answer }
    }

    /// Whether the replica answers every request completely.
    pub(super) fn is_good(&self) -> bool {
        self.behaviours.iter().all(|behaviour| behaviour.is_good())
    }

    /// Whether the replica can send whatever it likes.
    pub(super) fn has_raw_answers(&self) -> bool {
        self.behaviours.contains(&Behaviour::Raw)
    }
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.windows(REPLICA_MARK.len()).position(|window| window == REPLICA_MARK);
    match at.and_then(|at| bytes.split_at_checked(at)) {
        Some((client, rest)) => (client, rest.get(REPLICA_MARK.len()..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

/// The requests as the bytes of an HTTP/1 connection.
fn written(specs: &[Spec]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for spec in specs {
        bytes.extend_from_slice(format!("{} {} HTTP/1.1\r\n", spec.method, spec.target).as_bytes());
        if !spec.fields.iter().any(|(name, _)| *name == "host") {
            bytes.extend_from_slice(b"host: demo\r\n");
        }
        for (name, value) in &spec.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let length = spec.body.len() + usize::from(spec.framing == SpecFraming::Lie);
        if spec.framing != SpecFraming::Chunked && length > 0 {
            bytes.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        if matches!(spec.framing, SpecFraming::Chunked | SpecFraming::Both) {
            bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for chunk in spec.body.chunks(7) {
                bytes.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&spec.body);
        }
    }
    bytes
}
