//! The client of the data plane's target, and what it may conclude from the answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    plan::{Plan, Spec, SpecFraming},
    wire::{Framing, Head, Reader, digits, print},
};
use crate::proxy::raw_head::fuzz::Trace;

/// Bytes of an answer that are read: more than all answers of an input.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How many bytes come in very small pieces, where they do; the rest comes in larger ones, because
/// each piece costs a system call on both sides.
const CUT_SMALL_BYTES: usize = 1500;
/// The preface of HTTP/2 and empty SETTINGS (RFC 9113 §3.4).
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Longer than any timeout of the router, in its time.
const PATIENCE: Duration = Duration::from_secs(1000);

/// Sends bytes as the plan says and reads until the router closes. `None`: it never does.
pub(super) async fn exchange(
    mut stream: TcpStream,
    hello: bool,
    bytes: &[u8],
    plan: &Plan,
) -> Option<Vec<u8>> {
    if plan.reset {
        drop(stream.write_all(bytes).await);
        tokio::time::sleep(Duration::from_secs(plan.patience_s)).await;
        drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
        return Some(Vec::new());
    }
    let (mut from, mut to) = stream.split();
    let send = async move {
        if hello {
            drop(to.write_all(HELLO).await);
        }
        let (small, large) = if plan.cut { (5, 1000) } else { (CUT_SMALL_BYTES, usize::MAX) };
        let (first, rest) = bytes.split_at(bytes.len().min(CUT_SMALL_BYTES));
        for piece in first.chunks(small).chain(rest.chunks(large)) {
            // The router may have closed; what it has answered before counts.
            if to.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(plan.patience_s)).await;
        drop(to.shutdown().await);
    };
    let mut received = Vec::new();
    let receive = async {
        // A reset ends it like a FIN: what came before it counts.
        drop((&mut from).take(ANSWER_BYTES_MAX).read_to_end(&mut received).await);
    };
    let both = async { tokio::join!(send, receive) };
    tokio::time::timeout(PATIENCE, both).await.ok()?;
    Some(received)
}

/// Reads the answers of an HTTP/1 connection and holds each against its request: strictly framed,
/// complete, from a named source, in the right order, and no more of them than requests. Returns
/// how many there are.
pub(super) fn check_http1(received: &[u8], trace: &Trace, plan: &Plan) -> usize {
    let whole = trace.fault.is_none() && trace.messages.iter().all(|message| message.complete);
    let may_break = !whole || !plan.is_good();
    let mut reader = Reader(received);
    let mut count = 0;
    while !reader.0.is_empty() {
        let Some(head) = reader.head().expect("every answer is well formed") else {
            assert!(may_break, "an answer ends in its head: {:?}", Text(received));
            break;
        };
        let status = status(&head);
        if status == 101 {
            return count + 1;
        }
        if (100..200).contains(&status) {
            continue;
        }
        let request = trace.messages.get(count);
        let is_head = request.is_some_and(|request| request.line.starts_with(b"HEAD "));
        let framing = answer_framing(&head, status, is_head);
        let (body, complete) = reader.body(framing).expect("every body is well formed");
        assert!(complete || may_break, "an answer is cut: {:?}", Text(received));
        check_source(&head, status, &body, is_head || !complete);
        let payload = request.filter(|request| request.complete).map(|r| r.payload.as_slice());
        check_echo(&head, payload, plan);
        count += 1;
    }
    assert!(count <= trace.messages.len() + 1, "{count} answers: {:?}", Text(received));
    count
}

fn status(head: &Head) -> u16 {
    let line = head.line.as_slice();
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "));
    let code = rest.and_then(|rest| rest.get(..3)).unwrap_or_default();
    let code = digits(code).expect("every answer has a status");
    u16::try_from(code).expect("three digits")
}

fn answer_framing(head: &Head, status: u16, is_head: bool) -> Framing {
    if is_head || status == 204 || status == 304 {
        return Framing::None;
    }
    match (head.all("transfer-encoding").as_slice(), head.all("content-length").as_slice()) {
        ([], []) => Framing::Close,
        ([], [length]) => Framing::Length(digits(length).expect("a length is a number")),
        ([coding], []) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"), "{head:?}");
            Framing::Chunked
        }
        _ => {
            assert!(head.line.is_empty(), "the framing of an answer is not clear: {head:?}");
            Framing::None
        }
    }
}

