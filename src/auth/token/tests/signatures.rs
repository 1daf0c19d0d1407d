//! Signatures and forms: what is accepted, and everything that only looks like it.

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{
    forge::{self, assemble, attacker, coded, issuer},
    *,
};

/// Where a kind of algorithm stands for its like.
const KINDS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

#[derive(Default)]
struct Table(Vec<Row>);

impl Table {
    fn add(&mut self, name: impl Into<String>, token: String, verdict: Result<(), TokenFault>) {
        self.with(name, token, issuer().set(), verdict);
    }

    fn with(
        &mut self,
        name: impl Into<String>,
        token: String,
        keys: Vec<Value>,
        verdict: Result<(), TokenFault>,
    ) {
        let (name, rules) = (name.into(), rules());
        self.0.push(Row { name, token, keys, rules, now: NOW, verdict });
    }

    /// A good ES256 token but for some members of its header.
    fn header(&mut self, name: impl Into<String>, more: &Value, verdict: Result<(), TokenFault>) {
        let mut header = json!({ "alg": "ES256", "kid": issuer().kid(Algorithm::ES256) });
        for (member, value) in more.as_object().unwrap() {
            header[member] = value.clone();
        }
        let token = issuer().with_header(Algorithm::ES256, &header, &claims());
        self.add(name, token, verdict);
    }
}

#[test]
fn every_signature_and_every_form_gets_its_verdict() {
    let mut table = Table::default();
    accepted(&mut table);
    none(&mut table);
    wrong_primitives(&mut table);
    shared_secrets(&mut table);
    foreign_keys(&mut table);
    damaged_signatures(&mut table);
    odd_signatures(&mut table);
    damaged_base64(&mut table);
    other_serialisations(&mut table);
    headers(&mut table);
    types(&mut table);
    kids(&mut table);
    duplicates(&mut table);
    hold("signatures and forms", &table.0, 500);
}

/// Every algorithm, and every way for a set to name or restrict the key.
fn accepted(table: &mut Table) {
    for algorithm in Algorithm::ALL {
        let named = issuer().token(algorithm, &claims());
        let header = json!({ "alg": algorithm.as_str() });
        let unnamed = issuer().with_header(algorithm, &header, &claims());
        table.add(format!("good {algorithm:?}"), named.clone(), Ok(()));
        table.add(format!("good {algorithm:?} without kid"), unnamed, Ok(()));
        let members =
            [("alg", json!(algorithm.as_str())), ("use", json!("sig")), ("x5c", json!(["no"]))];
        let operations = [("key_ops", json!(["verify"])), ("key_ops", json!(["sign", "verify"]))];
        for (name, value) in members.into_iter().chain(operations) {
            let mut jwk = issuer().jwk(algorithm);
            jwk[name] = value.clone();
            let row = format!("good {algorithm:?} with {name} {value}");
            table.with(row, named.clone(), vec![jwk], Ok(()));
        }
        let refused: Vec<_> = Algorithm::ALL.into_iter().filter(|a| *a != algorithm).collect();
        table.add(format!("{algorithm:?} where it is not pinned"), named, {
            Err(TokenFault::Algorithm)
        });
        table.0.last_mut().unwrap().rules.algorithms = refused;
    }
}

/// No signature at all, in every spelling, and other words that are no algorithm of ours.
fn none(table: &mut Table) {
    let words = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "noNE",
        "none ",
        " none",
        "",
        "null",
        "rs256",
        "RS256 ",
        "RS256\u{0}",
        "RS1",
        "ES512",
        "ES256K",
        "Ed25519",
        "Ed448",
        "eddsa",
        "HS256",
        "dir",
        "RSA-OAEP",
        "A128KW",
        "ECDH-ES",
    ];
    let others = [json!(null), json!(0), json!(true), json!(["RS256"]), json!({ "alg": "RS256" })];
    for alg in words.map(Value::from).into_iter().chain(others) {
        let header = json!({ "alg": alg }).to_string();
        let payload = claims().to_string();
        let unsigned = assemble(&header, &payload, |_| Vec::new());
        table.add(format!("alg {alg} without signature"), unsigned, Err(TokenFault::Form));
        let signed = issuer().of_text(Algorithm::RS256, &header, &payload);
        table.add(format!("alg {alg} with a good signature"), signed, Err(TokenFault::Algorithm));
    }
    let missing = issuer().of_text(Algorithm::RS256, "{}", &claims().to_string());
    table.add("no alg", missing, Err(TokenFault::Algorithm));
}

