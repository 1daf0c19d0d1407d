//! The rules of versions, each alone and all together (contract §3, §4, §5, §8, §12).

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{self, OnDisconnect, VersionKind};

use super::{
    checked::{Probe, ProbeKind, VersionSpec},
    endpoint::{Claims, check_count, name},
    grammar, limits,
    path::FieldPath,
    scope::Scope,
    target,
    types::{self, TargetKind, Version},
};

/// The versions of an endpoint that broke no rule of their own.
pub(super) struct CheckedVersions {
    pub(super) versions: Vec<(domain::Version, VersionSpec)>,
    pub(super) default_version: usize,
}

/// Checks all versions of an endpoint. `None` when one of them cannot be built.
pub(super) fn check_all(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    endpoint: &types::InferenceEndpoint,
    claims: &mut Claims,
) -> Option<CheckedVersions> {
    let raw = &endpoint.spec.versions;
    check_count(scope, path, raw.len());
    check_names(scope, path, raw);
    check_kinds(scope, path, raw);
    check_percentiles(scope, path, raw);
    target::check_mix(scope, path, raw);
    target::check_shared(scope, path, raw);
    let default_version = default_version(scope, path, raw);
    let mut versions = Vec::new();
    for (i, version) in raw.iter().enumerate() {
        versions.push(check(scope, &path.index(i), &endpoint.metadata.name, version, claims));
    }
    warn_of_the_rest(scope, path, raw, default_version);
    Some(CheckedVersions {
        versions: versions.into_iter().collect::<Option<_>>()?,
        default_version,
    })
}

/// Checks one version.
fn check(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    endpoint: &str,
    raw: &Version,
    claims: &mut Claims,
) -> Option<(domain::Version, VersionSpec)> {
    let name = name(scope, &path.key("name"), &raw.name);
    let traffic = percent(scope, &path.key("trafficPercentile"), raw.traffic_percentile);
    let mirror = mirror(scope, path, raw);
    let grpc_port = (raw.grpc_port != 0).then(|| {
        port(scope, &path.key("grpcPort"), raw.grpc_port, " (0 means the same as `port`)")
    });
    let http_port = port(scope, &path.key("port"), raw.port, "");
    let target = target::check(scope, path, endpoint, raw, http_port, claims);
    if let Err(message) = grammar::path(&raw.scoring_path) {
        scope.problem(&path.key("scoringPath"), message);
    }
    let slots = scope.integer(
        &path.key("maxConcurrentRequestsPerReplica"),
        raw.max_concurrent_requests_per_replica,
        &limits::SLOTS,
        " slots; more would only move the queue into the replica",
    );
    let length =
        scope.integer(&path.key("maxQueueLength"), raw.max_queue_length, &limits::QUEUE_LENGTH, "");
    let probe = probe(scope, &path.key("probe"), &raw.probe);
    let replicas = replicas(scope, path, raw);
    let version = domain::Version {
        kind: match raw.kind {
            types::VersionKind::Control => VersionKind::Control,
            types::VersionKind::Treatment => VersionKind::Treatment,
        },
        traffic_percentile: traffic,
        mirror_percentile: mirror,
        scoring_path: Arc::from(raw.scoring_path.as_str()),
        slots_per_replica: slots,
        max_queue_wait: scope.duration(
            &path.key("maxQueueWait"),
            raw.max_queue_wait.0,
            &limits::QUEUE_WAIT,
        ),
        max_queue_length: (length != 0).then_some(length),
        request_timeout: scope.duration(
            &path.key("requestTimeout"),
            raw.request_timeout.0,
            &limits::REQUEST_TIMEOUT,
        ),
        stream_idle_timeout: scope.duration(
            &path.key("streamIdleTimeout"),
            raw.stream_idle_timeout.0,
            &limits::STREAM_IDLE,
        ),
        on_disconnect: raw.on_disconnect.map(|on_disconnect| match on_disconnect {
            types::OnDisconnect::Finish => OnDisconnect::Finish,
            types::OnDisconnect::Cancel => OnDisconnect::Cancel,
        }),
        fallback_to_default: raw.fallback_to_default,
        autoscale: autoscale(scope, &path.key("autoscale"), raw),
        startable: raw.target_ref.kind != TargetKind::Addresses,
        rolling: false,
        replicas: Vec::new(),
        // Last, so that a version without a name is still checked to its end.
        name: name?,
    };
    Some((version, VersionSpec { target: target?, port: http_port, grpc_port, probe, replicas }))
}

