//! Asks the admin API.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header::AUTHORIZATION, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ADMIN_TOKEN, AdminArgs};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Ten thousand replicas are about 2 MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A credential has to fit into the head that the admin port reads.
const TOKEN_BYTES_MAX: u64 = 12 * 1024;
const DETAIL_CHARS_MAX: usize = 500;

/// Why the admin API could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("admin address {0:?} is not of the form http://HOST:PORT")]
    Address(String),
    /// The credential cannot be used.
    #[error("the credential in {place} cannot be used: {why}")]
    Credential {
        /// Its file or variable.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers.
    #[error(
        "nothing answers at {address} ({cause}); is `modelway dev` running? name another admin address with --admin"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What the connection said.
        cause: String,
    },
    /// The answer took too long.
    #[error("{address} did not answer within {} s", ANSWER_TIME_MAX.as_secs())]
    Slow {
        /// Where.
        address: String,
    },
    /// The router refused.
    #[error("{detail} ({status} from {address})")]
    Refused {
        /// Where.
        address: String,
        /// The status.
        status: StatusCode,
        /// The reason as the router gives it.
        detail: String,
    },
    /// The answer came from the data plane.
    #[error(
        "{address} is a router's port for clients; name its admin port with --admin (9001 by default)"
    )]
    DataPort {
        /// Where.
        address: String,
    },
    /// Something else listens there, or another version of Modelway.
    #[error("what answers at {address} is not the admin port of a router of this version")]
    Unknown {
        /// Where.
        address: String,
    },
    /// An item of the answer does not have the expected fields.
    #[error("the router's answer does not have the expected form ({0}); is it of another version?")]
    Form(#[from] serde_json::Error),
}

/// A connection to one router's admin port.
#[derive(Debug)]
pub(super) struct AdminClient {
    authority: http::uri::Authority,
    client: Client<HttpConnector, Empty<Bytes>>,
    /// The field `Authorization`, marked as sensitive so that `Debug` does not show it.
    credential: Option<HeaderValue>,
}

impl AdminClient {
    /// Takes `http://HOST:PORT` or `HOST:PORT`, and reads the credential where one is given.
    pub(super) fn new(args: &AdminArgs) -> Result<Self, ClientError> {
        let address = args.admin.as_str();
        let refused = || ClientError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| refused())?;
        let plain = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP);
        let authority = uri.authority().filter(|_| plain && uri.path().len() <= 1);
        let authority = authority.ok_or_else(refused)?.clone();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME_MAX));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { authority, client, credential: credential(args)? })
    }

    pub(super) fn address(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// `GET` of a path that needs no escaping.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::GET, path).await
    }

    /// `POST` without a body to a path that needs no escaping.
    pub(super) async fn post(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::POST, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Value, ClientError> {
        let address = self.address();
        let mut request = Request::builder().method(method).uri(format!("{address}{path}"));
        if let Some(credential) = &self.credential {
            request = request.header(AUTHORIZATION, credential);
        }
        let request = request.body(Empty::new());
        let request = request.map_err(|_| ClientError::Address(address.clone()))?;
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, self.exchange(request)).await;
        let (status, body) =
            answer.map_err(|_| ClientError::Slow { address: address.clone() })??;
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, value) {
            (StatusCode::OK, Some(value)) => Ok(value),
            (status, Some(problem)) if problem.get("detail").is_some_and(Value::is_string) => {
                let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
                let detail = super::tables::shown(detail).chars().take(DETAIL_CHARS_MAX).collect();
                Err(ClientError::Refused { address, status, detail })
            }
            _ => Err(ClientError::Unknown { address }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let response = self.client.request(request).await.map_err(|error| {
            let cause = root_cause(&error);
            // A connection that was made and then spoke no HTTP is somebody else's port.
            if error.is_connect() {
                ClientError::Unreachable { address: self.address(), cause }
            } else {
                ClientError::Unknown { address: self.address() }
            }
        })?;
        // Only answers to clients say who made them.
        if response.headers().contains_key("x-modelway-source") {
            return Err(ClientError::DataPort { address: self.address() });
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| ClientError::Unknown { address: self.address() })?;
        Ok((status, body.to_bytes()))
    }
}

/// What `--token-file`, or else the variable, says.
fn credential(args: &AdminArgs) -> Result<Option<HeaderValue>, ClientError> {
    let (place, text) = match &args.token_file {
        Some(file) => {
            let place = file.display().to_string();
            let length = std::fs::metadata(file).map(|metadata| metadata.len());
            let text = match length {
                Ok(length) if length > TOKEN_BYTES_MAX => {
                    Err(format!("it has more than {TOKEN_BYTES_MAX} bytes"))
                }
                _ => std::fs::read_to_string(file).map_err(|error| error.to_string()),
            };
            match text {
                Ok(text) => (place, text),
                Err(why) => return Err(ClientError::Credential { place, why }),
            }
        }
        None => match std::env::var(ADMIN_TOKEN) {
            Ok(text) if !text.is_empty() => (ADMIN_TOKEN.to_owned(), text),
            _ => return Ok(None),
        },
    };
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "it has to be one line of printable ASCII without spaces".to_owned();
        return Err(ClientError::Credential { place, why });
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .expect("printable ASCII can stand in a header");
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The items of an answer as their types.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ClientError> {
    Ok(serde_json::from_value(value)?)
}

/// The innermost error: the outer ones say "client error (Connect)" and no more.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
