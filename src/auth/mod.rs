//! Who calls: a credential and an endpoint's policy in, a caller or a refusal out.
//!
//! Promises: pure; the presented credential appears in no value that this room returns; a wrong
//! key costs the same time wherever it differs; how a token has to be signed is said by the
//! endpoint, never by the token (contract §7).
//!
//! How: one grammar finds the credential (`credential`). A key is hashed and its digest compared
//! with every valid digest, all of them, in constant time (`key`). A token is read by a strict front
//! and then verified (`token`); [`Tokens`] stands between the two, because whose keys are known at
//! the moment, and which tokens were verified before, is state.
//!
//! Not here: where the keys of issuers come from, the cache of verified tokens, the ring of signing
//! keys, and every random byte: whoever makes a key or a token brings it.

mod credential;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod key;
#[cfg(test)]
mod tests;
mod token;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use http::HeaderMap;

pub use credential::{API_KEY, bearer_value};
pub use key::digest;
pub use token::{
    Issued, KeyFault, KeySet, KeySetFault, LEEWAY, MAX_KEY_SET_BYTES, MAX_KEYS, MAX_KID_BYTES,
    MAX_OWN_LIFETIME, MAX_TOKEN_BYTES, Order, Peek, SigningKey, SigningKeyFault, TokenFault,
    Verified, issue, jwks, own_issuer, verify,
};

use crate::domain::{AuthMode, AuthPolicy, Name, TokenPolicy};
use credential::{Credential, as_token, credential};

/// How the caller was recognised, for the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// By a key.
    Key,
    /// By a token.
    Token,
    /// Not at all: the endpoint asks for nothing.
    Anonymous,
}

impl Caller {
    /// The word in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "Key",
            Self::Token => "Token",
            Self::Anonymous => "None",
        }
    }
}

/// Why a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Two fields where one is allowed: 400, because it is unclear which one counts.
    #[error("the credential is sent twice; send one Authorization or api-key field")]
    Twice,
    /// No credential: 401.
    #[error("no credential; send 'Authorization: Bearer <key>'")]
    Missing,
    /// Not of the form `Bearer <key>`: 401.
    #[error("the credential is malformed; send 'Authorization: Bearer <key>'")]
    Malformed,
    /// Well formed and wrong: 401.
    #[error("the key is not valid for this endpoint")]
    Wrong,
    /// A token that is not accepted: 401.
    #[error("{0}")]
    Token(TokenFault),
}

/// Who knows the keys of issuers at the moment.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// Whether the endpoint accepts this token now. Bounded work, no waiting: where the answer is
    /// a fault that [wants keys](TokenFault::wants_keys), the caller may wait for them and ask again.
    fn check(
        &self,
        endpoint: &Name,
        policy: &Arc<TokenPolicy>,
        token: &str,
    ) -> Result<(), TokenFault>;

    /// Resolves, within a bound, when keys that may make this token good were fetched or do not come.
    /// `None`: waiting cannot help now.
    fn coming(&self, _policy: &TokenPolicy, _token: &str) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Whether the token was verified before and still is good: what [`Tokens::check`] can say
    /// without looking at its signature.
    fn remembers(&self, _endpoint: &Name, _policy: &Arc<TokenPolicy>, _token: &str) -> bool {
        false
    }
}

/// Nobody's keys are known, so no token is accepted.
#[derive(Debug, Clone, Copy)]
pub struct NoTokens;

/// Only tokens that were verified before: no signature is looked at. For callers whose address has
/// sent too many wrong credentials.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a>(pub &'a dyn Tokens);

impl Tokens for Remembered<'_> {
    fn check(
        &self,
        endpoint: &Name,
        policy: &Arc<TokenPolicy>,
        token: &str,
    ) -> Result<(), TokenFault> {
        if self.0.remembers(endpoint, policy, token) { Ok(()) } else { Err(TokenFault::Unchecked) }
    }
}

impl Tokens for NoTokens {
    fn check(&self, _: &Name, _: &Arc<TokenPolicy>, _: &str) -> Result<(), TokenFault> {
        Err(TokenFault::KeysUnavailable)
    }
}

/// Checks the credential of a request against the policy of its endpoint.
pub fn authorize(
    endpoint: &Name,
    policy: &AuthPolicy,
    headers: &HeaderMap,
    tokens: &dyn Tokens,
) -> Result<Caller, Refusal> {
    let credential = credential(headers)?;
    if policy.mode == AuthMode::None {
        return Ok(Caller::Anonymous);
    }
    let word = match credential {
        Credential::Word(word) => word,
        Credential::Missing => return Err(Refusal::Missing),
        Credential::Malformed => return Err(Refusal::Malformed),
    };
    let fault = match &policy.token {
        Some(rules) if policy.mode == AuthMode::Token => {
            match check_token(endpoint, rules, word, tokens) {
                Ok(()) => return Ok(Caller::Token),
                Err(fault) => fault,
            }
        }
        _ => None,
    };
    // A key of somebody's own making may have two dots too, so it is looked for in any case.
    if key::is_valid(policy, word) {
        return Ok(Caller::Key);
    }
    Err(match fault {
        Some(fault) => Refusal::Token(fault),
        None if policy.mode == AuthMode::Token && policy.keys.is_empty() => {
            Refusal::Token(TokenFault::Form)
        }
        None => Refusal::Wrong,
    })
}

/// What a request may wait for whose token was refused because it [wants
/// keys](TokenFault::wants_keys): after that, [`authorize`] may answer differently.
pub fn keys_to_come(
    policy: &AuthPolicy,
    headers: &HeaderMap,
    tokens: &dyn Tokens,
) -> Option<BoxFuture<'static, ()>> {
    let Ok(Credential::Word(word)) = credential(headers) else { return None };
    tokens.coming(policy.token.as_ref()?, as_token(word)?)
}

/// `Err(None)`: not even the shape of a token.
fn check_token(
    endpoint: &Name,
    policy: &Arc<TokenPolicy>,
    word: &[u8],
    tokens: &dyn Tokens,
) -> Result<(), Option<TokenFault>> {
    let token = as_token(word).ok_or(None)?;
    tokens.check(endpoint, policy, token).map_err(Some)
}
