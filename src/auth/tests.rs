//! The one grammar of credentials, and which kind of credential a mode accepts.

use http::{HeaderValue, header::AUTHORIZATION};
use parking_lot::Mutex;

use super::*;

type Fields = &'static [(&'static str, &'static str)];

fn policy() -> AuthPolicy {
    AuthPolicy::of_keys(vec![digest(b"first"), digest(b"second")])
}

fn with(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn name() -> Name {
    Name::new("demo").unwrap()
}

fn asked(policy: &AuthPolicy, fields: Fields) -> Result<Caller, Refusal> {
    authorize(&name(), policy, &with(fields), &NoTokens)
}

#[test]
fn the_grammar_of_credentials_is_one_table() {
    let cases: &[(Fields, Result<Caller, Refusal>)] = &[
        (&[("authorization", "Bearer first")], Ok(Caller::Key)),
        (&[("authorization", "bearer second")], Ok(Caller::Key)),
        (&[("authorization", "Bearer   first")], Ok(Caller::Key)),
        (&[("api-key", "second")], Ok(Caller::Key)),
        (&[], Err(Refusal::Missing)),
        (&[("authorization", "Bearer third")], Err(Refusal::Wrong)),
        (&[("authorization", "Bearer First")], Err(Refusal::Wrong)),
        (&[("api-key", "")], Err(Refusal::Wrong)),
        (&[("authorization", "first")], Err(Refusal::Malformed)),
        (&[("authorization", "Bearer")], Err(Refusal::Malformed)),
        (&[("authorization", "Bearer ")], Err(Refusal::Malformed)),
        (&[("authorization", "Bearerfirst")], Err(Refusal::Malformed)),
        (&[("authorization", "Basic first")], Err(Refusal::Malformed)),
        (&[("authorization", "Bearer first second")], Err(Refusal::Malformed)),
        (&[("authorization", "Bearer \tfirst")], Err(Refusal::Malformed)),
        (&[("authorization", "Bearer first ")], Err(Refusal::Malformed)),
        (
            &[("authorization", "Bearer first"), ("authorization", "Bearer first")],
            Err(Refusal::Twice),
        ),
        (&[("api-key", "first"), ("api-key", "second")], Err(Refusal::Twice)),
    ];
    for (fields, expected) in cases {
        assert_eq!(asked(&policy(), fields), *expected, "{fields:?}");
    }
}

#[test]
fn mode_none_asks_for_nothing_but_still_refuses_two_fields() {
    let open = AuthPolicy::open();
    assert_eq!(asked(&open, &[]), Ok(Caller::Anonymous));
    let twice: Fields = &[("authorization", "a"), ("authorization", "b")];
    assert_eq!(asked(&open, twice), Err(Refusal::Twice));
}

#[test]
fn no_key_is_valid_when_there_are_none() {
    let empty = AuthPolicy::of_keys(Vec::new());
    assert_eq!(asked(&empty, &[("authorization", "Bearer first")]), Err(Refusal::Wrong));
}

/// Accepts one token, and keeps what it was asked.
#[derive(Debug, Default)]
struct OneToken(Mutex<Vec<String>>);

impl Tokens for OneToken {
    fn check(
        &self,
        endpoint: &Name,
        policy: &Arc<TokenPolicy>,
        token: &str,
    ) -> Result<(), TokenFault> {
        assert_eq!((endpoint.as_str(), policy.issuers.len()), ("demo", 0));
        self.0.lock().push(token.to_owned());
        if token == "good.to.ken" { Ok(()) } else { Err(TokenFault::Expired) }
    }
}

fn of_tokens(keys: &[&str]) -> AuthPolicy {
    let keys = keys.iter().map(|key| digest(key.as_bytes())).collect();
    let token = TokenPolicy { lifetime: LEEWAY, issuers: Vec::new() };
    AuthPolicy { mode: AuthMode::Token, keys, token: Some(Arc::new(token)) }
}

/// The policy's keys, the request, the verdict, and how many tokens were looked at.
type Case = (&'static [&'static str], Fields, Result<Caller, Refusal>, usize);

