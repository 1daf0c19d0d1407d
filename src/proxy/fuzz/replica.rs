//! The replica of the data plane's target: a real socket, strict about what it reads, and as good
//! or bad as the plan says in what it answers.

use std::{cell::RefCell, rc::Rc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    plan::{Behaviour, Plan},
    wire::{Head, Reader, print},
};
use crate::routing;

/// Fields that no replica may see: they mean one connection, or are for the router alone.
const NEVER_FORWARDED: [&str; 9] = [
    "authorization",
    "api-key",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "trailer",
    "x-ms-aml-grpc-service-route",
];
/// Longer than any timeout of the router.
const SILENCE: Duration = Duration::from_secs(1000);
/// How the router begins a connection for gRPC, which this replica does not speak.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A request as it arrived.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its body, shortened by [`print`]; `None` while it has not come to its end.
    pub(super) body: Option<String>,
}

/// What the replica has seen, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) seen: Vec<Seen>,
    pub(super) faults: Vec<String>,
}

/// Accepts connections for as long as the runtime lives.
pub(super) async fn serve(listener: TcpListener, plan: Rc<Plan>, book: Rc<RefCell<Book>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            Connection { stream, rest: Vec::new(), plan: Rc::clone(&plan), book: Rc::clone(&book) };
        tokio::task::spawn_local(connection.serve());
    }
}

struct Connection {
    stream: TcpStream,
    /// Bytes read and not used yet.
    rest: Vec<u8>,
    plan: Rc<Plan>,
    book: Rc<RefCell<Book>>,
}

impl Connection {
    async fn serve(mut self) {
        while let Some(head) = self.head().await {
            let index = {
                let mut book = self.book.borrow_mut();
                book.faults.extend(faults_of(&head));
                book.seen.push(Seen { body: None });
                book.seen.len() - 1
            };
            let behaviours = &self.plan.behaviours;
            let behaviour = behaviours.iter().cycle().nth(index).copied();
            let behaviour = behaviour.unwrap_or(Behaviour::Length);
            if !self.exchange(&head, index, behaviour).await {
                return;
            }
        }
    }

    /// Serves one request; whether the connection goes on.
    async fn exchange(&mut self, head: &Head, index: usize, behaviour: Behaviour) -> bool {
        let is_head = head.line.starts_with(b"HEAD ");
        if behaviour == Behaviour::Early {
            let early = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            drop(self.stream.write_all(early).await);
        }
        let Some(body) = self.body(head).await else { return false };
        let name = print(&body);
        if let Some(seen) = self.book.borrow_mut().seen.get_mut(index) {
            seen.body = Some(name.clone());
        }
        let answer = answer(behaviour, &name, is_head, &self.plan.raw_answer);
        if self.stream.write_all(&answer).await.is_err() {
            return false;
        }
        match behaviour {
            Behaviour::Silent => {
                let mut sink = [0; 64];
                let silence = self.stream.read(&mut sink);
                drop(tokio::time::timeout(SILENCE, silence).await);
                false
            }
            Behaviour::Close | Behaviour::Truncated | Behaviour::Raw => {
                if index % 2 == 1 {
                    drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
                }
                false
            }
            Behaviour::UntilClose => false,
            _ => true,
        }
    }

