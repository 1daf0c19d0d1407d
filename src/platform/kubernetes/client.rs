//! The connection to the API server: where it is, who we are, and a deadline for every call.

use std::{path::PathBuf, time::Duration};

use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

/// How long a call may take that is neither LIST nor WATCH. kube itself has no limit for calls
/// that the server never answers (measured: none after 75 s).
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long connecting may take, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Who we are in `managedFields` of what we write.
pub(super) const FIELD_MANAGER: &str = "modelway";

/// Where the API server is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig; without one `KUBECONFIG`, then the pod's service account, then
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current one by default.
    pub context: Option<String>,
}

/// The API server. Clones share connections.
#[derive(Clone)]
pub(super) struct ApiServer {
    client: Client,
    /// The namespace of the pod or of the kubeconfig's context.
    pub(super) own_namespace: String,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the API server did not answer within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// Why it is not known where the API server is.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig is missing or wrong.
    #[error("the kubeconfig is not usable: {0}")]
    Kubeconfig(kube::config::KubeconfigError),
    /// Neither a kubeconfig nor a service account is there.
    #[error("no cluster is configured: set KUBECONFIG, use --kubeconfig, or run in a pod ({0})")]
    Nowhere(kube::config::InferConfigError),
    /// The client cannot be built from what is configured.
    #[error("the cluster's access is not usable: {0}")]
    Client(#[from] kube::Error),
}

impl CallError {
    /// The HTTP status that the API server answered with; `None` when there was no answer.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

impl ApiServer {
    /// Reads where the API server is; does not connect yet.
    pub(super) async fn find(access: &Access) -> Result<Self, AccessError> {
        let mut config = config(access).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        // Deadlines are per call (`call`, `watch`); a limit on reading would end quiet watches.
        config.read_timeout = None;
        config.write_timeout = None;
        // kube would send a call again up to 15 times after 429, 503 or 504: a write after its
        // writer stopped leading, a LIST more often than allowed. Who calls decides what follows.
        config.default_retry = false;
        let own_namespace = config.default_namespace.clone();
        Ok(Self { client: Client::try_from(config)?, own_namespace })
    }

    /// The API server at the other end of a client that is made already.
    #[cfg(test)]
    pub(super) fn of(client: Client) -> Self {
        let own_namespace = client.default_namespace().to_owned();
        Self { client, own_namespace }
    }

    /// The client, for what needs one; calls through it have no deadline of their own.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// One call, with the deadline [`CALL_LIMIT`].
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<T, CallError> {
        within(CALL_LIMIT, self.client.request(request)).await
    }
}

/// A call through [`ApiServer::client`] under a deadline.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(CallError::Silent(limit)),
    }
}

async fn config(access: &Access) -> Result<Config, AccessError> {
    let options = KubeConfigOptions { context: access.context.clone(), ..Default::default() };
    // kube's messages hold those of their causes already, so they are not told as causes again.
    match &access.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(AccessError::Kubeconfig)?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            config.map_err(AccessError::Kubeconfig)
        }
        None if access.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(AccessError::Kubeconfig)
        }
        None => Config::infer().await.map_err(AccessError::Nowhere),
    }
}
