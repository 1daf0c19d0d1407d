//! A token before it is verified: its form, its header and who says that it issued it.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    fault::TokenFault,
    json::{self, Json, Object},
    jwk::MAX_KID_BYTES,
};
use crate::domain::Algorithm;

/// The longest token. Microsoft Entra ID's largest, with 200 groups, have about 10 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Members of a header that change what is signed or how it is to be read: extensions that have to be
/// understood (RFC 7515 §4.1.11), payloads that are not encoded (RFC 7797), tokens within tokens
/// (RFC 7519 §5.2), compression (RFC 7516 §4.1.3).
const EXTENSIONS: [&str; 4] = ["crit", "b64", "cty", "zip"];

/// What a token is, in `typ` (RFC 7519 §5.1, RFC 9068 §2.1), in any case and also with `application/`.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token whose form is right. Nothing in it is to be believed before [`verify`](super::verify()).
#[derive(Clone, PartialEq)]
pub struct Peek<'t> {
    /// Header, dot and payload: what is signed.
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Object,
    issuer: String,
}

impl<'t> Peek<'t> {
    /// Reads a token's form. Costs time and memory in proportion to the token, at most
    /// [`MAX_TOKEN_BYTES`].
    pub fn read(token: &'t str) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Form)?;
        let (header, payload) = (decoded(header)?, decoded(payload)?);
        let signature = decoded(signature)?;
        let header = json::object(&header).ok_or(TokenFault::Header)?;
        let algorithm = check_header(&header)?;
        let kid = kid(&header)?;
        let claims = json::object(&payload).ok_or(TokenFault::Payload)?;
        let issuer = match claims.get("iss") {
            Some(Json::Text(issuer)) => issuer.clone(),
            Some(_) => return Err(TokenFault::Claim("iss")),
            None => return Err(TokenFault::Missing("iss")),
        };
        Ok(Self { signed: signed.as_bytes(), signature, algorithm, kid, claims, issuer })
    }

    /// Who says that it issued the token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Which key of the issuer is said to have signed it. Opaque, at most [`MAX_KID_BYTES`].
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// How it is said to be signed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Debug for Peek<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peek(…)")
    }
}

/// One part of a token. Canonical: no padding, no other alphabet, no bits left over, not empty.
fn decoded(part: &str) -> Result<Vec<u8>, TokenFault> {
    match URL_SAFE_NO_PAD.decode(part) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        Ok(_) | Err(_) => Err(TokenFault::Form),
    }
}

fn check_header(header: &Object) -> Result<Algorithm, TokenFault> {
    if EXTENSIONS.iter().any(|name| header.contains_key(*name)) {
        return Err(TokenFault::Extension);
    }
    if let Some(kind) = header.get("typ") {
        let kind = kind.text().ok_or(TokenFault::Type)?.to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        if !TYPES.contains(&kind) {
            return Err(TokenFault::Type);
        }
    }
    let name = header.get("alg").and_then(Json::text).ok_or(TokenFault::Algorithm)?;
    Algorithm::of(name).ok_or(TokenFault::Algorithm)
}

fn kid(header: &Object) -> Result<Option<String>, TokenFault> {
    match header.get("kid") {
        None => Ok(None),
        Some(Json::Text(kid)) if kid.len() <= MAX_KID_BYTES => Ok(Some(kid.clone())),
        Some(_) => Err(TokenFault::KeyId),
    }
}