    async fn head(&mut self) -> Option<Head> {
        loop {
            let mut reader = Reader(&self.rest);
            match reader.head() {
                Ok(_) if self.rest.starts_with(PREFACE) => return None,
                Ok(Some(head)) => {
                    self.rest = reader.0.to_vec();
                    return Some(head);
                }
                Ok(None) => {}
                Err(fault) => {
                    self.fault(fault);
                    return None;
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The whole body; `None` where it ends too early, as that of an aborted upload does.
    async fn body(&mut self, head: &Head) -> Option<Vec<u8>> {
        let framing = match head.request_framing() {
            Ok(framing) => framing,
            Err(fault) => {
                self.fault(fault);
                return None;
            }
        };
        loop {
            let mut reader = Reader(&self.rest);
            match reader.body(framing) {
                Ok((body, true)) => {
                    self.rest = reader.0.to_vec();
                    return Some(body);
                }
                Ok((_, false)) => {}
                Err(fault) => {
                    self.fault(fault);
                    return None;
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let before = self.rest.len();
        self.stream.read_buf(&mut self.rest).await.is_ok_and(|count| count > 0)
            && self.rest.len() > before
    }

    fn fault(&self, fault: &str) {
        let text = format!("{fault}: {:?}", String::from_utf8_lossy(&self.rest));
        self.book.borrow_mut().faults.push(text);
    }
}

/// What is wrong with a head that the router has sent.
fn faults_of(head: &Head) -> Vec<String> {
    let mut faults = Vec::new();
    let mut words = head.line.split(|b| *b == b' ').skip(1);
    let target = words.next().unwrap_or_default();
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    let path = std::str::from_utf8(path).unwrap_or_default();
    if routing::check_path(path).is_err() || words.next() != Some(b"HTTP/1.1") {
        faults.push(format!("the request line: {head:?}"));
    }
    for name in NEVER_FORWARDED.iter().filter(|name| !head.all(name).is_empty()) {
        faults.push(format!("{name} was forwarded: {head:?}"));
    }
    for name in ["host", "x-request-id", "x-forwarded-for"] {
        if head.all(name).len() != 1 {
            faults.push(format!("{name} is not there once: {head:?}"));
        }
    }
    let upgrades = head.all("upgrade");
    if !upgrades.iter().all(|value| value.eq_ignore_ascii_case(b"websocket")) {
        faults.push(format!("an upgrade was forwarded: {head:?}"));
    }
    if head.fields.iter().any(|(name, _)| name.starts_with("x-modelway-")) {
        faults.push(format!("a field of the router's own was forwarded: {head:?}"));
    }
    faults
}

/// `name` tells which body the replica has read. A stolen answer says another one.
fn answer(behaviour: Behaviour, name: &str, is_head: bool, raw: &[u8]) -> Vec<u8> {
    let body = if is_head { "" } else { name };
    let length = name.len();
    let text = match behaviour {
        Behaviour::Length | Behaviour::Extra => {
            format!("HTTP/1.1 200 OK\r\nx-echo: {name}\r\ncontent-length: {length}\r\n\r\n{body}")
        }
        Behaviour::Interim => format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
             HTTP/1.1 200 OK\r\nx-echo: {name}\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        Behaviour::Chunked if is_head => {
            format!("HTTP/1.1 200 OK\r\nx-echo: {name}\r\ntransfer-encoding: chunked\r\n\r\n")
        }
        Behaviour::Chunked => format!(
            "HTTP/1.1 200 OK\r\nx-echo: {name}\r\ntransfer-encoding: chunked\r\n\r\n\
             {length:x};x=y\r\n{name}\r\n0\r\nx-after: z\r\n\r\n"
        ),
        Behaviour::Empty => format!("HTTP/1.1 204 No Content\r\nx-echo: {name}\r\n\r\n"),
        Behaviour::UntilClose => {
            format!("HTTP/1.1 200 OK\r\nx-echo: {name}\r\nconnection: close\r\n\r\n{body}")
        }
        Behaviour::Truncated => {
            format!("HTTP/1.1 200 OK\r\nx-echo: {name}\r\ncontent-length: 999\r\n\r\n{body}")
        }
        Behaviour::TwoLengths => format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        ),
        Behaviour::Raw => return raw.to_vec(),
        Behaviour::Early | Behaviour::Close | Behaviour::Silent => String::new(),
    };
    let extra = "HTTP/1.1 200 OK\r\nx-echo: stolen\r\ncontent-length: 0\r\n\r\n";
    let extra = if behaviour == Behaviour::Extra { extra } else { "" };
    (text + extra).into_bytes()
}
