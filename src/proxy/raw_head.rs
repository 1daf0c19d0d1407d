//! The bytes of a request head before hyper parses them: what hyper forgives and we do not.
//!
//! hyper accepts a bare LF as a line end, drops a `Content-Length` that follows a
//! `Transfer-Encoding`, and merges equal `Content-Length` fields, and nothing of that can be seen
//! in what it hands over. Behind us that is harmless, because every message is framed anew; in front
//! of us another proxy may have read the same bytes as two requests (RFC 9112 §11.2). So such heads
//! are refused.
//!
//! The same holds for the lines of a chunked body: a trailer section that one side sees end at a
//! bare LF and the other at CR LF hides a request (RFC 9112 §7.1).
//!
//! How: lines are looked at in place as they are read, payload is only counted. Where the framing
//! is not understood here, hyper refuses it, and nothing more is looked at.

use super::{
    error::ProxyError,
    head::{malformed, target_too_long},
    settings::{HEAD_BYTES_MAX, TARGET_BYTES_MAX},
};

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawFault {
    /// LF without CR, or CR without LF.
    BareLineEnd,
    /// The length is said more than once, in whatever way.
    LengthTwice,
    /// The request line goes on and on. hyper would find the whole head too large instead.
    EndlessTarget,
}

impl RawFault {
    /// The refusal.
    pub(crate) fn error(self) -> ProxyError {
        match self {
            Self::BareLineEnd => malformed("a line of the head does not end with CR LF"),
            Self::LengthTwice => malformed("the length of the payload is given more than once"),
            Self::EndlessTarget => target_too_long(),
        }
    }
}

/// A request line longer than this has a target over its limit: method, spaces and version take
/// far less than the rest.
const REQUEST_LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + 64;

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// In a head that begins behind this many of the bytes; those belong to good requests.
    Head(usize),
    /// In the body of a request that hyper has begun to hand over.
    Body,
}

/// Follows the bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct RawHeads {
    place: Place,
    /// The beginning of a line whose end has not been read.
    carry: Vec<u8>,
    seen_line: bool,
    length: Option<u64>,
    lengths: u32,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a head or before one.
    #[default]
    Head,
    /// In a body with this much left.
    Body(u64),
    /// Before the size of a chunk.
    ChunkSize,
    /// In a chunk with this much left.
    Chunk(u64),
    /// At the line end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    /// Only hyper knows: it will refuse what comes.
    Unknown,
}

impl RawHeads {
    /// Looks at bytes in the order in which they are read. With a fault comes where it is.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), (Where, RawFault)> {
        let total = bytes.len();
        let mut head_at = 0;
        while !bytes.is_empty() {
            if self.place == Place::Head && !self.seen_line && self.carry.is_empty() {
                head_at = total - bytes.len();
            }
            match self.place {
                Place::Unknown => return Ok(()),
                Place::Body(left) => {
                    let left = pass(&mut bytes, left);
                    self.place = if left == 0 { Place::Head } else { Place::Body(left) };
                }
                Place::Chunk(left) => {
                    let left = pass(&mut bytes, left);
                    self.place = if left == 0 { Place::ChunkEnd } else { Place::Chunk(left) };
                }
                Place::Head => {
                    bytes = self.line(bytes).map_err(|fault| (Where::Head(head_at), fault))?;
                }
                Place::ChunkSize | Place::ChunkEnd | Place::Trailers => {
                    bytes = self.line(bytes).map_err(|fault| (Where::Body, fault))?;
                }
            }
        }
        Ok(())
    }

    /// Takes one line, or the beginning of one; returns what is behind it.
    fn line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], RawFault> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            let length = self.carry.len() + bytes.len();
            let in_head = self.place == Place::Head;
            if in_head && !self.seen_line && length > REQUEST_LINE_BYTES_MAX {
                return Err(RawFault::EndlessTarget);
            }
            if length > HEAD_BYTES_MAX {
                // hyper refuses a head of this size.
                self.place = Place::Unknown;
            } else {
                self.carry.extend_from_slice(bytes);
            }
            return Ok(&[]);
        };
        let (piece, rest) = bytes.split_at(end + 1);
        if self.carry.is_empty() {
            self.whole_line(piece)?;
        } else {
            let mut line = std::mem::take(&mut self.carry);
            line.extend_from_slice(piece);
            self.whole_line(&line)?;
        }
        Ok(rest)
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), RawFault> {
        let content = line.strip_suffix(b"\r\n").ok_or(RawFault::BareLineEnd)?;
        if memchr::memchr(b'\r', content).is_some() {
            return Err(RawFault::BareLineEnd);
        }
        match self.place {
            Place::ChunkSize => {
                self.place = after_size(content);
                return Ok(());
            }
            Place::ChunkEnd => {
                self.place = if content.is_empty() { Place::ChunkSize } else { Place::Unknown };
                return Ok(());
            }
            Place::Trailers => {
                if content.is_empty() {
                    self.place = Place::Head;
                }
                return Ok(());
            }
            Place::Head | Place::Body(_) | Place::Chunk(_) | Place::Unknown => {}
        }
        if content.is_empty() {
            // Empty lines before the request line are allowed (RFC 9112 §2.2).
            if self.seen_line {
                self.end_of_head();
            }
            return Ok(());
        }
        if self.seen_line {
            self.field(content)?;
        }
        self.seen_line = true;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), RawFault> {
        if let Some(value) = value_of(line, b"content-length") {
            self.lengths += 1;
            self.length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        } else if value_of(line, b"transfer-encoding").is_some() {
            self.lengths += 1;
            self.chunked = true;
        }
        if self.lengths > 1 { Err(RawFault::LengthTwice) } else { Ok(()) }
    }

    fn end_of_head(&mut self) {
        let unreadable = self.lengths > 0 && self.length.is_none();
        self.place = match self.length {
            _ if self.chunked => Place::ChunkSize,
            _ if unreadable => Place::Unknown,
            Some(length) if length > 0 => Place::Body(length),
            _ => Place::Head,
        };
        (self.seen_line, self.length, self.lengths) = (false, None, 0);
        self.chunked = false;
    }
}

