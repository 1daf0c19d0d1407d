//! The front, fed with anything: it never panics, and what it takes it takes for what it is.

use proptest::prelude::*;

use super::{
    forge::{assemble, coded, issuer},
    *,
};

/// Text from pieces that nearly make a token.
fn nearly_a_token() -> impl Strategy<Value = String> {
    let header = r#"{"alg":"ES256","kid":"x","typ":"JWT"}"#;
    let payload = r#"{"iss":"x","aud":"y","exp":1}"#;
    let piece = prop_oneof![
        Just(coded(header)),
        Just(coded(payload)),
        Just(".".to_owned()),
        Just("=".to_owned()),
        "[A-Za-z0-9_-]{0,12}",
        "\\PC{0,3}",
        any::<Vec<u8>>().prop_map(coded),
        json_text().prop_map(coded),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Text from pieces that nearly make JSON.
fn json_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just(r#""alg""#.to_owned()),
        Just(r#""iss":"x""#.to_owned()),
        Just(r#""exp":1e5"#.to_owned()),
        "[0-9eE.+-]{1,6}",
        "\"[a-z\\\\u0-9]{0,6}\"",
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// Any JSON value, small.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_front_panic(token in prop_oneof!["\\PC{0,60}", nearly_a_token()]) {
        if let Ok(token) = Peek::read(&token) {
            prop_assert!(verify(&token, &KeySet::default(), &rules(), at(NOW)).is_err());
        }
    }

    #[test]
    fn no_bytes_make_a_key_set_panic(text in prop_oneof![
        any::<Vec<u8>>(),
        json_text().prop_map(String::into_bytes),
        value().prop_map(|key| json!({ "keys": [key] }).to_string().into_bytes()),
    ]) {
        if let Ok(keys) = KeySet::parse(&text) {
            prop_assert!(keys.is_empty());
        }
    }

    #[test]
    fn any_members_beside_the_known_ones_change_nothing(
        header in prop::collection::btree_map("x[a-z0-9]{0,6}", value(), 0..4),
        payload in prop::collection::btree_map("x[a-z0-9]{0,6}", value(), 0..4),
        kid in prop::option::of("\\PC{0,30}"),
        signature in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let mut head: serde_json::Map<_, _> = header.into_iter().collect();
        head.insert("alg".to_owned(), "RS256".into());
        if let Some(kid) = &kid {
            head.insert("kid".to_owned(), kid.as_str().into());
        }
        let mut body: serde_json::Map<_, _> = payload.into_iter().collect();
        body.insert("iss".to_owned(), ISSUER.into());
        let (head, body) = (Value::Object(head).to_string(), Value::Object(body).to_string());
        let token = assemble(&head, &body, |_| signature.clone());
        let peek = Peek::read(&token).unwrap();
        prop_assert_eq!(peek.issuer(), ISSUER);
        prop_assert_eq!(peek.kid(), kid.as_deref());
        prop_assert_eq!(peek.algorithm(), Algorithm::RS256);
        // What is signed and the signature are the token's own bytes, so the token can be made again.
        let again = [peek.signed, b".", coded(&peek.signature).as_bytes()].concat();
        prop_assert_eq!(again, token.as_bytes());
    }
}

proptest! {
    // Fewer: each one signs and verifies.
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn one_changed_byte_makes_a_good_token_bad(place in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let good = issuer().token(Algorithm::EdDSA, &claims());
        let mut bytes = good.clone().into_bytes();
        *place.get_mut(&mut bytes) = to.as_bytes()[0];
        let bad = String::from_utf8(bytes).unwrap();
        let verdict = judged(&bad, &[issuer().jwk(Algorithm::EdDSA)], &rules(), NOW);
        prop_assert_eq!(verdict.is_ok(), bad == good);
    }
}

/// What goes into a header and a log can neither break them nor hold the token.
#[test]
fn a_fault_is_plain_words_and_debug_hides_the_token() {
    use TokenFault::{
        Algorithm as Alg, Ambiguous, Audience, Claim, Expired, Extension, Form, Future, Header,
        Issuer as Iss, KeyId, KeyMismatch, KeysUnavailable, Lifetime, Missing, NotYet, Payload,
        RequiredClaim, RequiredScope, Signature, TooLong, Type, UnknownKey,
    };
    let faults = [
        Alg,
        Ambiguous,
        Audience,
        Claim("exp"),
        Expired,
        Extension,
        Form,
        Future,
        Header,
        Iss,
        KeyId,
        KeyMismatch,
        KeysUnavailable,
        Lifetime,
        Missing("iss"),
        NotYet,
        Payload,
        RequiredClaim,
        RequiredScope,
        Signature,
        TooLong,
        Type,
        UnknownKey,
    ];
    for fault in faults {
        let words = fault.to_string();
        // RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E.
        let is_plain = |byte: u8| matches!(byte, 0x20..=0x7e) && !b"\"\\".contains(&byte);
        assert!(words.bytes().all(is_plain), "{words}");
        assert!(words.len() <= 100, "{words}");
        assert_eq!(fault.wants_keys(), matches!(fault, UnknownKey | KeysUnavailable));
    }
    let secret = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 9, "sub": "canary" });
    let token = issuer().token(Algorithm::EdDSA, &secret);
    let peek = Peek::read(&token).unwrap();
    let keys = [issuer().jwk(Algorithm::EdDSA)];
    let verified = judged(&token, &keys, &rules(), NOW).unwrap();
    for shown in [format!("{peek:?}"), format!("{verified:?}")] {
        assert!(!shown.contains("canary") && !shown.contains(ISSUER), "{shown}");
    }
}
