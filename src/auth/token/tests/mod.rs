//! Tokens against tables: each row is a token, a key set, an endpoint's rules and the one right verdict.

mod claims;
mod forge;
mod keys;
mod own;
mod peek;
mod published;
mod signatures;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::domain::{Algorithm, Issuer};

/// The moment at which all rows are judged, unless they say another one.
const NOW: u64 = 1_800_000_000;
/// The issuer of all rows.
const ISSUER: &str = "https://issuer.example/tenant";
/// The audience of all rows.
const AUDIENCE: &str = "api://demo";

/// One row of a table.
struct Row {
    name: String,
    token: String,
    keys: Vec<Value>,
    rules: Issuer,
    now: u64,
    verdict: Result<(), TokenFault>,
}

/// Rules that accept every algorithm.
fn rules() -> Issuer {
    Issuer {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned(), "api://other".to_owned()],
        jwks_uri: None,
        algorithms: Algorithm::ALL.to_vec(),
        max_lifetime: Duration::from_secs(24 * 3600),
        required_claims: [].into(),
        required_scopes: Vec::new(),
    }
}

/// Claims that every rule accepts.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "caller",
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3600,
    })
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The whole way of a token, as a router goes it.
fn judged(token: &str, keys: &[Value], rules: &Issuer, now: u64) -> Result<Verified, TokenFault> {
    let set = json!({ "keys": keys }).to_string();
    let keys = KeySet::parse(set.as_bytes()).expect("a row has a well-formed set");
    verify(&Peek::read(token)?, &keys, rules, at(now))
}

/// Holds every row to its verdict, and the table to its size.
#[track_caller]
fn hold(table: &str, rows: &[Row], at_least: usize) {
    let mut wrong = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    let mut good = 0;
    for row in rows {
        assert!(names.insert(&row.name), "{table}: two rows are called {:?}", row.name);
        let verdict = judged(&row.token, &row.keys, &row.rules, row.now).map(|_| ());
        good += usize::from(verdict.is_ok());
        if verdict != row.verdict {
            wrong.push(format!("{}: {verdict:?}, not {:?}", row.name, row.verdict));
        }
    }
    println!("{table}: {} rows, {good} accepted, {} verdicts wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{table}:\n{}", wrong.join("\n"));
    assert!(rows.len() >= at_least, "{table}: {} rows, promised {at_least}", rows.len());
}