fn check_names(scope: &mut Scope<'_>, path: &FieldPath, raw: &[Version]) {
    let mut first = BTreeMap::new();
    for (i, version) in raw.iter().enumerate() {
        let path = path.index(i).key("name");
        if scope.is_broken(&path) {
            continue;
        }
        if let Some(first) = first.get(version.name.as_str()) {
            let message = format!(
                "version `{}` is defined twice, first at {first}; rename or remove one",
                version.name
            );
            scope.problem(&path, message);
        } else {
            first.insert(version.name.as_str(), scope.place(&path));
        }
    }
}

fn check_kinds(scope: &mut Scope<'_>, path: &FieldPath, raw: &[Version]) {
    let controls = raw.iter().enumerate().filter(|(_, v)| v.kind == types::VersionKind::Control);
    for (i, _) in controls.skip(1) {
        let message = "a second `Control`; at most one version is `Control`, the others are \
                       `Treatment`";
        scope.problem(&path.index(i).key("type"), message);
    }
}

fn check_percentiles(scope: &mut Scope<'_>, path: &FieldPath, raw: &[Version]) {
    let all: Vec<_> = (0..raw.len()).map(|i| path.index(i).key("trafficPercentile")).collect();
    let sum = raw.iter().fold(0_i64, |sum, v| sum.saturating_add(v.traffic_percentile));
    let each_fits = raw.iter().all(|v| (0..=100).contains(&v.traffic_percentile));
    let last = raw.iter().rposition(|v| v.traffic_percentile > 0).and_then(|i| all.get(i));
    if let Some(last) = last
        && sum > 100
        && each_fits
    {
        let message = format!(
            "the percentiles of all versions add up to {sum}; at most 100 is allowed: lower some"
        );
        scope.problem_among(last, &all, message);
    }
}

/// The first version, unless one says otherwise.
fn default_version(scope: &mut Scope<'_>, path: &FieldPath, raw: &[Version]) -> usize {
    let mut defaults = raw.iter().enumerate().filter(|(_, version)| version.is_default);
    let Some((first, version)) = defaults.next() else { return 0 };
    for (i, _) in defaults {
        let message = format!(
            "a second default; version `{}` is the default already: keep one `isDefault: true`",
            version.name
        );
        scope.problem(&path.index(i).key("isDefault"), message);
    }
    first
}

fn warn_of_the_rest(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    raw: &[Version],
    default_version: usize,
) {
    let sum: i64 = raw.iter().map(|v| v.traffic_percentile.clamp(0, 100)).sum();
    if let Some(default) = raw.get(default_version)
        && raw.len() > 1
        && sum < 100
    {
        let message = format!(
            "the percentiles add up to {sum}; the remaining {} % go to the default version `{}`",
            100 - sum,
            default.name
        );
        scope.warn(path, message);
    }
}

fn percent(scope: &mut Scope<'_>, path: &FieldPath, value: i64) -> u8 {
    let value = scope.integer(path, value, &limits::PERCENT, " percent");
    u8::try_from(value).expect("a percentage is at most 100")
}

