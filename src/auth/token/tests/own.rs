//! Our own tokens: what we issue we accept, at one endpoint, for its time, and nowhere else.

use super::{forge::issuer, *};
use crate::domain::Name;

const INSTALLATION: &str = "modelway/test";

fn signing_key() -> SigningKey {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    SigningKey::from_pem(&pair.serialize_pem()).unwrap()
}

fn order(endpoint: &Name, lifetime: Duration) -> Order<'_> {
    Order { issuer: INSTALLATION, endpoint, subject: "caller", lifetime, id: "id-1" }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn checked(token: &str, keys: &KeySet, endpoint: &Name, now: u64) -> Result<Verified, TokenFault> {
    verify(&Peek::read(token)?, keys, &own_issuer(INSTALLATION, endpoint), at(now))
}

#[test]
fn a_token_of_ours_is_accepted_at_its_endpoint_and_at_no_other() {
    let names = ["fraud", "fraud-2", "frau", "demo", "x-fraud"].map(name);
    let key = signing_key();
    let keys = KeySet::of([&key]);
    for issued_for in &names {
        let issued = issue(&key, &order(issued_for, Duration::from_secs(600)), at(NOW));
        for asked in &names {
            let verdict = checked(&issued.access_token, &keys, asked, NOW).map(|_| ());
            let right = if asked == issued_for { Ok(()) } else { Err(TokenFault::Audience) };
            assert_eq!(verdict, right, "issued for {issued_for}, shown to {asked}");
        }
    }
}

#[test]
fn a_token_of_ours_says_what_was_ordered() {
    let (key, endpoint) = (signing_key(), name("fraud"));
    let issued = issue(&key, &order(&endpoint, Duration::from_millis(600_900)), at(NOW));
    assert_eq!(issued.expires, at(NOW + 600));
    assert_eq!(issued.refresh_after, at(NOW + 400));
    let claims = claims_of(&issued.access_token);
    let right = json!({
        "iss": INSTALLATION, "aud": "modelway:fraud", "sub": "caller",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600, "jti": "id-1",
    });
    assert_eq!(claims, right);
    let keys = KeySet::of([&key]);
    let verified = checked(&issued.access_token, &keys, &endpoint, NOW).unwrap();
    assert_eq!(verified.subject.as_deref(), Some("caller"));
    assert_eq!(verified.expires, issued.expires);
    let peek = Peek::read(&issued.access_token).unwrap();
    assert_eq!((peek.kid(), peek.algorithm()), (Some(key.kid()), Algorithm::EdDSA));
    // The same order is the same token; another id is another one.
    assert!(issue(&key, &order(&endpoint, Duration::from_mins(10)), at(NOW)) == issued);
    let other = Order { id: "id-2", ..order(&endpoint, Duration::from_mins(10)) };
    assert!(issue(&key, &other, at(NOW)) != issued);
}

