//! Claims against rules and clocks. All tokens here are well signed.

use super::{forge::issuer, *};

/// `claims()` with some members changed; `null` takes one away. A member that has to be `null` is
/// written as text instead.
fn but(members: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in members.as_object().unwrap() {
        let claims = claims.as_object_mut().unwrap();
        if value.is_null() {
            claims.remove(name)
        } else {
            claims.insert(name.clone(), value.clone())
        };
    }
    claims
}

fn row(name: &str, payload: &str, rules: Issuer, verdict: Result<(), TokenFault>) -> Row {
    let header = json!({ "alg": "EdDSA", "kid": issuer().kid(Algorithm::EdDSA), "typ": "JWT" });
    let token = issuer().of_text(Algorithm::EdDSA, &header.to_string(), payload);
    let keys = vec![issuer().jwk(Algorithm::EdDSA)];
    Row { name: name.to_owned(), token, keys, rules, now: NOW, verdict }
}

#[test]
fn every_claim_gets_its_verdict() {
    let mut rows = Vec::new();
    for (name, members, verdict) in
        [issuers(), audiences(), times(), lifetimes(), subjects()].into_iter().flatten()
    {
        rows.push(row(name, &but(&members).to_string(), rules(), verdict));
    }
    for (name, members, verdict) in no_times() {
        rows.push(row(&name, &but(&members).to_string(), rules(), verdict));
    }
    for (name, text, verdict) in spellings() {
        let (_, rest) = text.split_once('{').unwrap();
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}",{rest}"#);
        rows.push(row(name, &payload, rules(), verdict));
    }
    for (name, members, change, verdict) in required() {
        let mut rules = rules();
        change(&mut rules);
        rows.push(row(name, &but(&members).to_string(), rules, verdict));
    }
    hold("claims", &rows, 150);
}

