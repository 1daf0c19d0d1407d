//! The rules of `auth.token`: whose tokens an endpoint accepts (contract §7).

use std::{collections::BTreeMap, net::IpAddr};

use http::Uri;

use super::{
    limits,
    path::FieldPath,
    problem::{listed, quoted},
    scope::Scope,
    types,
};
use crate::domain::{Algorithm, Issuer, TokenPolicy};

/// Claims that the router checks for every token: what they have to say has fields of its own.
const CHECKED_CLAIMS: [&str; 5] = ["aud", "exp", "iat", "iss", "nbf"];

/// Checks the details of mode `Token`.
pub(super) fn check(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    raw: &types::Token,
    in_cluster: bool,
) -> TokenPolicy {
    let lifetime = scope.duration(&path.key("lifetime"), raw.lifetime.0, &limits::TOKEN_LIFETIME);
    let path = path.key("issuers");
    count(scope, &path, "issuers", raw.issuers.len(), limits::ISSUERS_MAX);
    let mut issuers: Vec<Issuer> = Vec::new();
    for (i, raw) in raw.issuers.iter().enumerate().take(limits::ISSUERS_MAX) {
        let path = path.index(i);
        if let Some(first) = issuers.iter().position(|known| known.issuer == raw.issuer) {
            let message = format!(
                "{} is listed already, as `issuers[{first}]`; join the two",
                quoted(&raw.issuer)
            );
            scope.problem(&path.key("issuer"), message);
        }
        issuers.push(issuer(scope, &path, raw, in_cluster));
    }
    TokenPolicy { lifetime, issuers }
}

fn issuer(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    raw: &types::Issuer,
    in_cluster: bool,
) -> Issuer {
    let name = path.key("issuer");
    text(scope, &name, &raw.issuer, limits::URI_LENGTH_MAX);
    match &raw.jwks_uri {
        Some(uri) => fetched(scope, &path.key("jwksUri"), uri, in_cluster),
        None => {
            fetched(scope, &name, &raw.issuer, in_cluster);
            if raw.issuer.contains('?') {
                let message = "must have no query, because its OpenID configuration is looked for \
                               below it; remove the query or give `jwksUri`";
                scope.problem(&name, message);
            }
        }
    }
    let audiences = path.key("audiences");
    texts(scope, &audiences, "audiences", &raw.audiences, limits::URI_LENGTH_MAX);
    if raw.audiences.is_empty() {
        let message = "holds no audience; name what the tokens for this endpoint have in `aud`, \
                       else tokens for anybody else would be accepted";
        scope.problem(&audiences, message);
    }
    let lifetime = path.key("maxLifetime");
    let scopes = path.key("requiredScopes");
    texts(scope, &scopes, "scopes", &raw.required_scopes, limits::CLAIM_LENGTH_MAX);
    for (i, word) in raw.required_scopes.iter().enumerate().take(limits::CLAIMS_MAX) {
        if word.contains([' ', '"', '\\']) {
            let message = "must be one scope (RFC 6749 §3.3), without space, quote and backslash";
            scope.problem(&scopes.index(i), message);
        }
    }
    Issuer {
        issuer: raw.issuer.clone(),
        audiences: raw.audiences.clone(),
        jwks_uri: raw.jwks_uri.clone(),
        algorithms: algorithms(scope, &path.key("algorithms"), &raw.algorithms),
        max_lifetime: scope.duration(&lifetime, raw.max_lifetime.0, &limits::MAX_LIFETIME),
        required_claims: claims(scope, &path.key("requiredClaims"), &raw.required_claims),
        required_scopes: raw.required_scopes.clone(),
    }
}

/// A URI that the router asks: whoever could change the answer could let anybody in.
fn fetched(scope: &mut Scope<'_>, path: &FieldPath, text: &str, in_cluster: bool) {
    if let Err(message) = uri(text, in_cluster) {
        scope.problem(path, message);
    }
}

