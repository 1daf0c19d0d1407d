//! Examples that others have published: RFC 7515 appendix A, RFC 7520 section 4, RFC 7638 section 3.1
//! and RFC 8037 appendix A. Their tokens have no audience or are no JSON; so where the verdict is that
//! something is missing in the claims, the signature before it was found good.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    super::{json::Json, jwk::PublicKey},
    *,
};

/// RFC 7515 A.2 and A.3: the payload of both.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// RFC 7515 A.2.1.
const A2_MODULUS: &str = concat!(
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4",
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re",
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX",
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
);
const A2_SIGNATURE: &str = concat!(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5",
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb",
    "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO",
    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
/// RFC 7515 A.3.1.
const A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7520 §3.3.
const BILBO_MODULUS: &str = concat!(
    "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmS",
    "CpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-Of",
    "VfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKw",
    "uCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
);
/// RFC 7520 §4, figure 8.
const BILBO_PAYLOAD: &str = concat!(
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250",
    "byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hl",
    "cmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4",
);
/// RFC 7520 §4.1.2, figures 10 and 12.
const BILBO_RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
    concat!(
        "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83",
        "xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJ",
        "Dt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12",
        "podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
    ),
);
/// RFC 7520 §4.2.2, figures 17 and 19.
const BILBO_PS384: (&str, &str) = (
    "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
    concat!(
        "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6",
        "O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqi",
        "VJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_",
        "jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
    ),
);
/// RFC 8037 A.2 and A.4.
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED25519_SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const ED25519_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn rsa(modulus: &str) -> Value {
    json!({ "kty": "RSA", "n": modulus, "e": "AQAB" })
}

fn bilbo() -> Value {
    let mut jwk = rsa(BILBO_MODULUS);
    jwk["kid"] = "bilbo.baggins@hobbiton.example".into();
    jwk["use"] = "sig".into();
    jwk
}

fn p256() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

/// The signatures alone, under our reading of the JWK, and spoilt by one bit.
#[test]
fn published_signatures_are_good_and_spoilt_ones_are_not() {
    let of = |header: &str, payload: &str| format!("{header}.{payload}");
    let cases = [
        (
            "7515 A.2",
            rsa(A2_MODULUS),
            Algorithm::RS256,
            of("eyJhbGciOiJSUzI1NiJ9", JOE),
            A2_SIGNATURE,
        ),
        ("7515 A.3", p256(), Algorithm::ES256, of("eyJhbGciOiJFUzI1NiJ9", JOE), A3_SIGNATURE),
        ("7520 4.1", bilbo(), Algorithm::RS256, of(BILBO_RS256.0, BILBO_PAYLOAD), BILBO_RS256.1),
        ("7520 4.2", bilbo(), Algorithm::PS384, of(BILBO_PS384.0, BILBO_PAYLOAD), BILBO_PS384.1),
        (
            "8037 A.4",
            json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X }),
            Algorithm::EdDSA,
            ED25519_SIGNED.to_owned(),
            ED25519_SIGNATURE,
        ),
    ];
    for (name, jwk, algorithm, message, signature) in cases {
        let jwk: Json = serde_json::from_str(&jwk.to_string()).unwrap();
        let key = PublicKey::read(&jwk).unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(!key.has_signed(other, message.as_bytes(), &signature), "{name} {other:?}");
        }
        assert!(key.has_signed(algorithm, message.as_bytes(), &signature), "{name}");
        assert!(!key.has_signed(algorithm, &message.as_bytes()[1..], &signature), "{name}");
        signature[11] ^= 0x10;
        assert!(!key.has_signed(algorithm, message.as_bytes(), &signature), "{name}");
    }
}

#[test]
fn published_tokens_get_their_verdict() {
    let joe = || Issuer { issuer: "joe".to_owned(), ..rules() };
    let a2 = format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{A2_SIGNATURE}");
    let a3 = format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{A3_SIGNATURE}");
    let spoilt = a3.replacen("DtEh", "DtEi", 1);
    let crossed = format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{A3_SIGNATURE}");
    let no_aud = Err(TokenFault::Missing("aud"));
    let bilbo_token = format!("{}.{BILBO_PAYLOAD}.{}", BILBO_RS256.0, BILBO_RS256.1);
    let ed = format!("{ED25519_SIGNED}.{ED25519_SIGNATURE}");
    // RFC 7515 A.1 (HS256), A.4 (ES512) and A.5 (none), RFC 7520 §4.3 (ES512).
    let a1 = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let a4 = format!("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.{A3_SIGNATURE}");
    let a5 = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    let a6 =
        json!({ "payload": JOE, "protected": "eyJhbGciOiJFUzI1NiJ9", "signature": A3_SIGNATURE });
    let mut rows = Vec::new();
    let mut add = |name: &str, token: String, keys: Vec<Value>, verdict| {
        let rules = joe();
        rows.push(Row { name: name.to_owned(), token, keys, rules, now: 1_300_819_000, verdict });
    };
    add("7515 A.1, an HMAC", a1, vec![p256()], Err(TokenFault::Algorithm));
    add("7515 A.2, signature good, no audience", a2.clone(), vec![rsa(A2_MODULUS)], no_aud);
    add("7515 A.2, among others", a2.clone(), vec![bilbo(), p256(), rsa(A2_MODULUS)], no_aud);
    add("7515 A.2, the key of another", a2, vec![bilbo()], Err(TokenFault::Signature));
    add("7515 A.3, signature good, no audience", a3, vec![p256()], no_aud);
    add("7515 A.3, spoilt", spoilt, vec![p256()], Err(TokenFault::Signature));
    add(
        "7515 A.2 with the signature of A.3",
        crossed,
        vec![p256(), rsa(A2_MODULUS)],
        Err(TokenFault::Signature),
    );
    add("7515 A.4, ES512", a4, vec![p256()], Err(TokenFault::Algorithm));
    add("7515 A.5, none", a5, vec![p256()], Err(TokenFault::Form));
    add("7515 A.7, flattened JSON", a6.to_string(), vec![p256()], Err(TokenFault::Form));
    add("7520 4.1, which is no JSON", bilbo_token, vec![bilbo()], Err(TokenFault::Payload));
    add("8037 A.4, which is no JSON", ed, vec![], Err(TokenFault::Payload));
    hold("published tokens", &rows, 12);
}

/// RFC 8037 A.1 to A.4: our signing key signs what theirs does and has the name that they give it.
#[test]
fn our_signing_key_does_what_rfc_8037_shows() {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    // RFC 8410 §7: PKCS#8 version 1 around a seed.
    let wrapping = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = SigningKey::from_der(&[wrapping.as_slice(), &seed].concat()).unwrap();
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(key.jwk()["x"], ED25519_X);
    let signature = URL_SAFE_NO_PAD.encode(key.sign(ED25519_SIGNED));
    assert_eq!(signature, ED25519_SIGNATURE);
}
