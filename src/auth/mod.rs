//! Who calls: a credential and an endpoint's policy in, a caller or a refusal out.
//!
//! Promises: pure; the presented credential appears in no value that this room returns; a wrong
//! key costs the same time wherever it differs (contract §7).
//!
//! How: the presented key is hashed and its digest compared with every valid digest, all of them,
//! in constant time.
//!
//! Not here: tokens (they will join [`authorize`] as a second kind of credential).

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::{AuthMode, AuthPolicy, KeyDigest};

/// The header that is accepted in place of `Authorization` (contract §7).
pub const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// How the caller was recognised, for the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// By a key.
    Key,
    /// Not at all: the endpoint asks for nothing.
    Anonymous,
}

impl Caller {
    /// The word in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "Key",
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
}

/// A key in clear text, for the moment in which it is made and shown. Never printed by `Debug`.
pub struct Key(String);

impl Key {
    /// A key with this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The digest under which it is kept.
    pub fn digest(&self) -> KeyDigest {
        digest(self.0.as_bytes())
    }

    /// The clear text, for the person it is made for.
    pub fn reveal(&self) -> String {
        self.0.clone()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The digest under which a key is kept.
pub fn digest(key: &[u8]) -> KeyDigest {
    KeyDigest(Sha256::digest(key).into())
}

/// Checks the credential of a request against the policy of its endpoint.
pub fn authorize(policy: &AuthPolicy, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let mut authorization = headers.get_all(AUTHORIZATION).iter();
    let mut api_key = headers.get_all(API_KEY).iter();
    let bearer = authorization.next();
    let bare = api_key.next();
    if authorization.next().is_some() || api_key.next().is_some() {
        return Err(Refusal::Twice);
    }
    if policy.mode == AuthMode::None {
        return Ok(Caller::Anonymous);
    }
    let key = match (bearer, bare) {
        (Some(value), _) => bearer_value(value.as_bytes()).ok_or(Refusal::Malformed)?,
        (None, Some(value)) => value.as_bytes(),
        (None, None) => return Err(Refusal::Missing),
    };
    if is_valid_key(policy, key) { Ok(Caller::Key) } else { Err(Refusal::Wrong) }
}

/// The value behind `Bearer` and at least one space; the scheme in any case (RFC 9110 §11.1).
fn bearer_value(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(b"Bearer".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer") || rest.first() != Some(&b' ') {
        return None;
    }
    let value = rest.trim_ascii();
    let one_word = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    one_word.then_some(value)
}

fn is_valid_key(policy: &AuthPolicy, key: &[u8]) -> bool {
    let KeyDigest(presented) = digest(key);
    let mut valid = Choice::from(0);
    for KeyDigest(known) in &policy.keys {
        valid |= presented.ct_eq(known);
    }
    valid.into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn policy() -> AuthPolicy {
        AuthPolicy::of_keys(vec![digest(b"first"), digest(b"second")])
    }

    fn with(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_grammar_of_credentials_is_one_table() {
        type Fields = &'static [(&'static str, &'static str)];
        let cases: &[(Fields, Result<Caller, Refusal>)] = &[
            (&[("authorization", "Bearer first")], Ok(Caller::Key)),
            (&[("authorization", "bearer second")], Ok(Caller::Key)),
            (&[("authorization", "Bearer   first")], Ok(Caller::Key)),
            (&[("api-key", "second")], Ok(Caller::Key)),
            (&[], Err(Refusal::Missing)),
            (&[("authorization", "Bearer third")], Err(Refusal::Wrong)),
            (&[("authorization", "Bearer First")], Err(Refusal::Wrong)),
            (&[("api-key", "")], Err(Refusal::Wrong)),
            (&[("authorization", "first")], Err(Refusal::Malformed)),
            (&[("authorization", "Bearer")], Err(Refusal::Malformed)),
            (&[("authorization", "Bearer ")], Err(Refusal::Malformed)),
            (&[("authorization", "Bearerfirst")], Err(Refusal::Malformed)),
            (&[("authorization", "Basic first")], Err(Refusal::Malformed)),
            (&[("authorization", "Bearer first second")], Err(Refusal::Malformed)),
            (
                &[("authorization", "Bearer first"), ("authorization", "Bearer first")],
                Err(Refusal::Twice),
            ),
            (&[("api-key", "first"), ("api-key", "second")], Err(Refusal::Twice)),
        ];
        for (fields, expected) in cases {
            assert_eq!(authorize(&policy(), &with(fields)), *expected, "{fields:?}");
        }
    }

    #[test]
    fn mode_none_asks_for_nothing_but_still_refuses_two_fields() {
        let open = AuthPolicy::open();
        assert_eq!(authorize(&open, &with(&[])), Ok(Caller::Anonymous));
        let twice = with(&[("authorization", "a"), ("authorization", "b")]);
        assert_eq!(authorize(&open, &twice), Err(Refusal::Twice));
    }

    #[test]
    fn no_key_is_valid_when_there_are_none() {
        let empty = AuthPolicy::of_keys(Vec::new());
        assert_eq!(
            authorize(&empty, &with(&[("authorization", "Bearer first")])),
            Err(Refusal::Wrong)
        );
    }
}