/// The header says one algorithm, the right key of the issuer signed by another.
fn wrong_primitives(table: &mut Table) {
    for said in Algorithm::ALL {
        for done in Algorithm::ALL.into_iter().filter(|done| *done != said) {
            let header = json!({ "alg": said.as_str(), "kid": issuer().kid(said) });
            let token = issuer().with_header(done, &header, &claims());
            table.add(format!("{said:?} signed by {done:?}"), token, Err(TokenFault::Signature));
        }
        // The same, where kid names the key that has signed.
        for done in KINDS.into_iter().filter(|done| issuer().kid(*done) != issuer().kid(said)) {
            let header = json!({ "alg": said.as_str(), "kid": issuer().kid(done) });
            let token = issuer().with_header(done, &header, &claims());
            let row = format!("{said:?} signed by {done:?}, and kid says so");
            table.add(row, token, Err(TokenFault::KeyMismatch));
        }
    }
}

/// The public key as the secret of an HMAC (CVE-2015-9235 and its descendants).
fn shared_secrets(table: &mut Table) {
    let der = issuer().rsa_der();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    let jwk = issuer().jwk(Algorithm::RS256).to_string();
    let secrets: [(&str, Vec<u8>); 5] = [
        ("PEM", pem.into_bytes()),
        ("DER", der),
        ("modulus", issuer().rsa_components().0),
        ("JWK", jwk.into_bytes()),
        ("empty", Vec::new()),
    ];
    let hashes =
        [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
    for (alg, hash) in hashes {
        for (name, secret) in &secrets {
            let token = forge::with_secret(hash, alg, secret, &claims());
            table.add(format!("{alg} with the RSA {name}"), token, Err(TokenFault::Algorithm));
        }
    }
    // The HMAC behind a header that says RS256.
    let header = json!({ "alg": "RS256" }).to_string();
    let token = assemble(&header, &claims().to_string(), |message| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &issuer().rsa_der());
        hmac::sign(&key, message).as_ref().to_vec()
    });
    table.add("RS256 that is an HMAC", token, Err(TokenFault::Signature));
}

/// Good signatures by somebody else.
fn foreign_keys(table: &mut Table) {
    for algorithm in Algorithm::ALL {
        let header = json!({ "alg": algorithm.as_str(), "kid": issuer().kid(algorithm) });
        let stolen = attacker().with_header(algorithm, &header, &claims());
        table.add(format!("{algorithm:?} by another"), stolen, Err(TokenFault::Signature));
        let honest = attacker().token(algorithm, &claims());
        let row = format!("{algorithm:?} by another who says so");
        table.add(row, honest, Err(TokenFault::UnknownKey));
        let mut embedded = header.clone();
        embedded["jwk"] = attacker().jwk(algorithm);
        let token = attacker().with_header(algorithm, &embedded, &claims());
        let row = format!("{algorithm:?} by another who brings the key");
        table.add(row, token, Err(TokenFault::Signature));
    }
}

