//! Getting the keys of an issuer: OpenID discovery and the JWK Set, over TLS.
//!
//! Whoever controls an answer controls who may call, so nothing but what was asked for is taken: no
//! redirects, no other status than 200, no certificate that the roots do not vouch for.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};

use super::{rhythm, source::SourceId};
use crate::{
    auth::{KeySetFault, MAX_KEY_SET_BYTES},
    telemetry::FetchOutcome,
};

/// How long discovery and keys may take together.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(5);
/// The most fetches at once: many more than are due in any second, few enough for any machine.
const FETCHES_MAX: usize = 64;
/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest `jwks_uri` of an OpenID configuration: the bound of `jwksUri`.
const URI_BYTES_MAX: usize = 2048;
/// What stands behind the issuer (OpenID Connect Discovery 1.0 §4).
const CONFIGURATION: &str = "/.well-known/openid-configuration";
const AGENT: &str = concat!("modelway/", env!("CARGO_PKG_VERSION"));

/// What an issuer has answered.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// A JWK Set, not yet read.
    pub body: Bytes,
    /// How long it may be kept, where the answer says so.
    pub max_age: Option<Duration>,
}

/// Who gets the keys of issuers.
pub trait Fetch: Send + Sync {
    /// Gets the keys of an issuer; takes at most [`FETCH_TIME_MAX`] once it has begun.
    fn fetch(&self, source: &SourceId) -> BoxFuture<'static, Result<Fetched, FetchFault>>;
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke, or what came was no HTTP.
    #[error("the answer could not be read: {0}")]
    Broken(String),
    /// Too slow.
    #[error("no complete answer within {} s", FETCH_TIME_MAX.as_secs())]
    Timeout,
    /// A redirect.
    #[error("redirects ({0}) are not followed; name the address that it leads to")]
    Redirect(u16),
    /// Another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// Too large.
    #[error("the answer is larger than {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    /// Discovery gave no configuration.
    #[error("the OpenID configuration is not a JSON object with issuer and jwks_uri")]
    Configuration,
    /// Discovery answered for somebody else.
    #[error(
        "the OpenID configuration is that of another issuer; compare 'issuer' letter by letter"
    )]
    OtherIssuer,
    /// `jwks_uri` cannot be asked.
    #[error(
        "the jwks_uri of the OpenID configuration is not an https URI without user and fragment"
    )]
    KeysUri,
    /// Not a JWK Set.
    #[error("{0}")]
    KeySet(KeySetFault),
    /// The issuer cannot be asked at all.
    #[error("the address is not a URI")]
    Uri,
    /// There are no roots to check certificates with.
    #[error("{0}")]
    Roots(String),
}

impl FetchFault {
    /// How it is counted.
    pub(super) const fn outcome(&self) -> FetchOutcome {
        match self {
            Self::Connect(_) | Self::Roots(_) => FetchOutcome::Unreachable,
            Self::Timeout => FetchOutcome::Timeout,
            Self::Broken(_)
            | Self::Redirect(_)
            | Self::Status(_)
            | Self::TooLarge
            | Self::Configuration
            | Self::OtherIssuer
            | Self::KeysUri
            | Self::KeySet(_)
            | Self::Uri => FetchOutcome::Invalid,
        }
    }
}

/// Which certificates of issuers are believed.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Those that the system's roots vouch for; `SSL_CERT_FILE` and `SSL_CERT_DIR` are heard.
    #[default]
    System,
    /// Those that the certificates in this PEM file vouch for, and no others.
    File(PathBuf),
}

/// Why the roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsFault {
    /// The file cannot be read.
    #[error("cannot read the certificates of --issuer-ca, {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No certificate in it.
    #[error(
        "the file of --issuer-ca, {0}, holds no certificate that can be used; write PEM, BEGIN CERTIFICATE"
    )]
    Empty(PathBuf),
}

/// Gets keys over HTTPS, and over HTTP where the address says so.
pub struct HttpFetch {
    /// `Err`: why no certificate can be checked.
    client: Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, String>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetch").finish_non_exhaustive()
    }
}

