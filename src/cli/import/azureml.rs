//! What the fields of Azure Machine Learning's endpoints and deployments (CLI v2) mean here.
//!
//! Its defaults are written out where ours differ, so that an endpoint behaves as it did.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::fields::{Fields, Notes};
use crate::platform::spec::limits;

const IN_THE_PODS: &str = "has no counterpart here; it belongs to the pods of the Deployment";
const NO_COUNTERPART: &str = "has no counterpart; left out";
const PROBED: &str = "has no counterpart here; it belongs to the readinessProbe of the pods";
/// Fields of a deployment that are not in the output, each with the reason; none for those that
/// carry no wish.
const DEPLOYMENT_REST: [(&str, &str); 16] = [
    ("$schema", ""),
    ("app_insights_enabled", "has no counterpart; metrics and logs are there for every endpoint"),
    ("code_configuration", IN_THE_PODS),
    ("data_collector", NO_COUNTERPART),
    ("description", NO_COUNTERPART),
    ("egress_public_network_access", NO_COUNTERPART),
    ("environment_variables", IN_THE_PODS),
    ("instance_type", IN_THE_PODS),
    ("liveness_probe", IN_THE_PODS),
    ("model", IN_THE_PODS),
    ("model_mount_path", IN_THE_PODS),
    ("private_network_connection", NO_COUNTERPART),
    ("properties", NO_COUNTERPART),
    ("resources", IN_THE_PODS),
    ("startup_probe", IN_THE_PODS),
    ("tags", NO_COUNTERPART),
];
const ENDPOINT_REST: [(&str, &str); 8] = [
    ("$schema", ""),
    ("compute", "names the cluster; apply the output there"),
    ("description", NO_COUNTERPART),
    ("identity", NO_COUNTERPART),
    ("properties", NO_COUNTERPART),
    ("public_network_access", NO_COUNTERPART),
    ("tags", NO_COUNTERPART),
    ("type", ""),
];
/// Azure's default of `request_timeout_ms`.
const REQUEST_TIMEOUT_MS: i64 = 5000;
/// Azure's default of `max_instances`.
const MAX_INSTANCES: i64 = 1;
const REPLICAS_MAX: i64 = limits::REPLICAS_MAX as i64;
/// A share as Azure allows it; that all of them fit together is a rule of the endpoint.
const SHARE: RangeInclusive<i64> = 0..=100;

/// Endpoints and deployments as they are read, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) deployments: Vec<Deployment>,
}

/// What an endpoint document says.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) place: String,
    pub(super) name: String,
    pub(super) auth: &'static str,
    /// Deployments with their shares.
    pub(super) traffic: Vec<(String, i64)>,
}

/// What a deployment document says.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) place: String,
    pub(super) name: String,
    pub(super) endpoint: Option<String>,
    /// The version, without its share and its target.
    pub(super) version: Map<String, Value>,
}

impl Parts {
    /// Reads one document.
    pub(super) fn take(&mut self, place: &str, document: Value, notes: &mut Notes) {
        let Some(mut fields) = Fields::document(place, document) else {
            notes.say(place, "", "must be a mapping; left out");
            return;
        };
        let is_deployment = is_deployment(&fields);
        let Some(name) =
            fields.text(notes, "name").map(|name| lower(&fields, notes, "name", &name))
        else {
            notes.say(place, "name", "is required; the document is left out");
            return;
        };
        if is_deployment {
            self.deployments.push(deployment(place, name, fields, notes));
        } else {
            self.endpoints.push(endpoint(place, name, fields, notes));
        }
    }
}

/// `$schema` is often left out, so the fields decide that only one of the two has.
fn is_deployment(fields: &Fields) -> bool {
    const OWN: [&str; 8] = [
        "endpoint_name",
        "model",
        "environment",
        "code_configuration",
        "request_settings",
        "scale_settings",
        "instance_type",
        "instance_count",
    ];
    OWN.iter().any(|field| fields.has(field))
}

fn endpoint(place: &str, name: String, mut fields: Fields, notes: &mut Notes) -> Endpoint {
    let auth = auth(&mut fields, notes);
    let mut shares = fields.below(notes, "traffic");
    let names: Vec<_> = shares.names();
    let traffic = names.into_iter().filter_map(|name| {
        let share = shares.integer(notes, &name, &SHARE)?;
        Some((lower(&shares, notes, &name, &name), share))
    });
    let traffic = traffic.collect();
    if fields.take("mirror_traffic").is_some() {
        fields.say(notes, "mirror_traffic", "mirroring is not served yet; left out");
    }
    fields.finish(notes, &ENDPOINT_REST);
    Endpoint { place: place.to_owned(), name, auth, traffic }
}