/// Passes over payload; returns how much of it is still to come.
fn pass(bytes: &mut &[u8], left: u64) -> u64 {
    let passed = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *bytes = bytes.split_at(passed).1;
    left - passed as u64
}

/// What follows the size line of a chunk.
fn after_size(line: &[u8]) -> Place {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    let size = std::str::from_utf8(digits).ok().and_then(|d| u64::from_str_radix(d, 16).ok());
    match size {
        Some(0) => Place::Trailers,
        Some(size) => Place::Chunk(size),
        None => Place::Unknown,
    }
}

/// The value of a field line with this name, in lower case.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn verdict(text: &str) -> Result<(), RawFault> {
        RawHeads::default().follow(text.as_bytes()).map_err(|(_, fault)| fault)
    }

    #[test]
    fn what_hyper_forgives_is_refused() {
        use RawFault::{BareLineEnd, LengthTwice};
        let cases = [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", BareLineEnd),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n", LengthTwice),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                LengthTwice,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                LengthTwice,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
                LengthTwice,
            ),
        ];
        for (text, fault) in cases {
            assert_eq!(verdict(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn a_request_line_without_end_is_a_target_too_long() {
        let target = "a".repeat(REQUEST_LINE_BYTES_MAX);
        assert_eq!(verdict(&format!("GET /{target}")), Err(RawFault::EndlessTarget));
        assert_eq!(verdict(&target), Ok(()));
    }

    #[test]
    fn bodies_are_not_heads() {
        assert_eq!(verdict(GOOD), Ok(()));
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n";
        assert_eq!(verdict(chunked), Ok(()));
    }

    #[test]
    fn a_line_feed_alone_ends_nothing_in_a_chunked_body() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for bad in ["3\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "0\r\n\n", "0\r\nX: y\n\r\n"] {
            let found = RawHeads::default().follow(format!("{head}{bad}").as_bytes());
            assert_eq!(found, Err((Where::Body, RawFault::BareLineEnd)), "{bad:?}");
        }
        let good = format!("{head}3;x=y\r\na\nb\r\n0\r\nX: y\r\n\r\n");
        assert_eq!(verdict(&good), Ok(()));
        assert!(verdict(&format!("{good}GET / HTTP/1.1\n\n")).is_err(), "the next head is found");
    }

    #[test]
    fn a_bad_head_behind_a_body_of_known_length_is_found() {
        let text = format!("{GOOD}GET / HTTP/1.1\n\n");
        let found = RawHeads::default().follow(text.as_bytes());
        assert_eq!(found, Err((Where::Head(GOOD.len()), RawFault::BareLineEnd)));
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_are_cut(
            cuts in proptest::collection::vec(1_usize..20, 1..60),
            bad in any::<bool>(),
        ) {
            let text = if bad { GOOD.replacen("Host: a\r\n", "Host: a\n", 1) } else { GOOD.to_owned() };
            let mut rest = text.as_bytes();
            let mut heads = RawHeads::default();
            let mut result = Ok(());
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() || result.is_err() {
                    break;
                }
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                result = heads.follow(piece);
                rest = behind;
            }
            prop_assert_eq!(result.is_err(), bad);
        }
    }
}