fn claims_of(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn a_token_of_ours_holds_for_its_time_and_never_for_longer_than_the_longest() {
    let (key, endpoint) = (signing_key(), name("fraud"));
    let keys = KeySet::of([&key]);
    let issued = issue(&key, &order(&endpoint, Duration::from_secs(60)), at(NOW));
    let verdict = |now| checked(&issued.access_token, &keys, &endpoint, now).map(|_| ());
    assert_eq!(verdict(NOW - 61), Err(TokenFault::NotYet));
    assert_eq!(verdict(NOW - 59), Ok(()));
    assert_eq!(verdict(NOW + 119), Ok(()));
    assert_eq!(verdict(NOW + 120), Err(TokenFault::Expired));
    let forever = issue(&key, &order(&endpoint, Duration::MAX), at(NOW));
    assert_eq!(forever.expires, at(NOW) + MAX_OWN_LIFETIME);
    assert!(checked(&forever.access_token, &keys, &endpoint, NOW).is_ok());
}

#[test]
fn a_set_of_ours_is_what_we_publish_and_a_withdrawn_key_ends_its_tokens() {
    let (old, new, endpoint) = (signing_key(), signing_key(), name("fraud"));
    assert_ne!(old.kid(), new.kid());
    let both = KeySet::parse(jwks([&old, &new]).to_string().as_bytes()).unwrap();
    assert_eq!((both.len(), both.left_out().len()), (2, 0));
    assert!(both.has(old.kid()) && both.has(new.kid()) && !both.has(""));
    let issued = issue(&old, &order(&endpoint, Duration::from_secs(60)), at(NOW));
    for keys in [&both, &KeySet::of([&old, &new]), &KeySet::of([&old])] {
        assert!(checked(&issued.access_token, keys, &endpoint, NOW).is_ok());
    }
    for keys in [&KeySet::of([&new]), &KeySet::default()] {
        let verdict = checked(&issued.access_token, keys, &endpoint, NOW);
        assert_eq!(verdict, Err(TokenFault::UnknownKey));
    }
    // What is published is public.
    let published = jwks([&old, &new]).to_string();
    assert!(!published.contains("\"d\""), "{published}");
}

#[test]
fn nobody_else_issues_for_us_and_we_issue_for_nobody_else() {
    let (key, endpoint) = (signing_key(), name("fraud"));
    let keys = KeySet::of([&key]);
    let ours = issue(&key, &order(&endpoint, Duration::from_secs(60)), at(NOW));
    let foreign_rules = verify(&Peek::read(&ours.access_token).unwrap(), &keys, &rules(), at(NOW));
    assert_eq!(foreign_rules, Err(TokenFault::Issuer));
    let elsewhere = Order { issuer: "modelway/other", ..order(&endpoint, Duration::from_secs(60)) };
    let elsewhere = issue(&key, &elsewhere, at(NOW));
    let verdict = checked(&elsewhere.access_token, &keys, &endpoint, NOW);
    assert_eq!(verdict, Err(TokenFault::Issuer));
    // Somebody's key under our name, with our kid.
    let claims = claims_of(&ours.access_token);
    for algorithm in Algorithm::ALL {
        let header = json!({ "alg": algorithm.as_str(), "kid": key.kid() });
        let forged = issuer().with_header(algorithm, &header, &claims);
        let verdict = checked(&forged, &keys, &endpoint, NOW);
        let right = if algorithm == Algorithm::EdDSA {
            TokenFault::Signature
        } else {
            TokenFault::Algorithm
        };
        assert_eq!(verdict, Err(right), "{algorithm:?}");
    }
}

#[test]
fn a_signing_key_is_ed25519_in_pkcs8_and_nothing_else() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (pem, der) = (pair.serialize_pem(), pair.serialize_der());
    let key = SigningKey::from_pem(&pem).unwrap();
    assert_eq!(key.kid(), SigningKey::from_der(&der).unwrap().kid());
    assert_eq!(key.kid().len(), 43);
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey({}, …)", key.kid()));
    let windows = pem.replace('\n', "\r\n");
    assert_eq!(SigningKey::from_pem(&windows).unwrap().kid(), key.kid());
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let body = |text: &str| text.lines().skip(1).take(1).collect::<String>();
    let bad_pems = [
        String::new(),
        "hello".to_owned(),
        p256.serialize_pem(),
        pair.public_key_pem(),
        pem.replace("PRIVATE KEY", "PUBLIC KEY"),
        pem.replace("PRIVATE KEY", "CERTIFICATE"),
        pem.replace(&body(&pem), ""),
        pem.replace(&body(&pem), body(&pem).split_at(20).0),
        body(&pem),
    ];
    for (index, bad) in bad_pems.iter().enumerate() {
        let fault = SigningKey::from_pem(bad).map(|_| ()).unwrap_err();
        assert_eq!(fault, SigningKeyFault::Form, "{index}");
    }
    let too_long = format!("{pem}{}", " ".repeat(1024));
    assert_eq!(SigningKey::from_pem(&too_long).unwrap_err(), SigningKeyFault::TooLong);
    assert_eq!(SigningKey::from_der(&[0; 1025]).unwrap_err(), SigningKeyFault::TooLong);
    // A public half that belongs to another key.
    let mut mixed = der.clone();
    *mixed.last_mut().unwrap() ^= 1;
    for bad in [&der[1..], &der[..der.len() - 1], &[], &mixed, &p256.serialize_der()] {
        assert_eq!(SigningKey::from_der(bad).unwrap_err(), SigningKeyFault::Form);
    }
}

#[test]
fn what_holds_a_secret_does_not_show_it() {
    let (key, endpoint) = (signing_key(), name("fraud"));
    let issued = issue(&key, &order(&endpoint, Duration::from_secs(60)), at(NOW));
    let shown = format!("{issued:?}");
    for part in issued.access_token.split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
}
