//! Whoever can sign: an issuer with one key of each kind, and anything that a hostile client can make.

use std::sync::OnceLock;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::domain::Algorithm;

/// One key of each kind.
pub(super) struct Forge {
    name: &'static str,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

/// The issuer of the rows. Made once, because RSA keys take seconds in a debug build.
pub(super) fn issuer() -> &'static Forge {
    static FORGE: OnceLock<Forge> = OnceLock::new();
    FORGE.get_or_init(|| Forge::new("ours"))
}

/// Somebody else, with the same kinds of keys.
pub(super) fn attacker() -> &'static Forge {
    static FORGE: OnceLock<Forge> = OnceLock::new();
    FORGE.get_or_init(|| Forge::new("theirs"))
}

impl Forge {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The name of the key for an algorithm.
    pub(super) fn kid(&self, algorithm: Algorithm) -> String {
        let kind = match algorithm {
            Algorithm::EdDSA => "ed25519",
            Algorithm::ES256 => "p256",
            Algorithm::ES384 => "p384",
            _ => "rsa",
        };
        format!("{}-{kind}", self.name)
    }

    /// The public key for an algorithm, as a JWK with nothing but its name.
    pub(super) fn jwk(&self, algorithm: Algorithm) -> Value {
        let mut jwk = match algorithm {
            Algorithm::EdDSA => json!({
                "kty": "OKP", "crv": "Ed25519", "x": coded(self.ed25519.public_key()),
            }),
            Algorithm::ES256 => point("P-256", self.p256.public_key().as_ref()),
            Algorithm::ES384 => point("P-384", self.p384.public_key().as_ref()),
            _ => {
                let (n, e) = self.rsa_components();
                json!({ "kty": "RSA", "n": coded(n), "e": coded(e) })
            }
        };
        jwk["kid"] = self.kid(algorithm).into();
        jwk
    }

    /// Modulus and exponent.
    pub(super) fn rsa_components(&self) -> (Vec<u8>, Vec<u8>) {
        let key = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        (key.n, key.e)
    }

    /// The RSA public key in DER, as it stands in a PEM file that everybody can have.
    pub(super) fn rsa_der(&self) -> Vec<u8> {
        self.rsa.public_key().as_ref().to_vec()
    }

    /// The four public keys.
    pub(super) fn set(&self) -> Vec<Value> {
        [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA]
            .map(|algorithm| self.jwk(algorithm))
            .to_vec()
    }

    /// A signature.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let dice = SystemRandom::new();
        let rsa = |padding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &dice, message, &mut signature).unwrap();
            signature
        };
        match algorithm {
            Algorithm::EdDSA => self.ed25519.sign(message).as_ref().to_vec(),
            Algorithm::ES256 => self.p256.sign(&dice, message).unwrap().as_ref().to_vec(),
            Algorithm::ES384 => self.p384.sign(&dice, message).unwrap().as_ref().to_vec(),
            Algorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&RSA_PSS_SHA512),
        }
    }

    /// A token with a header that names the key.
    pub(super) fn token(&self, algorithm: Algorithm, claims: &Value) -> String {
        let header = json!({
            "alg": algorithm.as_str(), "typ": "JWT", "kid": self.kid(algorithm),
        });
        self.with_header(algorithm, &header, claims)
    }

    /// A token with any header and any payload, signed by this algorithm.
    pub(super) fn with_header(
        &self,
        algorithm: Algorithm,
        header: &Value,
        claims: &Value,
    ) -> String {
        self.of_text(algorithm, &header.to_string(), &claims.to_string())
    }

    /// A token of any bytes, signed by this algorithm.
    pub(super) fn of_text(&self, algorithm: Algorithm, header: &str, payload: &str) -> String {
        assemble(header, payload, |message| self.sign(algorithm, message))
    }
}

/// A token "signed" with an HMAC.
pub(super) fn with_secret(
    hash: hmac::Algorithm,
    alg: &str,
    secret: &[u8],
    claims: &Value,
) -> String {
    let header = json!({ "alg": alg, "typ": "JWT" });
    assemble(&header.to_string(), &claims.to_string(), |message| {
        hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
    })
}

/// A token whose signature is made by anybody.
pub(super) fn assemble(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", coded(header), coded(payload));
    let signature = coded(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Canonical base64url.
pub(super) fn coded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn point(curve: &str, uncompressed: &[u8]) -> Value {
    let (x, y) = uncompressed[1..].split_at(uncompressed.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": coded(x), "y": coded(y) })
}
