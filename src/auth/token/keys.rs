//! The keys of one issuer, out of a JWK Set (RFC 7517 §5).

use super::{
    fault::TokenFault,
    json::{self, Json},
    jwk::{KeyFault, PublicKey},
    own::SigningKey,
};
use crate::domain::Algorithm;

/// The largest set in bytes. Google, Microsoft and Okta publish 2 to 20 KiB.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;

/// The most keys of a set, unusable ones included. Large issuers have about ten.
pub const MAX_KEYS: usize = 100;

/// How many keys are tried for one token. One where `kid` names it; more where a token has none, or
/// where keys share one: a bound for what a wrong token can cost.
const MAX_TRIES: usize = 4;

/// Why a set is not taken at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Too many bytes.
    #[error("the key set has {0} bytes, more than {MAX_KEY_SET_BYTES}")]
    TooLarge(usize),
    /// Not JSON, not an object, or with a member twice.
    #[error("the key set is not a JSON object with each member once")]
    Json,
    /// No array `keys`.
    #[error("the key set has no array 'keys' (RFC 7517)")]
    NoKeys,
    /// Too many keys.
    #[error("the key set has {0} keys, more than {MAX_KEYS}")]
    TooMany(usize),
}

/// The public keys of one issuer.
///
/// Keys that share a `kid` are all kept, and those that fit a token's algorithm are tried, because
/// RFC 7517 §4.5 allows such keys where their kinds differ. A key without `kid` serves only tokens
/// without one.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    left_out: Vec<(usize, KeyFault)>,
}

impl KeySet {
    /// Reads a JWK Set. A key that cannot be used is left out, and said; the others are kept.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetFault> {
        if text.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetFault::TooLarge(text.len()));
        }
        let set = json::object(text).ok_or(KeySetFault::Json)?;
        let Some(Json::List(list)) = set.get("keys") else { return Err(KeySetFault::NoKeys) };
        if list.len() > MAX_KEYS {
            return Err(KeySetFault::TooMany(list.len()));
        }
        let mut keys = Self::default();
        for (index, jwk) in list.iter().enumerate() {
            match PublicKey::read(jwk) {
                Ok(key) => keys.keys.push(key),
                Err(fault) => keys.left_out.push((index, fault)),
            }
        }
        Ok(keys)
    }

    /// The public halves of our own keys.
    pub fn of<'k>(keys: impl IntoIterator<Item = &'k SigningKey>) -> Self {
        let keys = keys.into_iter().map(SigningKey::public).collect();
        Self { keys, left_out: Vec::new() }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that cannot be used, by their place in the set, and why.
    pub fn left_out(&self) -> &[(usize, KeyFault)] {
        &self.left_out
    }

    /// Whether a key of this name can be used.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == Some(kid))
    }

    /// The keys that may have signed a token of this algorithm that names this key: at least one,
    /// at most [`MAX_TRIES`].
    pub(super) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<&PublicKey>, TokenFault> {
        let is_named = |key: &&PublicKey| kid.is_none() || key.kid() == kid;
        let named = self.keys.iter().filter(is_named);
        let fitting: Vec<_> = named.clone().filter(|key| key.fits(algorithm)).collect();
        match fitting.len() {
            0 if kid.is_some() && named.count() > 0 => Err(TokenFault::KeyMismatch),
            0 => Err(TokenFault::UnknownKey),
            1..=MAX_TRIES => Ok(fitting),
            _ => Err(TokenFault::Ambiguous),
        }
    }
}