type Plain = Vec<(&'static str, Value, Result<(), TokenFault>)>;

fn issuers() -> Plain {
    use TokenFault::{Claim, Issuer, Missing};
    vec![
        ("as they should be", json!({}), Ok(())),
        ("no iss", json!({ "iss": null }), Err(Missing("iss"))),
        ("another iss", json!({ "iss": "https://other.example" }), Err(Issuer)),
        ("iss with a slash more", json!({ "iss": format!("{ISSUER}/") }), Err(Issuer)),
        ("iss in another case", json!({ "iss": ISSUER.to_uppercase() }), Err(Issuer)),
        ("iss with a space", json!({ "iss": format!("{ISSUER} ") }), Err(Issuer)),
        ("iss cut", json!({ "iss": ISSUER.trim_end_matches('t') }), Err(Issuer)),
        ("empty iss", json!({ "iss": "" }), Err(Issuer)),
        ("iss is a list", json!({ "iss": [ISSUER] }), Err(Claim("iss"))),
        ("iss is a number", json!({ "iss": 1 }), Err(Claim("iss"))),
        ("iss is an object", json!({ "iss": { "iss": ISSUER } }), Err(Claim("iss"))),
        ("iss is a truth", json!({ "iss": true }), Err(Claim("iss"))),
    ]
}

fn audiences() -> Plain {
    use TokenFault::{Audience, Claim, Missing};
    vec![
        ("no aud", json!({ "aud": null }), Err(Missing("aud"))),
        ("the other aud", json!({ "aud": "api://other" }), Ok(())),
        ("a list of one aud", json!({ "aud": [AUDIENCE] }), Ok(())),
        ("a list with our aud last", json!({ "aud": ["a", "b", AUDIENCE] }), Ok(())),
        ("a list with our aud twice", json!({ "aud": [AUDIENCE, AUDIENCE] }), Ok(())),
        ("a list of strange auds", json!({ "aud": ["a", "b"] }), Err(Audience)),
        ("an empty list of auds", json!({ "aud": [] }), Err(Audience)),
        ("a strange aud", json!({ "aud": "api://stranger" }), Err(Audience)),
        ("our aud and more", json!({ "aud": format!("{AUDIENCE}/x") }), Err(Audience)),
        ("half of our aud", json!({ "aud": "api://" }), Err(Audience)),
        ("our aud in another case", json!({ "aud": AUDIENCE.to_uppercase() }), Err(Audience)),
        ("two auds in one text", json!({ "aud": "api://demo api://other" }), Err(Audience)),
        ("an empty aud", json!({ "aud": "" }), Err(Audience)),
        ("a star for aud", json!({ "aud": "*" }), Err(Audience)),
        ("aud is a number", json!({ "aud": 1 }), Err(Claim("aud"))),
        ("aud is an object", json!({ "aud": { "0": AUDIENCE } }), Err(Claim("aud"))),
        ("aud is a truth", json!({ "aud": true }), Err(Claim("aud"))),
        ("a number among the auds", json!({ "aud": [AUDIENCE, 1] }), Err(Claim("aud"))),
        ("a list among the auds", json!({ "aud": [[AUDIENCE]] }), Err(Claim("aud"))),
    ]
}

fn times() -> Plain {
    use TokenFault::{Expired, Future, Missing, NotYet};
    vec![
        ("no exp", json!({ "exp": null }), Err(Missing("exp"))),
        ("no nbf", json!({ "nbf": null }), Ok(())),
        ("no iat", json!({ "iat": null }), Ok(())),
        ("neither nbf nor iat", json!({ "nbf": null, "iat": null }), Ok(())),
        ("exp long past", json!({ "exp": 1 }), Err(Expired)),
        ("exp zero", json!({ "exp": 0 }), Err(Expired)),
        ("exp 59 s ago", json!({ "exp": NOW - 59, "iat": NOW - 99 }), Ok(())),
        ("exp 60 s ago", json!({ "exp": NOW - 60, "iat": NOW - 99 }), Err(Expired)),
        ("exp 61 s ago", json!({ "exp": NOW - 61, "iat": NOW - 99 }), Err(Expired)),
        ("nbf in 59 s", json!({ "nbf": NOW + 59 }), Ok(())),
        ("nbf in 60 s", json!({ "nbf": NOW + 60 }), Ok(())),
        ("nbf in 61 s", json!({ "nbf": NOW + 61 }), Err(NotYet)),
        ("nbf in a year", json!({ "nbf": NOW + 31_536_000 }), Err(NotYet)),
        ("nbf zero", json!({ "nbf": 0 }), Ok(())),
        ("nbf behind exp", json!({ "nbf": NOW + 50, "exp": NOW + 40 }), Ok(())),
        ("iat in 59 s", json!({ "iat": NOW + 59 }), Ok(())),
        ("iat in 60 s", json!({ "iat": NOW + 60 }), Ok(())),
        ("iat in 61 s", json!({ "iat": NOW + 61 }), Err(Future)),
        ("exp with a fraction", json!({ "exp": 1_800_000_009.5 }), Ok(())),
        ("exp 59.9 s ago is 60", json!({ "exp": 1_799_999_940.1, "iat": 9 }), Err(Expired)),
        ("nbf with a fraction", json!({ "nbf": 1_800_000_060.9 }), Ok(())),
        ("nbf in 61.5 s", json!({ "nbf": 1_800_000_061.5 }), Err(NotYet)),
    ]
}

/// What is no time, in each claim that is one.
fn no_times() -> Vec<(String, Value, Result<(), TokenFault>)> {
    let wrong: [(&str, Value); 9] = [
        ("a text", json!(NOW.to_string())),
        ("an empty text", json!("")),
        ("a date", json!("2027-01-15T08:00:00Z")),
        ("a list", json!([NOW])),
        ("an object", json!({ "seconds": NOW })),
        ("a truth", json!(true)),
        ("negative", json!(-1)),
        ("a little negative", json!(-0.5)),
        ("in the year 10000", json!(253_402_300_800_u64)),
    ];
    let mut rows = Vec::new();
    for claim in ["exp", "nbf", "iat"] {
        for (kind, value) in &wrong {
            let verdict = Err(TokenFault::Claim(claim));
            rows.push((format!("{claim} is {kind}"), json!({ claim: value }), verdict));
        }
    }
    rows
}

/// Numbers and nulls as only the text of a token can spell them.
fn spellings() -> Vec<(&'static str, &'static str, Result<(), TokenFault>)> {
    use TokenFault::{Claim, Expired, Lifetime, Payload};
    vec![
        ("exp as 1.8000001e9", r#"{"exp":1.8000001e9}"#, Ok(())),
        ("exp as 18000001E2", r#"{"exp":18000001E2}"#, Ok(())),
        ("exp as 1800000100.000", r#"{"exp":1800000100.000}"#, Ok(())),
        ("exp as 0e0", r#"{"exp":0e0}"#, Err(Expired)),
        ("exp as -0", r#"{"exp":-0}"#, Err(Expired)),
        ("exp as -0.0", r#"{"exp":-0.0}"#, Err(Expired)),
        ("exp as 1e-400", r#"{"exp":1e-400}"#, Err(Expired)),
        ("exp is null", r#"{"exp":null}"#, Err(Claim("exp"))),
        ("nbf is null", r#"{"exp":1800000100,"nbf":null}"#, Err(Claim("nbf"))),
        ("iat is null", r#"{"exp":1800000100,"iat":null}"#, Err(Claim("iat"))),
        ("sub is null", r#"{"exp":1800000100,"sub":null}"#, Err(Claim("sub"))),
        ("exp is 2^63", r#"{"exp":9223372036854775808}"#, Err(Claim("exp"))),
        ("exp is 2^64", r#"{"exp":18446744073709551616}"#, Err(Claim("exp"))),
        ("exp is -2^63", r#"{"exp":-9223372036854775808}"#, Err(Claim("exp"))),
        ("exp is 1e308", r#"{"exp":1e308}"#, Err(Claim("exp"))),
        ("exp is the last second there is", r#"{"exp":253402300799}"#, Err(Lifetime)),
        ("exp is 1e309", r#"{"exp":1e309}"#, Err(Payload)),
        ("exp begins with zero", r#"{"exp":01800000100}"#, Err(Payload)),
        ("exp begins with plus", r#"{"exp":+1800000100}"#, Err(Payload)),
        ("exp is hexadecimal", r#"{"exp":0x6b49d264}"#, Err(Payload)),
        ("exp is Infinity", r#"{"exp":Infinity}"#, Err(Payload)),
        ("EXP is no exp", r#"{"EXP":1800000100}"#, Err(TokenFault::Missing("exp"))),
        (
            "exp within another claim",
            r#"{"x":{"exp":1800000100}}"#,
            Err(TokenFault::Missing("exp")),
        ),
        ("exp with its name escaped", r#"{"\u0065\u0078p":1800000100}"#, Ok(())),
    ]
}

fn lifetimes() -> Plain {
    use TokenFault::Lifetime;
    const DAY: u64 = 24 * 3600;
    let (iat, now) = (NOW - 10, NOW);
    vec![
        ("a day", json!({ "exp": iat + DAY }), Ok(())),
        ("a day and a second", json!({ "exp": iat + DAY + 1 }), Err(Lifetime)),
        ("a hundred years", json!({ "exp": iat + 36_525 * DAY }), Err(Lifetime)),
        ("nearly over, but too long", json!({ "iat": now - DAY, "exp": now + 1 }), Err(Lifetime)),
        ("ends as it is issued", json!({ "exp": iat }), Ok(())),
        ("ends before it is issued", json!({ "exp": now - 30, "iat": now + 30 }), Err(Lifetime)),
        ("a day from now, no iat", json!({ "iat": null, "exp": now + DAY }), Ok(())),
        ("no iat, a clock behind by 60 s", json!({ "iat": null, "exp": now + DAY + 60 }), Ok(())),
        ("no iat, 61 s too long", json!({ "iat": null, "exp": now + DAY + 61 }), Err(Lifetime)),
    ]
}

fn subjects() -> Plain {
    use TokenFault::Claim;
    vec![
        ("no sub", json!({ "sub": null }), Ok(())),
        ("an empty sub", json!({ "sub": "" }), Ok(())),
        ("sub is a number", json!({ "sub": 7 }), Err(Claim("sub"))),
        ("sub is a list", json!({ "sub": ["caller"] }), Err(Claim("sub"))),
        ("jti of any kind", json!({ "jti": 5 }), Ok(())),
        ("scopes nobody asks for", json!({ "scope": 5, "scp": {} }), Ok(())),
        ("more claims", json!({ "roles": ["a"], "azp": "x", "cnf": { "jkt": "y" } }), Ok(())),
    ]
}

type Ruled = Vec<(&'static str, Value, fn(&mut Issuer), Result<(), TokenFault>)>;

fn required() -> Ruled {
    use TokenFault::RequiredScope as NoScope;
    use TokenFault::{Audience, Claim, Issuer as AnotherIssuer, Lifetime, RequiredClaim as Lacks};
    let tenant: fn(&mut Issuer) = |rules| {
        rules.required_claims.insert("tid".to_owned(), "contoso".to_owned());
    };
    let two: fn(&mut Issuer) = |rules| {
        rules.required_claims.insert("tid".to_owned(), "contoso".to_owned());
        rules.required_claims.insert("azp".to_owned(), "app".to_owned());
    };
    let scopes: fn(&mut Issuer) =
        |rules| rules.required_scopes = vec!["score".to_owned(), "read".to_owned()];
    let other: fn(&mut Issuer) = |rules| rules.issuer = "https://other.example".to_owned();
    let elsewhere: fn(&mut Issuer) = |rules| rules.audiences = vec!["api://x".to_owned()];
    let minute: fn(&mut Issuer) = |rules| rules.max_lifetime = Duration::from_secs(60);
    let none: fn(&mut Issuer) = |rules| rules.max_lifetime = Duration::ZERO;
    vec![
        ("required: there", json!({ "tid": "contoso" }), tenant, Ok(())),
        ("required: missing", json!({}), tenant, Err(Lacks)),
        ("required: another text", json!({ "tid": "fabrikam" }), tenant, Err(Lacks)),
        ("required: another case", json!({ "tid": "Contoso" }), tenant, Err(Lacks)),
        ("required: a space more", json!({ "tid": "contoso " }), tenant, Err(Lacks)),
        ("required: in a list", json!({ "tid": ["contoso"] }), tenant, Err(Lacks)),
        ("required: a number", json!({ "tid": 1 }), tenant, Err(Lacks)),
        ("required: two of two", json!({ "tid": "contoso", "azp": "app" }), two, Ok(())),
        ("required: one of two", json!({ "tid": "contoso" }), two, Err(Lacks)),
        ("scope: both", json!({ "scope": "read score" }), scopes, Ok(())),
        ("scope: more", json!({ "scope": "openid score write read" }), scopes, Ok(())),
        ("scope: one", json!({ "scope": "score" }), scopes, Err(NoScope)),
        ("scope: none", json!({}), scopes, Err(NoScope)),
        ("scope: part of a word", json!({ "scope": "scores reads" }), scopes, Err(NoScope)),
        ("scope: another case", json!({ "scope": "Score Read" }), scopes, Err(NoScope)),
        ("scope: with commas", json!({ "scope": "score,read" }), scopes, Err(NoScope)),
        ("scope: with a tab", json!({ "scope": "score\tread" }), scopes, Err(NoScope)),
        ("scope: two spaces", json!({ "scope": "score  read" }), scopes, Ok(())),
        ("scope: empty", json!({ "scope": "" }), scopes, Err(NoScope)),
        ("scope: a list", json!({ "scope": ["score", "read"] }), scopes, Err(Claim("scope"))),
        ("scope: a number", json!({ "scope": 1 }), scopes, Err(Claim("scope"))),
        ("scp: words", json!({ "scp": "score read" }), scopes, Ok(())),
        ("scp: a list", json!({ "scp": ["read", "score"] }), scopes, Ok(())),
        ("scp: a list with one", json!({ "scp": ["read"] }), scopes, Err(NoScope)),
        ("scp: two words in an entry", json!({ "scp": ["read score"] }), scopes, Err(NoScope)),
        (
            "scp: a list of numbers",
            json!({ "scp": ["read", "score", 1] }),
            scopes,
            Err(Claim("scp")),
        ),
        ("scp: an object", json!({ "scp": { "read": 1 } }), scopes, Err(Claim("scp"))),
        ("one in scope, one in scp", json!({ "scope": "read", "scp": ["score"] }), scopes, Ok(())),
        ("rules of another issuer", json!({}), other, Err(AnotherIssuer)),
        ("rules of another audience", json!({}), elsewhere, Err(Audience)),
        ("rules of one minute", json!({}), minute, Err(Lifetime)),
        ("a minute by these rules", json!({ "exp": NOW + 50 }), minute, Ok(())),
        ("rules of no lifetime at all", json!({ "exp": NOW - 9 }), none, Err(Lifetime)),
    ]
}

/// The same token, seen by routers whose clocks are off (contract §7: 60 s both ways).
#[test]
fn clocks_may_be_off_by_59_s_and_not_by_61() {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "nbf": NOW, "exp": NOW + 600,
    });
    let early = json!({ "iss": ISSUER, "aud": AUDIENCE, "nbf": NOW, "exp": NOW + 600 });
    let issued = json!({ "iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600 });
    let (begin, end) = (NOW, NOW + 600);
    let cases = [
        (&claims, begin - 59, Ok(())),
        (&claims, begin - 60, Ok(())),
        (&claims, begin, Ok(())),
        (&claims, end, Ok(())),
        (&claims, end + 59, Ok(())),
        (&claims, end + 60, Err(TokenFault::Expired)),
        (&claims, end + 61, Err(TokenFault::Expired)),
        (&early, begin - 59, Ok(())),
        (&early, begin - 61, Err(TokenFault::NotYet)),
        (&issued, begin - 59, Ok(())),
        (&issued, begin - 61, Err(TokenFault::Future)),
        (&claims, 0, Err(TokenFault::NotYet)),
        (&claims, u64::from(u32::MAX), Err(TokenFault::Expired)),
    ];
    for (claims, now, verdict) in &cases {
        let token = issuer().token(Algorithm::EdDSA, claims);
        let keys = [issuer().jwk(Algorithm::EdDSA)];
        let seen = judged(&token, &keys, &rules(), *now).map(|_| ());
        assert_eq!(seen, *verdict, "now is {now}, the token begins at {begin}");
    }
    println!("clocks: {} rows", cases.len());
}

/// A verdict may be kept exactly as long as the token is accepted.
#[test]
fn a_verdict_says_until_when_it_holds() {
    let token = issuer().token(Algorithm::EdDSA, &claims());
    let keys = [issuer().jwk(Algorithm::EdDSA)];
    let verified = judged(&token, &keys, &rules(), NOW).unwrap();
    assert_eq!(verified.expires, at(NOW + 3600));
    assert_eq!(verified.accepted_until, at(NOW + 3660));
    assert_eq!(verified.subject.as_deref(), Some("caller"));
    assert!(judged(&token, &keys, &rules(), NOW + 3659).is_ok());
    let over = judged(&token, &keys, &rules(), NOW + 3660);
    assert_eq!(over, Err(TokenFault::Expired));
}

/// A clock before 1970 is a broken clock, not a panic.
#[test]
fn a_clock_before_1970_accepts_nothing_that_began() {
    let token = issuer().token(Algorithm::EdDSA, &claims());
    let jwks = json!({ "keys": [issuer().jwk(Algorithm::EdDSA)] }).to_string();
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let verdict = verify(&Peek::read(&token).unwrap(), &keys, &rules(), before);
    assert_eq!(verdict, Err(TokenFault::NotYet));
}