fn auth(fields: &mut Fields, notes: &mut Notes) -> &'static str {
    let mode = fields.text(notes, "auth_mode").unwrap_or_else(|| "key".to_owned());
    match mode.to_ascii_lowercase().as_str() {
        "key" => {
            let message = "new keys are made; to keep the old ones, put them into a Secret as \
                           primaryKey and secondaryKey and name it in spec.auth.secretRef";
            fields.say(notes, "auth_mode", message);
            "Key"
        }
        "aml_token" => {
            let message = "the router issues the tokens itself: get one with modelway token, or \
                           from the admin API";
            fields.say(notes, "auth_mode", message);
            "Token"
        }
        "aad_token" => {
            let message = "add the issuer of your tenant to spec.auth.token.issuers: until then \
                           only tokens of the router itself are accepted";
            fields.say(notes, "auth_mode", message);
            "Token"
        }
        _ => {
            let message = "is none of key, aml_token and aad_token; Key is written instead";
            fields.say(notes, "auth_mode", message);
            "Key"
        }
    }
}

fn deployment(place: &str, name: String, mut fields: Fields, notes: &mut Notes) -> Deployment {
    let mut version = Map::new();
    version.insert("name".to_owned(), json!(name));
    let endpoint = fields.text(notes, "endpoint_name");
    let endpoint = endpoint.map(|text| lower(&fields, notes, "endpoint_name", &text));
    if let Some(kind) = fields.text(notes, "type")
        && kind != "kubernetes"
    {
        fields.say(notes, "type", &format!("{kind} is read as kubernetes"));
    }
    request_settings(fields.below(notes, "request_settings"), &mut version, notes);
    scale(&mut fields, &mut version, notes);
    routes(&mut fields, &mut version, notes);
    readiness(fields.below(notes, "readiness_probe"), &mut version, notes);
    fields.finish(notes, &DEPLOYMENT_REST);
    Deployment { place: place.to_owned(), name, endpoint, version }
}

fn request_settings(mut fields: Fields, version: &mut Map<String, Value>, notes: &mut Notes) {
    let timeout = fields.integer(notes, "request_timeout_ms", &ms(&limits::REQUEST_TIMEOUT));
    if timeout.is_none() {
        let message = "is not given; Azure's default of 5000 ms is written out";
        fields.say(notes, "request_timeout_ms", message);
    }
    set(version, "requestTimeout", &[], milliseconds(timeout.unwrap_or(REQUEST_TIMEOUT_MS)));
    if let Some(wait) = fields.integer(notes, "max_queue_wait_ms", &ms(&limits::QUEUE_WAIT)) {
        set(version, "maxQueueWait", &[], milliseconds(wait));
    }
    let slots = i64::from(*limits::SLOTS.start())..=i64::from(*limits::SLOTS.end());
    if let Some(slots) = fields.integer(notes, "max_concurrent_requests_per_instance", &slots) {
        set(version, "maxConcurrentRequestsPerReplica", &[], json!(slots));
    }
    fields.finish(notes, &[]);
}

/// Fixed or scaled: without `scale_settings` a count is a wish for exactly that many.
fn scale(fields: &mut Fields, version: &mut Map<String, Value>, notes: &mut Notes) {
    let count = fields.integer(notes, "instance_count", &(0..=REPLICAS_MAX));
    let has_settings = fields.has("scale_settings");
    let mut settings = fields.below(notes, "scale_settings");
    let kind = settings.text(notes, "type");
    let is_fixed = match kind.as_deref() {
        Some("default") => true,
        Some("target_utilization") => false,
        Some(_) => {
            settings.say(notes, "type", "is neither default nor target_utilization; left out");
            false
        }
        None => !has_settings && count.is_some(),
    };
    if is_fixed {
        set(version, "autoscale", &["enabled"], json!(false));
        set(version, "replicas", &[], json!(count.unwrap_or(1)));
    } else {
        if count.is_some() {
            let message = "has no effect while the deployment is scaled by its utilization";
            fields.say(notes, "instance_count", message);
        }
        let min = settings.integer(notes, "min_instances", &(0..=REPLICAS_MAX)).unwrap_or(1);
        let max = settings.integer(notes, "max_instances", &(1..=REPLICAS_MAX));
        if max.is_none() {
            let message = "is not given; Azure's default of 1 is written out";
            settings.say(notes, "max_instances", message);
        }
        let max = max.unwrap_or(MAX_INSTANCES);
        if min > max {
            let message = format!("{min} is above max_instances; {max} is written instead");
            settings.say(notes, "min_instances", &message);
        }
        set(version, "autoscale", &["minReplicas"], json!(min.min(max)));
        set(version, "autoscale", &["maxReplicas"], json!(max));
        if let Some(target) = settings.integer(notes, "target_utilization_percentage", &(1..=100)) {
            set(version, "autoscale", &["targetUtilization"], json!(target));
        }
    }
    let polling = "has no counterpart: replicas are added as soon as the load crosses the target";
    settings.finish(notes, &[("polling_interval", polling)]);
}

