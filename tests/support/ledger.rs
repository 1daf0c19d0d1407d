//! An open-loop client that keeps books: whatever happens to a request is exactly one outcome.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinSet, LocalSet, spawn_local},
    time::{sleep, timeout},
};

/// The most requests of one load.
const REQUESTS_MAX: u32 = 50_000;
/// A request without an answer after this time is lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);
/// A connection that was idle for longer is not used again: the router closes it after 60 s
/// (contract §5), and a request sent at that moment would be lost without anybody's fault.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// The longest that a client which is going to leave stays.
const STAY_MAX_MS: u64 = 80;

/// What a load does.
pub(crate) struct Plan {
    /// Where the router is.
    pub(crate) data: SocketAddr,
    /// Path and query of every request.
    pub(crate) target: String,
    /// Requests per second at a time since the beginning.
    pub(crate) rate: fn(Duration) -> f64,
    /// How long it goes on, unless it is stopped.
    pub(crate) length: Duration,
    /// Of a hundred clients, how many leave before their answer.
    pub(crate) leavers_percent: u32,
}

/// A load that goes on in a thread of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Outcome>>,
}

/// What happened to one request.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The client's name for it.
    pub(crate) client_id: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub(crate) ended_ms: u64,
    /// Its end.
    pub(crate) end: End,
}

/// How a request ended for its client.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// With a whole answer.
    Answered { status: u16, request_id: String, version: String, body: String },
    /// The client left on purpose.
    Left(Leave),
    /// Without a whole answer although the client stayed.
    Broken(String),
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// HTTP/1, closing the connection.
    Close,
    /// HTTP/1, with a TCP reset.
    Reset,
    /// HTTP/2, resetting the stream.
    Stream,
}

impl Load {
    /// Begins, at an endpoint that is open to all.
    pub(crate) fn start(plan: Plan) -> Self {
        Self::begin(plan, None)
    }

    /// Begins, showing this key with every request.
    pub(crate) fn start_with_key(plan: Plan, key: &str) -> Self {
        Self::begin(plan, Some(key.to_owned()))
    }

    fn begin(plan: Plan, key: Option<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            LocalSet::new().block_on(&runtime, drive(plan, key, stopped))
        });
        Self { stop, thread }
    }

    /// Sends no more requests; those in progress go on.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Waits for the end and the last answer.
    pub(crate) fn outcomes(self) -> Vec<Outcome> {
        self.thread.join().expect("the client does not panic")
    }
}

