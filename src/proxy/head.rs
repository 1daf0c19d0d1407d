//! The head of a request: what is refused before anything is routed, and what routing needs.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts, uri::Authority,
};

use super::{
    error::ProxyError,
    settings::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, TARGET_BYTES_MAX},
};

/// Names the endpoint of a gRPC call (contract §2).
pub(crate) const GRPC_ROUTE: HeaderName = HeaderName::from_static("x-ms-aml-grpc-service-route");
/// Pins a version (contract §2).
pub(crate) const PIN: HeaderName = HeaderName::from_static("azureml-model-deployment");

/// The longest registered method has 17 characters (`UPDATEREDIRECTREF`).
const METHOD_BYTES_MAX: usize = 32;

/// What kind of exchange a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Request and answer.
    Plain,
    /// A gRPC call.
    Grpc,
    /// An HTTP/1 upgrade to WebSocket.
    WebSocket,
}

/// Refuses what no route could make acceptable. The order is that of contract §12: method, sizes,
/// then form.
pub(crate) fn check(parts: &Parts) -> Result<(), ProxyError> {
    if matches!(parts.method, Method::TRACE | Method::CONNECT) {
        return Err(ProxyError::Method(parts.method.clone()));
    }
    if parts.method.as_str().len() > METHOD_BYTES_MAX {
        return Err(malformed("the method is longer than any that exists"));
    }
    let target = target_length(parts);
    if target > TARGET_BYTES_MAX {
        return Err(target_too_long());
    }
    let fields: usize = parts.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    // "METHOD target HTTP/1.1\r\n" before the fields and "\r\n" behind them.
    let line = parts.method.as_str().len() + target + 12;
    if line + fields + 2 > HEAD_BYTES_MAX || parts.headers.len() > HEAD_FIELDS_MAX {
        return Err(too_large());
    }
    check_framing(&parts.headers)
}

/// The header block is over one of its limits.
pub(crate) fn too_large() -> ProxyError {
    ProxyError::HeadersTooLarge { bytes: HEAD_BYTES_MAX, fields: HEAD_FIELDS_MAX }
}

/// The request target is over its limit.
pub(crate) fn target_too_long() -> ProxyError {
    ProxyError::TargetTooLong { limit: TARGET_BYTES_MAX }
}

fn target_length(parts: &Parts) -> usize {
    let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = match parts.version {
        Version::HTTP_2 => 0,
        _ => parts.uri.authority().map_or(0, |authority| authority.as_str().len() + 7),
    };
    path + authority
}

/// hyper has decided how long the body is; a message that a replica's server could have measured
/// differently is refused all the same (RFC 9112 §6.3).
fn check_framing(headers: &HeaderMap) -> Result<(), ProxyError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(malformed("Transfer-Encoding must be 'chunked' and nothing else"));
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(malformed("Content-Length and Transfer-Encoding are both present; send one"));
    }
    Ok(())
}

/// A field of which the router reads the value, and which must therefore not be there twice.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, ProxyError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        let text = format!("{name} is sent twice");
        return Err(ProxyError::Malformed(text.into()));
    }
    Ok(first)
}

/// The one authority that counts: `:authority` or an absolute target before `Host` (RFC 9112
/// §3.2.2, RFC 9113 §8.3.1).
pub(crate) fn authority(parts: &Parts) -> Result<Cow<'_, str>, ProxyError> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(malformed("Host is sent twice"));
    }
    if let Some(authority) = parts.uri.authority() {
        return checked_authority(authority.as_str()).map(Cow::Borrowed);
    }
    let Some(host) = host else {
        if parts.version == Version::HTTP_10 {
            return Ok(Cow::Borrowed("localhost"));
        }
        return Err(malformed("Host is missing"));
    };
    let text = host.to_str().map_err(|_| malformed("Host is not ASCII"))?;
    checked_authority(text).map(Cow::Borrowed)
}

fn checked_authority(text: &str) -> Result<&str, ProxyError> {
    let invalid = || malformed("Host is not of the form host or host:port");
    let authority: Authority = text.parse().map_err(|_| invalid())?;
    let host = authority.host();
    let port_fits = match authority.as_str().strip_prefix(host) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }),
        // User information stands before the host.
        None => false,
    };
    if host.is_empty() || !port_fits { Err(invalid()) } else { Ok(text) }
}

/// The host of an authority, without the port, in lower case where it must be.
pub(crate) fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// What kind of exchange this is.
pub(crate) fn kind(parts: &Parts) -> Kind {
    if parts.version == Version::HTTP_2 {
        let grpc =
            parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| is_grpc(value.as_bytes()));
        return if grpc { Kind::Grpc } else { Kind::Plain };
    }
    let upgrade = parts
        .headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"));
    let asked = upgrade
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && lists(&parts.headers, b"upgrade");
    if asked { Kind::WebSocket } else { Kind::Plain }
}

/// `application/grpc`, alone or with a format or parameters; `application/grpc-web` is another
/// protocol, without trailers.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// Whether `Connection` lists this token.
fn lists(headers: &HeaderMap, token: &[u8]) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token))
}

/// Something about the message is not HTTP as the RFCs have it.
pub(crate) fn malformed(what: &'static str) -> ProxyError {
    ProxyError::Malformed(Cow::Borrowed(what))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        build(Request::builder()).body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_that_could_be_read_two_ways_are_refused() {
        for bad in ["", "a b", "a/b", "a@b", "a:99999", "a:x", "a:", "[::1"] {
            let parts = parts(|r| r.uri("/").header("host", bad));
            assert!(authority(&parts).is_err() || bad == "a:", "{bad:?}");
        }
        for good in ["a", "a:80", "[::1]:80", "127.0.0.1"] {
            let parts = parts(|r| r.uri("/").header("host", good));
            assert_eq!(authority(&parts).unwrap(), good);
        }
        let twice = parts(|r| r.uri("/").header("host", "a").header("host", "a"));
        assert!(authority(&twice).is_err());
        let absolute = parts(|r| r.uri("http://real/").header("host", "other"));
        assert_eq!(authority(&absolute).unwrap(), "real");
    }

    #[test]
    fn the_header_block_is_exact_at_its_limits() {
        let with = |length: usize| parts(|r| r.uri("/").header("x", "v".repeat(length)));
        // "GET / HTTP/1.1\r\n" is 16, "x: \r\n" is 5, the empty line is 2.
        let fits = HEAD_BYTES_MAX - 16 - 5 - 2;
        assert!(check(&with(fits)).is_ok());
        assert!(matches!(check(&with(fits + 1)), Err(ProxyError::HeadersTooLarge { .. })));
        let fields = |count: usize| {
            parts(|r| (0..count).fold(r.uri("/"), |r, n| r.header(format!("x-{n}"), "v")))
        };
        assert!(check(&fields(100)).is_ok());
        assert!(matches!(check(&fields(101)), Err(ProxyError::HeadersTooLarge { .. })));
    }

    #[test]
    fn only_chunked_alone_is_accepted() {
        let with = |coding: &str| check(&parts(|r| r.header("transfer-encoding", coding)));
        assert!(with("chunked").is_ok() && with("Chunked").is_ok());
        for bad in ["gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            assert!(with(bad).is_err(), "{bad}");
        }
        let both =
            parts(|r| r.header("transfer-encoding", "chunked").header("content-length", "3"));
        assert!(check(&both).is_err());
    }
}
