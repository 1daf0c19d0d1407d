//! Tokens that the router issues itself, from the command to the answer of the model.

use std::{os::unix::fs::PermissionsExt as _, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    support::{line::post, router::Router, spec::SCORE, watch::await_exactly},
    world::{command, endpoint, json_of, score},
};

/// Endpoints `demo` and `other`, which take tokens.
fn endpoints() -> String {
    let auth = json!({"mode": "Token", "token": {"lifetime": "1h"}});
    format!("{}\n---\n{}", endpoint("demo", &auth), endpoint("other", &auth))
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

#[test]
fn a_token_of_the_router_works_at_its_endpoint_and_at_no_other() {
    let router = Router::start(&endpoints(), &[]);
    await_exactly(&router, "blue", 2);
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let item = json_of(&router, &["token", "demo"]);
    assert_eq!(item["tokenType"], "Bearer");
    let (refresh, expiry) =
        (item["refreshAfter"].as_u64().unwrap(), item["expiryOn"].as_u64().unwrap());
    assert!(
        (now + 3600..now + 3660).contains(&expiry) && refresh < expiry && now < refresh,
        "{item:#}"
    );
    let token = item["accessToken"].as_str().expect("a token");
    assert_eq!(score(&router, token), 200);
    let other = post(
        router.data,
        "/api/v1/endpoint/other/score",
        &[("Authorization", &format!("Bearer {token}"))],
    );
    assert_eq!(other.status, 401, "{}", other.body);
    assert!(!other.body.contains(token));
    let claims = claims(token);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("modelway"), &json!("modelway:demo")));
    // The command alone prints what goes behind Bearer, each time a token of its own.
    let bare = command(&router, &["token", "demo"], None).unwrap();
    assert_eq!(score(&router, bare.trim_end()), 200);
    assert_ne!(bare.trim_end(), token);
    // The public half is for everybody, and signs nothing.
    let (status, jwks) = router.admin_get("/.well-known/jwks.json");
    let jwks: Value = serde_json::from_str(&jwks).expect("JSON");
    assert_eq!((status, jwks["keys"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!((&jwks["keys"][0]["kty"], &jwks["keys"][0]["d"]), (&json!("OKP"), &Value::Null));
    // A signature that is not ours.
    let (head, signature) = token.rsplit_once('.').expect("three parts");
    let forged: String = signature.chars().rev().collect();
    assert_eq!(score(&router, &format!("{head}.{forged}")), 401);
}

#[test]
fn tokens_outlive_the_process_exactly_where_their_keys_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signing.json");
    let path = file.to_str().expect("a path of letters");
    let start = |arguments: &[&str]| {
        let router = Router::start(&endpoints(), arguments);
        await_exactly(&router, "blue", 2);
        router
    };
    let kept = command(&start(&["--signing-keys", path]), &["token", "demo"], None).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = start(&["--signing-keys", path]);
    assert_eq!(score(&again, kept.trim_end()), 200);
    let lost = start(&[]);
    let answer =
        post(lost.data, SCORE, &[("Authorization", &format!("Bearer {}", kept.trim_end()))]);
    assert_eq!(answer.status, 401, "{}", answer.body);
    // Another installation has other names, so that its tokens are not even tried.
    let named = start(&["--signing-keys", path, "--token-issuer", "https://models.example"]);
    assert_eq!(score(&named, kept.trim_end()), 401);
    let own = command(&named, &["token", "demo"], None).unwrap();
    assert_eq!(claims(own.trim_end())["iss"], "https://models.example");
    assert_eq!(score(&named, own.trim_end()), 200);
}
