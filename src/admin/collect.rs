//! From the live state to the items of the API and the gauges of a scrape.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{
    AdminState, ReplicaView, RouterView, View,
    items::{
        AutoscaleItem, DecisionItem, EndpointItem, ReplicaCounts, ReplicaItem, RouterItem,
        VersionItem,
    },
};
use crate::{
    domain::{
        AuthMode, Decision, Direction, Endpoint, ErrorProfile, OnDisconnect, ReplicaState,
        StickyBy, Version, VersionKey, VersionKind, VersionLoad,
    },
    lifecycle::Phase,
    telemetry::VersionGauges,
};

/// Sets every gauge that is not kept up to date by whoever causes it.
pub(super) fn set_gauges(state: &AdminState) {
    let view = &*state.view;
    for endpoint in view.catalog().endpoints.values() {
        for version in &endpoint.versions {
            let key = key_of(endpoint, version);
            let load = view.load(&key);
            let counts = counts(version, load, view.wanted(&key));
            state.metrics.set_version(
                &key,
                VersionGauges {
                    busy: load.map_or(0, |load| load.busy),
                    slots: slots(version, load),
                    queued: load.map_or(0, |load| load.queued),
                    aside: load.map_or(0, |load| load.aside),
                    ready: counts.ready,
                    starting: counts.starting,
                    draining: counts.draining,
                    // A version left alone wants what it has.
                    wanted: counts.wanted.unwrap_or(counts.ready + counts.starting),
                    utilization: load.and_then(utilization),
                },
            );
        }
    }
    state.metrics.set_catalog_age(view.catalog_age());
    state.metrics.set_issuers(&view.issuers());
}

pub(super) fn endpoint_item(view: &dyn View, endpoint: &Endpoint) -> EndpointItem {
    let shares = endpoint.effective_percentiles();
    let traffic: Vec<String> = endpoint
        .versions
        .iter()
        .zip(&shares)
        .map(|(version, share)| format!("{}={share}%", version.name))
        .collect();
    let default = endpoint.versions.get(endpoint.default_version);
    let versions = endpoint.versions.iter().zip(&shares).enumerate();
    EndpointItem {
        name: endpoint.name.to_string(),
        scoring_path: format!("/api/v1/endpoint/{}/score", endpoint.name),
        auth_mode: match endpoint.auth.mode {
            AuthMode::Key => "Key",
            AuthMode::Token => "Token",
            AuthMode::None => "None",
        }
        .to_owned(),
        hosts: endpoint.hosts.iter().map(ToString::to_string).collect(),
        sticky_by: endpoint.sticky_by.as_ref().map(|sticky| match sticky {
            StickyBy::Header(name) => format!("header {name}"),
            StickyBy::Cookie(name) => format!("cookie {name}"),
        }),
        max_payload_bytes: endpoint.max_payload_bytes,
        error_profile: match endpoint.error_profile {
            ErrorProfile::Kubernetes => "kubernetes",
            ErrorProfile::Managed => "managed",
        }
        .to_owned(),
        default_version: default.map(|version| version.name.to_string()).unwrap_or_default(),
        effective_traffic: traffic.join(" "),
        versions: versions
            .map(|(at, (version, share))| {
                let is_default = at == endpoint.default_version;
                version_item(view, endpoint, version, *share, is_default)
            })
            .collect(),
    }
}

