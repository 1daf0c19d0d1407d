//! Asks the admin API.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Ten thousand replicas are about 2 MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const DETAIL_CHARS_MAX: usize = 500;

/// Why the admin API could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("admin address {0:?} is not of the form http://HOST:PORT")]
    Address(String),
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
}

impl AdminClient {
    /// Takes `http://HOST:PORT` or `HOST:PORT`.
    pub(super) fn new(address: &str) -> Result<Self, ClientError> {
        let refused = || ClientError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| refused())?;
        let plain = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP);
        let authority = uri.authority().filter(|_| plain && uri.path().len() <= 1);
        let authority = authority.ok_or_else(refused)?.clone();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME_MAX));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { authority, client })
    }

    pub(super) fn address(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// `GET` of a path that needs no escaping.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        let address = self.address();
        let uri = format!("{address}{path}").parse();
        let uri = uri.map_err(|_| ClientError::Address(address.clone()))?;
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, self.exchange(uri)).await;
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

    async fn exchange(&self, uri: Uri) -> Result<(StatusCode, Bytes), ClientError> {
        let response = self.client.get(uri).await.map_err(|error| {
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
