//! Fuzz target: the raw head check beside hyper and beside a strict reader of the same bytes.

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::wire::{Framing, Reader};
use crate::proxy::{
    head,
    raw_head::fuzz::{Message, fault_in_one_piece, trace},
    settings::HEAD_BYTES_MAX,
};

/// Room for the input and for the answers to it.
const PIPE_BYTES: usize = 4 * 1024 * 1024;
/// As for real connections, so that hyper decides alike.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Longer request lines are told from others while they are read, and so by how they are cut.
const CUT_BYTES_MAX: usize = 8 * 1024;

/// A request as hyper reads it.
struct Read {
    parts: Parts,
    /// `None`: hyper found a fault in it.
    body: Option<Bytes>,
}

/// The bytes of a connection. Up to the first fault that the raw head check finds, every message
/// that hyper completes is one that the check has followed, with the same payload at the same
/// place; where the check leaves the framing to hyper, hyper refuses it; and what all of us accept,
/// the strict reader reads as the same message.
pub fn raw_head(data: &[u8]) {
    let ours = trace(data);
    if data.len() <= CUT_BYTES_MAX {
        assert_eq!(ours.fault, fault_in_one_piece(data), "the verdict depends on the cut");
    }
    let (good, _) = data.split_at(ours.good);
    let read = hyper_reads(good);
    let count = read.len();
    for (index, read) in read.into_iter().enumerate() {
        let message = ours.messages.get(index).expect("hyper reads no message that we do not see");
        let is_last = index + 1 == count;
        compare(&read, message, is_last);
        if head::check(&read.parts).is_ok()
            && let Some(body) = &read.body
        {
            strictly(&read.parts, body, message, good);
        }
    }
}

fn compare(read: &Read, message: &Message, is_last: bool) {
    let method = read.parts.method.as_str().as_bytes();
    assert!(message.line.starts_with(method), "{:?} is not {message:?}", read.parts);
    let Some(body) = &read.body else { return };
    if message.unknown {
        let refused = head::check(&read.parts).is_err();
        assert!(refused && is_last, "left to hyper, which accepts it: {:?}", read.parts);
        return;
    }
    assert!(message.complete, "hyper ends {:?} before we do: {message:?}", read.parts);
    assert_eq!(body, &message.payload, "{:?}", read.parts);
}

/// The same message by RFC 9112 alone.
fn strictly(parts: &Parts, body: &Bytes, message: &Message, bytes: &[u8]) {
    let mut reader = Reader(bytes.get(message.at..).expect("it was read from there"));
    let head = reader.head().expect("a head that is accepted is well formed");
    let head = head.expect("a message that is complete has a head");
    let mut words = head.line.split(|b| *b == b' ');
    let [method, target, version] = [words.next(), words.next(), words.next()];
    assert!(words.next().is_none(), "three words make a request line: {head:?}");
    assert_eq!(method, Some(parts.method.as_str().as_bytes()), "{head:?}");
    assert!(target.is_some_and(|target| !target.is_empty()), "{head:?}");
    assert!([Some(&b"HTTP/1.1"[..]), Some(b"HTTP/1.0")].contains(&version), "{head:?}");
    let framing = head.request_framing().expect("the framing of what is accepted is clear");
    assert!(framing != Framing::Close, "no request ends with its connection");
    let (again, complete) = reader.body(framing).expect("a body that is accepted is well formed");
    assert!(complete, "{head:?}");
    assert_eq!(body, &again, "{head:?}");
    assert_eq!(head.fields.len(), parts.headers.len(), "{head:?} is not {:?}", parts.headers);
}

/// Lets hyper read the bytes as a whole connection; bodies are read to their end.
fn hyper_reads(bytes: &[u8]) -> Vec<Read> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers");
    }
    let read = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&read);
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
            seen.borrow_mut().push(Read { parts, body });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
            client.write_all(bytes).await.expect("there is room");
            client.shutdown().await.expect("a pipe can be closed");
            let connection = http1::Builder::new()
                .half_close(true)
                .max_buf_size(BUFFER_BYTES_MAX)
                .max_header_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(server), service)
                .with_upgrades();
            // Its error is in what it has read.
            drop(connection.await);
        });
    });
    read.take()
}
