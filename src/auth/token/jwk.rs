//! One public key of an issuer, out of a JWK (RFC 7517), with everything that makes it unfit said by
//! name.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, crypto::aws_lc};

use super::json::{Json, Object};
use crate::domain::Algorithm;

/// The longest `kid`. A SHA-256 thumbprint has 43 bytes, a certificate's SHA-512 in hex 128.
pub const MAX_KID_BYTES: usize = 128;

/// RSA below 2048 bits is broken or nearly so (RFC 7518 §3.3), above 8192 a way to waste our time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// FIPS 186-5 §5.4 asks for more than 2^16; aws-lc takes at most 33 bits.
const RSA_EXPONENT: std::ops::RangeInclusive<u64> = 65_537..=(1 << 33) - 1;

/// Members that only a private or a shared key has (RFC 7518 §6.2.2, §6.3.2, §6.4).
const SECRET_MEMBERS: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

/// Ed25519 points of small order, little-endian and without the sign: with such a "key" anybody can
/// make a signature, so it proves nothing. Also their encodings beyond the field (RFC 8032 §5.1.3).
const SMALL_ORDER: [[u8; 32]; 7] = [
    ends(0x00, 0x00, 0x00),
    ends(0x01, 0x00, 0x00),
    ends(0xec, 0xff, 0x7f),
    ends(0xed, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Why a key of a set is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyFault {
    /// Not a JSON object, or a member of the wrong type.
    #[error("the key is not of the form that RFC 7517 asks for")]
    Form,
    /// Not `RSA`, `EC` with P-256 or P-384, or `OKP` with Ed25519.
    #[error("the key is of a kind that no accepted algorithm uses")]
    Kind,
    /// A private or shared key stands where everybody can read it.
    #[error("the key is a secret one and was published; its issuer has to replace it")]
    Secret,
    /// `use` is not `sig`, or `key_ops` is without `verify`.
    #[error("the key is not for verifying signatures (use, key_ops)")]
    Use,
    /// `alg` is none that fits the key.
    #[error("the key's alg does not fit the key")]
    Algorithm,
    /// `kid` is too long.
    #[error("the key's kid is longer than {MAX_KID_BYTES} bytes")]
    KeyId,
    /// A modulus out of bounds, or an even one.
    #[error("the RSA modulus is not an odd number of 2048 to 8192 bits")]
    Modulus,
    /// An exponent out of bounds, or an even one.
    #[error("the RSA exponent is not an odd number from 65537 to 2^33")]
    Exponent,
    /// A coordinate of the wrong length, or a point with which anybody could sign.
    #[error("the point of the key is not one of its curve's, or a weak one")]
    Point,
}

/// What a key is made of, and so for which algorithms it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    fn fits(self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match algorithm {
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => self == Self::Rsa,
            ES256 => self == Self::P256,
            ES384 => self == Self::P384,
            EdDSA => self == Self::Ed25519,
        }
    }
}

/// A public key that signatures can be verified with.
#[derive(Clone)]
pub(super) struct PublicKey {
    kid: Option<String>,
    kind: Kind,
    /// The only algorithm it is for, where its issuer says so.
    only: Option<Algorithm>,
    key: DecodingKey,
}

impl PublicKey {
    /// Reads a JWK. What it does not know, `x5c` and its like included, it does not look at.
    pub(super) fn read(jwk: &Json) -> Result<Self, KeyFault> {
        let Json::Object(jwk) = jwk else { return Err(KeyFault::Form) };
        if SECRET_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyFault::Secret);
        }
        let (kind, key) = match required(jwk, "kty")? {
            "RSA" => (Kind::Rsa, rsa(jwk)?),
            "EC" => ec(jwk)?,
            "OKP" => (Kind::Ed25519, ed25519(jwk)?),
            "oct" => return Err(KeyFault::Secret),
            _ => return Err(KeyFault::Kind),
        };
        check_use(jwk)?;
        let only = match optional(jwk, "alg")? {
            None => None,
            Some(name) => {
                let algorithm = Algorithm::of(name).ok_or(KeyFault::Algorithm)?;
                Some(algorithm).filter(|only| kind.fits(*only)).ok_or(KeyFault::Algorithm)?.into()
            }
        };
        let kid = optional(jwk, "kid")?.map(str::to_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(KeyFault::KeyId);
        }
        Ok(Self { kid, kind, only, key })
    }

    /// Our own key.
    pub(super) fn of_ed25519(kid: &str, point: &[u8]) -> Self {
        Self {
            kid: Some(kid.to_owned()),
            kind: Kind::Ed25519,
            only: Some(Algorithm::EdDSA),
            key: DecodingKey::from_ed_der(point),
        }
    }

    /// Its name within its set.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether signatures of this algorithm may be verified with it.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether this is its signature of the message.
    pub(super) fn has_signed(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> bool {
        // The provider is named, because the crate's default depends on features and may panic.
        (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&primitive(algorithm), &self.key)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("kid", &self.kid).field("kind", &self.kind).finish()
    }
}

