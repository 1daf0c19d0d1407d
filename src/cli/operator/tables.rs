//! Lists as columns.

use std::{fmt::Display, time::Duration};

use comfy_table::{Table, presets};
use serde::Deserialize;

use crate::{
    admin::items::{
        DecisionItem, EndpointItem, KeysItem, ReplicaItem, RouterItem, TokenItem, VersionItem,
    },
    domain::KeySlot,
};

/// A version with the name of its endpoint.
#[derive(Debug, Deserialize)]
pub(super) struct VersionRow {
    endpoint: String,
    #[serde(flatten)]
    version: VersionItem,
}

/// What stands where a number is not known.
const UNKNOWN: &str = "-";

pub(super) fn endpoints(items: &[EndpointItem], wide: bool) -> String {
    let mut head = vec!["NAME", "AUTH", "TRAFFIC", "READY", "BUSY", "QUEUED"];
    if wide {
        head.extend(["DEFAULT", "HOSTS", "ERRORS", "SCORING PATH"]);
    }
    let rows = items.iter().map(|item| {
        let sum = |number: fn(&VersionItem) -> u32| item.versions.iter().map(number).sum::<u32>();
        let mut row = vec![
            item.name.clone(),
            item.auth_mode.clone(),
            item.effective_traffic.clone(),
            sum(|version| version.replicas.ready).to_string(),
            sum(|version| version.busy.unwrap_or(0)).to_string(),
            sum(|version| version.queued.unwrap_or(0)).to_string(),
        ];
        if wide {
            let hosts = item.hosts.join(",");
            row.extend([
                item.default_version.clone(),
                if hosts.is_empty() { UNKNOWN.to_owned() } else { hosts },
                item.error_profile.clone(),
                item.scoring_path.clone(),
            ]);
        }
        row
    });
    table("endpoints", &head, rows)
}

pub(super) fn versions(items: &[VersionRow], wide: bool) -> String {
    let mut head = vec!["ENDPOINT", "NAME", "TRAFFIC", "READY", "WANTED", "BUSY", "QUEUED", "LOAD"];
    if wide {
        head.extend(["STARTING", "DRAINING", "MIN", "MAX", "TARGET", "TIMEOUT", "QUEUE WAIT"]);
        head.extend(["TYPE", "DEFAULT"]);
    }
    let rows = items.iter().map(|VersionRow { endpoint, version }| {
        let mut row = vec![
            endpoint.clone(),
            version.name.clone(),
            format!("{}%", version.effective_percentile),
            version.replicas.ready.to_string(),
            known(version.replicas.wanted),
            format!("{}/{}", known(version.busy), version.slots),
            known(version.queued),
            percent(version.utilization),
        ];
        if wide {
            let autoscale = version.autoscale;
            row.extend([
                version.replicas.starting.to_string(),
                version.replicas.draining.to_string(),
                autoscale.min_replicas.to_string(),
                autoscale.max_replicas.to_string(),
                if autoscale.enabled {
                    format!("{}%", autoscale.target_utilization)
                } else {
                    "off".to_owned()
                },
                duration(version.request_timeout_ms),
                duration(version.max_queue_wait_ms),
                version.kind.clone(),
                version.is_default.to_string(),
            ]);
        }
        row
    });
    table("versions", &head, rows)
}

pub(super) fn replicas(items: &[ReplicaItem], wide: bool) -> String {
    let mut head = vec!["ENDPOINT", "VERSION", "NAME", "STATE", "BUSY", "RESTARTS"];
    if wide {
        head.extend(["ADDRESS", "PID", "ID"]);
    }
    head.push("MESSAGE");
    let rows = items.iter().map(|item| {
        let mut row = vec![
            item.endpoint.clone(),
            item.version.clone(),
            item.name.clone(),
            item.state.clone(),
            format!("{}/{}", item.busy, item.slots),
            item.restarts.to_string(),
        ];
        if wide {
            row.extend([item.address.clone(), known(item.pid), item.id.to_string()]);
        }
        row.push(item.message.clone());
        row
    });
    table("replicas", &head, rows)
}

pub(super) fn decisions(items: &[DecisionItem], wide: bool) -> String {
    let mut head = vec!["TIME", "ENDPOINT", "VERSION"];
    if wide {
        head.extend(["DIRECTION", "FROM", "TO"]);
    }
    head.push("REASON");
    let rows = items.iter().map(|item| {
        let mut row = vec![item.time.clone(), item.endpoint.clone(), item.version.clone()];
        if wide {
            row.extend([item.direction.clone(), item.from.to_string(), item.to.to_string()]);
        }
        row.push(item.reason.clone());
        row
    });
    table("decisions", &head, rows)
}

pub(super) fn routers(items: &[RouterItem], wide: bool) -> String {
    let mut head = vec!["NAME", "PHASE", "READY", "REQUESTS", "WORKERS", "VERSION"];
    if wide {
        head.extend(["ADDRESS", "ADMIN", "STARTED", "CATALOG AGE"]);
    }
    let rows = items.iter().map(|item| {
        let mut row = vec![
            item.name.clone(),
            item.phase.clone(),
            item.ready.to_string(),
            item.requests_in_progress.to_string(),
            item.workers.to_string(),
            item.version.clone(),
        ];
        if wide {
            row.extend([
                item.data_address.clone(),
                item.admin_address.clone(),
                item.started.clone(),
                format!("{:.1}s", item.catalog_age_seconds),
            ]);
        }
        row
    });
    table("routers", &head, rows)
}

pub(super) fn keys(item: &KeysItem) -> String {
    let values = [Some(&item.primary_key), item.secondary_key.as_ref()];
    let rows = KeySlot::ALL.into_iter().zip(values);
    let row =
        |(slot, value): (KeySlot, Option<&String>)| vec![slot.as_str().to_owned(), known(value)];
    table("keys", &["KEY", "VALUE"], rows.map(row))
}

pub(super) fn token(item: &TokenItem) -> String {
    let row = vec![
        item.token_type.clone(),
        time(item.refresh_after),
        time(item.expiry_on),
        item.access_token.clone(),
    ];
    table("tokens", &["TYPE", "REFRESH AFTER", "EXPIRES", "TOKEN"], std::iter::once(row))
}

/// In RFC 3339.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    known(time)
}

fn table(what: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec());
    let rows = rows.map(|row| row.iter().map(|cell| shown(cell)).collect::<Vec<_>>());
    table.add_rows(rows);
    if table.is_empty() {
        return format!("no {what}\n");
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}

/// Text from elsewhere without characters that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// As in the endpoint file: `500ms`, `1m`.
pub(super) fn duration(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

pub(super) fn known<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

pub(super) fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| UNKNOWN.to_owned(), |ratio| format!("{:.0}%", ratio * 100.0))
}