/// One bit of each part, and too few or too many bytes of signature.
fn damaged_signatures(table: &mut Table) {
    for algorithm in KINDS {
        let good = issuer().token(algorithm, &claims());
        let parts: Vec<_> = good.split('.').collect();
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        let with = |signature: &[u8]| format!("{}.{}.{}", parts[0], parts[1], coded(signature));
        let mut flipped = signature.clone();
        flipped[7] ^= 1;
        let mut last = signature.clone();
        *last.last_mut().unwrap() ^= 1;
        let mut swapped = signature.clone();
        swapped.rotate_left(signature.len() / 2);
        let damages: [(&str, Vec<u8>); 9] = [
            ("with a flipped bit", flipped),
            ("with another last bit", last),
            ("cut by a byte", signature[..signature.len() - 1].to_vec()),
            ("cut to one byte", signature[..1].to_vec()),
            ("cut by its first byte", signature[1..].to_vec()),
            ("longer by a zero", [signature.as_slice(), &[0]].concat()),
            ("with a zero before it", [&[0], signature.as_slice()].concat()),
            ("twice", [signature.as_slice(), &signature].concat()),
            ("with its halves swapped", swapped),
        ];
        for (name, damage) in damages {
            let row = format!("{algorithm:?} signature {name}");
            table.add(row, with(&damage), Err(TokenFault::Signature));
        }
        let mut other = claims();
        other["sub"] = "somebody else".into();
        let payload = coded(other.to_string());
        let token = format!("{}.{payload}.{}", parts[0], parts[2]);
        table.add(format!("{algorithm:?} over other claims"), token, Err(TokenFault::Signature));
        let header = json!({ "alg": algorithm.as_str(), "kid": issuer().kid(algorithm) });
        let token = format!("{}.{}.{}", coded(header.to_string()), parts[1], parts[2]);
        table.add(format!("{algorithm:?} under another header"), token, {
            Err(TokenFault::Signature)
        });
    }
}

/// Signatures that a careless verifier takes.
fn odd_signatures(table: &mut Table) {
    let payload = claims().to_string();
    let mut odd = |name: &str, algorithm: Algorithm, signature: Vec<u8>| {
        let header = json!({ "alg": algorithm.as_str(), "kid": issuer().kid(algorithm) });
        let token = assemble(&header.to_string(), &payload, |_| signature);
        table.add(name, token, Err(TokenFault::Signature));
    };
    // CVE-2022-21449: r = s = 0.
    odd("ES256 of zeros", Algorithm::ES256, vec![0; 64]);
    odd("ES384 of zeros", Algorithm::ES384, vec![0; 96]);
    odd("ES256 of ones", Algorithm::ES256, [vec![0; 31], vec![1], vec![0; 31], vec![1]].concat());
    odd("ES256 beyond the order", Algorithm::ES256, vec![0xff; 64]);
    odd("EdDSA of zeros", Algorithm::EdDSA, vec![0; 64]);
    odd("EdDSA beyond the order", Algorithm::EdDSA, vec![0xff; 64]);
    odd("RS256 of zeros", Algorithm::RS256, vec![0; 256]);
    odd("RS256 of one", Algorithm::RS256, [vec![0; 255], vec![1]].concat());
    odd("PS256 of zeros", Algorithm::PS256, vec![0; 256]);
    odd("RS256 equal to the modulus", Algorithm::RS256, issuer().rsa_components().0);
    // ASN.1 instead of two numbers of fixed length (RFC 7518 §3.4).
    let header = json!({ "alg": "ES256", "kid": issuer().kid(Algorithm::ES256) });
    let token = assemble(&header.to_string(), &payload, |message| {
        let fixed = issuer().sign(Algorithm::ES256, message);
        let number = |part: &[u8]| [&[2, 33, 0], part].concat();
        let (r, s) = fixed.split_at(32);
        [vec![0x30, 70], number(r), number(s)].concat()
    });
    table.add("ES256 in ASN.1", token, Err(TokenFault::Signature));
    // RFC 8032 §5.1.7: S has to be below the order of the group, or each signature has a twin.
    let header = json!({ "alg": "EdDSA", "kid": issuer().kid(Algorithm::EdDSA) });
    let token = assemble(&header.to_string(), &payload, |message| {
        let mut signature = issuer().sign(Algorithm::EdDSA, message);
        add_group_order(&mut signature[32..]);
        signature
    });
    table.add("EdDSA with the twin of S", token, Err(TokenFault::Signature));
}

