//! The paths of the admin port and what answers them.

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderName, Method, StatusCode, Uri, header},
    routing::{MethodRouter, get, post},
};
use serde::Deserialize;

use super::{
    AdminState, collect, credentials,
    health::{livez, readyz},
    items::{DecisionItem, EndpointItem, ReplicaItem, RouterItem},
    openapi::{PATHS, document},
    problem::Problem,
};
use crate::{domain::CredentialError, telemetry::DECISIONS_MAX};

/// Everything the admin port answers.
pub(super) fn router(state: AdminState) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
}

/// Each path once; a test holds it equal to the list in `/openapi.json`.
pub(super) fn routes() -> [(&'static str, MethodRouter<AdminState>); 16] {
    [
        ("/", get(index)),
        ("/livez", get(livez)),
        ("/readyz", get(readyz)),
        ("/healthz", get(livez)),
        ("/metrics", get(metrics)),
        ("/openapi.json", get(openapi)),
        ("/api/v1/endpoints", get(endpoints)),
        ("/api/v1/endpoints/{name}", get(endpoint)),
        ("/api/v1/endpoints/{name}/keys", get(credentials::show_keys)),
        ("/api/v1/endpoints/{name}/keys/{key}/regenerate", post(credentials::regenerate)),
        ("/api/v1/endpoints/{name}/token", post(credentials::token)),
        ("/.well-known/jwks.json", get(credentials::jwks)),
        ("/api/v1/replicas", get(replicas)),
        ("/api/v1/decisions", get(decisions)),
        ("/api/v1/routers", get(routers)),
        ("/api/v1", get(index)),
    ]
}

async fn index() -> String {
    let lines = PATHS
        .iter()
        .map(|entry| format!("{:<4} {:<48} {}\n", entry.method, entry.path, entry.summary));
    std::iter::once("Modelway, admin port\n\n".to_owned()).chain(lines).collect()
}

async fn metrics(State(state): State<AdminState>) -> ([(HeaderName, &'static str); 1], String) {
    collect::set_gauges(&state);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.encode())
}

async fn openapi() -> Json<serde_json::Value> {
    Json(document())
}

async fn endpoints(State(state): State<AdminState>) -> Json<Vec<EndpointItem>> {
    let catalog = state.view.catalog();
    let items = catalog.endpoints.values();
    Json(items.map(|endpoint| collect::endpoint_item(&*state.view, endpoint)).collect())
}

async fn endpoint(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<EndpointItem>, Problem> {
    let catalog = state.view.catalog();
    let endpoint =
        catalog.endpoints.get(name.as_str()).ok_or(CredentialError::UnknownEndpoint(name))?;
    Ok(Json(collect::endpoint_item(&*state.view, endpoint)))
}

async fn replicas(State(state): State<AdminState>) -> Json<Vec<ReplicaItem>> {
    let mut items: Vec<_> = state.view.replicas().into_iter().map(collect::replica_item).collect();
    items.sort_by(|a, b| {
        (&a.endpoint, &a.version, &a.name, a.id).cmp(&(&b.endpoint, &b.version, &b.name, b.id))
    });
    Json(items)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionFilter {
    endpoint: Option<String>,
    version: Option<String>,
    limit: Option<usize>,
}

async fn decisions(
    State(state): State<AdminState>,
    filter: Result<Query<DecisionFilter>, QueryRejection>,
) -> Result<Json<Vec<DecisionItem>>, Problem> {
    let Query(filter) = filter.map_err(|rejection| {
        let detail = format!("{}; endpoint, version and limit are allowed", rejection.body_text());
        Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
    })?;
    let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|w| w == name);
    let limit = filter.limit.unwrap_or(DECISIONS_MAX);
    let newest = state.decisions.newest(limit, |decision| {
        is(&filter.endpoint, decision.key.endpoint.as_str())
            && is(&filter.version, decision.key.version.as_str())
    });
    Ok(Json(newest.iter().map(|decision| collect::decision_item(decision)).collect()))
}

/// A list, because several routers may serve the same endpoints.
async fn routers(State(state): State<AdminState>) -> Json<[RouterItem; 1]> {
    Json([collect::router_item(&state)])
}

async fn nowhere(uri: Uri) -> Problem {
    let detail = format!("nothing is at {:?}; GET / lists the addresses", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no_route", detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not allowed at {:?}; GET / lists the methods", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