fn mirror(scope: &mut Scope<'_>, version: &FieldPath, raw: &Version) -> u8 {
    let path = version.key("mirrorPercentile");
    let percent = percent(scope, &path, raw.mirror_percentile);
    // Out of range is reported already, and is no wish to mirror.
    if percent == 0 || i64::from(percent) != raw.mirror_percentile {
        return percent;
    }
    if !scope.policy.mirror {
        scope.problem(&path, "mirroring is not served yet; set it to 0 or remove it");
    } else if raw.traffic_percentile != 0 {
        let message = format!(
            "{percent} is only allowed with `trafficPercentile: 0`, and this version has {}",
            raw.traffic_percentile
        );
        scope.problem_among(&path, &[version.key("trafficPercentile")], message);
    }
    percent
}

fn port(scope: &mut Scope<'_>, path: &FieldPath, value: i64, why: &str) -> u16 {
    let value = scope.integer(path, value, &limits::PORT, why);
    u16::try_from(value).expect("a port is at most 65535")
}

fn autoscale(scope: &mut Scope<'_>, path: &FieldPath, version: &Version) -> domain::Autoscale {
    let raw = &version.autoscale;
    let (min_path, max_path) = (path.key("minReplicas"), path.key("maxReplicas"));
    let bound = limits::REPLICAS_MAX;
    let min = scope.integer(&min_path, raw.min_replicas, &(0..=bound), " replicas");
    let max = scope.integer(&max_path, raw.max_replicas, &(1..=bound), " replicas");
    // A bound that is out of range was reported; how the two compare says nothing then.
    let in_range = i64::from(min) == raw.min_replicas && i64::from(max) == raw.max_replicas;
    if min > max && in_range {
        let message = format!(
            "{min} is above `maxReplicas`, which is {max}; lower it or raise `maxReplicas`"
        );
        scope.problem_among(&min_path, &[max_path], message);
    }
    domain::Autoscale {
        // Fixed addresses are what they are.
        enabled: raw.enabled && version.target_ref.kind != TargetKind::Addresses,
        min_replicas: min,
        max_replicas: max,
        target_utilization: scope.integer(
            &path.key("targetUtilization"),
            raw.target_utilization,
            &limits::UTILIZATION,
            " percent",
        ),
        scale_down_window: scope.duration(
            &path.key("scaleDownWindow"),
            raw.scale_down_window.0,
            &limits::SCALE_DOWN_WINDOW,
        ),
    }
}

fn probe(scope: &mut Scope<'_>, path: &FieldPath, raw: &types::Probe) -> Probe {
    let given = [
        raw.http.clone().map(ProbeKind::Http),
        raw.tcp.is_some().then_some(ProbeKind::Tcp),
        raw.grpc.is_some().then_some(ProbeKind::Grpc),
        raw.none.is_some().then_some(ProbeKind::None),
    ];
    let mut given = given.into_iter().flatten();
    let kind = given.next().unwrap_or_else(|| ProbeKind::Http("/".to_owned()));
    if given.next().is_some() {
        scope.problem(path, "asks for several; keep one of `http`, `tcp`, `grpc`, `none`");
    }
    if let ProbeKind::Http(http) = &kind
        && let Err(message) = grammar::path(http)
    {
        scope.problem(&path.key("http"), message);
    }
    Probe {
        kind,
        period: scope.duration(&path.key("period"), raw.period.0, &limits::PROBE_PERIOD),
        timeout: scope.duration(&path.key("timeout"), raw.timeout.0, &limits::PROBE_TIMEOUT),
    }
}

fn replicas(scope: &mut Scope<'_>, version: &FieldPath, raw: &Version) -> Option<u32> {
    let path = version.key("replicas");
    let count = scope.integer(&path, raw.replicas?, &(0..=limits::REPLICAS_MAX), " replicas");
    if raw.target_ref.kind == TargetKind::Addresses {
        scope.warn(&path, "has no effect: fixed addresses are never scaled");
    } else if raw.autoscale.enabled {
        scope.warn(&path, "has no effect while `autoscale.enabled` is true");
    }
    Some(count)
}
