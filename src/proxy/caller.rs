//! Step 3 of a request: who calls.
//!
//! How: [`who`] asks [`auth::authorize`], with the keys of issuers behind it; [`keys_to_come`] says
//! whether waiting for those could help; [`account`] takes a failed try from the budget of its address.

use futures_util::future::BoxFuture;
use http::{HeaderMap, request::Parts};

use super::{connection::Client, error::ProxyError, record::Record, routes::Proxy};
use crate::{
    auth,
    domain::{AuthPolicy, Name},
};

/// What to wait for when only the keys of the token's issuer are missing: the first request after
/// an issuer has rotated its keys should work.
pub(super) fn keys_to_come(
    error: &ProxyError,
    parts: &Parts,
    record: &Record,
    client: &Client,
) -> Option<BoxFuture<'static, ()>> {
    let ProxyError::Credential(auth::Refusal::Token(fault)) = error else { return None };
    let live = record.endpoint.as_ref().filter(|_| fault.wants_keys())?;
    auth::keys_to_come(&live.endpoint.auth, &parts.headers, &*client.worker.proxy.tokens)
}

/// Step 3. Few signatures are checked for an address beyond its budget of failed tries; keys and
/// tokens that are known are good as ever, because many clients may share the address.
pub(super) fn who(
    endpoint: &Name,
    policy: &AuthPolicy,
    headers: &HeaderMap,
    client: &Client,
) -> Result<auth::Caller, auth::Refusal> {
    let Proxy { tokens, failures, .. } = &*client.worker.proxy;
    let address = client.socket.peer().ip();
    if policy.token.is_some() && failures.is_beyond(address) && !failures.may_verify(address) {
        let remembered = auth::Remembered(&**tokens);
        return auth::authorize(endpoint, policy, headers, &remembered);
    }
    auth::authorize(endpoint, policy, headers, &**tokens)
}

/// Takes a try with a wrong credential from the budget of its address. That an issuer is away is not
/// the caller's fault.
pub(super) fn account(error: ProxyError, client: &Client) -> ProxyError {
    let ProxyError::Credential(refusal) = error else { return error };
    if refusal == auth::Refusal::Token(auth::TokenFault::KeysUnavailable) {
        return error;
    }
    let failures = &client.worker.proxy.failures;
    match failures.note(client.socket.peer().ip()) {
        None => error,
        Some(wait) => ProxyError::CredentialFlood { refusal, wait },
    }
}
