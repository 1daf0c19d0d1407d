//! The claims of a token against an endpoint's rules and `now` (RFC 7519 §4.1).

use std::time::{Duration, SystemTime};

use super::{
    fault::TokenFault,
    json::{Json, Object},
};
use crate::domain::Issuer;

/// How far the clocks of issuer and router may be apart, in both directions (contract §7). A token is
/// accepted from exactly this long before `nbf` and `iat` and until just before this long after `exp`.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// 9999-12-31T23:59:59Z in seconds since 1970: later is no date in RFC 3339, and surely no token.
const MAX_SECONDS: f64 = 253_402_300_799.0;

/// What good claims say.
pub(super) struct Checked {
    /// `exp`, since 1970.
    pub(super) expires: Duration,
    /// `sub`.
    pub(super) subject: Option<String>,
}

/// Checks everything but the issuer.
pub(super) fn check(
    claims: &Object,
    rules: &Issuer,
    now: SystemTime,
) -> Result<Checked, TokenFault> {
    check_audience(claims, rules)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let expires = check_times(claims, rules.max_lifetime, now)?;
    let subject = match claims.get("sub") {
        None => None,
        Some(subject) => Some(subject.text().ok_or(TokenFault::Claim("sub"))?.to_owned()),
    };
    for (name, wanted) in &rules.required_claims {
        if claims.get(name).and_then(Json::text) != Some(wanted) {
            return Err(TokenFault::RequiredClaim);
        }
    }
    check_scopes(claims, &rules.required_scopes)?;
    Ok(Checked { expires, subject })
}

fn check_audience(claims: &Object, rules: &Issuer) -> Result<(), TokenFault> {
    let audiences = match claims.get("aud") {
        None => return Err(TokenFault::Missing("aud")),
        Some(Json::Text(audience)) => vec![audience.as_str()],
        Some(value) => value.texts().ok_or(TokenFault::Claim("aud"))?,
    };
    let is_ours = rules.audiences.iter().any(|ours| audiences.contains(&ours.as_str()));
    if is_ours { Ok(()) } else { Err(TokenFault::Audience) }
}

/// Checks `exp`, `nbf` and `iat`; returns `exp`.
fn check_times(claims: &Object, longest: Duration, now: Duration) -> Result<Duration, TokenFault> {
    let expires = date(claims, "exp")?.ok_or(TokenFault::Missing("exp"))?;
    let (not_before, issued) = (date(claims, "nbf")?, date(claims, "iat")?);
    if now >= expires + LEEWAY {
        return Err(TokenFault::Expired);
    }
    if not_before.is_some_and(|from| now + LEEWAY < from) {
        return Err(TokenFault::NotYet);
    }
    if issued.is_some_and(|at| now + LEEWAY < at) {
        return Err(TokenFault::Future);
    }
    // Without `iat` the lifetime counts from now, by a clock that may be behind the issuer's.
    let is_too_long = match issued {
        Some(at) => expires.checked_sub(at).is_none_or(|lifetime| lifetime > longest),
        None => expires > now + longest + LEEWAY,
    };
    if is_too_long { Err(TokenFault::Lifetime) } else { Ok(expires) }
}

/// A `NumericDate` (RFC 7519 §2): a JSON number of seconds since 1970. A fraction of a second is cut
/// off, so that it never prolongs a token.
fn date(claims: &Object, name: &'static str) -> Result<Option<Duration>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Number(seconds)) if (0.0..=MAX_SECONDS).contains(seconds) => {
            Ok(Some(Duration::from_secs_f64(seconds.trunc())))
        }
        Some(_) => Err(TokenFault::Claim(name)),
    }
}

/// Scopes are words in `scope` (RFC 8693 §4.2) or in `scp`, there also as an array. Looked at only
/// where some are required.
fn check_scopes(claims: &Object, required: &[String]) -> Result<(), TokenFault> {
    if required.is_empty() {
        return Ok(());
    }
    let mut scopes: Vec<&str> = Vec::new();
    match claims.get("scope") {
        None => {}
        Some(Json::Text(words)) => scopes.extend(words.split(' ')),
        Some(_) => return Err(TokenFault::Claim("scope")),
    }
    match claims.get("scp") {
        None => {}
        Some(Json::Text(words)) => scopes.extend(words.split(' ')),
        Some(value) => scopes.extend(value.texts().ok_or(TokenFault::Claim("scp"))?),
    }
    let has_all = required.iter().all(|wanted| scopes.contains(&wanted.as_str()));
    if has_all { Ok(()) } else { Err(TokenFault::RequiredScope) }
}