/// The word of jsonwebtoken for an algorithm.
pub(super) const fn primitive(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Primitive;
    match algorithm {
        Algorithm::EdDSA => Primitive::EdDSA,
        Algorithm::ES256 => Primitive::ES256,
        Algorithm::ES384 => Primitive::ES384,
        Algorithm::PS256 => Primitive::PS256,
        Algorithm::PS384 => Primitive::PS384,
        Algorithm::PS512 => Primitive::PS512,
        Algorithm::RS256 => Primitive::RS256,
        Algorithm::RS384 => Primitive::RS384,
        Algorithm::RS512 => Primitive::RS512,
    }
}

fn required<'j>(jwk: &'j Object, name: &str) -> Result<&'j str, KeyFault> {
    optional(jwk, name)?.ok_or(KeyFault::Form)
}

fn optional<'j>(jwk: &'j Object, name: &str) -> Result<Option<&'j str>, KeyFault> {
    jwk.get(name).map(|value| value.text().ok_or(KeyFault::Form)).transpose()
}

fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(required(jwk, name)?).map_err(|_| KeyFault::Form)
}

fn check_use(jwk: &Object) -> Result<(), KeyFault> {
    if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyFault::Use);
    }
    match jwk.get("key_ops").map(Json::texts) {
        None => Ok(()),
        Some(None) => Err(KeyFault::Form),
        Some(Some(operations)) if operations.contains(&"verify") => Ok(()),
        Some(Some(_)) => Err(KeyFault::Use),
    }
}

/// Leading zeros are cut off: RFC 7518 §6.3.1.1 forbids them and some issuers send one, which changes
/// nothing about the number.
fn rsa(jwk: &Object) -> Result<DecodingKey, KeyFault> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let (modulus, exponent) = (without_zeros(&modulus), without_zeros(&exponent));
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !RSA_BITS.contains(&bit_length(modulus)) || !is_odd(modulus) {
        return Err(KeyFault::Modulus);
    }
    let value = if exponent.len() <= size_of::<u64>() {
        exponent.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    } else {
        u64::MAX
    };
    if !RSA_EXPONENT.contains(&value) || !is_odd(exponent) {
        return Err(KeyFault::Exponent);
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bit_length(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - unused
}

/// Whether the point is on its curve is seen by the primitive, with each signature.
fn ec(jwk: &Object) -> Result<(Kind, DecodingKey), KeyFault> {
    let (kind, length) = match required(jwk, "crv")? {
        "P-256" => (Kind::P256, 32),
        "P-384" => (Kind::P384, 48),
        _ => return Err(KeyFault::Kind),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(KeyFault::Point);
    }
    // SEC 1 §2.3.3: 4 stands for both coordinates in full.
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    Ok((kind, DecodingKey::from_ec_der(&point)))
}

fn ed25519(jwk: &Object) -> Result<DecodingKey, KeyFault> {
    if required(jwk, "crv")? != "Ed25519" {
        return Err(KeyFault::Kind);
    }
    let point: [u8; 32] = bytes(jwk, "x")?.try_into().map_err(|_| KeyFault::Point)?;
    let mut unsigned = point;
    if let Some(last) = unsigned.last_mut() {
        *last &= 0x7f;
    }
    if SMALL_ORDER.contains(&unsigned) {
        return Err(KeyFault::Point);
    }
    Ok(DecodingKey::from_ed_der(&point))
}

/// 32 bytes: the first, thirty of the middle one, the last.
const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [head, .., tail] = &mut bytes;
    *head = first;
    *tail = last;
    bytes
}
