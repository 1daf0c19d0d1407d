//! The head of a request: what is refused before anything is routed, and what routing needs.

use std::{borrow::Cow, net::Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts};

use super::{
    error::ProxyError,
    forward,
    settings::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, TARGET_BYTES_MAX},
};

/// Names the endpoint of a gRPC call (contract §2).
pub(crate) const GRPC_ROUTE: HeaderName = HeaderName::from_static("x-ms-aml-grpc-service-route");
/// Pins a version (contract §2).
pub(crate) const PIN: HeaderName = HeaderName::from_static("azureml-model-deployment");

/// The longest registered method has 17 characters (`UPDATEREDIRECTREF`).
const METHOD_BYTES_MAX: usize = 32;

/// The longest name of a host (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 255;

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
    // Some servers fold the case of a method, and read TRACK as TRACE.
    let refused = ["TRACE", "TRACK", "CONNECT"];
    if refused.iter().any(|method| method.eq_ignore_ascii_case(parts.method.as_str())) {
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
    check_framing(&parts.headers)?;
    check_target(parts)?;
    single(&parts.headers, &header::CONTENT_TYPE)?;
    single(&parts.headers, &header::CONTENT_LENGTH)?;
    check_names(&parts.headers)
}

/// What the URI parser lets through and another server may read differently.
fn check_target(parts: &Parts) -> Result<(), ProxyError> {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(malformed("the request target is not ASCII; send other characters as %XX"));
    }
    match parts.uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(malformed("the scheme of the request target is neither http nor https")),
    }
}

/// `X_Request_Id` is the same variable as `X-Request-Id` for a WSGI or CGI server. A name with
/// underscores passes only where nobody can take it for another field of this request or for one
/// that the router reads, sets or removes.
fn check_names(headers: &HeaderMap) -> Result<(), ProxyError> {
    let mut twins: Vec<String> = Vec::new();
    for name in headers.keys().map(HeaderName::as_str) {
        if memchr::memchr(b'_', name.as_bytes()).is_none() {
            continue;
        }
        let twin = name.replace('_', "-");
        if is_known(&twin) || headers.contains_key(&twin) || twins.contains(&twin) {
            let text =
                format!("many servers take the field {name:?} for {twin:?}; send only the latter");
            return Err(ProxyError::Malformed(text.into()));
        }
        twins.push(twin);
    }
    Ok(())
}

/// Whether the router reads, sets or removes the field of this name.
pub(super) fn is_known(name: &str) -> bool {
    forward::is_withheld(name) || KNOWN.contains(&name)
}

/// Fields that decide what a request is, and those that the router sets.
const KNOWN: [&str; 17] = [
    "api-key",
    "authorization",
    "azureml-model-deployment",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "grpc-timeout",
    "host",
    "traceparent",
    "tracestate",
    "via",
    "x-ms-aml-grpc-service-route",
    "x-ms-client-request-id",
    "x-ms-request-id",
    "x-request-id",
];

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
    // A bad Host is refused also where it does not count (RFC 9112 §3.2).
    let host = match host {
        Some(host) => {
            let text = host.to_str().map_err(|_| malformed("Host is not ASCII"))?;
            Some(checked_authority(text)?)
        }
        None if parts.version == Version::HTTP_11 => return Err(malformed("Host is missing")),
        None => None,
    };
    if let Some(authority) = parts.uri.authority() {
        return checked_authority(authority.as_str()).map(Cow::Borrowed);
    }
    match host {
        Some(host) => Ok(Cow::Borrowed(host)),
        None if parts.version == Version::HTTP_10 => Ok(Cow::Borrowed("localhost")),
        None => Err(malformed("Host is missing")),
    }
}

/// `host` or `host:port`, where the host is a name of letters, digits, `-`, `.`, `_` and `~`, or an
/// address. What a URI could have there besides (user information, `,`, `;`, `%`, a zone) is read in
/// different ways by different servers, and so is `host:` without a port.
fn checked_authority(text: &str) -> Result<&str, ProxyError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            (address.parse::<Ipv6Addr>().is_ok(), port.strip_prefix(':').or_else(|| none_of(port)))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (is_host_name(name), Some(port)),
            None => (is_host_name(text), Some("0")),
        },
    };
    let port_fits = port.is_some_and(|digits| {
        digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    });
    if host && port_fits {
        Ok(text)
    } else {
        Err(malformed("Host is not of the form host or host:port"))
    }
}

/// No port at all counts as a good one.
fn none_of(port: &str) -> Option<&'static str> {
    port.is_empty().then_some("0")
}

fn is_host_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !name.is_empty() && name.len() <= HOST_BYTES_MAX && name.bytes().all(fits)
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
        for bad in [
            "", "a b", "a/b", "a@b", "a,b", "a;b", "a%20b", "*", "a:99999", "a:x", "a:", "a:+1",
            "[::1", "[x]", "[::1]x", "[::1]:", "a[b]", "::1",
        ] {
            let parts = parts(|r| r.uri("/").header("host", bad));
            assert!(authority(&parts).is_err(), "{bad:?}");
        }
        for good in ["a", "a:80", "a_b", "a.b.", "[::1]", "[::1]:80", "127.0.0.1"] {
            let parts = parts(|r| r.uri("/").header("host", good));
            assert_eq!(authority(&parts).unwrap(), good);
        }
        let twice = parts(|r| r.uri("/").header("host", "a").header("host", "a"));
        assert!(authority(&twice).is_err());
        let absolute = parts(|r| r.uri("http://real/").header("host", "other"));
        assert_eq!(authority(&absolute).unwrap(), "real");
        assert!(authority(&parts(|r| r.uri("http://real/"))).is_err(), "HTTP/1.1 has a Host");
        let bad = parts(|r| r.uri("http://real/").header("host", "a b"));
        assert!(authority(&bad).is_err(), "a bad Host is one also where it does not count");
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
    fn a_name_with_underscores_passes_where_it_can_be_nothing_else() {
        let with = |names: &[&str]| {
            check(&parts(|r| names.iter().fold(r.uri("/"), |r, name| r.header(*name, "v"))))
        };
        for good in [&["user_id"][..], &["user_id", "team_id"], &["_"], &["x-y_z"], &["user_id"; 2]]
        {
            assert!(with(good).is_ok(), "{good:?}");
        }
        for bad in [
            &["transfer_encoding"][..],
            &["x_request-id"],
            &["api_key"],
            &["x_forwarded_prefix"],
            &["x_modelway_source"],
            &["user_id", "user-id"],
            &["a_b-c", "a-b_c"],
        ] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
        for known in KNOWN {
            assert!(with(&[known]).is_ok(), "{known}");
            assert!(!known.contains('-') || with(&[&known.replace('-', "_")]).is_err(), "{known}");
        }
    }

    #[test]
    fn targets_that_others_read_differently_are_refused() {
        for bad in ["/\u{e9}", "/a?\u{e9}", "ftp://a/b", "ws://a/b"] {
            assert!(check(&parts(|r| r.uri(bad))).is_err(), "{bad}");
        }
        for good in ["/a", "http://a/b", "https://a/b", "/a?b=/../c"] {
            assert!(check(&parts(|r| r.uri(good))).is_ok(), "{good}");
        }
        for method in ["TRACE", "trace", "Track", "connect"] {
            assert!(matches!(check(&parts(|r| r.method(method))), Err(ProxyError::Method(_))));
        }
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
