//! Keys as issuers have them, and the tokens that they sign.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

/// A private key with its name and its public half as a JWK.
pub(crate) struct Signer {
    algorithm: Algorithm,
    kid: String,
    key: EncodingKey,
    pub(crate) jwk: Value,
}

impl Signer {
    /// P-256.
    pub(crate) fn es256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        // An uncompressed point: 4, x, y.
        let point = pair.public_key_raw();
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
            "x": encoded(&point[1..33]), "y": encoded(&point[33..65]),
        });
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        Self { algorithm: Algorithm::ES256, kid: kid.to_owned(), key, jwk }
    }

    /// Ed25519.
    pub(crate) fn eddsa(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encoded(pair.public_key_raw()),
        });
        let key = EncodingKey::from_ed_der(&pair.serialize_der());
        Self { algorithm: Algorithm::EdDSA, kid: kid.to_owned(), key, jwk }
    }

    /// RSA of 2048 bits.
    pub(crate) fn rs256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let (modulus, exponent) = rsa_numbers(pair.public_key_raw());
        let jwk = json!({
            "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
            "n": encoded(&modulus), "e": encoded(&exponent),
        });
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("an RSA key");
        Self { algorithm: Algorithm::RS256, kid: kid.to_owned(), key, jwk }
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.kid, claims)
    }

    /// A token that names another key.
    pub(crate) fn sign_as(&self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).expect("a token")
    }
}

/// The claims of a good token for an hour, some of them replaced; null takes one away.
pub(crate) fn claims(issuer: &str, changes: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut all: BTreeMap<String, Value> = serde_json::from_value(json!({
        "iss": issuer, "aud": "api://fraud", "sub": "somebody", "scope": "read score",
        "iat": now, "nbf": now, "exp": now + 3600,
    }))
    .expect("an object");
    let changes: BTreeMap<String, Value> = serde_json::from_value(changes).expect("an object");
    all.extend(changes);
    all.retain(|_, value| !value.is_null());
    json!(all)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 §A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (sequence, _) = content(der);
    let (modulus, rest) = content(sequence);
    let (exponent, _) = content(rest);
    let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    (bare(modulus), bare(exponent))
}

/// The content of the first element of DER, and what stands behind it.
fn content(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            let length = der[2..2 + bytes].iter().fold(0, |sum, b| sum * 256 + usize::from(*b));
            (length, 2 + bytes)
        }
    };
    der[start..].split_at(length)
}
