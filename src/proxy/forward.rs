//! Heads rewritten on their way: the request to the replica, the answer to the client.
//!
//! How: everything that belongs to one connection is removed first (RFC 9110 §7.6.1), including
//! what `Connection` lists; only then are the router's own fields added, so that a client cannot
//! make us drop them.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{self, Entry},
    request::Parts,
    response,
    uri::PathAndQuery,
};

use super::{
    error::ProxyError,
    head::{GRPC_ROUTE, Kind, malformed},
    identity::{self, Identity, X_MS_REQUEST_ID, X_REQUEST_ID},
};
use crate::auth::API_KEY;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Opt-in times of an answer.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const MODEL_ERROR_STATUS: HeaderName = HeaderName::from_static("ms-azureml-model-error-statuscode");
const MODEL_ERROR_REASON: HeaderName = HeaderName::from_static("ms-azureml-model-error-reason");
/// Fields in an answer that only the router may set.
const OWN_PREFIX: &str = "x-modelway-";
/// Fields of a request that say through whom it came.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// What the request to the replica is made of.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// The path on the replica, with the query.
    pub(crate) path: PathAndQuery,
    /// The one effective authority of the client's request.
    pub(crate) authority: &'a HeaderValue,
    /// Where the client's connection comes from, as [`forwarded_for`] says it.
    pub(crate) peer: &'a HeaderValue,
    /// Whether the client came by HTTPS.
    pub(crate) secured: bool,
    /// The ids of the request.
    pub(crate) identity: &'a Identity,
    /// What kind of exchange it is.
    pub(crate) kind: Kind,
    /// Whether credentials go on to the replica.
    pub(crate) forward_credentials: bool,
}

