//! What the router must understand of gRPC: message lengths and timeouts.

use std::time::Duration;

use http::{HeaderName, request::Parts};

use super::{
    error::ProxyError,
    head::{self, Kind},
};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bytes before each message: a flag and a length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// Follows the message lengths of a call through frames of any size.
#[derive(Debug, Default)]
pub(crate) struct MessageMeter {
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    message_left: u64,
}

impl MessageMeter {
    /// Whether every message that begins in these bytes announces at most `limit` bytes.
    pub(crate) fn passes(&mut self, mut bytes: &[u8], limit: u64) -> bool {
        while !bytes.is_empty() {
            if self.message_left > 0 {
                let skipped = self.message_left.min(bytes.len() as u64);
                self.message_left -= skipped;
                bytes = bytes.split_at(usize::try_from(skipped).unwrap_or(bytes.len())).1;
                continue;
            }
            let missing = PREFIX_BYTES - self.prefix_filled;
            let (part, rest) = bytes.split_at(missing.min(bytes.len()));
            for (place, byte) in self.prefix.iter_mut().skip(self.prefix_filled).zip(part) {
                *place = *byte;
            }
            self.prefix_filled += part.len();
            bytes = rest;
            if self.prefix_filled == PREFIX_BYTES {
                let [_, a, b, c, d] = self.prefix;
                self.message_left = u32::from_be_bytes([a, b, c, d]).into();
                self.prefix_filled = 0;
                if self.message_left > limit {
                    return false;
                }
            }
        }
        true
    }
}

/// How long the caller of a call waits, where it says so. A value that cannot be read is refused: the
/// caller gives up at a time that nobody here knows.
pub(crate) fn timeout(parts: &Parts, kind: Kind) -> Result<Option<Duration>, ProxyError> {
    if kind != Kind::Grpc {
        return Ok(None);
    }
    let Some(value) = head::single(&parts.headers, &GRPC_TIMEOUT)? else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse_timeout);
    timeout.map(Some).ok_or_else(|| {
        head::malformed("grpc-timeout is not 1 to 8 digits and one of H, M, S, m, u, n")
    })
}

/// The value of `grpc-timeout`: at most eight digits and a unit. `None` where it is malformed.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(PREFIX_BYTES + length as usize, 7);
        bytes
    }

    proptest! {
        #[test]
        fn the_limit_is_exact_however_the_bytes_are_cut(
            lengths in proptest::collection::vec(0_u32..40, 1..8),
            piece in 1_usize..20,
            limit in 1_u64..40,
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut meter = MessageMeter::default();
            let passes = bytes.chunks(piece).all(|part| meter.passes(part, limit));
            prop_assert_eq!(passes, lengths.iter().all(|length| u64::from(*length) <= limit));
        }
    }

    #[test]
    fn timeouts_have_a_unit_and_at_most_eight_digits() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("1S"), Some(Duration::from_secs(1)));
        assert_eq!(parse_timeout("99999999H").map(|d| d.as_secs()), Some(99_999_999 * 3600));
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