/// `https`, or `http` to this machine where it is no pod. Says what is wrong.
fn uri(text: &str, in_cluster: bool) -> Result<(), String> {
    let shown = quoted(text);
    let parsed: Uri =
        text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_graphic())).ok_or_else(
            || format!("{shown} is not a URI; write it like `https://login.example/keys`"),
        )?;
    // The parser drops a fragment, and a token's `iss` would never be equal to what is left.
    if text.contains('#') {
        return Err(format!("{shown} must have no fragment; remove it from the `#` on"));
    }
    let Some(authority) = parsed.authority() else {
        return Err(format!("{shown} names no host; write it like `https://login.example/keys`"));
    };
    if authority.as_str().contains('@') {
        return Err("must not hold a user name or password; remove what stands before `@`".into());
    }
    if authority.host().is_empty() || authority.as_str().ends_with(':') {
        return Err(format!("{shown} names no host; write it like `https://login.example/keys`"));
    }
    match parsed.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if !in_cluster && is_loopback(authority.host()) => Ok(()),
        Some("http") if in_cluster => Err(format!(
            "{shown} must be https: whoever is on the way to http could make keys of his own"
        )),
        _ => Err(format!(
            "{shown} must be https, or http to this machine (127.0.0.1, [::1], localhost): whoever \
             is on the way to http could make keys of his own"
        )),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn algorithms(scope: &mut Scope<'_>, path: &FieldPath, raw: &[String]) -> Vec<Algorithm> {
    count(scope, path, "algorithms", raw.len(), limits::CLAIMS_MAX);
    let allowed = listed(&Algorithm::ALL.map(Algorithm::as_str));
    if raw.is_empty() {
        let message = format!("holds no algorithm; use {allowed}, or remove the field for `RS256`");
        scope.problem(path, message);
    }
    let mut found = Vec::new();
    for (i, name) in raw.iter().enumerate().take(limits::CLAIMS_MAX) {
        let path = path.index(i);
        match Algorithm::of(name) {
            Some(algorithm) if found.contains(&algorithm) => {
                scope.problem(&path, format!("{} is listed twice; remove one", quoted(name)));
            }
            Some(algorithm) => found.push(algorithm),
            None => {
                let why = match name.to_ascii_lowercase().as_str() {
                    "none" => "is no signature: anybody could make such a token",
                    "hs256" | "hs384" | "hs512" => {
                        "is a shared secret: whoever checks such a token could make one too"
                    }
                    _ => "is not known",
                };
                scope.problem(&path, format!("{} {why}; use {allowed}", quoted(name)));
            }
        }
    }
    found
}

fn claims(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    raw: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    count(scope, path, "claims", raw.len(), limits::CLAIMS_MAX);
    for (name, value) in raw.iter().take(limits::CLAIMS_MAX) {
        let path = path.key(name);
        if name.is_empty() || name.len() > limits::CLAIM_LENGTH_MAX {
            let max = limits::CLAIM_LENGTH_MAX;
            scope.problem(&path, format!("the name of a claim has 1 to {max} bytes"));
        }
        if CHECKED_CLAIMS.contains(&name.as_str()) {
            scope.problem(&path, "is checked in every token anyway; remove it here");
        }
        text(scope, &path, value, limits::URI_LENGTH_MAX);
    }
    raw.clone()
}

fn texts(scope: &mut Scope<'_>, path: &FieldPath, what: &str, raw: &[String], length_max: usize) {
    count(scope, path, what, raw.len(), limits::CLAIMS_MAX);
    for (i, item) in raw.iter().enumerate().take(limits::CLAIMS_MAX) {
        text(scope, &path.index(i), item, length_max);
    }
}

/// A text that a claim can be equal to and that a message can show.
fn text(scope: &mut Scope<'_>, path: &FieldPath, text: &str, length_max: usize) {
    if text.is_empty() {
        scope.problem(path, "is empty; write a text or remove it");
    } else if text.len() > length_max {
        let message = format!("has {} bytes; at most {length_max} are allowed", text.len());
        scope.problem(path, message);
    } else if text.chars().any(char::is_control) {
        scope.problem(path, "holds a control character; remove it");
    }
}

fn count(scope: &mut Scope<'_>, path: &FieldPath, what: &str, count: usize, max: usize) {
    if count > max {
        scope.problem(path, format!("{count} {what} are given; at most {max} are allowed"));
    }
}
