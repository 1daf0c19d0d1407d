//! Which address does what.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderValue, Method, Request, StatusCode, Version, header::CONNECTION};
use hyper::body::Incoming;
use serde_json::json;

use super::{
    Model,
    answer::{self, Answer},
    grpc, score, stream, websocket,
};

/// Answers one request.
pub(super) async fn handle(
    model: Arc<Model>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let version = request.version();
    let close = model.behaviour.close;
    let mut answer = route(model, request).await;
    // HTTP/2 has no such field, and an upgraded connection says `upgrade` in it.
    if close && version < Version::HTTP_2 && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

async fn route(model: Arc<Model>, request: Request<Incoming>) -> Answer {
    if grpc::is_grpc(request.headers()) {
        return grpc::call(model, request).await;
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => health(&model),
        (&Method::GET, "/swagger.json") => json_answer(swagger(&model).to_string()),
        (&Method::GET, "/stats") => json_answer(stats(&model).to_string()),
        (&Method::GET, "/executions") => json_answer(model.truth.executions_json()),
        (&Method::GET, "/ws") => websocket::socket(model, request).await,
        (_, "/echo") => stream::echo(model, request).await,
        (_, "/stream" | "/v1/chat/completions") => stream::events(model, request).await,
        (_, "/score") => score::score(model, request).await,
        _ => answer::text(StatusCode::NOT_FOUND, "no such address"),
    }
}

fn health(model: &Model) -> Answer {
    if model.is_healthy() {
        answer::text(StatusCode::OK, "Healthy")
    } else {
        answer::text(StatusCode::SERVICE_UNAVAILABLE, "Starting")
    }
}

fn json_answer(body: impl Into<bytes::Bytes>) -> Answer {
    answer::whole(StatusCode::OK, "application/json", body.into())
}

fn stats(model: &Model) -> serde_json::Value {
    let mut stats = json!(model.truth.stats());
    if let Some(fields) = stats.as_object_mut() {
        fields.insert("model".into(), json!(model.behaviour.name));
        fields.insert("replica".into(), json!(model.behaviour.replica));
    }
    stats
}

/// A Swagger 2.0 document in the manner of Azure's model server.
fn swagger(model: &Model) -> serde_json::Value {
    let answers = json!({"200": {"description": "The answer", "schema": {"type": "object"}}});
    json!({
        "swagger": "2.0",
        "info": {"title": model.behaviour.name, "version": "1.0"},
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": {
            "/": {"get": {"operationId": "health", "responses": {"200": {"description": "Healthy"}}}},
            "/score": {"post": {
                "operationId": "score",
                "parameters": [{"name": "input", "in": "body", "schema": {"type": "object"}}],
                "responses": answers,
            }},
        },
    })
}