/// The routes of a container of one's own.
fn routes(fields: &mut Fields, version: &mut Map<String, Value>, notes: &mut Notes) {
    // An environment in the workspace is only a name here.
    if !fields.is_mapping("environment") {
        if fields.take("environment").is_some() {
            fields.say(notes, "environment", IN_THE_PODS);
        }
        return;
    }
    let mut environment = fields.below(notes, "environment");
    let mut config = environment.below(notes, "inference_config");
    let mut scoring = config.below(notes, "scoring_route");
    let ports = 1..=65_535;
    let port = scoring.integer(notes, "port", &ports);
    if let Some(port) = port {
        set(version, "port", &[], json!(port));
    }
    if let Some(path) = scoring.text(notes, "path") {
        set(version, "scoringPath", &[], json!(path));
    }
    scoring.finish(notes, &[]);
    let mut readiness = config.below(notes, "readiness_route");
    if let Some(path) = readiness.text(notes, "path") {
        set(version, "probe", &["http"], json!(path));
    }
    if readiness.integer(notes, "port", &ports).is_some_and(|other| Some(other) != port) {
        let message = "differs from the port of scoring_route, which is asked instead";
        readiness.say(notes, "port", message);
    }
    readiness.finish(notes, &[]);
    config.finish(notes, &[("liveness_route", IN_THE_PODS)]);
    for field in environment.into_rest().keys() {
        fields.say(notes, &format!("environment.{field}"), IN_THE_PODS);
    }
}

fn readiness(mut fields: Fields, version: &mut Map<String, Value>, notes: &mut Notes) {
    let seconds = |range: &RangeInclusive<std::time::Duration>| {
        1..=i64::try_from(range.end().as_secs()).unwrap_or(i64::MAX)
    };
    if let Some(period) = fields.integer(notes, "period", &seconds(&limits::PROBE_PERIOD)) {
        set(version, "probe", &["period"], json!(format!("{period}s")));
    }
    if let Some(timeout) = fields.integer(notes, "timeout", &seconds(&limits::PROBE_TIMEOUT)) {
        set(version, "probe", &["timeout"], json!(format!("{timeout}s")));
    }
    let rest = ["initial_delay", "success_threshold", "failure_threshold"];
    fields.finish(notes, &rest.map(|field| (field, PROBED)));
}

/// Azure's names are not case-sensitive; ours are in small letters.
fn lower(fields: &Fields, notes: &mut Notes, field: &str, name: &str) -> String {
    let small = name.to_ascii_lowercase();
    if small != name {
        fields.say(notes, field, &format!("{name} is written as {small}"));
    }
    small
}

/// Sets a field, or one of a mapping below it.
fn set(version: &mut Map<String, Value>, field: &str, below: &[&str], value: Value) {
    match below {
        [] => {
            version.insert(field.to_owned(), value);
        }
        [inner, ..] => {
            let mapping = version.entry(field).or_insert_with(|| json!({}));
            if let Some(mapping) = mapping.as_object_mut() {
                mapping.insert((*inner).to_owned(), value);
            }
        }
    }
}

fn ms(range: &RangeInclusive<std::time::Duration>) -> RangeInclusive<i64> {
    let ms = |bound: &std::time::Duration| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
    ms(range.start())..=ms(range.end())
}

fn milliseconds(ms: i64) -> Value {
    let text = if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") };
    Value::from(text)
}
