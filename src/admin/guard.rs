//! Who may see or change secrets at the admin port.
//!
//! Three kinds of callers may: one with the admin token, one whom the cluster knows and allows it,
//! and, where that was chosen, one on this machine. The last kind proves nothing, and a browser on
//! this machine would be such a caller for every page that it shows. So a request that a browser may
//! have made on behalf of a page is refused: one with `Origin` or `Sec-Fetch-*`, and one whose `Host`
//! is a name, which a page can point to this machine.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, Uri, header, request::Parts, uri::Authority},
};
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

use super::{credentials::Credentials, problem::Problem};
use crate::{
    auth,
    domain::{ClearText, KeyDigest, Name, Review, Right},
    telemetry::AdminRefusal,
};

/// What a browser adds and no script or tool does.
const OF_BROWSERS: [&str; 5] =
    ["origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"];
/// What a proxy adds for a caller that is somewhere else.
const OF_PROXIES: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
/// The challenge of a 401 (RFC 6750 §3).
const CHALLENGE: &str = r#"Bearer realm="modelway-admin""#;
/// After which time a caller whom nobody could judge may ask again, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// The rules of this process.
#[derive(Debug)]
pub struct Guard {
    /// The digest of the admin token, where there is one.
    token: ArcSwapOption<KeyDigest>,
    /// Whether callers on this machine need no credential while there is no admin token.
    open_on_loopback: bool,
    /// The second of the last line in the log, and how many lines it has.
    logged: Mutex<(Instant, u32)>,
}

/// What is known of the sender of a request.
#[derive(Debug)]
pub(super) struct Caller {
    peer: Option<IpAddr>,
    uri: Uri,
    headers: HeaderMap,
}

/// The address of the other end, as the listener puts it into each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Why a caller is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: AdminRefusal,
    pub(super) problem: Problem,
}

impl Guard {
    /// Rules without an admin token. `open_on_loopback`: callers on this machine need none then; only
    /// for an admin port that listens on loopback.
    pub fn new(open_on_loopback: bool) -> Self {
        let logged = Mutex::new((Instant::now(), 0));
        Self { token: ArcSwapOption::empty(), open_on_loopback, logged }
    }

    /// From now on this is the admin token.
    pub fn set_token(&self, token: &ClearText) {
        self.token.store(Some(auth::digest(token.reveal().as_bytes()).into()));
    }

    /// Whether one more failed try may go into the log, at most `max` within a second.
    pub(super) fn may_log(&self, max: u32) -> bool {
        let mut logged = self.logged.lock();
        let (since, lines) = &mut *logged;
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *lines) = (Instant::now(), 0);
        }
        *lines += 1;
        *lines <= max
    }

    /// Whether the caller may do this with the credentials of this endpoint.
    pub(super) async fn admit(
        &self,
        caller: &Caller,
        right: Right,
        endpoint: &Name,
        credentials: &dyn Credentials,
    ) -> Result<(), Refused> {
        let admin_token = self.token.load();
        if self.open_on_loopback && admin_token.is_none() {
            return caller.is_of_this_machine();
        }
        let Some(presented) = caller.bearer()? else {
            return Err(refused(AdminRefusal::Missing, NO_CREDENTIAL));
        };
        if let Some(digest) = admin_token.as_deref() {
            let KeyDigest(valid) = digest;
            let KeyDigest(presented) = auth::digest(presented.reveal().as_bytes());
            if bool::from(presented.ct_eq(valid)) {
                return Ok(());
            }
        }
        match credentials.review(presented, right, endpoint.clone()).await {
            Some(Review::Allowed(_)) => Ok(()),
            Some(Review::Denied(user)) => Err(forbidden(&user, right, endpoint)),
            Some(Review::Unavailable(why)) => Err(Refused {
                why: AdminRefusal::Unavailable,
                problem: Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
                    .with(header::RETRY_AFTER, RETRY_AFTER_SECONDS),
            }),
            Some(Review::Unknown) => Err(refused(AdminRefusal::Wrong, UNKNOWN_TOKEN)),
            None if admin_token.is_none() => Err(closed()),
            None => Err(refused(AdminRefusal::Wrong, WRONG_TOKEN)),
        }
    }
}

const NO_CREDENTIAL: &str = "this needs a credential: send 'Authorization: Bearer TOKEN' with the admin token \
     of the router (--admin-token-file) or, in a cluster, with a token of Kubernetes; the commands \
     take it from --token-file or MODELWAY_ADMIN_TOKEN";