/// Who made it is said once, and the router's own errors are JSON that says the same status.
fn check_source(head: &Head, status: u16, body: &[u8], is_without_body: bool) {
    let sources = head.all("x-modelway-source");
    let ids = head.all("x-request-id");
    assert!(sources.len() == 1 && ids.len() == 1, "{head:?}");
    assert!(uuid::Uuid::try_parse_ascii(ids.first().copied().unwrap_or_default()).is_ok());
    if sources == [b"router"] && !is_without_body {
        let problem: serde_json::Value = serde_json::from_slice(body).expect("an error is JSON");
        assert_eq!(problem.get("status").and_then(serde_json::Value::as_u64), Some(status.into()));
    }
}

/// What the replica says it has read is what this request has sent.
fn check_echo(head: &Head, payload: Option<&[u8]>, plan: &Plan) {
    let echoes = head.all("x-echo");
    if plan.has_raw_answers() || echoes.is_empty() {
        return;
    }
    let payload = payload.map(print).expect("only a whole request is echoed");
    assert_eq!(echoes, [payload.as_bytes()], "the answer to another request: {head:?}");
}

/// What became of a request over HTTP/2.
pub(super) struct Outcome {
    /// The status, and the whole body where it came to its end; `None`: no head came.
    pub(super) answer: Option<(http::HeaderMap, bool)>,
}

/// Sends all requests at once over one connection, and waits for what becomes of each. `None`: one
/// of them never ends.
pub(super) async fn exchange_http2(stream: TcpStream, specs: &[Spec]) -> Option<Vec<Outcome>> {
    let Ok((sender, connection)) = h2::client::handshake(stream).await else {
        return Some(Vec::new());
    };
    let task = tokio::task::spawn_local(async move { drop(connection.await) });
    let all = futures_util::future::join_all(specs.iter().map(|spec| one(sender.clone(), spec)));
    let outcomes = tokio::time::timeout(PATIENCE, all).await.ok();
    drop(sender);
    task.abort();
    outcomes
}

async fn one(sender: h2::client::SendRequest<Bytes>, spec: &Spec) -> Outcome {
    Outcome { answer: ask(sender, spec).await }
}

async fn ask(
    sender: h2::client::SendRequest<Bytes>,
    spec: &Spec,
) -> Option<(http::HeaderMap, bool)> {
    let mut sender = sender.ready().await.ok()?;
    let (response, mut body) = sender.send_request(request(spec)?, false).ok()?;
    body.send_data(Bytes::from(spec.body.clone()), !spec.reset).ok()?;
    if spec.reset {
        tokio::task::yield_now().await;
        body.send_reset(h2::Reason::CANCEL);
    }
    let (parts, mut answer) = response.await.ok()?.into_parts();
    let complete = loop {
        match answer.data().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(data)) => answer.flow_control().release_capacity(data.len()).ok()?,
        }
    };
    Some((parts.headers, complete))
}

/// `None` for what the client's own library refuses to send.
fn request(spec: &Spec) -> Option<Request<()>> {
    let target = if spec.target.starts_with('/') {
        format!("http://demo{}", spec.target)
    } else {
        spec.target.to_owned()
    };
    let mut request = Request::builder().method(spec.method).uri(target).version(Version::HTTP_2);
    for (name, value) in &spec.fields {
        let is_between_two = ["connection", "keep-alive", "upgrade", "transfer-encoding"];
        if !is_between_two.contains(name) && *name != "proxy-connection" {
            request = request.header(*name, *value);
        }
    }
    let length = match spec.framing {
        SpecFraming::Length => spec.body.len(),
        SpecFraming::Lie => spec.body.len() + 1,
        SpecFraming::Chunked | SpecFraming::Both => return request.body(()).ok(),
    };
    if !spec.fields.iter().any(|(name, _)| *name == "content-length") {
        request = request.header("content-length", length);
    }
    request.body(()).ok()
}

/// Bytes as a failure shows them.
struct Text<'b>(&'b [u8]);

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}
