//! Steps 2 to 5 of a request: where, who, how much, which. Heads only; nothing waits.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header, request::Parts, uri::PathAndQuery};
use hyper::body::{Body, Incoming};

use super::{
    caller,
    connection::Client,
    error::ProxyError,
    grpc,
    head::{self, GRPC_ROUTE, Kind},
    record::Record,
    routes::{LiveEndpoint, LiveVersion, Routes},
};
use crate::routing::{self, Rest};

/// A request with everything decided that can be decided without waiting.
pub(super) struct Decided {
    pub(super) version: Arc<LiveVersion>,
    pub(super) path: PathAndQuery,
    pub(super) authority: HeaderValue,
    /// `grpc-timeout`, where there is one.
    pub(super) grpc_timeout: Option<Duration>,
    pub(super) auth_took: Duration,
}

/// Steps 2 to 5, in the order of contract §12: path 400, endpoint 404, credential 401, size 413,
/// version 404.
pub(super) fn decide(
    parts: &Parts,
    incoming: &Incoming,
    kind: Kind,
    client: &Client,
    record: &mut Record,
) -> Result<Decided, ProxyError> {
    head::check(parts)?;
    let grpc_timeout = grpc::timeout(parts, kind)?;
    let authority = head::authority(parts)?;
    routing::check_path(parts.uri.path())?;
    if !client.secured {
        client.worker.proxy.settings.plain.admit(parts, &authority, kind)?;
    }
    let routes = client.worker.proxy.routes.load();
    let (live, rest) = locate(parts, &authority, kind, &routes)?;
    record.endpoint = Some(Arc::clone(live));
    let auth_began = live.endpoint.server_timing.then(Instant::now);
    let (name, policy) = (&live.endpoint.name, &live.endpoint.auth);
    let caller = caller::who(name, policy, &parts.headers, client);
    record.caller = Some(caller.map_err(ProxyError::Credential)?);
    let auth_took = auth_began.map_or(Duration::ZERO, |began| began.elapsed());
    let limit = live.endpoint.max_payload_bytes;
    let announced = incoming.size_hint().exact().unwrap_or(0);
    if announced > limit && kind != Kind::Grpc {
        return Err(ProxyError::PayloadTooLarge { limit });
    }
    let version = Arc::clone(live.choose(&parts.headers)?);
    let path = replica_path(&version, rest, parts.uri.query())?;
    let authority = authority_value(&parts.headers, &authority)?;
    Ok(Decided { version, path, authority, grpc_timeout, auth_took })
}

/// The authority as a field: nearly always the one that the client has sent.
fn authority_value(headers: &HeaderMap, authority: &str) -> Result<HeaderValue, ProxyError> {
    match headers.get(header::HOST).filter(|host| host.as_bytes() == authority.as_bytes()) {
        Some(host) => Ok(host.clone()),
        None => HeaderValue::from_str(authority)
            .map_err(|_| head::malformed("Host is not of the form host or host:port")),
    }
}

/// The endpoint that a request addresses: by gRPC metadata, by host, or by path.
fn locate<'r>(
    parts: &'r Parts,
    authority: &str,
    kind: Kind,
    routes: &'r Routes,
) -> Result<(&'r Arc<LiveEndpoint>, Rest<'r>), ProxyError> {
    let path = parts.uri.path();
    if kind == Kind::Grpc
        && let Some(route) = head::single(&parts.headers, &GRPC_ROUTE)?
    {
        let route = route.to_str().map_err(|_| head::malformed("the gRPC route is not ASCII"))?;
        routing::check_path(route)?;
        let routed = routing::route(route).ok_or(ProxyError::NoGrpcRoute)?;
        return Ok((named(routes, routed.endpoint)?, Rest::Path(path)));
    }
    if let Some(live) = routes.host(authority) {
        return Ok((live, Rest::Path(path)));
    }
    match routing::route(path) {
        Some(routed) => Ok((named(routes, routed.endpoint)?, routed.rest)),
        None if kind == Kind::Grpc => Err(ProxyError::NoGrpcRoute),
        None => Err(ProxyError::NoRoute),
    }
}

fn named<'r>(routes: &'r Routes, name: &str) -> Result<&'r Arc<LiveEndpoint>, ProxyError> {
    let shown = || name.chars().take(64).collect::<String>().into();
    routes.endpoint(name).ok_or_else(|| ProxyError::Endpoint(shown()))
}

fn replica_path(
    version: &LiveVersion,
    rest: Rest<'_>,
    query: Option<&str>,
) -> Result<PathAndQuery, ProxyError> {
    let path = match (rest, query) {
        (Rest::Score, None) => return Ok(version.scoring.clone()),
        (Rest::Score, Some(_)) => version.scoring.path(),
        (Rest::Path(path), _) => path,
    };
    let mut text = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    text.push_str(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text).map_err(|_| head::malformed("the request target is not a URI"))
}
