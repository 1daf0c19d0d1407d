//! Key sets: which keys are taken, which are left out and why, and which one a token gets.

use super::{
    forge::{attacker, coded, issuer},
    *,
};

/// A JWK with some members changed; `null` takes one away.
fn changed(mut jwk: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        let jwk = jwk.as_object_mut().unwrap();
        if value.is_null() {
            jwk.remove(name)
        } else {
            jwk.insert(name.clone(), value.clone())
        };
    }
    jwk
}

/// A modulus of this many bits, with this last byte.
fn modulus(bits: usize, last: u8) -> String {
    let mut bytes = vec![0x5a; bits.div_ceil(8)];
    bytes[0] = 1 << ((bits - 1) % 8);
    *bytes.last_mut().unwrap() = last;
    coded(bytes)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_key_of_a_set_is_taken_or_left_out_for_a_reason() {
    let rsa = |members: Value| changed(issuer().jwk(Algorithm::RS256), &members);
    let p256 = |members: Value| changed(issuer().jwk(Algorithm::ES256), &members);
    let p384 = |members: Value| changed(issuer().jwk(Algorithm::ES384), &members);
    let ed = |members: Value| changed(issuer().jwk(Algorithm::EdDSA), &members);
    let raw = |bytes: &[u8]| coded(bytes);
    let (n, _) = issuer().rsa_components();
    let x384 = issuer().jwk(Algorithm::ES384)["x"].clone();
    let x256 = issuer().jwk(Algorithm::ES256)["x"].clone();
    let rows: Vec<(&str, Value, Result<(), KeyFault>)> = vec![
        ("RSA", rsa(json!({})), Ok(())),
        ("P-256", p256(json!({})), Ok(())),
        ("P-384", p384(json!({})), Ok(())),
        ("Ed25519", ed(json!({})), Ok(())),
        ("without kid", ed(json!({ "kid": null })), Ok(())),
        ("use sig", rsa(json!({ "use": "sig" })), Ok(())),
        ("key_ops verify", rsa(json!({ "key_ops": ["verify"] })), Ok(())),
        ("alg that fits", rsa(json!({ "alg": "PS512" })), Ok(())),
        ("unknown members", rsa(json!({ "x5c": [1], "nbf": "x", "y": {} })), Ok(())),
        (
            "RSA with a zero before the modulus",
            rsa(json!({ "n": raw(&[&[0], n.as_slice()].concat()) })),
            Ok(()),
        ),
        ("RSA of 2048 bits", rsa(json!({ "n": modulus(2048, 1) })), Ok(())),
        ("RSA of 8192 bits", rsa(json!({ "n": modulus(8192, 1) })), Ok(())),
        (
            "RSA with the greatest exponent",
            rsa(json!({ "e": raw(&[1, 255, 255, 255, 255]) })),
            Ok(()),
        ),
        ("RSA of 2047 bits", rsa(json!({ "n": modulus(2047, 1) })), Err(KeyFault::Modulus)),
        (
            "RSA of 2040 bits and zeros",
            rsa(json!({ "n": raw(&[vec![0; 9], n[1..].to_vec()].concat()) })),
            Err(KeyFault::Modulus),
        ),
        ("RSA of 1024 bits", rsa(json!({ "n": modulus(1024, 1) })), Err(KeyFault::Modulus)),
        ("RSA of 512 bits", rsa(json!({ "n": modulus(512, 1) })), Err(KeyFault::Modulus)),
        ("RSA of 8193 bits", rsa(json!({ "n": modulus(8193, 1) })), Err(KeyFault::Modulus)),
        ("RSA of 65536 bits", rsa(json!({ "n": modulus(65_536, 1) })), Err(KeyFault::Modulus)),
        ("RSA with an even modulus", rsa(json!({ "n": modulus(2048, 2) })), Err(KeyFault::Modulus)),
        ("RSA with no modulus in it", rsa(json!({ "n": "" })), Err(KeyFault::Modulus)),
        ("RSA with modulus zero", rsa(json!({ "n": raw(&[0; 256]) })), Err(KeyFault::Modulus)),
        ("RSA with exponent 0", rsa(json!({ "e": raw(&[0]) })), Err(KeyFault::Exponent)),
        ("RSA with exponent 1", rsa(json!({ "e": raw(&[1]) })), Err(KeyFault::Exponent)),
        ("RSA with exponent 2", rsa(json!({ "e": raw(&[2]) })), Err(KeyFault::Exponent)),
        ("RSA with exponent 3", rsa(json!({ "e": raw(&[3]) })), Err(KeyFault::Exponent)),
        ("RSA with exponent 65535", rsa(json!({ "e": raw(&[255, 255]) })), Err(KeyFault::Exponent)),
        ("RSA with exponent 65538", rsa(json!({ "e": raw(&[1, 0, 2]) })), Err(KeyFault::Exponent)),
        (
            "RSA with exponent 2^33 + 1",
            rsa(json!({ "e": raw(&[2, 0, 0, 0, 1]) })),
            Err(KeyFault::Exponent),
        ),
        ("RSA with the modulus as exponent", rsa(json!({ "e": raw(&n) })), Err(KeyFault::Exponent)),
        ("RSA with no exponent in it", rsa(json!({ "e": "" })), Err(KeyFault::Exponent)),
        ("RSA without n", rsa(json!({ "n": null })), Err(KeyFault::Form)),
        ("RSA without e", rsa(json!({ "e": null })), Err(KeyFault::Form)),
        ("RSA with a number for e", rsa(json!({ "e": 65537 })), Err(KeyFault::Form)),
        ("RSA with padding", rsa(json!({ "e": "AQAB====" })), Err(KeyFault::Form)),
        ("RSA in the other alphabet", rsa(json!({ "n": "+/+/" })), Err(KeyFault::Form)),
        ("RSA with its private exponent", rsa(json!({ "d": "AQAB" })), Err(KeyFault::Secret)),
        ("RSA with a prime", rsa(json!({ "p": "AQAB" })), Err(KeyFault::Secret)),
        ("RSA with a coefficient", rsa(json!({ "qi": 1 })), Err(KeyFault::Secret)),
        ("EC with its private number", p256(json!({ "d": "AQAB" })), Err(KeyFault::Secret)),
        ("Ed25519 with its seed", ed(json!({ "d": "AQAB" })), Err(KeyFault::Secret)),
        ("oct", json!({ "kty": "oct", "kid": "x", "alg": "HS256" }), Err(KeyFault::Secret)),
        ("oct with its key", json!({ "kty": "oct", "k": "AAAA" }), Err(KeyFault::Secret)),
        ("RSA with k", rsa(json!({ "k": "AAAA" })), Err(KeyFault::Secret)),
        ("P-256 with a short x", p256(json!({ "x": raw(&[1; 31]) })), Err(KeyFault::Point)),
        ("P-256 with a long x", p256(json!({ "x": raw(&[1; 33]) })), Err(KeyFault::Point)),
        ("P-256 with the x of P-384", p256(json!({ "x": x384 })), Err(KeyFault::Point)),
        ("P-384 with the x of P-256", p384(json!({ "x": x256 })), Err(KeyFault::Point)),
        ("P-384 that says P-256", p384(json!({ "crv": "P-256" })), Err(KeyFault::Point)),
        ("P-256 that says P-384", p256(json!({ "crv": "P-384" })), Err(KeyFault::Point)),
        ("P-256 with an empty y", p256(json!({ "y": "" })), Err(KeyFault::Point)),
        ("P-256 without y", p256(json!({ "y": null })), Err(KeyFault::Form)),
        ("P-521", p256(json!({ "crv": "P-521" })), Err(KeyFault::Kind)),
        ("secp256k1", p256(json!({ "crv": "secp256k1" })), Err(KeyFault::Kind)),
        ("EC without a curve", p256(json!({ "crv": null })), Err(KeyFault::Form)),
        ("EC on Ed25519", p256(json!({ "crv": "Ed25519" })), Err(KeyFault::Kind)),
        ("OKP on P-256", ed(json!({ "crv": "P-256" })), Err(KeyFault::Kind)),
        ("X25519", ed(json!({ "crv": "X25519" })), Err(KeyFault::Kind)),
        ("Ed448", ed(json!({ "crv": "Ed448" })), Err(KeyFault::Kind)),
        ("Ed25519 of 31 bytes", ed(json!({ "x": raw(&[7; 31]) })), Err(KeyFault::Point)),
        ("Ed25519 of 33 bytes", ed(json!({ "x": raw(&[7; 33]) })), Err(KeyFault::Point)),
        ("Ed25519 of order 1", ed(json!({ "x": raw(&little(1)) })), Err(KeyFault::Point)),
        ("Ed25519 of order 4", ed(json!({ "x": raw(&little(0)) })), Err(KeyFault::Point)),
        (
            "Ed25519 of order 4 and signed",
            ed(json!({ "x": raw(&signed(little(0))) })),
            Err(KeyFault::Point),
        ),
        ("use enc", rsa(json!({ "use": "enc" })), Err(KeyFault::Use)),
        ("use SIG", rsa(json!({ "use": "SIG" })), Err(KeyFault::Use)),
        ("use of another type", rsa(json!({ "use": ["sig"] })), Err(KeyFault::Form)),
        ("key_ops sign", rsa(json!({ "key_ops": ["sign"] })), Err(KeyFault::Use)),
        ("key_ops empty", rsa(json!({ "key_ops": [] })), Err(KeyFault::Use)),
        ("key_ops wrapKey", rsa(json!({ "key_ops": ["wrapKey", "encrypt"] })), Err(KeyFault::Use)),
        ("key_ops of another type", rsa(json!({ "key_ops": "verify" })), Err(KeyFault::Form)),
        ("key_ops of numbers", rsa(json!({ "key_ops": [1, "verify"] })), Err(KeyFault::Form)),
        (
            "use sig, key_ops sign",
            rsa(json!({ "use": "sig", "key_ops": ["sign"] })),
            Err(KeyFault::Use),
        ),
        ("RSA for ES256", rsa(json!({ "alg": "ES256" })), Err(KeyFault::Algorithm)),
        ("P-256 for ES384", p256(json!({ "alg": "ES384" })), Err(KeyFault::Algorithm)),
        ("Ed25519 for ES256", ed(json!({ "alg": "ES256" })), Err(KeyFault::Algorithm)),
        ("RSA for encryption", rsa(json!({ "alg": "RSA-OAEP" })), Err(KeyFault::Algorithm)),
        ("RSA for HS256", rsa(json!({ "alg": "HS256" })), Err(KeyFault::Algorithm)),
        ("RSA for none", rsa(json!({ "alg": "none" })), Err(KeyFault::Algorithm)),
        ("alg of another type", rsa(json!({ "alg": 256 })), Err(KeyFault::Form)),
        ("kid of another type", rsa(json!({ "kid": 1 })), Err(KeyFault::Form)),
        ("kid of 128 bytes", rsa(json!({ "kid": "x".repeat(128) })), Ok(())),
        ("kid of 129 bytes", rsa(json!({ "kid": "x".repeat(129) })), Err(KeyFault::KeyId)),
        ("kty in lower case", rsa(json!({ "kty": "rsa" })), Err(KeyFault::Kind)),
        ("no kty", rsa(json!({ "kty": null })), Err(KeyFault::Form)),
        ("kty of another type", rsa(json!({ "kty": 1 })), Err(KeyFault::Form)),
        ("AKP", json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }), Err(KeyFault::Kind)),
        ("text", json!("RSA"), Err(KeyFault::Form)),
        ("null", json!(null), Err(KeyFault::Form)),
        ("list", json!([]), Err(KeyFault::Form)),
        ("empty", json!({}), Err(KeyFault::Form)),
    ];
    let mut wrong = Vec::new();
    for (name, jwk, verdict) in &rows {
        // Beside a good key, which is kept whatever stands before it.
        let set = json!({ "keys": [jwk, attacker().jwk(Algorithm::EdDSA)] }).to_string();
        let keys = KeySet::parse(set.as_bytes()).unwrap();
        assert!(keys.has("theirs-ed25519"), "{name}");
        let seen = keys.left_out().first().map_or(Ok(()), |(_, fault)| Err(*fault));
        let count = if verdict.is_ok() { 2 } else { 1 };
        if seen != *verdict || keys.len() != count {
            wrong.push(format!("{name}: {seen:?}, not {verdict:?}"));
        }
    }
    println!("keys: {} rows, {} verdicts wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() >= 85, "{}", rows.len());
}