/// Adds 2^252 + 27742317777372353535851937790883648493 to a little-endian number.
fn add_group_order(number: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0_u16;
    for (byte, more) in number.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}

type Damage = (&'static str, fn(&str) -> String);

/// The text without its last byte.
fn cut(text: &str) -> &str {
    text.split_at(text.len() - 1).0
}

/// Each part in every spelling that is not the one canonical one.
fn damaged_base64(table: &mut Table) {
    let good = issuer().token(Algorithm::ES256, &claims());
    let parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    let damages: [Damage; 13] = [
        ("with =", |part| format!("{part}=")),
        ("with ==", |part| format!("{part}==")),
        ("with a plus", |part| format!("{}+", cut(part))),
        ("with a slash", |part| format!("/{}", part.split_at(1).1)),
        ("with a line end", |part| format!("{part}\n")),
        ("with a space", |part| format!("{} {}", part.split_at(4).0, part.split_at(4).1)),
        ("with a tab before it", |part| format!("\t{part}")),
        ("with NUL", |part| format!("{part}\0")),
        ("with %3D", |part| format!("{part}%3D")),
        ("with a letter beyond ASCII", |part| format!("é{part}")),
        ("with a full-width letter", |part| part.replacen('e', "ｅ", 1) + "ｅ"),
        ("empty", |_| String::new()),
        ("of one letter", |_| "e".to_owned()),
    ];
    for (index, place) in ["header", "payload", "signature"].into_iter().enumerate() {
        for (name, damage) in damages {
            let mut parts = parts.clone();
            parts[index] = damage(&parts[index]);
            table.add(format!("{place} {name}"), parts.join("."), Err(TokenFault::Form));
        }
    }
    for (name, token) in [
        ("nothing", String::new()),
        ("a dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("one part", parts[0].clone()),
        ("two parts", parts[..2].join(".")),
        ("a dot before it", format!(".{good}")),
        ("a dot behind it", format!("{good}.")),
        ("four parts", format!("{good}.{}", parts[2])),
        ("five parts, as a JWE has", format!("{good}.{}.{}", parts[1], parts[2])),
        ("its parts apart", parts.join("..")),
        ("Bearer before it", format!("Bearer {good}")),
        ("quotes around it", format!("\"{good}\"")),
    ] {
        table.add(format!("token: {name}"), token, Err(TokenFault::Form));
    }
    // The bits behind the last byte: 64 bytes leave four of them, and only zeros are canonical.
    let (last, before) = (parts[2].chars().last().unwrap(), cut(&parts[2]));
    assert!("AQgw".contains(last), "the last letter of 64 bytes has four free bits");
    for step in 1..16_u8 {
        let letter = char::from(last as u8 + step);
        let token = format!("{}.{}.{before}{letter}", parts[0], parts[1]);
        let row = format!("signature with other bits behind its end ({step})");
        if letter.is_ascii_alphanumeric() && !"AQgw".contains(letter) {
            table.add(row, token, Err(TokenFault::Form));
        }
    }
    let long = json!({ "iss": ISSUER, "pad": "x".repeat(MAX_TOKEN_BYTES) });
    let token = issuer().token(Algorithm::ES256, &long);
    table.add("longer than the bound", token, Err(TokenFault::TooLong));
}

/// JWS in JSON (RFC 7515 §7.2), tokens in tokens, and bytes that are no JSON object.
fn other_serialisations(table: &mut Table) {
    let good = issuer().token(Algorithm::ES256, &claims());
    let parts: Vec<_> = good.split('.').collect();
    let flat = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let general = json!({
        "payload": parts[1],
        "signatures": [{ "protected": parts[0], "signature": parts[2] }],
    });
    table.add("flattened JSON", flat.to_string(), Err(TokenFault::Form));
    table.add("general JSON", general.to_string(), Err(TokenFault::Form));
    table.add("flattened JSON in base64url", coded(flat.to_string()), Err(TokenFault::Form));
    let header = json!({ "alg": "ES256", "kid": issuer().kid(Algorithm::ES256) }).to_string();
    let mut of = |name: &str, header: &str, payload: &str, fault| {
        table.add(name, issuer().of_text(Algorithm::ES256, header, payload), Err(fault));
    };
    let payload = claims().to_string();
    of("nested without cty", &header, &good, TokenFault::Payload);
    of("nested as a JSON string", &header, &format!("{good:?}"), TokenFault::Payload);
    for (name, text) in [
        ("array", "[]"),
        ("number", "1"),
        ("null", "null"),
        ("text", "hello"),
        ("half", "{\"iss\":"),
        ("two objects", "{} {}"),
        ("a comma too many", "{\"alg\":\"ES256\",}"),
        ("a comment", "{\"alg\":\"ES256\"/**/}"),
        ("single quotes", "{'alg':'ES256'}"),
        ("a byte order mark", "\u{feff}{\"alg\":\"ES256\"}"),
        ("half of a surrogate pair", "{\"alg\":\"ES256\",\"x\":\"\\ud800\"}"),
        ("a number beyond numbers", "{\"alg\":\"ES256\",\"x\":1e999}"),
        ("NaN", "{\"alg\":\"ES256\",\"x\":NaN}"),
    ] {
        of(&format!("header: {name}"), text, &payload, TokenFault::Header);
        of(&format!("payload: {name}"), &header, text, TokenFault::Payload);
    }
    let deep = format!("{}{}", "{\"x\":".repeat(2000), "1".to_owned() + &"}".repeat(2000));
    of("header: two thousand levels", &deep, &payload, TokenFault::Header);
    of("payload: two thousand levels", &header, &deep, TokenFault::Payload);
    for (name, bytes) in [("header", 0), ("payload", 1)] {
        let mut parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
        parts[bytes] = coded(b"{\"alg\":\"ES256\",\"x\":\"\xff\"}");
        let fault = if bytes == 0 { TokenFault::Header } else { TokenFault::Payload };
        table.add(format!("{name}: not UTF-8"), parts.join("."), Err(fault));
    }
}

/// Members of the header that ask for something, and such as must not be believed.
fn headers(table: &mut Table) {
    let extension = Err(TokenFault::Extension);
    for (name, value) in [
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["http://example.com/unknown"])),
        ("crit", json!("exp")),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("b64", json!("false")),
        ("zip", json!("DEF")),
        ("zip", json!(null)),
        ("cty", json!("JWT")),
        ("cty", json!("jwt")),
        ("cty", json!("application/json")),
    ] {
        table.header(format!("{name} {value}"), &json!({ name: value }), extension);
    }
    let both = json!({ "crit": ["b64"], "b64": false });
    table.header("crit and b64 as RFC 7797 says", &both, extension);
    for (name, value) in [
        ("jku", json!("https://attacker.example/keys")),
        ("jku", json!(5)),
        ("x5u", json!("http://169.254.169.254/latest/meta-data")),
        ("x5c", json!(["MIIB"])),
        ("x5c", json!("not even a list")),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!(null)),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("jwk", attacker().jwk(Algorithm::ES256)),
        ("url", json!("https://example.com")),
        ("nonce", json!("x")),
        ("iss", json!("https://other.example")),
        ("exp", json!(0)),
        ("enc", json!("A128GCM")),
        ("__proto__", json!({})),
    ] {
        table.header(format!("{name} {value} is not looked at"), &json!({ name: value }), Ok(()));
    }
}

