//! Whether `docs/endpoints.md` tells the truth: its examples are good, and it names every field.

use serde::de::DeserializeOwned;

use super::*;

const PAGE: &str = include_str!("../../../../docs/endpoints.md");

/// The YAML blocks of the page: what kind of thing each is, and its text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = PAGE.split("```yaml").skip(1);
    fenced
        .map(|rest| {
            let (kind, rest) = rest.split_once('\n').expect("a block has lines");
            (kind.trim(), rest.split_once("```").expect("a block ends").0)
        })
        .collect()
}

fn indented(text: &str, by: usize) -> String {
    let indent = " ".repeat(by);
    text.split_inclusive('\n').flat_map(|line| [indent.as_str(), line]).collect()
}

/// The block as a whole document.
fn whole(kind: &str, text: &str) -> String {
    let target = "targetRef: {kind: Process, command: [model, \"{port}\"]}";
    match kind {
        "" | "cluster" => text.to_owned(),
        "spec" => {
            let spec = indented(text, 2);
            format!("{HEAD}spec:\n{spec}  versions:\n    - name: blue\n      {target}\n")
        }
        "version" => {
            let target = if text.contains("targetRef:") { "" } else { target };
            let version = indented(text, 6);
            format!("{HEAD}spec:\n  versions:\n    - name: blue\n      {target}\n{version}")
        }
        other => panic!("a block of an unknown kind {other:?}"),
    }
}

#[test]
fn every_example_of_the_page_is_good_and_surprises_nobody() {
    let blocks = blocks();
    assert!(blocks.len() >= 9, "{} blocks", blocks.len());
    for (kind, text) in blocks {
        let text = whole(kind, text);
        let policy = if kind == "cluster" { Policy::CLUSTER } else { Policy::FILES };
        let loaded =
            load_texts(&[&text], policy).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{warnings:#?}\n{text}");
    }
}

/// The fields of a type, from what serde says of one that it does not know.
fn fields<T: DeserializeOwned>() -> Vec<String> {
    let error = serde_json::from_str::<T>(r#"{"no such field": 0}"#).map(drop).unwrap_err();
    let text = error.to_string();
    let fields: Vec<String> = text.split('`').skip(3).step_by(2).map(ToOwned::to_owned).collect();
    assert!(!fields.is_empty(), "{text}");
    fields
}

#[test]
fn every_field_is_on_the_page() {
    let all = [
        fields::<types::Spec>(),
        fields::<types::Auth>(),
        fields::<types::SecretRef>(),
        fields::<types::Token>(),
        fields::<types::Issuer>(),
        fields::<types::Limits>(),
        fields::<types::StickyBy>(),
        fields::<types::Version>(),
        fields::<types::Autoscale>(),
        fields::<types::Probe>(),
        fields::<types::TargetRef>(),
    ];
    for field in all.concat() {
        let shown = [format!("`{field}`"), format!("`{field}."), format!(".{field}`")];
        assert!(shown.iter().any(|text| PAGE.contains(text)), "docs/endpoints.md lacks {field}");
    }
}

/// Default and bounds of a field in the tables: the cells behind its type.
fn shown(field: &str, of_type: &str) -> [String; 3] {
    let begin = format!("| `{field}` |");
    let mut rows = PAGE.lines().filter(|line| line.starts_with(&begin));
    let row = rows.next().unwrap_or_else(|| panic!("no row of {field}"));
    let mut cells = row.split('|').map(str::trim).skip_while(|cell| *cell != of_type).skip(1);
    let default = cells.next().expect("a default").to_owned();
    let bounds = cells.next().expect("bounds").split(',').next().unwrap_or_default();
    let (least, most) = bounds.split_once(" to ").unwrap_or_else(|| panic!("{field}: {bounds}"));
    [default, least.to_owned(), most.to_owned()]
}

#[test]
fn defaults_and_bounds_on_the_page_are_those_in_force() {
    let version = r#"{"name": "one", "targetRef": {"kind": "Addresses"}}"#;
    let version: types::Version = serde_json::from_str(version).unwrap();
    let types::Autoscale { min_replicas, max_replicas, target_utilization, .. } = version.autoscale;
    let replicas = |least| least..=limits::REPLICAS_MAX;
    for (field, default, bounds) in [
        ("trafficPercentile", version.traffic_percentile, limits::PERCENT),
        ("port", version.port, limits::PORT),
        (
            "maxConcurrentRequestsPerReplica",
            version.max_concurrent_requests_per_replica,
            limits::SLOTS,
        ),
        ("maxQueueLength", version.max_queue_length, limits::QUEUE_LENGTH),
        ("minReplicas", min_replicas, replicas(0)),
        ("maxReplicas", max_replicas, replicas(1)),
        ("targetUtilization", target_utilization, limits::UTILIZATION),
        ("replicas", 1, replicas(0)),
    ] {
        let expected = [default.to_string(), bounds.start().to_string(), bounds.end().to_string()];
        assert_eq!(shown(field, "integer"), expected, "{field}");
    }
    let types::Probe { period, timeout, .. } = version.probe;
    for (field, default, bounds) in [
        ("maxQueueWait", version.max_queue_wait.0, limits::QUEUE_WAIT),
        ("requestTimeout", version.request_timeout.0, limits::REQUEST_TIMEOUT),
        ("streamIdleTimeout", version.stream_idle_timeout.0, limits::STREAM_IDLE),
        ("scaleDownWindow", version.autoscale.scale_down_window.0, limits::SCALE_DOWN_WINDOW),
        ("period", period.0, limits::PROBE_PERIOD),
        ("timeout", timeout.0, limits::PROBE_TIMEOUT),
        ("startDeadline", types::START_DEADLINE, limits::START_DEADLINE),
        ("stopGrace", types::STOP_GRACE, limits::STOP_GRACE),
    ] {
        let expected = [default, *bounds.start(), *bounds.end()];
        let seen = shown(field, "duration").map(|text| humantime::parse_duration(&text).unwrap());
        assert_eq!(seen, expected, "{field}");
    }
}
