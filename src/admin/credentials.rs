//! Keys and tokens of endpoints: shown, replaced, issued, after the [`Guard`](super::Guard) has let
//! the caller in.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::{
    AdminState,
    guard::Caller,
    items::{KeysItem, TokenItem},
    problem::Problem,
};
use crate::domain::{
    ClearKeys, ClearText, CredentialError, IssuedToken, KeySlot, Name, Review, Right,
};

/// The largest body of a request, in bytes: what is asked for stands in the path, so there is hardly
/// one.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long a body may take.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// The most failed tries that are logged within a second: the log of a router must not be what an
/// attacker fills. The metric counts all.
const LOGGED_PER_SECOND_MAX: u32 = 5;

/// The credentials of endpoints, wherever they are kept.
pub trait Credentials: Send + Sync {
    /// The keys of an endpoint.
    fn keys(&self, endpoint: Name) -> BoxFuture<'static, Result<ClearKeys, CredentialError>>;
    /// Replaces one key, and returns both when the new one is written. It is in force within 1 s.
    fn regenerate(
        &self,
        endpoint: Name,
        slot: KeySlot,
    ) -> BoxFuture<'static, Result<ClearKeys, CredentialError>>;
    /// A token for an endpoint.
    fn token(&self, endpoint: &Name) -> Result<IssuedToken, CredentialError>;
    /// The public half of the keys that tokens are signed with (RFC 7517 §5).
    fn jwks(&self) -> Value;
    /// What the cluster says of a caller; `None` without a cluster.
    fn review(
        &self,
        token: ClearText,
        right: Right,
        endpoint: Name,
    ) -> BoxFuture<'static, Option<Review>>;
}

pub(super) async fn show_keys(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    let endpoint = admitted(&state, &caller, &name, Right::ShowKeys).await?;
    Ok(secret(KeysItem::from(state.credentials.keys(endpoint).await?)))
}

pub(super) async fn regenerate(
    State(state): State<AdminState>,
    Path((name, slot)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    // Before the caller is admitted: nothing that takes time stands between the right and its use.
    takes_nothing(&caller, body).await?;
    let endpoint = admitted(&state, &caller, &name, Right::RegenerateKey).await?;
    let slot = KeySlot::of(&slot).ok_or_else(|| {
        let detail = format!("no key {slot:?}; an endpoint has a primary and a secondary one");
        Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail)
    })?;
    let keys = state.credentials.regenerate(endpoint.clone(), slot).await?;
    tracing::info!(%endpoint, key = slot.as_str(), "a key was regenerated");
    Ok(secret(KeysItem::from(keys)))
}

pub(super) async fn token(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    takes_nothing(&caller, body).await?;
    let endpoint = admitted(&state, &caller, &name, Right::IssueToken).await?;
    Ok(secret(TokenItem::from(state.credentials.token(&endpoint)?)))
}

pub(super) async fn jwks(State(state): State<AdminState>) -> Json<Value> {
    Json(state.credentials.jwks())
}

/// The endpoint, when the caller may do this with its credentials. A failed try is counted and,
/// without what was presented, logged.
async fn admitted(
    state: &AdminState,
    caller: &Caller,
    name: &str,
    right: Right,
) -> Result<Name, Problem> {
    // Whatever cannot be a name is no endpoint; a caller learns no more of it than of others.
    let endpoint: Name = name
        .parse()
        .map_err(|_| CredentialError::UnknownEndpoint(name.chars().take(64).collect()))?;
    let admission = state.guard.admit(caller, right, &endpoint, &*state.credentials).await;
    if let Err(refused) = admission {
        state.metrics.admin_refusal(refused.why);
        if state.guard.may_log(LOGGED_PER_SECOND_MAX) {
            tracing::warn!(
                %endpoint,
                ?right,
                peer = %caller.shown_peer(),
                why = refused.why.as_str(),
                "a caller of the admin port was refused"
            );
        }
        return Err(refused.problem);
    }
    if state.view.catalog().endpoints.contains_key(&endpoint) {
        Ok(endpoint)
    } else {
        Err(CredentialError::UnknownEndpoint(endpoint.to_string()).into())
    }
}

/// What is asked for stands in the path: the body is empty, or `{}` where a client insists on one.
async fn takes_nothing(caller: &Caller, body: Body) -> Result<(), Problem> {
    let Some(kind) = caller.body_kind() else { return Ok(()) };
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json");
    if !is_json {
        let detail = "a body must be application/json; send none";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "malformed_request", detail));
    }
    let read = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_TIME_MAX, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("the body has more than {BODY_BYTES_MAX} bytes; send none");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::new(status, "payload_too_large", detail));
        }
        Ok(Err(_)) => return Err(malformed("the body was cut off; send none")),
        Err(_elapsed) => {
            let detail = "the body did not come in time; send none";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "client_timeout", detail));
        }
    };
    let is_nothing = body.trim_ascii().is_empty()
        || serde_json::from_slice::<Value>(&body)
            .is_ok_and(|value| value.as_object().is_some_and(serde_json::Map::is_empty));
    if is_nothing { Ok(()) } else { Err(malformed("no fields are taken here; send no body")) }
}

fn malformed(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
}

/// An answer that no cache on the way may keep.
fn secret(item: impl serde::Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(item)).into_response()
}

impl From<CredentialError> for Problem {
    fn from(error: CredentialError) -> Self {
        let detail = error.to_string();
        match error {
            CredentialError::UnknownEndpoint(_) => {
                Self::new(StatusCode::NOT_FOUND, "endpoint_not_found", detail)
            }
            CredentialError::Unsuitable(_) => {
                Self::new(StatusCode::CONFLICT, "not_applicable", detail)
            }
            CredentialError::Refused(_) => Self::new(StatusCode::CONFLICT, "not_possible", detail),
            CredentialError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
                    .with(header::RETRY_AFTER, "1")
            }
        }
    }
}
