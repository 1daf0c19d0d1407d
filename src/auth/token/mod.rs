//! Tokens: a JWT, the keys of its issuer, an endpoint's rules and `now` in, a verdict out.
//!
//! Promises: nothing that a token says of itself decides how it is checked: the algorithm has to be
//! among those that the endpoint pins and has to fit the key, `kid` only chooses among the issuer's
//! keys, and `jku`, `x5u`, `jwk` and `x5c` are not looked at. No fault holds a byte of the token. No
//! input panics, and each one has a bound.
//!
//! How: [`Peek`] reads the form: three parts, canonical base64url, JSON with each member once, a
//! header that asks for nothing special. [`verify()`] compares the issuer, finds the key in the
//! issuer's [`KeySet`], checks the signature with jsonwebtoken's primitives (aws-lc-rs), and then the
//! claims. jsonwebtoken's own `decode` is not used: it checks `iss`, `aud` and `nbf` only where asked
//! and present, takes duplicate members, and knows no `crit`.
//!
//! Our own tokens are signed with Ed25519 (`own`). Its signatures need no randomness, so that issuing
//! is a function like the rest and cannot leak the key through a weak dice, as ECDSA can; key and
//! signature are short; and there is one curve and one hash, nothing to negotiate.
//!
//! Not here: fetching key sets, caching verdicts, rotating keys.

mod claims;
mod fault;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod json;
mod jwk;
mod keys;
mod own;
mod peek;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::LEEWAY;
pub use fault::TokenFault;
pub use jwk::{KeyFault, MAX_KID_BYTES};
pub use keys::{KeySet, KeySetFault, MAX_KEY_SET_BYTES, MAX_KEYS};
pub use own::{
    Issued, MAX_OWN_LIFETIME, Order, SigningKey, SigningKeyFault, issue, jwks, own_issuer,
};
pub use peek::{MAX_TOKEN_BYTES, Peek};
pub use verify::{Verified, verify};