fn types(table: &mut Table) {
    for kind in ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"] {
        table.header(format!("typ {kind:?}"), &json!({ "typ": kind }), Ok(()));
    }
    for kind in [
        json!("JWE"),
        json!("JOSE"),
        json!("JOSE+JSON"),
        json!("dpop+jwt"),
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("text/jwt"),
        json!("application/application/jwt"),
        json!("jwt "),
        json!(""),
        json!(null),
        json!(["JWT"]),
    ] {
        table.header(format!("typ {kind}"), &json!({ "typ": kind }), Err(TokenFault::Type));
    }
}

/// `kid` is a name and nothing else.
fn kids(table: &mut Table) {
    let mut jwk = issuer().jwk(Algorithm::ES256);
    for kid in [
        "x".repeat(MAX_KID_BYTES),
        "../../dev/null".to_owned(),
        "' OR 1=1 --".to_owned(),
        "/proc/self/environ\0".to_owned(),
        "| sleep 9".to_owned(),
        "ключ".to_owned(),
        String::new(),
    ] {
        let header = json!({ "alg": "ES256", "kid": kid });
        let token = issuer().with_header(Algorithm::ES256, &header, &claims());
        let row = format!("kid {kid:?}");
        table.add(format!("{row}, unknown"), token.clone(), Err(TokenFault::UnknownKey));
        jwk["kid"] = kid.into();
        table.with(format!("{row}, published"), token, vec![jwk.clone()], Ok(()));
    }
    let long = "x".repeat(MAX_KID_BYTES + 1);
    for (name, kid) in [
        ("one byte too long", json!(long)),
        ("a megabyte would not even fit", json!("x".repeat(4000))),
        ("too long in bytes, not in letters", json!("ш".repeat(MAX_KID_BYTES / 2 + 1))),
        ("a number", json!(1)),
        ("null", json!(null)),
        ("a list", json!(["ours-p256"])),
        ("an object", json!({})),
    ] {
        table.header(format!("kid is {name}"), &json!({ "kid": kid }), Err(TokenFault::KeyId));
    }
    let upper = issuer().kid(Algorithm::ES256).to_uppercase();
    table.header("kid in another case", &json!({ "kid": upper }), Err(TokenFault::UnknownKey));
}