/// A little-endian number of 32 bytes.
fn little(number: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = number;
    bytes
}

fn signed(mut point: [u8; 32]) -> [u8; 32] {
    point[31] |= 0x80;
    point
}

/// With a point of small order anybody can sign anything: R is the point at zero, S is 0. The primitive
/// itself accepts that, so a set has to refuse such a key.
#[test]
fn a_point_of_small_order_would_let_anybody_sign() {
    let neutral = little(1);
    let forged = [neutral, [0; 32]].concat();
    let key = jwk::PublicKey::of_ed25519("weak", &neutral);
    assert!(key.has_signed(Algorithm::EdDSA, b"anything", &forged));
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": coded(neutral) });
    let set = json!({ "keys": [jwk] }).to_string();
    let keys = KeySet::parse(set.as_bytes()).unwrap();
    assert_eq!(keys.left_out(), [(0, KeyFault::Point)]);
}

/// A token that names this key, or none.
fn named(algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = json!({ "alg": algorithm.as_str() });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    issuer().with_header(algorithm, &header, &claims())
}

/// The issuer's key under the name `a`, or as changed.
fn ours(algorithm: Algorithm, members: &Value) -> Value {
    let named = changed(issuer().jwk(algorithm), &json!({ "kid": "a" }));
    changed(named, members)
}

