//! One request to the API server, its answer as it comes in.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use kube::{client::Body, core::Status};
use tokio::time::{Instant, timeout_at};

use super::{super::client::ApiServer, fault::Fault};

/// How much of a failure's text is read: a `Status` has some hundred bytes, a page of a load
/// balancer a few thousand.
const MAX_FAILURE_BYTES: usize = 64 << 10;

/// Sends the request; the body of the answer if it is a good one.
pub(super) async fn open(
    server: &ApiServer,
    request: Request<Vec<u8>>,
    what: &'static str,
    limit: Duration,
) -> Result<Body, Fault> {
    let deadline = Instant::now() + limit;
    let call = server.client().send(request.map(Body::from));
    let answer = match timeout_at(deadline, call).await {
        Err(_elapsed) => return Err(Fault::Silent(what, limit)),
        Ok(Err(error)) => return Err(Fault::of_call(&error)),
        Ok(Ok(answer)) => answer,
    };
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.into_body());
    }
    let text = failure_text(answer.into_body(), deadline).await;
    let said = serde_json::from_slice::<Status>(&text).unwrap_or_else(|_| {
        Status::failure(&String::from_utf8_lossy(&text), "").with_code(status.as_u16())
    });
    Err(Fault::of_answer(&Status { code: status.as_u16(), ..said }))
}

/// The next piece of the answer; `None` at its end.
pub(super) async fn next(body: &mut Body, until: Instant) -> Result<Option<Bytes>, Option<Fault>> {
    loop {
        return match timeout_at(until, body.frame()).await {
            Err(_elapsed) => Err(None),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(Some(Fault::of_call(&error))),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(Some(data)),
                Err(_trailers) => continue,
            },
        };
    }
}

async fn failure_text(mut body: Body, deadline: Instant) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < MAX_FAILURE_BYTES
        && let Ok(Some(data)) = next(&mut body, deadline).await
    {
        text.extend_from_slice(&data);
    }
    text.truncate(MAX_FAILURE_BYTES);
    text
}