/// A member twice, at every depth, also where only one reader would see that the names are the same.
fn duplicates(table: &mut Table) {
    let kid = issuer().kid(Algorithm::ES256);
    let header = json!({ "alg": "ES256", "kid": kid }).to_string();
    let payload = claims().to_string();
    let more = |text: &str, member: &str| format!("{},{member}}}", cut(text));
    for member in [
        r#""alg":"ES256""#,
        r#""alg":"none""#,
        r#""\u0061lg":"none""#,
        r#""kid":"other""#,
        r#""x":1,"x":2"#,
        r#""x":{"y":1,"y":1}"#,
        r#""jwk":{"kty":"EC","kty":"oct"}"#,
        r#""x":[[{"y":1,"y":2}]]"#,
    ] {
        let token = issuer().of_text(Algorithm::ES256, &more(&header, member), &payload);
        table.add(format!("header and {member}"), token, Err(TokenFault::Header));
    }
    for member in [
        r#""iss":"https://issuer.example/tenant""#,
        r#""iss":"https://other.example""#,
        r#""exp":99999999999"#,
        r#""\u0065xp":99999999999"#,
        r#""aud":"api://demo""#,
        r#""sub":"admin""#,
        r#""x":{"y":1,"y":1}"#,
        r#""x":[{"y":{"z":0,"\u007a":0}}]"#,
    ] {
        let token = issuer().of_text(Algorithm::ES256, &header, &more(&payload, member));
        table.add(format!("payload and {member}"), token, Err(TokenFault::Payload));
    }
    let odd = format!("\r\n\t {} \n", more(&payload, r#""x":{"iss":1,"y":{"iss":2}}"#));
    let token = issuer().of_text(Algorithm::ES256, &header, &odd);
    table.add("the same name at two depths, and white space", token, Ok(()));
}
