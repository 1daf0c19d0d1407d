//! The documents as they are written: the one definition of fields and defaults.
//!
//! Numbers are `i64` and most texts `String`, so that the rules can name the limit in their own
//! words instead of serde's.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, de::IgnoredAny};

use super::units::{DurationText, SizeText};

/// `apiVersion` of an [`InferenceEndpoint`].
pub const API_VERSION: &str = "modelway.dev/v1alpha1";
/// `kind` of an [`InferenceEndpoint`].
pub const KIND: &str = "InferenceEndpoint";

/// What a client addresses by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InferenceEndpoint {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Its name, and what Kubernetes knows of it.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// Accepted, because files are often exported from a cluster, and ignored.
    pub status: Option<IgnoredAny>,
}

/// The object metadata of Kubernetes. Only `name` and `namespace` matter here; the rest is listed so
/// that a misspelled field is found and an exported object is not refused. Annotations are not even
/// kept: `kubectl apply` leaves a copy of the whole Secret in one.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of Kubernetes' ObjectMeta, not ours to describe")]
pub struct Metadata {
    pub name: String,
    pub namespace: Option<String>,
    pub annotations: Option<IgnoredAny>,
    pub creation_timestamp: Option<IgnoredAny>,
    pub deletion_grace_period_seconds: Option<IgnoredAny>,
    pub deletion_timestamp: Option<IgnoredAny>,
    pub finalizers: Option<IgnoredAny>,
    pub generate_name: Option<IgnoredAny>,
    pub generation: Option<IgnoredAny>,
    pub labels: Option<IgnoredAny>,
    pub managed_fields: Option<IgnoredAny>,
    pub owner_references: Option<IgnoredAny>,
    pub resource_version: Option<IgnoredAny>,
    pub self_link: Option<IgnoredAny>,
    pub uid: Option<IgnoredAny>,
}

/// What is wanted of an endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Who may call it.
    #[serde(default)]
    pub auth: Auth,
    /// What a request may take.
    #[serde(default)]
    pub limits: Limits,
    /// Choose the version by a hash of this field of the request.
    pub sticky_by: Option<StickyBy>,
    /// The status codes of the router's own errors.
    #[serde(default)]
    pub error_profile: ErrorProfile,
    /// Host names that reach this endpoint with their path unchanged.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Whether answers carry `Server-Timing`.
    #[serde(default)]
    pub server_timing: bool,
    /// The same as `auth.forwardCredentials`.
    pub forward_credentials: Option<bool>,
    /// One to six.
    pub versions: Vec<Version>,
}

/// Who may call an endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// What a caller has to show.
    pub mode: AuthMode,
    /// Whether mode `Token` accepts keys too.
    pub keys: bool,
    /// The Secret with `primaryKey` and `secondaryKey`; keys are generated when it is absent.
    pub secret_ref: Option<SecretRef>,
    /// Details of mode `Token`.
    pub token: Option<Token>,
    /// Whether `Authorization` and `api-key` reach the replica; not by default.
    pub forward_credentials: Option<bool>,
}

/// What a caller has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the words of contract §7")]
pub enum AuthMode {
    #[default]
    Key,
    Token,
    None,
}

/// Names a Secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// `metadata.name` of the Secret, in the namespace of the endpoint.
    pub name: String,
}

/// Details of mode `Token`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// Outside issuers whose tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// How long a token that the router issues is valid.
    pub lifetime: DurationText,
}

impl Default for Token {
    fn default() -> Self {
        Self { issuers: Vec::new(), lifetime: hours(12) }
    }
}

/// An outside issuer of tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` claim.
    pub issuer: String,
    /// Accepted `aud` claims.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// Accepted algorithms.
    #[serde(default)]
    pub algorithms: Vec<String>,
}

/// What a request may take.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The largest request payload; the router's own limit by default.
    pub max_payload: Option<SizeText>,
}

/// The field of the request that chooses the version: exactly one of the two.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct StickyBy {
    /// A header.
    pub header: Option<String>,
    /// A cookie.
    pub cookie: Option<String>,
}

/// The status codes of the router's own errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words of contract §6")]
pub enum ErrorProfile {
    #[default]
    Kubernetes,
    Managed,
}

