//! h2spec, the conformance suite of others for HTTP/2, in strict mode against the router.

use std::{path::Path, process::Command};

use crate::support::{
    replica::{Replica, Step, answer},
    router::Router,
    tool,
};

/// How long h2spec waits for what must come or must end, in seconds. Two are its default, and too few
/// for a machine that does other work too.
const PATIENCE_S: &str = "5";
/// How many cases h2spec has at least: fewer means that it did not run.
const CASES_MIN: usize = 140;

/// What the router does not do as h2spec wants, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[(
    "http2/3.5: Sends invalid connection preface",
    "RFC 9113 §3.4: the port speaks HTTP/1.1 too, and what is not the preface is a request of that; it \
     is refused with 400 in the form of HTTP/1.1, and the connection closed",
)];

/// One case of the report.
#[derive(Debug)]
struct Reported {
    name: String,
    failure: Option<String>,
    skipped: bool,
}

#[test]
fn h2spec_passes_in_strict_mode() {
    let name = "h2spec in strict mode";
    let Some(h2spec) = tool::tool("MODELWAY_TEST_H2SPEC", name) else { return };
    let replica = Replica::start();
    // Some cases need an answer of more than one byte, and one that is read slowly.
    replica.script("", |_, _| {
        vec![Step::Body, Step::Send(answer("200 OK", "", &"conformance ".repeat(20)))]
    });
    let router = Router::start(
        &format!(
            "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\nmetadata: {{name: spec}}\n\
             spec:\n  auth: {{mode: None}}\n  versions:\n  - {{name: only, \
             maxConcurrentRequestsPerReplica: 1000, probe: {{tcp: {{}}}}, \
             targetRef: {{kind: Addresses, addresses: [\"{}\"]}}}}\n",
            replica.address
        ),
        &[],
    );
    router.await_replicas("only", "ready", 1, std::time::Duration::from_secs(20));
    judge("without TLS", &run(&h2spec, router.data.port(), &[]));
}

/// Runs all of h2spec.
fn run(h2spec: &Path, port: u16, more: &[&str]) -> Vec<Reported> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = folder.path().join("report.xml");
    let output = Command::new(h2spec)
        .args(["--strict", "--host", "127.0.0.1", "--path", "/api/v1/endpoint/spec/score"])
        .args(["--timeout", PATIENCE_S, "--port", &port.to_string(), "--junit-report"])
        .arg(&report)
        .args(more)
        .output()
        .expect("h2spec runs");
    let text = std::fs::read_to_string(&report).unwrap_or_else(|_| {
        panic!("no report: {}", String::from_utf8_lossy(&output.stdout));
    });
    reported(&text)
}

/// The cases of a JUnit report.
fn reported(text: &str) -> Vec<Reported> {
    text.split("<testcase ")
        .skip(1)
        .map(|case| {
            let case = case.split("</testcase>").next().unwrap_or_default();
            let of = |name: &str| {
                let value = case.split_once(&format!("{name}=\""))?.1;
                Some(value.split('"').next().unwrap_or_default().to_owned())
            };
            let body = |name: &str| {
                let body = case.split_once(&format!("<{name}>"))?.1;
                Some(body.split("</").next().unwrap_or_default().to_owned())
            };
            Reported {
                name: format!(
                    "{}: {}",
                    of("package").unwrap_or_default(),
                    of("classname").unwrap_or_default()
                ),
                failure: body("failure").or_else(|| body("error")),
                skipped: case.contains("<skipped"),
            }
        })
        .collect()
}

#[expect(clippy::print_stderr, reason = "the account of the suite")]
fn judge(what: &str, cases: &[Reported]) {
    let known = |case: &&Reported| EXCEPTIONS.iter().any(|(name, _)| *name == case.name);
    let (excused, failed): (Vec<_>, Vec<_>) =
        cases.iter().filter(|case| case.failure.is_some()).partition(known);
    let skipped = cases.iter().filter(|case| case.skipped).count();
    let passed = cases.len() - excused.len() - failed.len() - skipped;
    eprintln!(
        "h2spec {what}: {passed} of {} pass, {skipped} skipped, {} documented exceptions",
        cases.len(),
        excused.len()
    );
    assert!(cases.len() >= CASES_MIN, "{} cases of h2spec", cases.len());
    assert!(failed.is_empty(), "h2spec {what}: {failed:#?}");
    for (name, reason) in EXCEPTIONS {
        let needed = excused.iter().any(|case| case.name == *name);
        assert!(needed, "h2spec passes {name} now; its exception goes ({reason})");
    }
}

#[test]
fn a_report_is_read_as_it_is_written() {
    let text = "<testcase package=\"http2/3.5\" classname=\"Sends\" time=\"0\">\n</testcase>\n\
                <testcase package=\"generic/1\" classname=\"Closes\" time=\"0\">\n<failure>Timeout\n\
                </failure></testcase><testcase package=\"a\" classname=\"b\"><skipped></skipped></testcase>";
    let cases = reported(text);
    assert_eq!(cases.len(), 3);
    assert!(cases[0].failure.is_none() && cases[1].failure.as_deref() == Some("Timeout\n"));
    assert_eq!((cases[1].name.as_str(), cases[2].skipped), ("generic/1: Closes", true));
}
