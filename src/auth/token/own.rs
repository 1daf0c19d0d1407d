//! Tokens that the router issues itself: the key, the token, the rules by which it is accepted again.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER, jwk::EllipticCurve};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::jwk::{PublicKey, primitive};
use crate::domain::{Algorithm, Issuer, Name};

/// The longest lifetime of a token of ours: the upper bound of `auth.token.lifetime`.
pub const MAX_OWN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest text of a private key. Ed25519 in PKCS#8 and PEM has about 170 bytes.
const MAX_PEM_BYTES: usize = 1024;

/// A token should be renewed when this part of its lifetime is over: enough is left to try again.
const REFRESH_AT: (u32, u32) = (2, 3);

/// Why a text is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyFault {
    /// Too many bytes.
    #[error("the signing key is longer than {MAX_PEM_BYTES} bytes")]
    TooLong,
    /// Not a private key for Ed25519.
    #[error(
        "the signing key is not an Ed25519 private key (PKCS#8); make one with 'openssl genpkey -algorithm ed25519'"
    )]
    Form,
}

/// A private key for our own tokens. Never printed by `Debug`; wiped from memory when dropped.
pub struct SigningKey {
    key: EncodingKey,
    /// The public half.
    point: Vec<u8>,
    kid: String,
}

impl SigningKey {
    /// Reads PKCS#8 in PEM (`BEGIN PRIVATE KEY`).
    pub fn from_pem(pem: &str) -> Result<Self, SigningKeyFault> {
        if pem.len() > MAX_PEM_BYTES {
            return Err(SigningKeyFault::TooLong);
        }
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| SigningKeyFault::Form)?;
        Self::new(key)
    }

    /// Reads PKCS#8 in DER, version 1 (without the public half) or 2 (with it).
    pub fn from_der(der: &[u8]) -> Result<Self, SigningKeyFault> {
        if der.len() > MAX_PEM_BYTES {
            return Err(SigningKeyFault::TooLong);
        }
        Self::new(EncodingKey::from_ed_der(der))
    }

    fn new(key: EncodingKey) -> Result<Self, SigningKeyFault> {
        let public_half = DEFAULT_PROVIDER.key_utils.ed_pub_components_from_private_key;
        let point = public_half(key.as_bytes(), &EllipticCurve::Ed25519)
            .map_err(|_| SigningKeyFault::Form)?;
        let kid = thumbprint(&point);
        Ok(Self { key, point, kid })
    }

    /// Its name: the thumbprint of its public half (RFC 7638), so that two routers never give two
    /// names to one key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK (RFC 8037 §2).
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(&self.point),
            "kid": self.kid,
            "alg": Algorithm::EdDSA.as_str(),
            "use": "sig",
        })
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey::of_ed25519(&self.kid, &self.point)
    }

    pub(super) fn sign(&self, message: &str) -> Vec<u8> {
        let signer = (DEFAULT_PROVIDER.signer_factory)(&primitive(Algorithm::EdDSA), &self.key)
            .expect("the key was read as one for Ed25519");
        signer.try_sign(message.as_bytes()).expect("Ed25519 signs every message")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, …)", self.kid)
    }
}

/// The members in the order of their names, nothing else, hashed (RFC 7638 §3, RFC 8037 §2).
fn thumbprint(point: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(point);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes()))
}

/// The JWK Set of these keys, to be published.
pub fn jwks<'k>(keys: impl IntoIterator<Item = &'k SigningKey>) -> Value {
    json!({ "keys": keys.into_iter().map(SigningKey::jwk).collect::<Vec<_>>() })
}

/// What a new token is to say.
#[derive(Debug, Clone, Copy)]
pub struct Order<'o> {
    /// `iss`: the name of this installation.
    pub issuer: &'o str,
    /// The only endpoint that accepts it.
    pub endpoint: &'o Name,
    /// `sub`: for whom it is.
    pub subject: &'o str,
    /// How long it is valid; cut to [`MAX_OWN_LIFETIME`].
    pub lifetime: Duration,
    /// `jti`: a name that no other token has. Whoever orders it rolls the dice.
    pub id: &'o str,
}

/// A new token. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub access_token: String,
    /// When to get the next one: after two thirds of the lifetime.
    pub refresh_after: SystemTime,
    /// Its `exp`, in whole seconds.
    pub expires: SystemTime,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Makes a token. The same arguments give the same token.
pub fn issue(key: &SigningKey, order: &Order<'_>, now: SystemTime) -> Issued {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let lifetime = Duration::from_secs(order.lifetime.min(MAX_OWN_LIFETIME).as_secs());
    let header = json!({ "alg": Algorithm::EdDSA.as_str(), "kid": key.kid, "typ": "JWT" });
    let claims = json!({
        "iss": order.issuer,
        "aud": audience(order.endpoint),
        "sub": order.subject,
        "iat": now,
        "nbf": now,
        "exp": now.saturating_add(lifetime.as_secs()),
        "jti": order.id,
    });
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&message));
    let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    Issued {
        access_token: format!("{message}.{signature}"),
        refresh_after: issued + lifetime * REFRESH_AT.0 / REFRESH_AT.1,
        expires: issued + lifetime,
    }
}

/// The rules by which an endpoint accepts tokens of this installation. Their keys are the ring's, so
/// there is no address to get them from.
pub fn own_issuer(issuer: &str, endpoint: &Name) -> Issuer {
    Issuer {
        issuer: issuer.to_owned(),
        audiences: vec![audience(endpoint)],
        jwks_uri: None,
        algorithms: vec![Algorithm::EdDSA],
        max_lifetime: MAX_OWN_LIFETIME,
        required_claims: BTreeMap::new(),
        required_scopes: Vec::new(),
    }
}

/// The audience of an endpoint: no other one accepts the token, and no other service that shares the
/// issuer takes it for its own.
fn audience(endpoint: &Name) -> String {
    format!("modelway:{endpoint}")
}
