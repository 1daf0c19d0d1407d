//! Whether `docs/errors.md` tells what the table of errors does.

use http::{HeaderMap, HeaderName};

use super::*;
use crate::proxy::{
    answer::{Manner, refuse},
    head::Kind,
    identity::Identity,
};

const PAGE: &str = include_str!("../../docs/errors.md");
const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->";
/// What every answer carries, and what belongs to its form.
const COMMON: [&str; 4] = ["content-type", "x-request-id", "x-ms-request-id", "x-modelway-source"];

/// One error of each kind.
fn samples() -> Vec<ProxyError> {
    let name: Name = "demo".parse().unwrap();
    vec![
        ProxyError::Malformed("".into()),
        ProxyError::Credential(auth::Refusal::Twice),
        ProxyError::Path(PathFault::Nul),
        ProxyError::NoRoute,
        ProxyError::NoGrpcRoute,
        ProxyError::Endpoint("demo".into()),
        ProxyError::Version { endpoint: name.clone(), asked: "x".into(), known: "y".into() },
        ProxyError::Credential(auth::Refusal::Missing),
        ProxyError::Credential(auth::Refusal::Malformed),
        ProxyError::Credential(auth::Refusal::Wrong),
        ProxyError::Credential(auth::Refusal::Token(auth::TokenFault::Expired)),
        ProxyError::Credential(auth::Refusal::Token(auth::TokenFault::KeysUnavailable)),
        ProxyError::Method(http::Method::TRACE),
        ProxyError::Redirected(HeaderValue::from_static("https://a/")),
        ProxyError::HttpsRequired { exposed: false },
        ProxyError::HttpsRequired { exposed: true },
        ProxyError::TargetTooLong { limit: 1 },
        ProxyError::HeadersTooLarge { bytes: 1, fields: 1 },
        ProxyError::PayloadTooLarge { limit: 1 },
        ProxyError::ClientTimeout(""),
        ProxyError::ClientGone,
        ProxyError::Unreachable,
        ProxyError::Closed,
        ProxyError::Invalid,
        ProxyError::QueueFull { endpoint: name.clone(), waiting: 1 },
        ProxyError::QueueTimeout { endpoint: name.clone(), waited_ms: 1 },
        ProxyError::NoReadyReplicas(name),
        ProxyError::Draining,
        ProxyError::OutOfMemory,
        ProxyError::RequestTimeout { limit_ms: 1 },
        ProxyError::Internal,
    ]
}

/// Whose fault it is, in the words of the page.
fn fault(reason: Reason) -> &'static str {
    match reason {
        Reason::Model => "–",
        Reason::MalformedRequest
        | Reason::InvalidPath
        | Reason::NoRoute
        | Reason::EndpointNotFound
        | Reason::VersionNotFound
        | Reason::CredentialMissing
        | Reason::CredentialInvalid
        | Reason::MethodNotAllowed
        | Reason::HttpsRequired
        | Reason::TargetTooLong
        | Reason::HeadersTooLarge
        | Reason::PayloadTooLarge
        | Reason::ClientTimeout
        | Reason::ClientGone => "client",
        Reason::ReplicaUnreachable
        | Reason::ReplicaClosed
        | Reason::ReplicaInvalid
        | Reason::RequestTimeout => "replica",
        Reason::IssuerUnavailable => "issuer",
        Reason::QueueFull
        | Reason::QueueTimeout
        | Reason::NoReadyReplicas
        | Reason::RouterOverloaded => "capacity",
        Reason::Draining | Reason::Redirected => "nobody",
        Reason::Internal => "router",
    }
}

fn headers(error: &ProxyError) -> Vec<String> {
    let identity = Identity::of(&HeaderMap::new());
    let manner = Manner {
        identity: &identity,
        kind: Kind::Plain,
        inference_protocol: false,
        profile: ErrorProfile::Kubernetes,
        version: None,
        expected_wait: None,
    };
    let response = refuse(error, &manner);
    let names = response.headers().keys().map(HeaderName::as_str);
    names.filter(|name| !COMMON.contains(name)).map(|name| format!("`{name}`")).collect()
}

fn row(reason: Reason) -> String {
    let word = reason.as_str();
    let Some(error) = samples().into_iter().find(|error| error.reason() == reason) else {
        assert_eq!(reason, Reason::Model, "no sample of {word}");
        return format!(
            "| [`{word}`](#{word}) | the model's | 424 from 400 on | the model's | – |  |"
        );
    };
    let status = error.status(ErrorProfile::Kubernetes);
    let managed = error.status(ErrorProfile::Managed);
    let managed = if managed == status { String::new() } else { managed.as_u16().to_string() };
    let (status, grpc, fault) = (status.as_u16(), grpc_status_of(&error), fault(reason));
    let headers = headers(&error).join(" ");
    format!("| [`{word}`](#{word}) | {status} | {managed} | {grpc} | {fault} | {headers} |")
}

#[test]
fn the_table_in_docs_is_current() {
    let (before, rest) = PAGE.split_once(BEGIN).expect("the page has a table");
    let (_, after) = rest.split_once(END).expect("the table ends");
    let rows = Reason::ALL.map(row).join("\n");
    let head = "| code | status | managed | gRPC | fault | headers |\n\
                | --- | --- | --- | --- | --- | --- |";
    let page = format!("{before}{BEGIN}{head}\n{rows}\n{END}{after}");
    expect_test::expect_file!["../../docs/errors.md"].assert_eq(&page);
}

#[test]
fn every_code_has_its_section_in_docs_and_no_other_has() {
    let (_, codes) = PAGE.split_once("\n## Codes\n").expect("the page has the codes");
    let sections: Vec<&str> = codes.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(sections, Reason::ALL.map(|reason| format!("`{}`", reason.as_str())));
}

#[test]
fn errors_of_one_code_have_one_status() {
    for error in samples() {
        let word = error.reason().as_str();
        let first = samples().into_iter().find(|e| e.reason() == error.reason()).unwrap();
        assert_eq!(grpc_status_of(&error), grpc_status_of(&first), "{word}");
        for profile in [ErrorProfile::Kubernetes, ErrorProfile::Managed] {
            assert_eq!(error.status(profile), first.status(profile), "{word}");
        }
    }
}

#[test]
fn a_fault_of_the_client_is_never_a_5xx() {
    for reason in Reason::ALL.into_iter().filter(|reason| fault(*reason) == "client") {
        assert!(status_of(reason).is_client_error(), "{}", reason.as_str());
    }
}