/// Name, token, key set, verdict.
type Case<'c> = (&'c str, &'c String, Vec<Value>, Result<(), TokenFault>);

/// Keys of somebody else, and then this one.
fn behind(count: usize, kid: Option<&str>, last: Value) -> Vec<Value> {
    let foreign = changed(attacker().jwk(Algorithm::ES256), &json!({ "kid": kid }));
    let mut keys = vec![foreign; count];
    keys.push(last);
    keys
}

#[test]
fn a_token_gets_the_key_that_its_issuer_meant_or_none() {
    use Algorithm::{ES256, RS256};
    use TokenFault::{Ambiguous, KeyMismatch, Signature, UnknownKey};
    let (es, es_bare, rs) = (named(ES256, Some("a")), named(ES256, None), named(RS256, Some("a")));
    let key = ours(ES256, &json!({}));
    let bare = ours(ES256, &json!({ "kid": null }));
    let kinds: Vec<_> = Algorithm::ALL.map(|algorithm| ours(algorithm, &json!({}))).to_vec();
    let four_kinds = kinds.split_at(4).0.to_vec();
    let rsa = |members: Value| vec![ours(RS256, &members)];
    let foreign = |count: usize| behind(count - 1, None, attacker().jwk(ES256));
    let rows: Vec<Case<'_>> = vec![
        ("no keys at all", &es, vec![], Err(UnknownKey)),
        ("no keys at all, no kid", &es_bare, vec![], Err(UnknownKey)),
        ("the key", &es, vec![key.clone()], Ok(())),
        ("another name", &es, vec![ours(ES256, &json!({ "kid": "b" }))], Err(UnknownKey)),
        ("the key without a name", &es, vec![bare.clone()], Err(UnknownKey)),
        ("no name on either side", &es_bare, vec![bare.clone()], Ok(())),
        ("the fourth to try is it", &es_bare, behind(3, Some("x"), bare.clone()), Ok(())),
        ("the fifth to try is it", &es_bare, behind(4, Some("x"), bare), Err(Ambiguous)),
        ("five keys and a name", &es, behind(4, Some("x"), key.clone()), Ok(())),
        ("four keys, none is it", &es_bare, foreign(4), Err(Signature)),
        ("the name twice, the second is it", &es, behind(1, Some("a"), key.clone()), Ok(())),
        ("the name four times, the last is it", &es, behind(3, Some("a"), key.clone()), Ok(())),
        ("the name five times", &es, behind(4, Some("a"), key), Err(Ambiguous)),
        ("one name for four kinds, ES256", &es, four_kinds, Ok(())),
        ("one name for RSA six times", &rs, kinds, Err(Ambiguous)),
        ("a key for RS256 alone", &rs, rsa(json!({ "alg": "RS256" })), Ok(())),
        ("a key for PS256 alone", &rs, rsa(json!({ "alg": "PS256" })), Err(KeyMismatch)),
        ("a key for RS512 alone", &rs, rsa(json!({ "alg": "RS512" })), Err(KeyMismatch)),
        ("a key for encryption", &rs, rsa(json!({ "use": "enc" })), Err(UnknownKey)),
        ("a weak RSA key", &rs, rsa(json!({ "n": modulus(1024, 1) })), Err(UnknownKey)),
        (
            "a point beside its curve",
            &es,
            vec![ours(ES256, &json!({ "y": coded([9; 32]) }))],
            Err(Signature),
        ),
    ];
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|(name, token, keys, verdict)| {
            let (name, token, rules) = (name.to_owned(), token.clone(), rules());
            Row { name, token, keys, rules, now: NOW, verdict }
        })
        .collect();
    hold("which key", &rows, 21);
}