fn version_item(
    view: &dyn View,
    endpoint: &Endpoint,
    version: &Version,
    effective_percentile: u8,
    is_default: bool,
) -> VersionItem {
    let key = key_of(endpoint, version);
    let load = view.load(&key);
    let replicas = counts(version, load, view.wanted(&key));
    let autoscale = version.autoscale;
    VersionItem {
        name: version.name.to_string(),
        is_default,
        kind: match version.kind {
            VersionKind::Control => "Control",
            VersionKind::Treatment => "Treatment",
        }
        .to_owned(),
        traffic_percentile: version.traffic_percentile,
        effective_percentile,
        mirror_percentile: version.mirror_percentile,
        replicas,
        slots: slots(version, load),
        slots_per_replica: version.slots_per_replica,
        busy: load.map(|load| load.busy),
        queued: load.map(|load| load.queued),
        utilization: load.and_then(utilization),
        autoscale: AutoscaleItem {
            enabled: autoscale.enabled,
            min_replicas: autoscale.min_replicas,
            max_replicas: autoscale.max_replicas,
            target_utilization: autoscale.target_utilization,
            scale_down_window_ms: ms(autoscale.scale_down_window),
        },
        replica_path: version.scoring_path.to_string(),
        request_timeout_ms: ms(version.request_timeout),
        max_queue_wait_ms: ms(version.max_queue_wait),
        max_queue_length: version.queue_length_max(replicas.ready + replicas.starting),
        on_disconnect: version.on_disconnect.map(|choice| {
            match choice {
                OnDisconnect::Finish => "finish",
                OnDisconnect::Cancel => "cancel",
            }
            .to_owned()
        }),
        fallback_to_default: version.fallback_to_default,
    }
}

pub(super) fn replica_item(replica: ReplicaView) -> ReplicaItem {
    ReplicaItem {
        endpoint: replica.endpoint.to_string(),
        version: replica.version.to_string(),
        name: replica.name.to_string(),
        id: replica.id.0,
        address: replica.address.map_or_else(String::new, |address| address.to_string()),
        state: match replica.state {
            ReplicaState::Starting => "starting",
            ReplicaState::Ready => "ready",
            ReplicaState::Draining => "draining",
        }
        .to_owned(),
        busy: replica.busy,
        slots: replica.slots,
        pid: replica.pid,
        restarts: replica.restarts,
        set_aside_ms: replica.set_aside.map(ms),
        message: replica.message,
    }
}

pub(super) fn decision_item(decision: &Decision) -> DecisionItem {
    DecisionItem {
        time: time_text(decision.time),
        endpoint: decision.key.endpoint.to_string(),
        version: decision.key.version.to_string(),
        from: decision.from,
        to: decision.to,
        direction: match decision.direction() {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Hold => "hold",
        }
        .to_owned(),
        reason: decision.reason.clone(),
        // Plain numbers always have a JSON form; one that is not finite becomes null.
        inputs: serde_json::to_value(decision.inputs).unwrap_or(Value::Null),
    }
}

pub(super) fn router_item(state: &AdminState) -> RouterItem {
    let RouterView {
        name,
        version,
        started,
        data_address,
        admin_address,
        workers,
        phase,
        requests,
    } = state.view.router();
    RouterItem {
        name,
        version,
        started: time_text(started),
        data_address: data_address.to_string(),
        admin_address: admin_address.to_string(),
        workers: workers as u64,
        phase: match phase {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Closing => "closing",
            Phase::Stopped => "stopped",
        }
        .to_owned(),
        ready: state.lifecycle.is_ready(),
        requests_in_progress: requests as u64,
        catalog_age_seconds: state.view.catalog_age().as_secs_f64(),
    }
}

fn key_of(endpoint: &Endpoint, version: &Version) -> VersionKey {
    VersionKey { endpoint: endpoint.name.clone(), version: version.name.clone() }
}

/// The data plane knows best how many are ready: it has seen failures that the catalog has not.
fn counts(version: &Version, load: Option<VersionLoad>, wanted: Option<u32>) -> ReplicaCounts {
    ReplicaCounts {
        ready: load.map_or_else(|| version.count(ReplicaState::Ready), |load| load.ready),
        starting: version.count(ReplicaState::Starting),
        draining: version.count(ReplicaState::Draining),
        wanted,
    }
}

fn slots(version: &Version, load: Option<VersionLoad>) -> u32 {
    load.map_or_else(
        || version.count(ReplicaState::Ready).saturating_mul(version.slots_per_replica),
        |load| load.slots,
    )
}

/// Contract §8; `None` without slots, where a ratio means nothing.
fn utilization(load: VersionLoad) -> Option<f64> {
    let work = f64::from(load.busy) + f64::from(load.queued);
    (load.slots > 0).then(|| work / f64::from(load.slots))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn time_text(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
