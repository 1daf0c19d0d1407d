//! The names of a request: request ids and trace context (contract §6).

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Simple};

/// Always overwritten with a fresh UUID and returned.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Carries the same value.
pub(crate) const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
/// The caller's own id, made harmless.
pub(crate) const X_MS_CLIENT_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-ms-client-request-id");
/// W3C Trace Context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Belongs to `traceparent`; goes with it.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Characters of a client request id that are kept (contract §6).
const CLIENT_ID_CHARS_MAX: usize = 40;

/// The ids of one request.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The fresh id.
    pub(crate) id: Uuid,
    /// The same as a header value.
    pub(crate) value: HeaderValue,
    /// The caller's id as far as it is harmless; `None` when nothing is left of it.
    pub(crate) client: Option<HeaderValue>,
}

impl Identity {
    /// A fresh id, and what the caller calls this request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let id = Uuid::new_v4();
        let mut text = [0_u8; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        let value = HeaderValue::from_str(text).expect("a UUID is visible ASCII");
        Self { id, value, client: client_id(headers) }
    }

    /// A fresh id, where there is no request to take anything from.
    pub(crate) fn fresh() -> Self {
        Self::of(&HeaderMap::new())
    }

    /// Writes the ids over whatever is there.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.value.clone());
        headers.insert(X_MS_REQUEST_ID, self.value.clone());
        match &self.client {
            Some(client) => headers.insert(X_MS_CLIENT_REQUEST_ID, client.clone()),
            None => headers.remove(X_MS_CLIENT_REQUEST_ID),
        };
    }
}

fn client_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(X_MS_CLIENT_REQUEST_ID)?;
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || matches!(*b, b'_' | b'-');
    let kept: Vec<u8> =
        given.as_bytes().iter().copied().filter(harmless).take(CLIENT_ID_CHARS_MAX).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept).ok() }
}

/// Continues the caller's trace with a span of the router's own, or begins one. An invalid
/// `traceparent` counts as none, and its `tracestate` goes with it (Trace Context §3.3).
pub(crate) fn continue_trace(headers: &mut HeaderMap, id: Uuid) {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let one = given.next().filter(|_| given.next().is_none());
    let parent = one.and_then(|value| value.to_str().ok()).and_then(parse_traceparent);
    // Bits that the request id was made of anyway; a second draw of randomness buys nothing.
    let (high, low) = id.as_u64_pair();
    let span = (high ^ low.rotate_left(17)) | 1;
    // A UUID is written in hexadecimal several times as fast as `format!` writes a number.
    let (mut digits, mut span_digits) = ([0; Simple::LENGTH], [0; Simple::LENGTH]);
    let own_trace = id.simple().encode_lower(&mut digits);
    let span = Uuid::from_u64_pair(span, 0).simple().encode_lower(&mut span_digits);
    let (span, _zeros) = span.split_at(16);
    let text = match &parent {
        Some((trace, flags)) => ["00-", trace, "-", span, "-", flags].concat(),
        None => ["00-", own_trace, "-", span, "-00"].concat(),
    };
    if parent.is_none() {
        headers.remove(TRACESTATE);
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Trace id and flags of a valid `traceparent` of version 00, or of a later version as far as 00
/// is known (Trace Context §3.2, §4).
fn parse_traceparent(text: &str) -> Option<(String, String)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length: usize| {
        part.len() == length
            && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let extra = parts.next().is_some();
    let valid = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || !extra)
        && is_hex(trace, 32)
        && trace.bytes().any(|b| b != b'0')
        && is_hex(span, 16)
        && span.bytes().any(|b| b != b'0')
        && is_hex(flags, 2);
    valid.then(|| (trace.to_owned(), flags.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn the_client_id_is_made_harmless_and_cut() {
        let client = |text: &str| {
            Identity::of(&headers(X_MS_CLIENT_REQUEST_ID, text))
                .client
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(client("ab-C_1"), Some("ab-C_1".into()));
        assert_eq!(client("a b/<c>"), Some("abc".into()));
        assert_eq!(client("<>"), None);
        assert_eq!(client(&"x".repeat(100)), Some("x".repeat(40)));
    }

    #[test]
    fn a_valid_trace_is_continued_with_a_new_span() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let mut given = headers(TRACEPARENT, &format!("00-{trace}-00f067aa0ba902b7-01"));
        given.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        continue_trace(&mut given, Uuid::new_v4());
        let sent = given[TRACEPARENT].to_str().unwrap();
        assert!(sent.starts_with(&format!("00-{trace}-")) && sent.ends_with("-01"), "{sent}");
        assert!(!sent.contains("00f067aa0ba902b7"));
        assert!(given.contains_key(TRACESTATE));
    }

    #[test]
    fn an_invalid_trace_begins_a_new_one_without_its_state() {
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        for bad in ["", "garbage", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &zero]
        {
            let mut given = headers(TRACEPARENT, bad);
            given.insert(TRACESTATE, HeaderValue::from_static("a=b"));
            continue_trace(&mut given, Uuid::new_v4());
            let sent = given[TRACEPARENT].to_str().unwrap().to_owned();
            assert!(parse_traceparent(&sent).is_some(), "{sent}");
            assert!(!given.contains_key(TRACESTATE));
        }
    }
}
