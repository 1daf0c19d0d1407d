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
//! What else hyper forgives and nobody behind it can see: a fragment in the target, which is cut off;
//! white space and control characters in the line of a chunk; lengths that a signed number cannot hold.
//!
//! How: lines are looked at in place as they are read, payload is only counted. Where the framing
//! is not understood here, hyper refuses it, and nothing more is looked at.

#[cfg(any(test, fuzzing))]
#[path = "raw_head_fuzz.rs"]
pub(super) mod fuzz;

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
    /// The length is no number, or one that a signed counter cannot hold.
    BadLength,
    /// The request line goes on and on. hyper would find the whole head too large instead.
    EndlessTarget,
    /// The target is neither a path nor an absolute URI, or has a fragment, which belongs to the
    /// client alone (RFC 9110 §4.2.5).
    Target,
    /// `Content_Length` or `Transfer_Encoding`: for a WSGI or CGI server the same as the real one.
    DisguisedLength,
    /// The line of a chunk is not a size with perhaps extensions.
    BadChunk,
}

impl RawFault {
    /// The refusal.
    pub(crate) fn error(self) -> ProxyError {
        match self {
            Self::BareLineEnd => malformed("a line of the head does not end with CR LF"),
            Self::LengthTwice => malformed("the length of the payload is given more than once"),
            Self::BadLength => malformed("Content-Length is not a number from 0 to 2^63-1"),
            Self::EndlessTarget => target_too_long(),
            Self::Target => malformed(
                "the request target is neither a path nor an http or https URI, or has a fragment ('#')",
            ),
            Self::DisguisedLength => malformed("a field that says the length has '_' in its name"),
            Self::BadChunk => malformed("the line of a chunk is not a size in hexadecimal"),
        }
    }
}

