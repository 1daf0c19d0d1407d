//! HTTP/2 by hand: frames as bytes, and a replica that reads just enough of what it is sent.

use super::{rogue::Peer, row::Act};

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// Also ACK.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Stands in a row for the stream of the request; replaced when it is known.
pub(crate) const STREAM: u32 = 0x00de_adee;

/// One frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Fields without compression (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// A string without Huffman code; its length is an integer with a prefix of 7 bits (RFC 7541 §5).
fn text(bytes: &mut Vec<u8>, text: &str) {
    let mut left = text.len();
    if left < 127 {
        bytes.push(u8::try_from(left).expect("below 127"));
    } else {
        bytes.push(127);
        left -= 127;
        while left >= 128 {
            bytes.push(u8::try_from(left % 128).expect("below 128") | 128);
            left /= 128;
        }
        bytes.push(u8::try_from(left).expect("below 128"));
    }
    bytes.extend_from_slice(text.as_bytes());
}

/// HEADERS of the request's stream.
pub(crate) fn headers(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, STREAM, &block(fields))
}

/// The head of an ordinary gRPC answer.
pub(crate) fn head() -> Vec<u8> {
    headers(0, &[(":status", "200"), ("content-type", "application/grpc")])
}

/// One gRPC message.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short message").to_be_bytes();
    frame(DATA, 0, STREAM, &[&[0][..], &length, text.as_bytes()].concat())
}

/// The end of a call.
pub(crate) fn trailers(status: &str) -> Vec<u8> {
    headers(END_STREAM, &[("grpc-status", status)])
}

/// A whole ordinary answer.
pub(crate) fn answer(text: &str) -> Vec<u8> {
    [head(), message(text), trailers("0")].concat()
}

/// Calls until the connection ends.
pub(super) fn serve(peer: &mut Peer<'_>, number: usize) {
    while peer.rest.len() < PREFACE.len() {
        if peer.more().is_none() {
            return;
        }
    }
    peer.rest.drain(..PREFACE.len());
    if !peer.send(&frame(SETTINGS, 0, 0, &[])) {
        return;
    }
    let mut open = None;
    while let Some((kind, flags, stream, payload)) = next(peer) {
        let sent = match kind {
            SETTINGS if flags & END_STREAM == 0 => peer.send(&frame(SETTINGS, END_STREAM, 0, &[])),
            PING if flags & END_STREAM == 0 => peer.send(&frame(PING, END_STREAM, 0, &payload)),
            // For the connection alone: what the stream may send stays as it was.
            DATA if !payload.is_empty() => {
                let size = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
                peer.send(&frame(WINDOW_UPDATE, 0, 0, &size))
            }
            _ => true,
        };
        if !sent {
            return;
        }
        let mut acts = None;
        if kind == HEADERS {
            let now = peer.shared.now(number);
            if matches!(now.first(), Some(Act::ReadHead)) {
                acts = Some(now);
            } else {
                open = Some(now);
            }
        }
        let is_ended = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
        let acts = acts.or_else(|| open.take_if(|_| is_ended)).unwrap_or_default();
        if !acts.iter().all(|act| peer.act(&addressed(act, stream))) {
            return;
        }
    }
}

/// The act with the stream of the request in the place of its stand-in.
fn addressed(act: &Act, stream: u32) -> Act {
    let put = |bytes: &[u8]| {
        let (from, to) = (STREAM.to_be_bytes(), stream.to_be_bytes());
        let mut bytes = bytes.to_vec();
        let mut at = 0;
        while at + 4 <= bytes.len() {
            if bytes[at..at + 4] == from {
                bytes[at..at + 4].copy_from_slice(&to);
                at += 3;
            }
            at += 1;
        }
        bytes
    };
    match act {
        Act::Send(bytes) => Act::Send(put(bytes)),
        Act::Flood(bytes, count) => Act::Flood(put(bytes), *count),
        Act::Drip(bytes) => Act::Drip(put(bytes)),
        other => other.clone(),
    }
}

/// Kind, flags, stream and payload of the next frame.
fn next(peer: &mut Peer<'_>) -> Option<(u8, u8, u32, Vec<u8>)> {
    loop {
        if let [a, b, c, kind, flags, s1, s2, s3, s4, ..] = peer.rest[..] {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if peer.rest.len() >= 9 + length {
                let stream = u32::from_be_bytes([s1, s2, s3, s4]);
                let payload = peer.rest[9..9 + length].to_vec();
                peer.rest.drain(..9 + length);
                return Some((kind, flags, stream, payload));
            }
        }
        peer.more()?;
    }
}