#[test]
fn a_set_is_taken_whole_or_refused_for_a_reason() {
    let parse = |text: &str| KeySet::parse(text.as_bytes()).map(|keys| keys.len());
    let key = issuer().jwk(Algorithm::EdDSA);
    let of = |count: usize| json!({ "keys": vec![&key; count] }).to_string();
    assert_eq!(parse(r#"{"keys":[]}"#), Ok(0));
    assert_eq!(parse(&of(1)), Ok(1));
    assert_eq!(parse(&of(MAX_KEYS)), Ok(MAX_KEYS));
    assert_eq!(parse(&of(MAX_KEYS + 1)), Err(KeySetFault::TooMany(MAX_KEYS + 1)));
    let padded = |bytes: usize| format!("{}{}", of(1), " ".repeat(bytes - of(1).len()));
    assert_eq!(parse(&padded(MAX_KEY_SET_BYTES)), Ok(1));
    let too_large = Err(KeySetFault::TooLarge(MAX_KEY_SET_BYTES + 1));
    assert_eq!(parse(&padded(MAX_KEY_SET_BYTES + 1)), too_large);
    for text in ["", "null", "[]", "keys", "<html></html>", "{", "{\"keys\":[]", "\u{feff}{}"] {
        assert_eq!(parse(text), Err(KeySetFault::Json), "{text:?}");
    }
    for text in [
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#,
        r#"{"keys":[{"kty":"RSA","\u006bty":"EC"}]}"#,
    ] {
        assert_eq!(parse(text), Err(KeySetFault::Json), "{text:?}");
    }
    for text in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"Keys":[]}"#] {
        assert_eq!(parse(text), Err(KeySetFault::NoKeys), "{text:?}");
    }
    assert_eq!(KeySet::parse(b"{\"keys\":[],\"x\":\"\xff\"}").unwrap_err(), KeySetFault::Json);
    let deep = format!("{{\"keys\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(parse(&deep), Err(KeySetFault::Json));
}
