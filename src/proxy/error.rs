//! Every way a request can fail, and the one table of what that means.
//!
//! Promises: each failure says whose fault it is, which status answers it and which word counts
//! it; the table has no catch-all arm, so a new failure cannot be forgotten.

#![warn(clippy::wildcard_enum_match_arm)]

use std::{borrow::Cow, time::Duration};

use http::{HeaderValue, StatusCode};

use crate::{
    auth,
    domain::{ErrorProfile, Name, Reason},
    routing::PathFault,
};

/// Why a request has no answer from a model.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProxyError {
    /// Head, header or body framing is wrong.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// The path holds something ambiguous.
    #[error("{0}")]
    Path(#[from] PathFault),
    /// No address of the router.
    #[error(
        "nothing is served at this address; requests go to /api/v1/endpoint/{{endpoint}}/score"
    )]
    NoRoute,
    /// gRPC without a route.
    #[error(
        "the metadata x-ms-aml-grpc-service-route is missing; send /api/v1/endpoint/{{endpoint}}"
    )]
    NoGrpcRoute,
    /// No such endpoint.
    #[error("no endpoint is named {0:?}")]
    Endpoint(Box<str>),
    /// No such version.
    #[error("endpoint {endpoint} has no version named {asked:?}; it has {known}")]
    Version {
        /// The endpoint.
        endpoint: Name,
        /// What was pinned.
        asked: Box<str>,
        /// The names there are.
        known: Box<str>,
    },
    /// The caller is refused.
    #[error("{0}")]
    Credential(#[from] auth::Refusal),
    /// The caller is refused, and so were too many before it from the same address.
    #[error("{refusal}; too many tries with wrong credentials come from this address")]
    CredentialFlood {
        /// What is wrong with this one.
        refusal: auth::Refusal,
        /// When the address has a try again.
        wait: Duration,
    },
    /// TRACE or CONNECT.
    #[error("method {0} is not served")]
    Method(http::Method),
    /// Without TLS; the answer says where to go.
    #[error("this address is served by HTTPS: {}", .0.to_str().unwrap_or_default())]
    Redirected(HeaderValue),
    /// Without TLS, which is not served.
    #[error("{}", https_required(*exposed))]
    HttpsRequired {
        /// Whether a credential came in the clear.
        exposed: bool,
    },
    /// The request target is too long.
    #[error("the request target is over the limit of {limit} bytes")]
    TargetTooLong {
        /// The limit.
        limit: usize,
    },
    /// The header block is too large.
    #[error(
        "the header block is too large: at most {bytes} bytes and {fields} fields are accepted"
    )]
    HeadersTooLarge {
        /// The limit in bytes.
        bytes: usize,
        /// The limit in fields.
        fields: usize,
    },
    /// The payload is over the limit.
    #[error("the payload is over the limit of {limit} bytes")]
    PayloadTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The client did not finish its request in time.
    #[error("the request was not finished in time: {0}")]
    ClientTimeout(&'static str),
    /// The client went away.
    #[error("the client went away")]
    ClientGone,
    /// No connection to the replica.
    #[error("the replica could not be reached")]
    Unreachable,
    /// The replica closed before answering.
    #[error("Replica closed connection before replying")]
    Closed,
    /// The replica's answer is not one.
    #[error("the replica sent an invalid answer")]
    Invalid,
    /// The queue is full.
    #[error("Too many requests for service {endpoint} (overloaded): {waiting} are waiting already")]
    QueueFull {
        /// The endpoint.
        endpoint: Name,
        /// Requests waiting.
        waiting: u32,
    },
    /// No slot came free in time.
    #[error(
        "Too many requests for service {endpoint} (overloaded): no slot came free within {waited_ms} ms"
    )]
    QueueTimeout {
        /// The endpoint.
        endpoint: Name,
        /// `maxQueueWait`.
        waited_ms: u128,
    },
    /// Nothing is ready and nothing will be in time.
    #[error("No ready replicas for service {0}")]
    NoReadyReplicas(Name),
    /// The router is shutting down.
    #[error("the router is shutting down; send the request again")]
    Draining,
    /// The router itself is short of memory.
    #[error("the router is short of memory; send the request again later")]
    OutOfMemory,
    /// The model took too long.
    #[error("the replica did not finish within requestTimeout ({limit_ms} ms)")]
    RequestTimeout {
        /// `requestTimeout`, or `grpc-timeout` where that is shorter.
        limit_ms: u128,
    },
    /// A stream fell silent.
    #[error("the stream was silent for longer than streamIdleTimeout ({limit_ms} ms)")]
    StreamIdle {
        /// `streamIdleTimeout`.
        limit_ms: u128,
    },
    /// A defect of the router.
    #[error("the router failed; the request id helps to find out why")]
    Internal,
}