impl HttpFetch {
    /// A machine without any roots is no fault here, because most routers ask no issuer: each
    /// fetch then says so.
    pub fn new(roots: &Roots) -> Result<Self, RootsFault> {
        let tls = match roots {
            Roots::System => system().map_err(|error| error.to_string()),
            Roots::File(path) => Ok(of_file(path)?),
        };
        let client = tls.map(|tls| {
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .build();
            Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_max_idle_per_host(0)
                .http1_max_buf_size(HEAD_BYTES_MAX)
                .build(connector)
        });
        Ok(Self { client, places: Arc::new(Semaphore::new(FETCHES_MAX)) })
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, source: &SourceId) -> BoxFuture<'static, Result<Fetched, FetchFault>> {
        let (client, places, source) =
            (self.client.clone(), Arc::clone(&self.places), source.clone());
        Box::pin(async move {
            let client = client.map_err(FetchFault::Roots)?;
            // An error would mean that it was closed, which nobody does.
            let _place = places.acquire_owned().await.ok();
            let asker = Asker { client };
            timeout(FETCH_TIME_MAX, asker.keys(&source)).await.unwrap_or(Err(FetchFault::Timeout))
        })
    }
}

fn system() -> io::Result<ClientConfig> {
    Ok(config().with_native_roots()?.with_no_client_auth())
}

fn of_file(path: &PathBuf) -> Result<ClientConfig, RootsFault> {
    let pem =
        std::fs::read(path).map_err(|error| RootsFault::Read { path: path.clone(), error })?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(RootsFault::Empty(path.clone()));
    }
    Ok(config().with_root_certificates(roots).with_no_client_auth())
}

fn config() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
}

/// The members of an OpenID configuration that matter here.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

struct Asker {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Asker {
    async fn keys(&self, source: &SourceId) -> Result<Fetched, FetchFault> {
        let uri = match &source.jwks_uri {
            Some(uri) => uri.parse().map_err(|_| FetchFault::Uri)?,
            None => self.discover(&source.issuer).await?,
        };
        let (headers, body) = self.get(uri).await?;
        let field = headers.get(header::CACHE_CONTROL).and_then(|field| field.to_str().ok());
        Ok(Fetched { body, max_age: field.and_then(rhythm::max_age) })
    }

    /// Where the keys are, as the issuer's configuration says.
    async fn discover(&self, issuer: &str) -> Result<Uri, FetchFault> {
        let place = format!("{}{CONFIGURATION}", issuer.strip_suffix('/').unwrap_or(issuer));
        let place: Uri = place.parse().map_err(|_| FetchFault::Uri)?;
        let is_plain = place.scheme_str() == Some("http");
        let (_, body) = self.get(place).await?;
        let found: Configuration =
            serde_json::from_slice(&body).map_err(|_| FetchFault::Configuration)?;
        if found.issuer != issuer {
            return Err(FetchFault::OtherIssuer);
        }
        keys_uri(&found.jwks_uri, is_plain).ok_or(FetchFault::KeysUri)
    }

    async fn get(&self, uri: Uri) -> Result<(HeaderMap, Bytes), FetchFault> {
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, AGENT)
            .body(Empty::new())
            .map_err(|_| FetchFault::Uri)?;
        let response = self.client.request(request).await.map_err(|error| {
            let words = innermost(&error);
            if error.is_connect() { FetchFault::Connect(words) } else { FetchFault::Broken(words) }
        })?;
        let (head, body) = response.into_parts();
        match head.status {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchFault::Redirect(status.as_u16())),
            status => return Err(FetchFault::Status(status.as_u16())),
        }
        Ok((head.headers, collect(body).await?))
    }
}

async fn collect(body: Incoming) -> Result<Bytes, FetchFault> {
    match Limited::new(body, MAX_KEY_SET_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchFault::TooLarge),
        Err(error) => Err(FetchFault::Broken(innermost(&*error))),
    }
}

/// A `jwks_uri` that may be asked. An issuer on this machine (`http`) may have its keys there too.
fn keys_uri(text: &str, is_plain: bool) -> Option<Uri> {
    if text.len() > URI_BYTES_MAX || text.contains('#') {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let is_safe = match uri.scheme_str()? {
        "https" => true,
        "http" => is_plain && matches!(uri.host()?, "127.0.0.1" | "[::1]" | "localhost"),
        _ => false,
    };
    (is_safe && !uri.authority()?.as_str().contains('@')).then_some(uri)
}

/// The cause that says most: wrappers only say that something failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
