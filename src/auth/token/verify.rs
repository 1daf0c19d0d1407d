//! The verdict on a token: issuer, algorithm, key, signature, claims, in this order.

use std::time::SystemTime;

use super::{
    claims::{self, LEEWAY},
    fault::TokenFault,
    keys::KeySet,
    peek::Peek,
};
use crate::domain::Issuer;

/// What a good token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its `exp`.
    pub expires: SystemTime,
    /// The first moment at which it is refused: `expires` and [`LEEWAY`]. As long as its key is among
    /// the issuer's and the rules stay the same, the verdict holds until then.
    pub accepted_until: SystemTime,
    /// Its `sub`.
    pub subject: Option<String>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").field("accepted_until", &self.accepted_until).finish()
    }
}

/// Whether the token is by this issuer, says what the rules ask for, and is valid `now`. `keys` are
/// the issuer's.
pub fn verify(
    token: &Peek<'_>,
    keys: &KeySet,
    rules: &Issuer,
    now: SystemTime,
) -> Result<Verified, TokenFault> {
    if token.issuer() != rules.issuer {
        return Err(TokenFault::Issuer);
    }
    if !rules.algorithms.contains(&token.algorithm) {
        return Err(TokenFault::Algorithm);
    }
    let candidates = keys.candidates(token.kid(), token.algorithm)?;
    if !candidates.iter().any(|key| key.has_signed(token.algorithm, token.signed, &token.signature))
    {
        return Err(TokenFault::Signature);
    }
    let checked = claims::check(&token.claims, rules, now)?;
    let expires = SystemTime::UNIX_EPOCH + checked.expires;
    Ok(Verified { expires, accepted_until: expires + LEEWAY, subject: checked.subject })
}