impl ProxyError {
    /// The word that counts and names it.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::MalformedRequest,
            Self::Path(_) => Reason::InvalidPath,
            Self::NoRoute | Self::NoGrpcRoute => Reason::NoRoute,
            Self::Endpoint(_) => Reason::EndpointNotFound,
            Self::Version { .. } => Reason::VersionNotFound,
            Self::Credential(refusal) | Self::CredentialFlood { refusal, .. } => {
                credential_reason(*refusal)
            }
            Self::Method(_) => Reason::MethodNotAllowed,
            Self::Redirected(_) => Reason::Redirected,
            Self::HttpsRequired { .. } => Reason::HttpsRequired,
            Self::TargetTooLong { .. } => Reason::TargetTooLong,
            Self::HeadersTooLarge { .. } => Reason::HeadersTooLarge,
            Self::PayloadTooLarge { .. } => Reason::PayloadTooLarge,
            Self::ClientTimeout(_) => Reason::ClientTimeout,
            Self::ClientGone => Reason::ClientGone,
            Self::Unreachable => Reason::ReplicaUnreachable,
            Self::Closed => Reason::ReplicaClosed,
            Self::Invalid => Reason::ReplicaInvalid,
            Self::QueueFull { .. } => Reason::QueueFull,
            Self::QueueTimeout { .. } => Reason::QueueTimeout,
            Self::NoReadyReplicas(_) => Reason::NoReadyReplicas,
            Self::Draining => Reason::Draining,
            Self::OutOfMemory => Reason::RouterOverloaded,
            Self::RequestTimeout { .. } | Self::StreamIdle { .. } => Reason::RequestTimeout,
            Self::Internal => Reason::Internal,
        }
    }

    /// The status of the answer (contract §6), in the words of the endpoint's profile.
    pub(crate) fn status(&self, profile: ErrorProfile) -> StatusCode {
        let status = status_of(self.reason());
        if profile == ErrorProfile::Kubernetes {
            return status;
        }
        match self {
            Self::QueueFull { .. } | Self::QueueTimeout { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTimeout { .. } | Self::StreamIdle { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(_)
            | Self::Path(_)
            | Self::NoRoute
            | Self::NoGrpcRoute
            | Self::Endpoint(_)
            | Self::Version { .. }
            | Self::Credential(_)
            | Self::CredentialFlood { .. }
            | Self::Method(_)
            | Self::Redirected(_)
            | Self::HttpsRequired { .. }
            | Self::TargetTooLong { .. }
            | Self::HeadersTooLarge { .. }
            | Self::PayloadTooLarge { .. }
            | Self::ClientTimeout(_)
            | Self::ClientGone
            | Self::Unreachable
            | Self::Closed
            | Self::Invalid
            | Self::NoReadyReplicas(_)
            | Self::Draining
            | Self::OutOfMemory
            | Self::Internal => status,
        }
    }

    /// Whether the client should come back, and the answer says when.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self.reason(),
            Reason::QueueFull
                | Reason::QueueTimeout
                | Reason::NoReadyReplicas
                | Reason::Draining
                | Reason::IssuerUnavailable
                | Reason::RouterOverloaded
        ) || matches!(self, Self::CredentialFlood { .. })
    }
}

fn credential_reason(refusal: auth::Refusal) -> Reason {
    match refusal {
        auth::Refusal::Twice => Reason::MalformedRequest,
        auth::Refusal::Missing => Reason::CredentialMissing,
        auth::Refusal::Token(auth::TokenFault::KeysUnavailable) => Reason::IssuerUnavailable,
        auth::Refusal::Malformed | auth::Refusal::Wrong | auth::Refusal::Token(_) => {
            Reason::CredentialInvalid
        }
    }
}

fn https_required(exposed: bool) -> &'static str {
    if exposed {
        "this address is served by HTTPS only, and the credential of this request was sent in the \
         clear: replace it, and begin the address with https://"
    } else {
        "this address is served by HTTPS only; begin it with https://"
    }
}

/// The status for each reason, as azureml-fe answers on Kubernetes.
pub(crate) fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::Model => StatusCode::OK,
        Reason::MalformedRequest | Reason::InvalidPath => StatusCode::BAD_REQUEST,
        Reason::NoRoute | Reason::EndpointNotFound | Reason::VersionNotFound => {
            StatusCode::NOT_FOUND
        }
        Reason::CredentialMissing | Reason::CredentialInvalid => StatusCode::UNAUTHORIZED,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::Redirected => StatusCode::PERMANENT_REDIRECT,
        Reason::HttpsRequired => StatusCode::FORBIDDEN,
        Reason::TargetTooLong => StatusCode::URI_TOO_LONG,
        Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
        // Never on the wire: nobody is there to read it.
        Reason::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Reason::ReplicaUnreachable | Reason::ReplicaClosed | Reason::ReplicaInvalid => {
            StatusCode::BAD_GATEWAY
        }
        Reason::QueueFull
        | Reason::QueueTimeout
        | Reason::NoReadyReplicas
        | Reason::Draining
        | Reason::IssuerUnavailable
        | Reason::RouterOverloaded => StatusCode::SERVICE_UNAVAILABLE,
        Reason::RequestTimeout => StatusCode::GATEWAY_TIMEOUT,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The gRPC status for each reason (contract §12).
pub(crate) fn grpc_status_of(error: &ProxyError) -> u8 {
    if matches!(error, ProxyError::NoGrpcRoute) {
        return 12;
    }
    match error.reason() {
        Reason::Model => 0,
        Reason::MalformedRequest
        | Reason::InvalidPath
        | Reason::MethodNotAllowed
        | Reason::TargetTooLong => 3,
        Reason::NoRoute => 12,
        Reason::EndpointNotFound | Reason::VersionNotFound => 5,
        Reason::Redirected | Reason::HttpsRequired => 7,
        Reason::CredentialMissing | Reason::CredentialInvalid => 16,
        Reason::HeadersTooLarge | Reason::PayloadTooLarge => 8,
        Reason::ClientTimeout | Reason::RequestTimeout => 4,
        Reason::ClientGone => 1,
        Reason::ReplicaUnreachable
        | Reason::ReplicaClosed
        | Reason::ReplicaInvalid
        | Reason::QueueFull
        | Reason::QueueTimeout
        | Reason::NoReadyReplicas
        | Reason::Draining
        | Reason::IssuerUnavailable
        | Reason::RouterOverloaded => 14,
        Reason::Internal => 13,
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
