//! `/livez` and `/readyz`, in the form of the Kubernetes API server's own.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::IntoResponse,
};

use super::{AdminState, CertificateView};

/// From so long before its end on a certificate is marked.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3600);
use crate::domain::IssuerStatus;

/// Answering at all is what being alive means.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 when every condition is met; else 503 with those that are not. `?verbose` lists all.
pub(super) async fn readyz(
    State(state): State<AdminState>,
    RawQuery(query): RawQuery,
) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let verbose = query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="));
    let conditions = state.lifecycle.conditions();
    let ready = conditions.iter().all(|(_, unmet)| unmet.is_none());
    let mut page = String::new();
    for (name, unmet) in conditions {
        let written = match unmet {
            Some(why) => writeln!(page, "[-]{name} failed: {why}"),
            None if verbose => writeln!(page, "[+]{name} ok"),
            None => Ok(()),
        };
        written.expect("writing to a string does not fail");
    }
    if verbose {
        let age = state.view.catalog_age().as_secs_f64();
        writeln!(page, "[+]catalog was in step {age:.1} s ago").expect("see above");
        for certificate in state.view.certificates() {
            page.push_str(&certificate_line(&certificate, SystemTime::now()));
        }
        for issuer in state.view.issuers() {
            writeln!(page, "{}", issuer_line(&issuer)).expect("see above");
        }
        for (name, text) in state.lifecycle.remarks() {
            writeln!(page, "[+]{name}: {text}").expect("see above");
        }
    }
    match (ready, verbose) {
        (true, false) => page.push_str("ok\n"),
        (true, true) => page.push_str("readyz check passed\n"),
        (false, _) => page.push_str("readyz check failed\n"),
    }
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, page)
}

/// Marked when somebody has to do something. It never makes a router unready: all routers have the
/// same certificate, and none would be left.
fn certificate_line(certificate: &CertificateView, now: SystemTime) -> String {
    let CertificateView { name, expires, refused } = certificate;
    let date = humantime::format_rfc3339_seconds(*expires);
    let (mark, state) = match expires.duration_since(now) {
        Ok(left) if left > EXPIRY_WARNING => ("+", format!("valid until {date}")),
        Ok(left) => ("!", format!("expires in {} days, at {date}", left.as_secs() / (24 * 3600))),
        Err(_) => ("!", format!("expired at {date}")),
    };
    match refused {
        None => format!("[{mark}]certificate {name} {state}\n"),
        Some(why) => format!("[!]certificate {name} {state}; its files are not used: {why}\n"),
    }
}

/// An issuer that is away makes no router unready: its known keys work, and other endpoints too.
fn issuer_line(status: &IssuerStatus) -> String {
    let IssuerStatus { issuer, keys, age, fault, .. } = status;
    let keys = match age {
        Some(age) => format!("{keys} keys, fetched {:.1} s ago", age.as_secs_f64()),
        None => "no keys yet".to_owned(),
    };
    match fault {
        Some(fault) => format!("[!]issuer {issuer}: {keys}; the last fetch failed: {fault}"),
        None => format!("[+]issuer {issuer}: {keys}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_marked_when_somebody_has_to_do_something() {
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::UNIX_EPOCH + 365 * day;
        let line = |expires: SystemTime, refused: Option<&str>| {
            let refused = refused.map(str::to_owned);
            certificate_line(&CertificateView { name: "m".into(), expires, refused }, now)
        };
        assert_eq!(
            line(now + 31 * day, None),
            "[+]certificate m valid until 1971-02-01T00:00:00Z\n"
        );
        assert_eq!(
            line(now + 29 * day, None),
            "[!]certificate m expires in 29 days, at 1971-01-30T00:00:00Z\n"
        );
        assert_eq!(line(now - day, None), "[!]certificate m expired at 1970-12-31T00:00:00Z\n");
        assert_eq!(
            line(now + 31 * day, Some("tls.key: no such file")),
            "[!]certificate m valid until 1971-02-01T00:00:00Z; its files are not used: \
             tls.key: no such file\n"
        );
    }
}