/// A request line longer than this has a target over its limit: method, spaces and version take
/// far less than the rest. The longest line that is looked at for its target; it does not matter in
/// which pieces it comes.
const REQUEST_LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + 64;

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// In a head that begins behind this many of the bytes; those belong to good requests.
    Head(usize),
    /// In a body, in a line that begins behind this many of the bytes.
    Body(usize),
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
        let (mut head_at, mut line_at) = (0, 0);
        while !bytes.is_empty() {
            if self.carry.is_empty() {
                line_at = total - bytes.len();
                if !self.is_in_head() {
                    head_at = line_at;
                }
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
                    bytes = self.line(bytes).map_err(|fault| (Where::Body(line_at), fault))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a head has begun and not ended.
    pub(crate) fn is_in_head(&self) -> bool {
        self.place == Place::Head && (self.seen_line || !self.carry.is_empty())
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
                self.place = after_size(content)?;
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
        } else if content.len() > REQUEST_LINE_BYTES_MAX {
            return Err(RawFault::EndlessTarget);
        } else if !target_fits(content) {
            return Err(RawFault::Target);
        }
        self.seen_line = true;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), RawFault> {
        if is_disguised(line, b"content-length") || is_disguised(line, b"transfer-encoding") {
            return Err(RawFault::DisguisedLength);
        }
        if let Some(value) = value_of(line, b"content-length") {
            self.lengths += 1;
            self.length = Some(number(value, 10).ok_or(RawFault::BadLength)?);
        } else if value_of(line, b"transfer-encoding").is_some() {
            self.lengths += 1;
            self.chunked = true;
        }
        if self.lengths > 1 { Err(RawFault::LengthTwice) } else { Ok(()) }
    }

    fn end_of_head(&mut self) {
        self.place = match self.length {
            _ if self.chunked => Place::ChunkSize,
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

/// What follows the size line of a chunk. White space may stand before an extension (RFC 9112
/// §7.1.1), and nowhere else.
fn after_size(line: &[u8]) -> Result<Place, RawFault> {
    let end = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let first = extension.iter().find(|b| !blank(b));
    let fits = first.map_or(extension.is_empty(), |b| *b == b';')
        && extension.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f));
    match number(digits, 16).filter(|_| fits).ok_or(RawFault::BadChunk)? {
        0 => Ok(Place::Trailers),
        size => Ok(Place::Chunk(size)),
    }
}

/// Digits alone, of a number that a signed counter of 64 bits can hold too.
fn number(digits: &[u8], base: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let number = u64::from_str_radix(text, base).ok()?;
    // `from_str_radix` alone would accept "+3".
    let plain = digits.first().is_some_and(u8::is_ascii_hexdigit);
    (plain && i64::try_from(number).is_ok()).then_some(number)
}

/// Whether the target of a request line is a path or an absolute URI without a fragment. hyper would
/// take `admin` for a host, and `http:/x` too. CONNECT, which is refused, has a form of its own.
fn target_fits(line: &[u8]) -> bool {
    let mut words = line.splitn(2, |b| *b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let begins = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let is_form = target.first() == Some(&b'/') || begins(b"http://") || begins(b"https://");
    let is_connect = method.eq_ignore_ascii_case(b"CONNECT");
    (is_form && memchr::memchr(b'#', target).is_none()) || is_connect
}

/// Whether a line is a field of this name with `_` for `-`.
fn is_disguised(line: &[u8], name: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
    let Some((start, rest)) = line.split_at_checked(name.len()) else { return false };
    rest.first() == Some(&b':')
        && memchr::memchr(b'_', start).is_some()
        && start.iter().zip(name).all(same)
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
        assert_eq!(verdict(&format!("GET /{target} HTTP/1.1\r\n")), Err(RawFault::EndlessTarget));
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
        // With where the line begins that ends wrongly.
        for (bad, at) in [
            ("3\nabc\r\n0\r\n\r\n", 0),
            ("3\r\nabc\n0\r\n\r\n", 6),
            ("0\r\n\n", 3),
            ("0\r\nX: y\n\r\n", 3),
        ] {
            let found = RawHeads::default().follow(format!("{head}{bad}").as_bytes());
            assert_eq!(
                found,
                Err((Where::Body(head.len() + at), RawFault::BareLineEnd)),
                "{bad:?}"
            );
        }
        let good = format!("{head}3;x=y\r\na\nb\r\n0\r\nX: y\r\n\r\n");
        assert_eq!(verdict(&good), Ok(()));
        assert!(verdict(&format!("{good}GET / HTTP/1.1\n\n")).is_err(), "the next head is found");
    }

    #[test]
    fn a_chunk_is_a_size_with_perhaps_extensions() {
        let of = |line: &str| after_size(line.as_bytes());
        assert_eq!(of("0"), Ok(Place::Trailers));
        for good in ["a", "A", "00a", "a;x", "a ;x", "a\t; x=\"y z\"", "7fffffffffffffff"] {
            assert!(matches!(of(good), Ok(Place::Chunk(_))), "{good}");
        }
        for bad in ["", " a", "a ", "a\t", "+a", "-a", "0xa", "g", ";x", "a,b", "a;\0", "a;\x7f"] {
            assert_eq!(of(bad), Err(RawFault::BadChunk), "{bad:?}");
        }
        assert_eq!(of("8000000000000000"), Err(RawFault::BadChunk));
        assert_eq!(of("10000000000000001"), Err(RawFault::BadChunk));
    }

    #[test]
    fn a_length_is_a_number_that_everybody_can_hold() {
        let with =
            |length: &str| verdict(&format!("POST / HTTP/1.1\r\nContent-Length:{length}\r\n\r\n"));
        for good in [" 0", "3", " 0003 ", "9223372036854775807"] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "+3", "-0", "0x3", "3,3", "3 3", "9223372036854775808", "3a"] {
            assert_eq!(with(bad), Err(RawFault::BadLength), "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_an_absolute_uri_without_a_fragment() {
        for target in ["/a#b", "#", "/a?b#c", "a", "*", "a:80", "http:/a", "ftp://a/b", ""] {
            let fault = verdict(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(fault, Err(RawFault::Target), "{target}");
        }
        for line in ["G#T / HTTP/1.1", "GET HTTP://a/ HTTP/1.1", "CONNECT a:80 HTTP/1.1"] {
            assert_eq!(verdict(&format!("{line}\r\nHost: a#b\r\n\r\n")), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_length_in_disguise_is_refused() {
        for name in ["Content_Length", "TRANSFER_ENCODING", "transfer_encoding"] {
            let fault = verdict(&format!("GET / HTTP/1.1\r\n{name}: 1\r\n\r\n"));
            assert_eq!(fault, Err(RawFault::DisguisedLength), "{name}");
        }
        assert_eq!(verdict("GET / HTTP/1.1\r\nContent_Lengths: 1\r\n\r\n"), Ok(()));
    }

    #[test]
    fn a_head_has_begun_from_its_first_byte_to_its_last() {
        let mut heads = RawHeads::default();
        for (piece, in_head) in [
            ("\r\n", false),
            ("G", true),
            ("ET / HTTP/1.1\r\n", true),
            ("\r\n", false),
            ("G", true),
        ] {
            assert_eq!(heads.follow(piece.as_bytes()), Ok(()));
            assert_eq!(heads.is_in_head(), in_head, "{piece:?}");
        }
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