async fn drive(plan: Plan, key: Option<String>, stop: Arc<AtomicBool>) -> Vec<Outcome> {
    let client = Rc::new(Client {
        data: plan.data,
        target: plan.target,
        key,
        http1: RefCell::default(),
        http2: tokio::sync::Mutex::new(None),
    });
    let mut requests = JoinSet::new();
    let begun = Instant::now();
    let mut due = begun;
    for number in 0..REQUESTS_MAX {
        // Late requests are sent at once: the load does not wait for the router.
        tokio::time::sleep_until(due.into()).await;
        if stop.load(Relaxed) || begun.elapsed() >= plan.length {
            break;
        }
        due += Duration::from_secs_f64(1.0 / (plan.rate)(begun.elapsed()));
        let client = Rc::clone(&client);
        // Spread evenly, and the same in every run.
        let leaves = number.wrapping_mul(61) % 100 < plan.leavers_percent;
        requests.spawn_local(async move { client.request(number, leaves).await });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = requests.join_next().await {
        outcomes.push(outcome.expect("no request panics"));
    }
    outcomes
}

struct Client {
    data: SocketAddr,
    target: String,
    key: Option<String>,
    http1: RefCell<Vec<(http1::SendRequest<Full<Bytes>>, Instant)>>,
    http2: tokio::sync::Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl Client {
    async fn request(&self, number: u32, leaves: bool) -> Outcome {
        let client_id = format!("c{number}");
        let end = if leaves {
            let stay = Duration::from_millis(u64::from(number).wrapping_mul(7919) % STAY_MAX_MS);
            let how = match number % 3 {
                0 => Leave::Close,
                1 => Leave::Reset,
                _ => Leave::Stream,
            };
            self.leave(&client_id, how, stay).await
        } else {
            let asked = async {
                if number.is_multiple_of(4) {
                    self.ask_http2(&client_id).await
                } else {
                    self.ask_http1(&client_id).await
                }
            };
            match timeout(ANSWER_LIMIT, asked).await {
                Ok(Ok(end)) => end,
                Ok(Err(error)) => End::Broken(error),
                Err(_) => End::Broken("no answer".to_owned()),
            }
        };
        Outcome { client_id, ended_ms: super::watch::now_ms(), end }
    }

    async fn ask_http1(&self, client_id: &str) -> Result<End, String> {
        let mut kept = std::iter::from_fn(|| self.http1.borrow_mut().pop());
        let kept = kept.find(|(sender, since)| sender.is_ready() && since.elapsed() < IDLE_MAX);
        let mut sender = match kept {
            Some((sender, _)) => sender,
            None => self.connect_http1().await?,
        };
        sender.ready().await.map_err(|error| format!("not ready: {error}"))?;
        let request = self.message(client_id, &self.target);
        let response = sender.send_request(request).await.map_err(|error| tell(&error))?;
        let closes = response.headers().get("connection").is_some_and(|value| value == "close");
        let end = answered(response).await?;
        if !closes {
            self.http1.borrow_mut().push((sender, Instant::now()));
        }
        Ok(end)
    }

    async fn connect_http1(&self) -> Result<http1::SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.data).await.map_err(|error| tell(&error))?;
        stream.set_nodelay(true).map_err(|error| tell(&error))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| tell(&error))?;
        // Its error is the error of its requests.
        spawn_local(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn ask_http2(&self, client_id: &str) -> Result<End, String> {
        let mut sender = self.http2_sender().await?;
        let request = self.message(client_id, &self.full_target());
        match sender.try_send_request(request).await {
            Ok(response) => answered(response).await,
            Err(mut error) => {
                // Handed back: the connection ended before it was sent, as when the router drains.
                // Every client with a pool sends it on another connection (RFC 9113 §8.7).
                let Some(request) = error.take_message() else { return Err(tell(error.error())) };
                *self.http2.lock().await = None;
                let mut sender = self.http2_sender().await?;
                answered(sender.send_request(request).await.map_err(|error| tell(&error))?).await
            }
        }
    }

    /// The one HTTP/2 connection, or another one when it takes no more requests.
    async fn http2_sender(&self) -> Result<http2::SendRequest<Full<Bytes>>, String> {
        let mut kept = self.http2.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = TcpStream::connect(self.data).await.map_err(|error| tell(&error))?;
        let (sender, connection) = http2::Builder::new(Local)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| tell(&error))?;
        spawn_local(async move { drop(connection.await) });
        *kept = Some(sender.clone());
        Ok(sender)
    }

    async fn leave(&self, client_id: &str, how: Leave, stay: Duration) -> End {
        let left = match how {
            Leave::Stream => self.leave_http2(client_id, stay).await,
            Leave::Close | Leave::Reset => self.leave_http1(client_id, how, stay).await,
        };
        match left {
            Ok(()) => End::Left(how),
            Err(error) => End::Broken(error),
        }
    }

    async fn leave_http2(&self, client_id: &str, stay: Duration) -> Result<(), String> {
        let mut sender = self.http2_sender().await?;
        let request = self.message(client_id, &self.full_target());
        match timeout(stay, sender.send_request(request)).await {
            // Dropping the future, or the answer unread, resets the stream.
            Ok(Ok(_)) | Err(_) => Ok(()),
            Ok(Err(error)) => Err(tell(&error)),
        }
    }

    async fn leave_http1(&self, client_id: &str, how: Leave, stay: Duration) -> Result<(), String> {
        let mut stream = TcpStream::connect(self.data).await.map_err(|error| tell(&error))?;
        let key = self.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n"));
        let key = key.unwrap_or_default();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: test\r\nx-ms-client-request-id: {client_id}\r\n\
             {key}Content-Length: {}\r\n\r\n{BODY}",
            self.target,
            BODY.len()
        );
        stream.write_all(head.as_bytes()).await.map_err(|error| tell(&error))?;
        sleep(stay).await;
        if how == Leave::Reset {
            let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            linger.map_err(|error| tell(&error))?;
        }
        Ok(())
    }

    fn full_target(&self) -> String {
        format!("http://{}{}", self.data, self.target)
    }

    fn message(&self, client_id: &str, target: &str) -> Request<Full<Bytes>> {
        let mut message = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header("host", "test")
            .header("x-ms-client-request-id", client_id);
        if let Some(key) = &self.key {
            message = message.header("authorization", format!("Bearer {key}"));
        }
        message.body(Full::new(Bytes::from_static(BODY.as_bytes()))).expect("a request")
    }
}

/// Two hundred bytes or so, as a small scoring request has.
const BODY: &str = r#"{"data": [[5.1, 3.5, 1.4, 0.2], [4.9, 3.0, 1.4, 0.2], [4.7, 3.2, 1.3, 0.2], [4.6, 3.1, 1.5, 0.2], [5.0, 3.6, 1.4, 0.2], [5.4, 3.9, 1.7, 0.4], [4.6, 3.4, 1.4, 0.3]]}"#;

async fn answered(response: Response<Incoming>) -> Result<End, String> {
    let (parts, body) = response.into_parts();
    let field = |name| {
        let value =
            parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (request_id, version) = (field("x-request-id"), field("x-modelway-version"));
    let body = body.collect().await.map_err(|error| format!("cut off: {error}"))?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(End::Answered { status: parts.status.as_u16(), request_id, version, body })
}

fn tell(error: &dyn std::error::Error) -> String {
    use std::fmt::Write as _;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").expect("a string takes everything");
        source = cause.source();
    }
    text
}

#[derive(Clone, Copy)]
struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}
