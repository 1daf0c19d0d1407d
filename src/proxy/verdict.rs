//! Whether what a replica sent is an answer, and whether its connection may be used again.
//!
//! hyper has read the head by then, and is lenient where two readers could disagree. Ambiguous means
//! refused here as it does for requests: what a client reads must be what the router has read.

use http::{HeaderMap, HeaderValue, StatusCode, header, response::Parts};

use super::error::ProxyError;

/// The highest status there is (RFC 9110 §15).
const STATUS_MAX: u16 = 599;

/// Judges the head of an answer. `is_upgrade`: the client has asked for a WebSocket. Returns whether
/// its framing leaves no doubt where the answer ends, so that the connection may be used again.
pub(crate) fn judge(parts: &Parts, is_upgrade: bool) -> Result<bool, ProxyError> {
    if parts.status.as_u16() > STATUS_MAX {
        return Err(ProxyError::Invalid);
    }
    if parts.status == StatusCode::SWITCHING_PROTOCOLS
        && !(is_upgrade && switches_to_websocket(&parts.headers))
    {
        return Err(ProxyError::Invalid);
    }
    is_framed_once(&parts.headers)
}

/// RFC 9112 §6.1, §7: the router decodes `chunked` and no other coding, so an answer with another
/// one would reach the client still coded and without a word about it.
fn is_framed_once(headers: &HeaderMap) -> Result<bool, ProxyError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(true),
        (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            // Both is how an answer is split for two readers (RFC 9112 §6.3). The chunks count.
            Ok(!headers.contains_key(header::CONTENT_LENGTH))
        }
        _ => Err(ProxyError::Invalid),
    }
}

/// RFC 9110 §7.8: the protocol that was asked for, and no other.
fn switches_to_websocket(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    let (Some(upgrade), None) = (upgrades.next(), upgrades.next()) else { return false };
    let says_upgrade = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    upgrade.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket")
        && headers.get_all(header::CONNECTION).iter().any(says_upgrade)
}