const WRONG_TOKEN: &str = "the token is not the admin token of this router";
const UNKNOWN_TOKEN: &str = "the token is neither the admin token of this router nor known to the cluster, or it has \
     expired; `kubectl create token ACCOUNT` makes one";

fn refused(why: AdminRefusal, detail: &str) -> Refused {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    Refused { why, problem: problem.with(header::WWW_AUTHENTICATE, CHALLENGE) }
}

/// Nobody may, until somebody sets it up.
fn closed() -> Refused {
    let detail = "this router has no admin token, so nobody may see or change credentials: start it with \
                  --admin-token-file FILE, or with MODELWAY_ADMIN_TOKEN";
    let problem = Problem::new(StatusCode::FORBIDDEN, "forbidden", detail);
    Refused { why: AdminRefusal::Forbidden, problem }
}

fn forbidden(user: &str, right: Right, endpoint: &Name) -> Refused {
    let (verb, subresource) = right.in_cluster();
    let detail = format!(
        "{user:?} may not: it needs the verb {verb} on inferenceendpoints/{subresource} of modelway.dev \
         for {endpoint} in its namespace"
    );
    let problem = Problem::new(StatusCode::FORBIDDEN, "forbidden", detail);
    Refused { why: AdminRefusal::Forbidden, problem }
}

fn foreign(detail: impl Into<String>) -> Refused {
    let problem = Problem::new(StatusCode::FORBIDDEN, "forbidden", detail);
    Refused { why: AdminRefusal::Foreign, problem }
}

impl Caller {
    /// On this machine, and not a browser that does what a page wants.
    fn is_of_this_machine(&self) -> Result<(), Refused> {
        if !self.peer.is_some_and(|peer| peer.to_canonical().is_loopback()) {
            return Err(foreign(
                "only callers on the router's own machine may do this without a credential; start \
                 the router with --admin-token-file FILE for others",
            ));
        }
        let named = OF_BROWSERS.iter().find(|name| self.headers.contains_key(**name));
        if let Some(name) = named {
            return Err(foreign(format!(
                "a request with {name} comes from a web page; use `modelway keys` or curl, or start \
                 the router with --admin-token-file FILE"
            )));
        }
        if let Some(name) = OF_PROXIES.iter().find(|name| self.headers.contains_key(**name)) {
            return Err(foreign(format!(
                "a request with {name} came through a proxy, so its sender is not known; start the \
                 router with --admin-token-file FILE"
            )));
        }
        if self.is_for_this_machine() {
            return Ok(());
        }
        Err(foreign(
            "the Host of the request is not an address of this machine: ask 127.0.0.1, [::1] or \
             localhost",
        ))
    }

    /// The address of the sender, for the log.
    pub(super) fn shown_peer(&self) -> String {
        self.peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
    }

    /// The media type of the body, empty where none is given; `None` without a body.
    pub(super) fn body_kind(&self) -> Option<&str> {
        let is_empty = self.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
        if is_empty && !self.headers.contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let kind = self.headers.get(header::CONTENT_TYPE);
        Some(kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default())
    }

    /// One `Host`, and in it, and in the target where that names a host too, a loopback address.
    fn is_for_this_machine(&self) -> bool {
        let mut hosts = self.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let host = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        host.is_some_and(|host| is_loopback(&host)) && self.uri.authority().is_none_or(is_loopback)
    }

    /// The credential, where one was sent.
    fn bearer(&self) -> Result<Option<ClearText>, Refused> {
        let mut fields = self.headers.get_all(header::AUTHORIZATION).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        if fields.next().is_some() {
            let detail = "the credential is sent twice; send one Authorization field";
            let problem = Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail);
            return Err(Refused { why: AdminRefusal::Malformed, problem });
        }
        let malformed = || {
            let detail = "the credential is malformed; send 'Authorization: Bearer TOKEN'";
            refused(AdminRefusal::Malformed, detail)
        };
        let token = auth::bearer_value(field.as_bytes()).ok_or_else(malformed)?;
        let token = str::from_utf8(token).map_err(|_| malformed())?;
        Ok(Some(ClearText::new(token)))
    }
}

/// The name `localhost` or a loopback address; a name that resolves to one is odd.
fn is_loopback(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().map(|Peer(address)| address.ip());
        Ok(Self { peer, uri: parts.uri.clone(), headers: parts.headers.clone() })
    }
}
