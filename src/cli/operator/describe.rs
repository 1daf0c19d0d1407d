//! One endpoint in full.

use super::tables::{self, duration, known, percent, shown};
use crate::admin::items::{DecisionItem, EndpointItem, ReplicaItem, VersionItem};

const MIB: u64 = 1024 * 1024;

pub(super) fn endpoint(
    item: &EndpointItem,
    replicas: &[ReplicaItem],
    decisions: &[DecisionItem],
    wide: bool,
) -> String {
    let none = || "none".to_owned();
    let hosts = if item.hosts.is_empty() { none() } else { item.hosts.join(", ") };
    let max_payload = if item.max_payload_bytes.is_multiple_of(MIB) {
        format!("{} MiB", item.max_payload_bytes / MIB)
    } else {
        format!("{} bytes", item.max_payload_bytes)
    };
    let mut page = fields(
        "",
        &[
            ("Name", item.name.clone()),
            ("Scoring path", item.scoring_path.clone()),
            ("Auth", item.auth_mode.clone()),
            ("Traffic", item.effective_traffic.clone()),
            ("Default", item.default_version.clone()),
            ("Sticky by", item.sticky_by.clone().unwrap_or_else(none)),
            ("Hosts", hosts),
            ("Max payload", max_payload),
            ("Errors", item.error_profile.clone()),
        ],
    );
    for version in &item.versions {
        page.push_str(&version_text(version));
    }
    let section = |title: &str, table: String| format!("\n{title}\n{table}");
    page.push_str(&section("Replicas", tables::replicas(replicas, wide)));
    page.push_str(&section("Last decisions", tables::decisions(decisions, wide)));
    page
}

fn version_text(version: &VersionItem) -> String {
    let counts = version.replicas;
    let autoscale = version.autoscale;
    let default = if version.is_default { ", default" } else { "" };
    let scaling = if autoscale.enabled {
        format!(
            "{} to {} replicas at {} %, down after {}",
            autoscale.min_replicas,
            autoscale.max_replicas,
            autoscale.target_utilization,
            duration(autoscale.scale_down_window_ms),
        )
    } else {
        "off".to_owned()
    };
    let lines = fields(
        "  ",
        &[
            (
                "Traffic",
                format!(
                    "{} % ({} % as written), mirror {} %",
                    version.effective_percentile,
                    version.traffic_percentile,
                    version.mirror_percentile
                ),
            ),
            (
                "Replicas",
                format!(
                    "{} ready, {} starting, {} draining, {} wanted",
                    counts.ready,
                    counts.starting,
                    counts.draining,
                    known(counts.wanted)
                ),
            ),
            (
                "Load",
                format!(
                    "{} busy + {} queued over {} slots = {}",
                    known(version.busy),
                    known(version.queued),
                    version.slots,
                    percent(version.utilization)
                ),
            ),
            ("Autoscale", scaling),
            (
                "Queue",
                format!(
                    "at most {} requests, {} each",
                    version.max_queue_length,
                    duration(version.max_queue_wait_ms)
                ),
            ),
            ("Timeout", duration(version.request_timeout_ms)),
            ("Path", version.replica_path.clone()),
        ],
    );
    format!("\nVersion {} ({}{default})\n{lines}", shown(&version.name), shown(&version.kind))
}

fn fields(indent: &str, lines: &[(&str, String)]) -> String {
    let line = |(name, value): &(&str, String)| {
        format!("{indent}{:<14}{}\n", format!("{name}:"), shown(value))
    };
    lines.iter().map(line).collect()
}
