//! `/openapi.json`: the description of the admin port.

use serde_json::{Map, Value, json};

/// One path of the admin port.
#[derive(Debug)]
pub(super) struct PathEntry {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    answer: Answer,
    parameters: &'static [Parameter],
    /// Statuses other than 200, with their meaning.
    refusals: &'static [(&'static str, &'static str)],
    /// Whether the guard has to let the caller in.
    guarded: bool,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Text,
    Json,
    Item(&'static str),
    List(&'static str),
}

#[derive(Debug)]
struct Parameter {
    name: &'static str,
    place: &'static str,
    kind: &'static str,
    meaning: &'static str,
}

const fn path(path: &'static str, summary: &'static str, answer: Answer) -> PathEntry {
    let (parameters, refusals): (&[Parameter], _) = (&[], &[]);
    PathEntry { method: "GET", path, summary, answer, parameters, refusals, guarded: false }
}

/// A path with the credentials of an endpoint, which is not for everybody.
const fn guarded(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answer: Answer,
    parameters: &'static [Parameter],
) -> PathEntry {
    PathEntry { method, path, summary, answer, parameters, refusals: GUARDED, guarded: true }
}

const ENDPOINT: Parameter =
    Parameter { name: "name", place: "path", kind: "string", meaning: "name of an endpoint" };
const KEY: Parameter =
    Parameter { name: "key", place: "path", kind: "string", meaning: "primary or secondary" };

/// How a guarded path is refused; all are application/problem+json.
const GUARDED: &[(&str, &str)] = &[
    ("400", "a malformed request, or a body with fields"),
    ("401", "no credential, or not a valid one"),
    ("403", "the caller may not"),
    ("404", "no such endpoint or key"),
    ("409", "the endpoint has none, or the router cannot change it; the detail says why"),
    ("503", "not now: the cluster does not answer"),
];

const fn query(name: &'static str, kind: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, place: "query", kind, meaning }
}

/// Every path, in the order of the index page.
pub(super) static PATHS: &[PathEntry] = &[
    path("/", "this list", Answer::Text),
    path("/livez", "200 while the process answers", Answer::Text),
    PathEntry {
        parameters: &[query("verbose", "string", "lists every condition; the value is ignored")],
        refusals: &[("503", "not ready; the body lists the conditions that are not met")],
        ..path("/readyz", "200 when it may get requests; ?verbose says why", Answer::Text)
    },
    path("/healthz", "the same as /livez", Answer::Text),
    path("/metrics", "Prometheus metrics", Answer::Text),
    path("/openapi.json", "this API, described", Answer::Json),
    path("/api/v1", "this list", Answer::Text),
    path("/api/v1/endpoints", "endpoints with their versions and load", Answer::List("Endpoint")),
    PathEntry {
        parameters: &[ENDPOINT],
        refusals: &[("404", "no such endpoint (application/problem+json)")],
        ..path("/api/v1/endpoints/{name}", "one endpoint", Answer::Item("Endpoint"))
    },
    guarded(
        "GET",
        "/api/v1/endpoints/{name}/keys",
        "the keys of an endpoint",
        Answer::Item("Keys"),
        &[ENDPOINT],
    ),
    guarded(
        "POST",
        "/api/v1/endpoints/{name}/keys/{key}/regenerate",
        "replaces one key; the other one stays as it is",
        Answer::Item("Keys"),
        &[ENDPOINT, KEY],
    ),
    guarded(
        "POST",
        "/api/v1/endpoints/{name}/token",
        "a token for an endpoint",
        Answer::Item("Token"),
        &[ENDPOINT],
    ),
    path("/.well-known/jwks.json", "public keys of the router's tokens", Answer::Json),
    path("/api/v1/replicas", "replicas with their slots", Answer::List("Replica")),
    PathEntry {
        parameters: &[
            query("endpoint", "string", "only decisions for this endpoint"),
            query("version", "string", "only decisions for this version"),
            query("limit", "integer", "at most this many"),
        ],
        refusals: &[("400", "an unknown or malformed parameter (application/problem+json)")],
        ..path(
            "/api/v1/decisions",
            "the last 1000 scaling decisions, newest first",
            Answer::List("Decision"),
        )
    },
    path("/api/v1/routers", "the routers that serve these endpoints", Answer::List("Router")),
];

/// Fields of the schemas: name and type. `?` may be null, `[]` a list, a capital another schema.
static SCHEMAS: &[(&str, &[(&str, &str)])] = &[
    (
        "Endpoint",
        &[
            ("name", "string"),
            ("scoringPath", "string"),
            ("authMode", "string"),
            ("hosts", "string[]"),
            ("stickyBy", "string?"),
            ("maxPayloadBytes", "integer"),
            ("errorProfile", "string"),
            ("defaultVersion", "string"),
            ("effectiveTraffic", "string"),
            ("versions", "Version[]"),
        ],
    ),
    (
        "Version",
        &[
            ("name", "string"),
            ("isDefault", "boolean"),
            ("type", "string"),
            ("trafficPercentile", "integer"),
            ("effectivePercentile", "integer"),
            ("mirrorPercentile", "integer"),
            ("replicas", "ReplicaCounts"),
            ("slots", "integer"),
            ("slotsPerReplica", "integer"),
            ("busy", "integer?"),
            ("queued", "integer?"),
            ("utilization", "number?"),
            ("autoscale", "Autoscale"),
            ("replicaPath", "string"),
            ("requestTimeoutMs", "integer"),
            ("maxQueueWaitMs", "integer"),
            ("maxQueueLength", "integer"),
            ("onDisconnect", "string?"),
            ("fallbackToDefault", "boolean"),
        ],
    ),
    ("Keys", &[("primaryKey", "string"), ("secondaryKey", "string?")]),
    (
        "Token",
        &[
            ("accessToken", "string"),
            ("tokenType", "string"),
            ("refreshAfter", "integer"),
            ("expiryOn", "integer"),
        ],
    ),
    (
        "ReplicaCounts",
        &[
            ("ready", "integer"),
            ("starting", "integer"),
            ("draining", "integer"),
            ("wanted", "integer?"),
        ],
    ),
    (
        "Autoscale",
        &[
            ("enabled", "boolean"),
            ("minReplicas", "integer"),
            ("maxReplicas", "integer"),
            ("targetUtilization", "integer"),
            ("scaleDownWindowMs", "integer"),
        ],
    ),
    (
        "Replica",
        &[
            ("endpoint", "string"),
            ("version", "string"),
            ("name", "string"),
            ("id", "integer"),
            ("address", "string"),
            ("state", "string"),
            ("busy", "integer"),
            ("slots", "integer"),
            ("pid", "integer?"),
            ("restarts", "integer"),
            ("setAsideMs", "integer?"),
            ("message", "string"),
        ],
    ),
    (
        "Decision",
        &[
            ("time", "string"),
            ("endpoint", "string"),
            ("version", "string"),
            ("from", "integer"),
            ("to", "integer"),
            ("direction", "string"),
            ("reason", "string"),
            ("inputs", "DecisionInputs"),
        ],
    ),
    (
        "DecisionInputs",
        &[
            ("busy", "integer"),
            ("queued", "integer"),
            ("ready", "integer"),
            ("starting", "integer"),
            ("slotsPerReplica", "integer"),
            ("utilization", "number?"),
            ("targetUtilization", "integer"),
            ("minReplicas", "integer"),
            ("maxReplicas", "integer"),
            ("windowWant", "integer"),
        ],
    ),
    (
        "Router",
        &[
            ("name", "string"),
            ("version", "string"),
            ("started", "string"),
            ("dataAddress", "string"),
            ("adminAddress", "string"),
            ("workers", "integer"),
            ("phase", "string"),
            ("ready", "boolean"),
            ("requestsInProgress", "integer"),
            ("catalogAgeSeconds", "number"),
        ],
    ),
];

/// The OpenAPI 3.1 document.
pub(super) fn document() -> Value {
    let paths: Map<String, Value> = PATHS
        .iter()
        .map(|entry| {
            (entry.path.to_owned(), json!({entry.method.to_lowercase(): operation(entry)}))
        })
        .collect();
    let schemas: Map<String, Value> =
        SCHEMAS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Modelway admin API",
            "description": "Lists are plain arrays; fields are camelCase; durations and sizes have \
                            their unit in the name. Credentials of endpoints are for callers with \
                            the admin token, or whom the cluster allows it.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(entry: &PathEntry) -> Value {
    let content = match entry.answer {
        Answer::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Answer::Json => json!({"application/json": {"schema": {"type": "object"}}}),
        Answer::Item(name) => json!({"application/json": {"schema": reference(name)}}),
        Answer::List(name) => json!({
            "application/json": {"schema": {"type": "array", "items": reference(name)}},
        }),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({"description": entry.summary, "content": content}));
    for (status, meaning) in entry.refusals {
        responses.insert((*status).to_owned(), json!({"description": meaning}));
    }
    let parameters: Vec<Value> = entry
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.place == "path",
                "description": parameter.meaning,
                "schema": {"type": parameter.kind},
            })
        })
        .collect();
    let mut operation =
        json!({"summary": entry.summary, "parameters": parameters, "responses": responses});
    if entry.guarded
        && let Some(fields) = operation.as_object_mut()
    {
        fields.insert("security".to_owned(), json!([{"admin": []}]));
    }
    operation
}

fn object(fields: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, kind)| ((*name).to_owned(), schema(kind))).collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn schema(kind: &str) -> Value {
    if let Some(item) = kind.strip_suffix("[]") {
        json!({"type": "array", "items": schema(item)})
    } else if let Some(inner) = kind.strip_suffix('?') {
        json!({"type": [inner, "null"]})
    } else if kind.starts_with(char::is_uppercase) {
        reference(kind)
    } else {
        json!({"type": kind})
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