#[test]
fn in_mode_token_a_word_with_two_dots_is_a_token_and_a_key_only_where_there_are_keys() {
    let expired = Err(Refusal::Token(TokenFault::Expired));
    let no_token = Err(Refusal::Token(TokenFault::Form));
    let cases: &[Case] = &[
        (&[], &[("authorization", "Bearer good.to.ken")], Ok(Caller::Token), 1),
        (&[], &[("api-key", "good.to.ken")], Ok(Caller::Token), 1),
        (&[], &[("authorization", "Bearer other.to.ken")], expired, 1),
        (&[], &[("authorization", "Bearer one.dot")], no_token, 0),
        (&[], &[("authorization", "Bearer a.b.c.d")], no_token, 0),
        (&[], &[("authorization", "Bearer first")], no_token, 0),
        (&[], &[], Err(Refusal::Missing), 0),
        (&[], &[("authorization", "good.to.ken")], Err(Refusal::Malformed), 0),
        (&["first"], &[("authorization", "Bearer first")], Ok(Caller::Key), 0),
        (&["first"], &[("authorization", "Bearer second")], Err(Refusal::Wrong), 0),
        (&["first"], &[("authorization", "Bearer good.to.ken")], Ok(Caller::Token), 1),
        (&["first"], &[("authorization", "Bearer other.to.ken")], expired, 1),
        (&["a.b.c"], &[("authorization", "Bearer a.b.c")], Ok(Caller::Key), 1),
        (&["a.b.c"], &[("authorization", "Bearer a.b.d")], expired, 1),
    ];
    for (keys, fields, expected, asked) in cases {
        let tokens = OneToken::default();
        let verdict = authorize(&name(), &of_tokens(keys), &with(fields), &tokens);
        assert_eq!(verdict, *expected, "{keys:?} {fields:?}");
        assert_eq!(tokens.0.lock().len(), *asked, "{keys:?} {fields:?}");
    }
}

#[test]
fn in_the_other_modes_nobody_looks_at_tokens() {
    let tokens = OneToken::default();
    let headers = with(&[("authorization", "Bearer good.to.ken")]);
    let key = AuthPolicy { mode: AuthMode::Key, ..of_tokens(&["first"]) };
    assert_eq!(authorize(&name(), &key, &headers, &tokens), Err(Refusal::Wrong));
    let none = AuthPolicy { mode: AuthMode::None, ..of_tokens(&[]) };
    assert_eq!(authorize(&name(), &none, &headers, &tokens), Ok(Caller::Anonymous));
    assert!(tokens.0.lock().is_empty());
    // A policy that names no tokens accepts none, whoever knows keys.
    let bare = AuthPolicy { token: None, ..of_tokens(&[]) };
    let no_token = Err(Refusal::Token(TokenFault::Form));
    assert_eq!(authorize(&name(), &bare, &headers, &tokens), no_token);
    assert!(tokens.0.lock().is_empty());
    let bytes = HeaderValue::from_bytes(b"\xff.\xff.\xff").unwrap();
    let odd: HeaderMap = [(API_KEY, bytes)].into_iter().collect();
    assert_eq!(authorize(&name(), &of_tokens(&[]), &odd, &tokens), no_token);
    assert!(!odd.contains_key(AUTHORIZATION));
}

/// Has verified one token before.
#[derive(Debug)]
struct Verified;

impl Tokens for Verified {
    fn check(&self, _: &Name, _: &Arc<TokenPolicy>, _: &str) -> Result<(), TokenFault> {
        panic!("nobody looks at a signature")
    }

    fn remembers(&self, _: &Name, _: &Arc<TokenPolicy>, token: &str) -> bool {
        token == "good.to.ken"
    }
}

#[test]
fn who_is_not_looked_at_closely_keeps_keys_and_verified_tokens() {
    let unchecked = Err(Refusal::Token(TokenFault::Unchecked));
    let cases: &[(Fields, Result<Caller, Refusal>)] = &[
        (&[("authorization", "Bearer first")], Ok(Caller::Key)),
        (&[("authorization", "Bearer good.to.ken")], Ok(Caller::Token)),
        (&[("authorization", "Bearer other.to.ken")], unchecked),
        (&[("api-key", "second")], Err(Refusal::Wrong)),
    ];
    for (fields, expected) in cases {
        let verdict =
            authorize(&name(), &of_tokens(&["first"]), &with(fields), &Remembered(&Verified));
        assert_eq!(verdict, *expected, "{fields:?}");
    }
}
