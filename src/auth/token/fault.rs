//! Why a token is refused, in words that hold nothing of the token.

use super::{jwk::MAX_KID_BYTES, peek::MAX_TOKEN_BYTES};

/// Why a token is refused. The words go into `WWW-Authenticate` as `error_description` (RFC 6750 §3),
/// so they are ASCII without quotes and backslashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenFault {
    /// More bytes than anybody's tokens have.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts, or not canonical base64url without padding.
    #[error("the token is not of the form header.payload.signature in base64url")]
    Form,
    /// The header is not a JSON object, or has a member twice.
    #[error("the header of the token is not a JSON object with each member once")]
    Header,
    /// The payload is not a JSON object, or has a member twice.
    #[error("the payload of the token is not a JSON object with each member once")]
    Payload,
    /// `typ` is there and not one of ours.
    #[error("the token's typ is neither JWT nor at+jwt")]
    Type,
    /// `crit`, `b64`, `cty` or `zip` is there.
    #[error("the token uses crit, b64, cty or zip, which this router does not accept")]
    Extension,
    /// `kid` is no string, or too long.
    #[error("the token's kid is not a string of at most {MAX_KID_BYTES} bytes")]
    KeyId,
    /// `alg` is missing or not pinned by the endpoint.
    #[error("the token's alg is not accepted by this endpoint")]
    Algorithm,
    /// `iss` is none that the endpoint knows.
    #[error("the token's issuer (iss) is not accepted by this endpoint")]
    Issuer,
    /// The issuer's keys were never had.
    #[error("the keys of the token's issuer are not known to this router yet; try again")]
    KeysUnavailable,
    /// The issuer's keys are known, and this one is not among them.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The named key is for another algorithm.
    #[error("the key that the token names is not for the token's alg")]
    KeyMismatch,
    /// No `kid`, or one that several keys share, and too many keys to try.
    #[error("the token does not say which of its issuer's keys signed it (kid)")]
    Ambiguous,
    /// The signature is not by the issuer's key.
    #[error("the token's signature is not valid")]
    Signature,
    /// A claim that has to be there is not.
    #[error("the token has no {0}")]
    Missing(&'static str),
    /// A claim of the wrong type, or a time that is no time.
    #[error("the token's {0} is not of the form that RFC 7519 asks for")]
    Claim(&'static str),
    /// `aud` names none of the endpoint's audiences.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// `exp` is past.
    #[error("the token has expired (exp); get a new one")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet (nbf)")]
    NotYet,
    /// `iat` is to come.
    #[error("the token was issued in the future (iat); compare the clocks")]
    Future,
    /// Longer than the endpoint allows, or ended before it began.
    #[error("the token is valid for longer than this endpoint allows, or ends before iat")]
    Lifetime,
    /// A required claim is missing or has another text.
    #[error("the token lacks a claim that this endpoint requires")]
    RequiredClaim,
    /// A required scope is missing.
    #[error("the token lacks a scope that this endpoint requires")]
    RequiredScope,
    /// Not looked at: it would be dear, and too many wrong ones come from the same address.
    #[error("the token was not verified before and is not looked at now; try again later")]
    Unchecked,
}

impl TokenFault {
    /// Whether newer keys of the issuer could make the token good.
    pub const fn wants_keys(self) -> bool {
        matches!(self, Self::UnknownKey | Self::KeysUnavailable)
    }
}