/// The head of the request to the replica, made from the client's.
pub(crate) fn request_head(parts: Parts, out: &Outgoing<'_>) -> Result<Request<()>, ProxyError> {
    let Parts { method, mut headers, .. } = parts;
    let websocket_fields =
        (out.kind == Kind::WebSocket).then(|| headers.get(header::UPGRADE).cloned());
    let content_length = headers.remove(header::CONTENT_LENGTH);
    remove_listed(&mut headers);
    remove_where(&mut headers, |name| {
        let credential = *name == header::AUTHORIZATION || *name == API_KEY;
        is_withheld(name.as_str())
            || *name == header::EXPECT
            || *name == GRPC_ROUTE
            || (credential && !out.forward_credentials)
    });
    join_cookies(&mut headers)?;
    add_forwarded(&mut headers, out);
    out.identity.stamp(&mut headers);
    identity::continue_trace(&mut headers, out.identity.id);
    if let Some(upgrade) = websocket_fields.flatten() {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    // The length comes from the body, which hyper frames; only a bodiless request with a stated
    // length of zero would lose it.
    if content_length.is_some_and(|length| length.as_bytes() == b"0") && method != Method::GET {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    set_target(&mut request, out)?;
    Ok(request)
}

fn set_target(request: &mut Request<()>, out: &Outgoing<'_>) -> Result<(), ProxyError> {
    if out.kind == Kind::Grpc {
        let uri = Uri::builder()
            .scheme("http")
            .authority(out.authority.as_bytes())
            .path_and_query(out.path.clone())
            .build()
            .map_err(|_| malformed("the request target is not a URI"))?;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(header::HOST);
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        *request.uri_mut() = Uri::from(out.path.clone());
        *request.version_mut() = Version::HTTP_11;
    }
    Ok(())
}

fn add_forwarded(headers: &mut HeaderMap, out: &Outgoing<'_>) {
    headers.insert(FORWARDED_HOST, out.authority.clone());
    headers.insert(header::HOST, out.authority.clone());
    let scheme = if out.secured { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.insert(FORWARDED_FOR, out.peer.clone());
    headers.append(header::VIA, HeaderValue::from_static("1.1 modelway"));
}

/// The client's address alone: what the client claims about those before it is not known to be
/// true, and models that trust the field would trust the claim.
pub(crate) fn forwarded_for(peer: SocketAddr) -> HeaderValue {
    let text = peer.ip().to_canonical().to_string();
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Whether a field means only the two ends of one connection, and is never forwarded (RFC 9110
/// §7.6.1), or is one that only the router may set. `TE` and `Upgrade` come back where they are
/// wanted.
fn is_between_two(name: &str) -> bool {
    match name {
        "connection"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => true,
        other => other.starts_with(OWN_PREFIX),
    }
}

/// Whether a field of a request never comes to a replica as the client has sent it: what means only
/// the two ends of one connection, and what claims where the request came from. The router says that
/// itself, and models that trust one of these names would trust the claim.
pub(crate) fn is_withheld(name: &str) -> bool {
    let claims_origin =
        matches!(name, "forwarded" | "true-client-ip" | "x-client-ip" | "x-real-ip")
            || name.starts_with(FORWARDED_PREFIX);
    claims_origin || is_between_two(name)
}

/// The trailers of a gRPC call: no field means something in them that means something in the head
/// (RFC 9110 §6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| super::head::is_known(&name.as_str().replace('_', "-")));
}

/// Says that a body of unknown length follows. hyper leaves such a body out, without a word, where
/// the method is one that rarely has a body.
pub(crate) fn announce_chunks(request: &mut Request<()>) {
    request.headers_mut().remove(header::CONTENT_LENGTH);
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Removes what `Connection` lists.
fn remove_listed(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::CONNECTION)
        .collect();
    for name in listed {
        headers.remove(name);
    }
}

/// Removes fields by name. One look at each field that is there, because a search in the map for
/// each of the many that might be there costs a request several times as much.
fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// HTTP/2 allows one cookie per field; HTTP/1 does not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), ProxyError> {
    let Entry::Occupied(mut cookies) = headers.entry(header::COOKIE) else { return Ok(()) };
    if cookies.iter().nth(1).is_none() {
        return Ok(());
    }
    let crumbs: Vec<&[u8]> = cookies.iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
        .map_err(|_| malformed("Cookie is not a valid field"))?;
    cookies.insert(joined);
    Ok(())
}

/// The fields of a replica's answer, made fit for the client. `101` keeps its upgrade.
pub(crate) fn clean_answer(headers: &mut HeaderMap, upgraded: bool) {
    let framed_twice = headers.contains_key(header::TRANSFER_ENCODING);
    let upgrade = if upgraded { headers.remove(header::UPGRADE) } else { None };
    remove_listed(headers);
    remove_where(headers, |name| is_between_two(name.as_str()));
    one_length(headers);
    if framed_twice {
        // hyper has used Transfer-Encoding (RFC 9112 §6.3) and would refuse to send both.
        headers.remove(header::CONTENT_LENGTH);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// A length that is given as a list or more than once becomes one (RFC 9110 §8.6). Where there is a
/// body, hyper has seen that all are the same.
fn one_length(headers: &mut HeaderMap) {
    let Entry::Occupied(mut lengths) = headers.entry(header::CONTENT_LENGTH) else { return };
    let is_plain = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.iter().nth(1).is_none() && is_plain(lengths.get()) && !lengths.get().is_empty() {
        return;
    }
    let mut each = lengths.iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let first = each.next().map(|length| length.trim_ascii().to_vec()).unwrap_or_default();
    let same = each.all(|length| length.trim_ascii() == first);
    match HeaderValue::from_bytes(&first) {
        Ok(one) if same && is_plain(&one) && !one.is_empty() => {
            lengths.insert(one);
        }
        _ => {
            lengths.remove();
        }
    }
}

/// The trailers of a gRPC answer, made fit for the client as its fields were.
pub(crate) fn clean_answer_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        is_between_two(name.as_str()) || [X_REQUEST_ID, X_MS_REQUEST_ID].contains(name)
    });
}

/// `errorProfile: managed`: a model's error is a failed dependency, with its own status beside it.
pub(crate) fn manage_status(parts: &mut response::Parts) {
    if parts.status.as_u16() < 400 {
        return;
    }
    let reason = parts.status.canonical_reason().unwrap_or("Model Error");
    parts.headers.insert(MODEL_ERROR_STATUS, HeaderValue::from(parts.status.as_u16()));
    parts.headers.insert(MODEL_ERROR_REASON, HeaderValue::from_static(reason));
    parts.status = StatusCode::FAILED_DEPENDENCY;
    // The model's own words belong to the model's status.
    parts.extensions.remove::<hyper::ext::ReasonPhrase>();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(fields: &[(&'static str, &'static str)], kind: Kind) -> HeaderMap {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let identity = Identity::of(request.headers());
        let outgoing = Outgoing {
            path: PathAndQuery::from_static("/score?a=b"),
            authority: &HeaderValue::from_static("models.example:8080"),
            peer: &forwarded_for(([192, 0, 2, 7], 4711).into()),
            secured: false,
            identity: &identity,
            kind,
            forward_credentials: false,
        };
        let parts = request.into_parts().0;
        request_head(parts, &outgoing).unwrap().into_parts().0.headers
    }

    #[test]
    fn a_client_cannot_make_us_drop_or_forge_our_fields() {
        let headers = forwarded(
            &[
                ("connection", "x-request-id, authorization, x-secret, host"),
                ("x-request-id", "mine"),
                ("x-secret", "1"),
                ("x-modelway-version", "forged"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-prefix", "/evil"),
                ("forwarded", "for=10.0.0.1"),
                ("x-real-ip", "10.0.0.1"),
                ("authorization", "Bearer key"),
                ("api-key", "key"),
                ("expect", "100-continue"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
                ("te", "trailers"),
                ("keep-alive", "timeout=5"),
            ],
            Kind::Plain,
        );
        for gone in [
            "connection",
            "x-secret",
            "x-modelway-version",
            "x-forwarded-prefix",
            "forwarded",
            "x-real-ip",
            "authorization",
            "api-key",
            "expect",
            "upgrade",
            "http2-settings",
            "te",
            "keep-alive",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_ne!(headers["x-request-id"], "mine");
        assert_eq!(headers["host"], "models.example:8080");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    }

    #[test]
    fn trailers_hold_nothing_that_means_something_in_a_head() {
        let mut trailers = HeaderMap::new();
        for name in ["authorization", "x_request_id", "x-forwarded-for", "te", "x-sum", "grpc-x"] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        clean_trailers(&mut trailers);
        let mut left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-x", "x-sum"]);
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let headers = forwarded(&[("cookie", "a=1"), ("cookie", "b=2")], Kind::Plain);
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
    }

    #[test]
    fn grpc_keeps_te_and_websocket_its_upgrade() {
        let grpc = forwarded(&[("te", "trailers")], Kind::Grpc);
        assert_eq!(grpc["te"], "trailers");
        assert!(!grpc.contains_key("host"));
        let fields = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let websocket = forwarded(&fields, Kind::WebSocket);
        assert_eq!(websocket["upgrade"], "websocket");
        assert_eq!(websocket["connection"], "upgrade");
    }
}
