//! A replica that records every byte it is sent, and reads it as strictly as HTTP/1.1 is written:
//! what it cannot read without a doubt is noted as a fault.

use std::{
    fmt,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

/// No read waits longer than this, so that no thread outlives the suite for long.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// A request as it arrived.
#[derive(Clone, Default)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The fields in order, names as sent.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// Whether it arrived to its end.
    pub(crate) complete: bool,
    /// What about it is not HTTP/1.1 as the RFCs have it.
    pub(crate) fault: Option<String>,
}

impl Recorded {
    /// Every value of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let mine = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        mine.map(|(_, value)| value.as_slice()).collect()
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        write!(f, "{:.80} {:.200}", self.method, self.target)?;
        for (name, value) in &self.fields {
            let shown = &value[..value.len().min(80)];
            write!(f, " [{name:.80}: {}]", text(shown).escape_debug())?;
        }
        let shown = &self.body[..self.body.len().min(100)];
        write!(f, " {:?} whole: {}, fault: {:?}", text(shown), self.complete, self.fault)
    }
}

/// The replica. Dropping it closes the port.
pub(crate) struct Recorder {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    /// A replica that answers every request with 200 and its target.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                std::thread::spawn(move || Connection { stream, rest: Vec::new(), all }.serve());
            }
        });
        Self { address, seen }
    }

    /// Takes out what has arrived.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.seen.lock())
    }
}

struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
    all: Arc<Mutex<Vec<Recorded>>>,
}

impl Connection {
    fn serve(mut self) {
        drop(self.stream.set_read_timeout(Some(READ_LIMIT)));
        drop(self.stream.set_nodelay(true));
        while let Some(mut request) = self.head() {
            request.complete = request.fault.is_none() && self.body(&mut request);
            let goes_on = request.complete;
            let (target, head) = (request.target.clone(), request.method == "HEAD");
            // Before the answer: who has read that finds the record.
            self.all.lock().push(request);
            if !goes_on || !self.answer(&target, head) {
                break;
            }
        }
        if !self.rest.is_empty() {
            let fault = Some(format!("{:?} is no request", String::from_utf8_lossy(&self.rest)));
            self.all.lock().push(Recorded { fault, ..Recorded::default() });
        }
        drop(self.stream.shutdown(Shutdown::Both));
    }

    fn answer(&mut self, target: &str, head: bool) -> bool {
        let length = target.len();
        let body = if head { "" } else { target };
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.write_all(text.as_bytes()).is_ok()
    }

    fn head(&mut self) -> Option<Recorded> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                let mut request = Recorded::default();
                request.fault = read_head(&head[..end], &mut request).err();
                return Some(request);
            }
            self.more()?;
        }
    }

    /// Reads the body; whether its end came.
    fn body(&mut self, request: &mut Recorded) -> bool {
        let lengths = request.all("content-length");
        let chunked = !request.all("transfer-encoding").is_empty();
        let length = lengths.first().map(|value| number(value, 10));
        match length {
            None if chunked => self.chunks(request),
            None => true,
            Some(Some(length)) => self.take(length, &mut request.body),
            Some(None) => {
                request.fault = Some("Content-Length is no number".to_owned());
                false
            }
        }
    }

    fn chunks(&mut self, request: &mut Recorded) -> bool {
        loop {
            let Some(line) = self.line() else { return false };
            let Some(size) = number(&line, 16) else {
                request.fault = Some(format!("a bad chunk: {line:?}"));
                return false;
            };
            if size > 0 && !self.take(size, &mut request.body) {
                return false;
            }
            let Some(end) = self.line() else { return false };
            if !end.is_empty() {
                request.fault = Some(format!("{end:?} behind a chunk"));
                return false;
            }
            if size == 0 {
                return true;
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|w| w == b"\r\n") {
                let line = self.rest.drain(..end + 2).take(end).collect();
                return Some(line);
            }
            self.more()?;
        }
    }

    fn take(&mut self, count: usize, body: &mut Vec<u8>) -> bool {
        while self.rest.len() < count {
            if self.more().is_none() {
                body.append(&mut self.rest);
                return false;
            }
        }
        body.extend(self.rest.drain(..count));
        true
    }

    fn more(&mut self) -> Option<()> {
        let mut piece = vec![0; 64 * 1024];
        let count = self.stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        self.rest.extend_from_slice(&piece[..count]);
        Some(())
    }
}

/// Reads a head, and says what is wrong with it.
fn read_head(head: &[u8], request: &mut Recorded) -> Result<(), String> {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines =
        head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let whole = text.replace("\r\n", "");
    if whole.contains(['\r', '\n']) {
        return Err(format!("a bare CR or LF: {text:?}"));
    }
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return Err(format!("request line {line:?}"));
    };
    method.clone_into(&mut request.method);
    target.clone_into(&mut request.target);
    let path = target.split('?').next().unwrap_or_default();
    if !path.starts_with('/')
        || path.contains('\\')
        || target.bytes().any(|b| !b.is_ascii_graphic() || b == b'#')
    {
        return Err(format!("target {target:?}"));
    }
    for line in lines {
        let (name, value) =
            field(line).ok_or_else(|| format!("field {:?}", String::from_utf8_lossy(line)))?;
        request.fields.push((name, value));
    }
    invariants(request)
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let fits = !name.is_empty()
        && name.iter().all(is_token)
        && value.iter().all(|b| *b == b'\t' || *b >= b' ' && *b != 0x7f);
    fits.then(|| (String::from_utf8_lossy(name).into_owned(), value.to_owned()))
}

/// What holds for every request that a replica is sent, whatever the client did.
fn invariants(request: &Recorded) -> Result<(), String> {
    let count = |name: &str| request.all(name).len();
    for (name, wanted) in
        [("host", 1), ("x-request-id", 1), ("x-ms-request-id", 1), ("x-forwarded-for", 1)]
    {
        if count(name) != wanted {
            return Err(format!("{name} came {} times", count(name)));
        }
    }
    if count("content-length") + count("transfer-encoding") > 1 {
        return Err("the length is said twice".to_owned());
    }
    if request.all("transfer-encoding").iter().any(|value| *value != b"chunked") {
        return Err("Transfer-Encoding is not 'chunked'".to_owned());
    }
    if request.all("x-forwarded-for") != [b"127.0.0.1"]
        || request.all("x-request-id")[0].len() != 36
    {
        return Err("the router's own fields are not its own".to_owned());
    }
    for (name, _) in &request.fields {
        let name = name.to_ascii_lowercase();
        let kept =
            ["te", "trailer", "keep-alive", "proxy-connection", "proxy-authorization", "expect"];
        let secret = ["authorization", "api-key", "http2-settings"];
        if kept.contains(&&name[..])
            || secret.contains(&&name[..])
            || name.starts_with("x-modelway-")
        {
            return Err(format!("{name} was forwarded"));
        }
        let twin = name.replace('_', "-");
        if twin != name && (count(&twin) > 0 || COLLIDING.contains(&&twin[..])) {
            return Err(format!("{name} is {twin} for a WSGI server"));
        }
    }
    Ok(())
}

/// Names that mean something to the router or to the framing of a message.
const COLLIDING: [&str; 12] = [
    "content-length",
    "transfer-encoding",
    "x-request-id",
    "x-ms-request-id",
    "x-ms-client-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "api-key",
    "azureml-model-deployment",
    "proxy-authorization",
];

/// Digits alone, in this base.
fn number(text: &[u8], base: u32) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| usize::from_str_radix(text, base).ok())?
}
