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

#[test]
fn a_token_gets_the_key_that_its_issuer_meant_or_none() {
    let mut rows = Vec::new();
    let mut add = |name: &str, token: &String, keys: Vec<Value>, verdict| {
        let (token, rules) = (token.clone(), rules());
        rows.push(Row { name: name.to_owned(), token, keys, rules, now: NOW, verdict });
    };
    let es256 = || issuer().jwk(Algorithm::ES256);
    let kid = |mut jwk: Value, kid: &str| {
        jwk["kid"] = kid.into();
        jwk
    };
    let bare = |mut jwk: Value| {
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let of =
        |algorithm: Algorithm, header: Value| issuer().with_header(algorithm, &header, &claims());
    let named = of(Algorithm::ES256, json!({ "alg": "ES256", "kid": "a" }));
    let unnamed = of(Algorithm::ES256, json!({ "alg": "ES256" }));
    let foreign = |count: usize| vec![attacker().jwk(Algorithm::ES256); count];
    let with = |mut keys: Vec<Value>, jwk: Value| {
        keys.push(jwk);
        keys
    };
    let named_foreign =
        |count: usize| foreign(count).into_iter().map(|jwk| kid(jwk, "a")).collect::<Vec<_>>();

    add("no keys at all", &named, vec![], Err(TokenFault::UnknownKey));
    add("no keys at all, no kid", &unnamed, vec![], Err(TokenFault::UnknownKey));
    add("the key", &named, vec![kid(es256(), "a")], Ok(()));
    add("the key under another name", &named, vec![kid(es256(), "b")], Err(TokenFault::UnknownKey));
    add("the key without a name", &named, vec![bare(es256())], Err(TokenFault::UnknownKey));
    add("no name on either side", &unnamed, vec![bare(es256())], Ok(()));
    add("the key as the fourth to try", &unnamed, with(foreign(3), bare(es256())), Ok(()));
    let five = with(foreign(4), es256());
    add("the key as the fifth to try", &unnamed, five.clone(), Err(TokenFault::Ambiguous));
    add(
        "five keys and a name",
        &of(Algorithm::ES256, json!({ "alg": "ES256", "kid": "ours-p256" })),
        five,
        Ok(()),
    );
    add("four keys, none is it", &unnamed, foreign(4), Err(TokenFault::Signature));
    add(
        "the name twice, the second is it",
        &named,
        with(named_foreign(1), kid(es256(), "a")),
        Ok(()),
    );
    add(
        "the name four times, the last is it",
        &named,
        with(named_foreign(3), kid(es256(), "a")),
        Ok(()),
    );
    add(
        "the name five times",
        &named,
        with(named_foreign(4), kid(es256(), "a")),
        Err(TokenFault::Ambiguous),
    );
    let kinds: Vec<_> = issuer().set().into_iter().map(|jwk| kid(jwk, "a")).collect();
    add("one name for four kinds, ES256", &named, kinds.clone(), Ok(()));
    let rs256 = of(Algorithm::RS256, json!({ "alg": "RS256", "kid": "a" }));
    add("one name for four kinds, RS256", &rs256, kinds, Ok(()));
    let only = |alg: &str| {
        let mut jwk = kid(issuer().jwk(Algorithm::RS256), "a");
        jwk["alg"] = alg.into();
        jwk
    };
    add("a key for RS256 alone", &rs256, vec![only("RS256")], Ok(()));
    add("a key for PS256 alone", &rs256, vec![only("PS256")], Err(TokenFault::KeyMismatch));
    add("a key for RS512 alone", &rs256, vec![only("RS512")], Err(TokenFault::KeyMismatch));
    let mut encryption = kid(issuer().jwk(Algorithm::RS256), "a");
    encryption["use"] = "enc".into();
    add("a key for encryption", &rs256, vec![encryption], Err(TokenFault::UnknownKey));
    let mut off = kid(es256(), "a");
    off["y"] = coded([9_u8; 32]).into();
    add("a point beside its curve", &named, vec![off], Err(TokenFault::Signature));
    let mut weak = kid(issuer().jwk(Algorithm::RS256), "a");
    weak["n"] = modulus(1024, 1).into();
    add("a weak RSA key", &rs256, vec![weak], Err(TokenFault::UnknownKey));
    hold("which key", &rows, 20);
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
