//! The closed list of code words for the fate of a request.

/// Why a request ended as it did: the `reason` label of metrics, the `code` of error bodies and
/// the word in the access log. Closed, so that label sets stay bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The model answered.
    Model,
    /// The request is malformed (head, header or body framing).
    MalformedRequest,
    /// The path holds something that is refused (dot segments, encoded slash, NUL, backslash).
    InvalidPath,
    /// No address of the router matches the path.
    NoRoute,
    /// No endpoint of this name.
    EndpointNotFound,
    /// The endpoint has no version of this name.
    VersionNotFound,
    /// No credential was presented.
    CredentialMissing,
    /// The credential is malformed or wrong.
    CredentialInvalid,
    /// The keys of the token's issuer were never had.
    IssuerUnavailable,
    /// TRACE or CONNECT.
    MethodNotAllowed,
    /// A request without TLS was sent to HTTPS.
    Redirected,
    /// Requests without TLS are refused.
    HttpsRequired,
    /// The request target is too long.
    TargetTooLong,
    /// The header block is too large or has too many fields.
    HeadersTooLarge,
    /// The payload is over the limit.
    PayloadTooLarge,
    /// The client did not finish its request in time.
    ClientTimeout,
    /// The client went away.
    ClientGone,
    /// The replica could not be reached.
    ReplicaUnreachable,
    /// The replica closed before answering.
    ReplicaClosed,
    /// The replica's answer was invalid.
    ReplicaInvalid,
    /// The queue of the version is full.
    QueueFull,
    /// No slot came free within `maxQueueWait`.
    QueueTimeout,
    /// No ready replica, and none can come in time.
    NoReadyReplicas,
    /// The router is shutting down.
    Draining,
    /// The router itself is short of memory.
    RouterOverloaded,
    /// `requestTimeout` passed.
    RequestTimeout,
    /// The router itself failed.
    Internal,
}

impl Reason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 27] = [
        Self::Model,
        Self::MalformedRequest,
        Self::InvalidPath,
        Self::NoRoute,
        Self::EndpointNotFound,
        Self::VersionNotFound,
        Self::CredentialMissing,
        Self::CredentialInvalid,
        Self::IssuerUnavailable,
        Self::MethodNotAllowed,
        Self::Redirected,
        Self::HttpsRequired,
        Self::TargetTooLong,
        Self::HeadersTooLarge,
        Self::PayloadTooLarge,
        Self::ClientTimeout,
        Self::ClientGone,
        Self::ReplicaUnreachable,
        Self::ReplicaClosed,
        Self::ReplicaInvalid,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::NoReadyReplicas,
        Self::Draining,
        Self::RouterOverloaded,
        Self::RequestTimeout,
        Self::Internal,
    ];

    /// The word itself, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::MalformedRequest => "malformed_request",
            Self::InvalidPath => "invalid_path",
            Self::NoRoute => "no_route",
            Self::EndpointNotFound => "endpoint_not_found",
            Self::VersionNotFound => "version_not_found",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialInvalid => "credential_invalid",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Redirected => "redirected",
            Self::HttpsRequired => "https_required",
            Self::TargetTooLong => "target_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::PayloadTooLarge => "payload_too_large",
            Self::ClientTimeout => "client_timeout",
            Self::ClientGone => "client_gone",
            Self::ReplicaUnreachable => "replica_unreachable",
            Self::ReplicaClosed => "replica_closed",
            Self::ReplicaInvalid => "replica_invalid",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::NoReadyReplicas => "no_ready_replicas",
            Self::Draining => "draining",
            Self::RouterOverloaded => "router_overloaded",
            Self::RequestTimeout => "request_timeout",
            Self::Internal => "internal",
        }
    }
}
