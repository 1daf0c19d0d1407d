//! The router's own answers: refusals and failures, readable by every client family (contract §6).

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    error::{ProxyError, grpc_status_of},
    head::Kind,
    identity::Identity,
    reply::Reply,
};
use crate::{auth, domain::ErrorProfile};

/// Names the version that answered.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("x-modelway-version");
/// Says who made the answer.
pub(crate) const SOURCE: HeaderName = HeaderName::from_static("x-modelway-source");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const X_MS_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");
const GRPC_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The longest time a client is asked to wait before it tries again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// What is said when nothing is known of the queue yet.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// How errors are written down for the client of one request.
#[derive(Debug)]
pub(crate) struct Manner<'a> {
    /// Its ids.
    pub(crate) identity: &'a Identity,
    /// gRPC errors travel in headers.
    pub(crate) kind: Kind,
    /// Open Inference Protocol paths (`/v2/…`) want `error` as a string.
    pub(crate) inference_protocol: bool,
    /// The endpoint's status codes.
    pub(crate) profile: ErrorProfile,
    /// The version, once one was chosen.
    pub(crate) version: Option<HeaderValue>,
    /// How long a new request would wait, where that is known.
    pub(crate) expected_wait: Option<Duration>,
}

/// The answer to a failure.
pub(crate) fn refuse(error: &ProxyError, manner: &Manner<'_>) -> Response<Reply> {
    let mut response =
        if manner.kind == Kind::Grpc { grpc_answer(error) } else { problem_answer(error, manner) };
    let headers = response.headers_mut();
    manner.identity.stamp(headers);
    headers.insert(SOURCE, HeaderValue::from_static("router"));
    if let Some(version) = &manner.version {
        headers.insert(VERSION, version.clone());
    }
    if let ProxyError::Credential(refusal) | ProxyError::CredentialFlood { refusal, .. } = error {
        challenge(headers, *refusal);
    }
    if matches!(error, ProxyError::RequestTimeout { .. }) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let ProxyError::Redirected(location) = error {
        headers.insert(header::LOCATION, location.clone());
    }
    if matches!(error, ProxyError::Method(_)) {
        headers.insert(
            header::ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        );
    }
    if error.is_temporary() {
        retry_after(headers, manner);
    }
    response
}

fn retry_after(headers: &mut HeaderMap, manner: &Manner<'_>) {
    let wait = manner.expected_wait.unwrap_or(RETRY_AFTER_DEFAULT);
    let wait_ms = wait.clamp(Duration::from_millis(1), RETRY_AFTER_MAX).as_millis();
    let wait_ms = HeaderValue::from(u64::try_from(wait_ms).unwrap_or(u64::MAX));
    if manner.kind == Kind::Grpc {
        headers.insert(GRPC_PUSHBACK_MS, wait_ms);
        return;
    }
    let seconds = wait.clamp(Duration::from_secs(1), RETRY_AFTER_MAX).as_secs_f64().ceil();
    headers.insert(
        header::RETRY_AFTER,
        HeaderValue::from_str(&format!("{seconds:.0}")).expect("digits are a valid value"),
    );
    headers.insert(RETRY_AFTER_MS, wait_ms.clone());
    headers.insert(X_MS_RETRY_AFTER_MS, wait_ms);
}

/// RFC 6750 §3.1: an error is named only when a credential was presented.
fn challenge(headers: &mut HeaderMap, refusal: auth::Refusal) {
    let value = match refusal {
        auth::Refusal::Twice | auth::Refusal::Token(auth::TokenFault::KeysUnavailable) => return,
        auth::Refusal::Missing => HeaderValue::from_static(r#"Bearer realm="modelway""#),
        auth::Refusal::Malformed => HeaderValue::from_static(
            r#"Bearer realm="modelway", error="invalid_token", error_description="the credential is malformed""#,
        ),
        auth::Refusal::Wrong => HeaderValue::from_static(
            r#"Bearer realm="modelway", error="invalid_token", error_description="the key is not valid for this endpoint""#,
        ),
        auth::Refusal::Token(fault) => HeaderValue::from_str(&format!(
            r#"Bearer realm="modelway", error="invalid_token", error_description="{fault}""#
        ))
        .expect("the words of a fault are a valid value"),
    };
    headers.insert(header::WWW_AUTHENTICATE, value);
}

fn problem_answer(error: &ProxyError, manner: &Manner<'_>) -> Response<Reply> {
    let status = error.status(manner.profile);
    let body = problem_body(status, error, manner.inference_protocol);
    let mut response = Response::new(Reply::whole(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// RFC 9457, with `error` beside it as Azure's and `OpenAI`'s clients read it.
pub(crate) fn problem_body(status: StatusCode, error: &ProxyError, as_text: bool) -> Bytes {
    let code = error.reason().as_str();
    let detail = error.to_string();
    let title = status.canonical_reason().unwrap_or("Error");
    let inner = if as_text {
        serde_json::Value::from(detail.as_str())
    } else {
        serde_json::json!({ "code": code, "message": detail })
    };
    let problem = serde_json::json!({
        "type": format!("https://modelway.dev/errors#{code}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "error": inner,
    });
    Bytes::from(problem.to_string())
}

/// A gRPC answer without a message: everything is in the headers (gRPC over HTTP/2,
/// "Trailers-Only").
fn grpc_answer(error: &ProxyError) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc_status_of(error))));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&error.to_string())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// The trailers of a call that the router ends after its head.
pub(crate) fn grpc_trailers(error: &ProxyError) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc_status_of(error))));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&error.to_string())) {
        trailers.insert(GRPC_MESSAGE, message);
    }
    trailers
}

/// Printable ASCII except `%` stands for itself (gRPC over HTTP/2, "Percent-Encoded").
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A whole HTTP/1 answer as bytes, for what hyper refuses or gives up on before there is a request.
pub(crate) fn raw_answer(error: &ProxyError, identity: &Identity) -> Vec<u8> {
    let status = error.status(ErrorProfile::Kubernetes);
    let body = problem_body(status, error, false);
    let id = identity.id;
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\nx-request-id: {id}\r\nx-ms-request-id: {id}\r\n\
         x-modelway-source: router\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        body.len(),
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}