/// One deployed model behind an endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// Unique within the endpoint.
    pub name: String,
    /// Whether it takes what no percentile claims; the first version by default.
    #[serde(default)]
    pub is_default: bool,
    /// Its role in a comparison.
    #[serde(default, rename = "type")]
    pub kind: VersionKind,
    /// Its share of unpinned requests, 0–100.
    #[serde(default)]
    pub traffic_percentile: i64,
    /// Share of live requests copied to it, 0–100.
    #[serde(default)]
    pub mirror_percentile: i64,
    /// Where its replicas come from.
    pub target_ref: TargetRef,
    /// The replicas' HTTP port.
    #[serde(default = "default_port")]
    pub port: i64,
    /// The replicas' gRPC port; 0: the same as `port`.
    #[serde(default)]
    pub grpc_port: i64,
    /// How a replica shows that it is healthy.
    #[serde(default)]
    pub probe: Probe,
    /// The replica's path for `/score`.
    #[serde(default = "default_scoring_path")]
    pub scoring_path: String,
    /// Slots of each replica.
    #[serde(default = "one")]
    pub max_concurrent_requests_per_replica: i64,
    /// How long a request may wait for a slot.
    #[serde(default = "default_max_queue_wait")]
    pub max_queue_wait: DurationText,
    /// How many requests may wait; 0: max(100, 2 × slots × replicas).
    #[serde(default)]
    pub max_queue_length: i64,
    /// From the slot to the last byte of a unary answer.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: DurationText,
    /// How long a streaming answer may be silent.
    #[serde(default = "default_stream_idle_timeout")]
    pub stream_idle_timeout: DurationText,
    /// What happens to the replica's work when its client leaves.
    pub on_disconnect: Option<OnDisconnect>,
    /// Whether the default version takes over when no replica is ready.
    #[serde(default)]
    pub fallback_to_default: bool,
    /// How many replicas it should have.
    #[serde(default)]
    pub autoscale: Autoscale,
    /// How many replicas it has when autoscaling is off.
    pub replicas: Option<i64>,
}

/// The role of a version in a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the words of contract §3")]
pub enum VersionKind {
    Control,
    #[default]
    Treatment,
}

/// What happens to the replica's work when its client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words of contract §4")]
pub enum OnDisconnect {
    Finish,
    Cancel,
}

/// How many replicas a version should have.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscale {
    /// Whether the autoscaler may change the count.
    pub enabled: bool,
    /// The fewest.
    pub min_replicas: i64,
    /// The most.
    pub max_replicas: i64,
    /// The utilization aimed at, in percent.
    pub target_utilization: i64,
    /// Replicas are removed only when the highest want of this window is lower.
    pub scale_down_window: DurationText,
}

impl Default for Autoscale {
    fn default() -> Self {
        Self {
            enabled: true,
            min_replicas: 1,
            max_replicas: 10,
            target_utilization: 70,
            scale_down_window: seconds(60),
        }
    }
}

/// How a replica shows that it is healthy: at most one of the four; `http: /` by default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// `GET` of this path answers 2xx.
    pub http: Option<String>,
    /// A TCP connection is accepted.
    pub tcp: Option<Nothing>,
    /// The gRPC health protocol answers SERVING.
    pub grpc: Option<Nothing>,
    /// Usable until a connection fails.
    pub none: Option<Nothing>,
    /// How often a ready replica is asked.
    pub period: DurationText,
    /// How long an answer may take.
    pub timeout: DurationText,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http: None,
            tcp: None,
            grpc: None,
            none: None,
            period: seconds(5),
            timeout: seconds(2),
        }
    }
}

/// The empty mapping `{}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Where the replicas of a version come from. Which fields belong to which kind is a rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The kind of source.
    pub kind: TargetKind,
    /// Name of the Deployment or StatefulSet.
    pub name: Option<String>,
    /// Program and arguments of a replica.
    pub command: Option<Vec<String>>,
    /// Added to the router's own environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Where it runs, relative to the folder of the file.
    pub working_dir: Option<String>,
    /// How long it may take to pass its first probe; [`START_DEADLINE`] by default.
    pub start_deadline: Option<DurationText>,
    /// How long it may take to end after SIGTERM; [`STOP_GRACE`] by default.
    pub stop_grace: Option<DurationText>,
    /// Fixed addresses.
    pub addresses: Option<Vec<String>>,
}

/// Default of `startDeadline`: loading a large model takes minutes.
pub const START_DEADLINE: Duration = Duration::from_secs(300);
/// Default of `stopGrace`: a replica is idle when it is stopped, so it has little to finish.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// The kind of source of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the words of design §5")]
pub enum TargetKind {
    Deployment,
    StatefulSet,
    Process,
    Addresses,
}

/// A Secret of Kubernetes, as far as keys need it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of Kubernetes' Secret, not ours to describe")]
pub struct Secret {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    #[serde(rename = "type")]
    pub secret_type: Option<String>,
    pub immutable: Option<bool>,
    #[serde(default)]
    pub data: BTreeMap<String, SecretText>,
    /// Wins over `data`, as in Kubernetes.
    #[serde(default)]
    pub string_data: BTreeMap<String, SecretText>,
}

/// A text that is never shown.
#[derive(Clone, Deserialize)]
pub struct SecretText(pub(super) String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

fn default_port() -> i64 {
    5001
}

fn default_scoring_path() -> String {
    "/score".to_owned()
}

fn one() -> i64 {
    1
}

fn default_max_queue_wait() -> DurationText {
    DurationText(Duration::from_millis(500))
}

fn default_request_timeout() -> DurationText {
    seconds(60)
}

fn default_stream_idle_timeout() -> DurationText {
    seconds(300)
}

fn seconds(n: u64) -> DurationText {
    DurationText(Duration::from_secs(n))
}

fn hours(n: u64) -> DurationText {
    seconds(n * 3600)
}
