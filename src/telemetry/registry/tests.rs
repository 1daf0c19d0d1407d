//! The text form is read back by a parser of our own.

use std::collections::BTreeMap;

use super::*;
use crate::{
    domain::{Direction, IssuerStatus, Reason},
    telemetry::{FetchOutcome, RetryCause, metrics::ALL},
};

fn key(endpoint: &str, version: &str) -> VersionKey {
    VersionKey { endpoint: endpoint.parse().unwrap(), version: version.parse().unwrap() }
}

/// Sample name with labels → value; fails on any line that the format does not allow.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family: Option<(String, Option<String>)> = None;
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(!help.is_empty(), "{line}");
            family = Some((name.to_owned(), None));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = family.as_mut().expect("HELP before TYPE");
            assert_eq!(family.0, name);
            family.1 = Some(kind.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let (name, kind) = family.as_ref().expect("HELP and TYPE before samples");
            let kind = kind.as_deref().expect("TYPE before samples");
            check_sample(sample, name, kind);
            let value: f64 = value.parse().expect(line);
            assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

fn check_sample(sample: &str, family: &str, kind: &str) {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let suffix = name.strip_prefix(family).expect(sample);
    let suffixes: &[&str] =
        if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    assert!(suffixes.contains(&suffix), "{sample}");
    let labels = labels.strip_suffix('}').expect(sample);
    for pair in labels.split_terminator(',') {
        let (label, value) = pair.split_once('=').expect(sample);
        assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{sample}");
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect(sample);
        assert!(!value.contains(['"', '\\']), "{sample}");
    }
}

/// Uses every series at least once.
fn exercise(metrics: &Metrics, key: &VersionKey) {
    let version = metrics.version(key);
    version.requests(200, Reason::Model);
    version.requests(200, Reason::Model);
    version.requests(499, Reason::ClientGone);
    version.requests(999, Reason::Model);
    version.requests(999, Reason::RequestTimeout);
    version.retries(RetryCause::ReusedClosed);
    version.scaling_decisions(Direction::Down);
    version.request_bytes.inc_by(7);
    version.response_bytes.inc_by(9);
    version.queue_wait_seconds.observe(0.0);
    version.router_seconds.observe(0.000_07);
    version.request_seconds.observe(400.0);
    version.replica_seconds.observe(0.2);
    metrics.endpoint(&key.endpoint).rejected(Reason::QueueFull);
    metrics.unrouted().rejected(Reason::NoRoute);
    metrics.connections.http2.inc();
    metrics.tls.set_expiry([("models.example", std::time::UNIX_EPOCH)].into_iter());
    metrics.admin_refusal(AdminRefusal::Missing);
    metrics.set_catalog_age(Duration::from_millis(1500));
    let gauges =
        VersionGauges { busy: 3, wanted: 4, utilization: Some(2.5), ..VersionGauges::default() };
    metrics.set_version(key, gauges);
    let issuer = IssuerStatus {
        issuer: "https://login.example".to_owned(),
        jwks_uri: None,
        keys: 2,
        age: Some(Duration::from_secs(1)),
        fault: None,
    };
    metrics.set_issuers(&[issuer]);
    metrics.issuer_fetch("https://login.example", FetchOutcome::Ok);
}

#[test]
fn every_line_of_the_text_form_is_well_formed_and_says_what_was_counted() {
    let metrics = Metrics::new();
    exercise(&metrics, &key("demo", "blue"));
    let samples = parse(&metrics.encode());
    let of = r#"endpoint="demo",version="blue""#;
    let expected = [
        (
            r#"modelway_requests_total{code="200",endpoint="demo",reason="model",version="blue"}"#,
            2.0,
        ),
        (
            r#"modelway_requests_total{code="499",endpoint="demo",reason="client_gone",version="blue"}"#,
            1.0,
        ),
        (
            r#"modelway_requests_total{code="other",endpoint="demo",reason="model",version="blue"}"#,
            1.0,
        ),
        (r#"modelway_retries_total{cause="reused_closed",endpoint="demo",version="blue"}"#, 1.0),
        (r#"modelway_retries_total{cause="connect_failed",endpoint="demo",version="blue"}"#, 0.0),
        (
            r#"modelway_scaling_decisions_total{direction="down",endpoint="demo",version="blue"}"#,
            1.0,
        ),
        (r#"modelway_rejected_total{endpoint="demo",reason="queue_full"}"#, 1.0),
        (r#"modelway_rejected_total{endpoint="",reason="no_route"}"#, 1.0),
        (r#"modelway_replicas{endpoint="demo",state="wanted",version="blue"}"#, 4.0),
        (r#"modelway_connections{protocol="http2"}"#, 1.0),
        ("modelway_catalog_age_seconds", 1.5),
        ("modelway_access_log_dropped_total", 0.0),
    ];
    for (sample, value) in expected {
        assert_eq!(samples.get(sample), Some(&value), "{sample}");
    }
    let with = |name: &str, rest: &str| samples.get(&format!("{name}{{{of}{rest}}}")).copied();
    assert_eq!(with("modelway_request_bytes_total", ""), Some(7.0));
    assert_eq!(with("modelway_utilization_ratio", ""), Some(2.5));
    assert_eq!(with("modelway_queue_wait_seconds_bucket", r#",le="0""#), Some(1.0));
    assert_eq!(with("modelway_router_seconds_bucket", r#",le="0.00005""#), Some(0.0));
    assert_eq!(with("modelway_request_seconds_bucket", r#",le="300""#), Some(0.0));
    assert_eq!(with("modelway_request_seconds_bucket", r#",le="+Inf""#), Some(1.0));
}

#[test]
fn every_declared_series_is_served() {
    let metrics = Metrics::new();
    exercise(&metrics, &key("demo", "blue"));
    let text = metrics.encode();
    for series in ALL {
        assert!(text.contains(&format!("# TYPE {} ", series.name)), "{}", series.name);
    }
    assert!(text.contains("# TYPE process_resident_memory_bytes gauge"));
}

#[test]
fn the_same_version_has_the_same_handles() {
    let metrics = Metrics::new();
    let first = metrics.version(&key("demo", "blue"));
    assert!(Arc::ptr_eq(&first, &metrics.version(&key("demo", "blue"))));
    assert!(!Arc::ptr_eq(&first, &metrics.version(&key("demo", "green"))));
    let name = "demo".parse().unwrap();
    assert!(Arc::ptr_eq(&metrics.endpoint(&name), &metrics.endpoint(&name)));
}

#[test]
fn a_version_gone_from_the_catalog_leaves_no_series_and_late_requests_bring_none_back() {
    let metrics = Metrics::new();
    let (old, new) = (key("old", "blue"), key("new", "blue"));
    exercise(&metrics, &old);
    exercise(&metrics, &new);
    let (late, late_endpoint) = (metrics.version(&old), metrics.endpoint(&old.endpoint));
    metrics.retain(&BTreeSet::from([new.clone()]));
    late.requests(200, Reason::Model);
    late.requests(201, Reason::Model);
    late.requests(503, Reason::Draining);
    late.retries(RetryCause::ConnectFailed);
    late.set_utilization(Some(1.0));
    late_endpoint.rejected(Reason::Draining);
    late_endpoint.rejected(Reason::QueueFull);
    let text = metrics.encode();
    assert!(!text.contains(r#"endpoint="old""#), "{text}");
    assert!(text.contains(r#"endpoint="new""#));
    assert!(text.contains(r#"endpoint="",reason="no_route""#));

    metrics.version(&old).requests(200, Reason::Model);
    let back =
        r#"modelway_requests_total{code="200",endpoint="old",reason="model",version="blue"}"#;
    assert_eq!(parse(&metrics.encode()).get(back), Some(&1.0), "it starts from zero");
}

#[test]
fn utilization_is_absent_without_slots() {
    let metrics = Metrics::new();
    let key = key("demo", "blue");
    metrics.set_version(&key, VersionGauges { utilization: Some(0.5), ..VersionGauges::default() });
    assert!(metrics.encode().contains("modelway_utilization_ratio"));
    metrics.set_version(&key, VersionGauges::default());
    metrics.set_version(&key, VersionGauges::default());
    assert!(!metrics.encode().contains("modelway_utilization_ratio"));
}
