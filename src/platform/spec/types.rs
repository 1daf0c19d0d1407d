//! The documents as they are written: the one definition of fields and defaults, for files and for
//! the schema of the cluster. The descriptions of [`Spec`] and below are what `kubectl explain` shows.
//!
//! Numbers are `i64` and most texts `String`, so that the rules can name the limit in their own
//! words instead of serde's.

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    grammar, limits,
    units::{DurationText, SizeText},
};
use crate::domain::{NAME_LENGTH_MAX, NAME_LENGTH_MIN, NAME_PATTERN, VERSIONS_MAX};

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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Who may call the endpoint.
    #[serde(default)]
    pub auth: Auth,
    /// What a request may take.
    #[serde(default)]
    pub limits: Limits,
    /// Chooses the version by a hash of one field of the request, so that requests with the same
    /// value go to the same version. Without it, and for requests that lack the field, the split
    /// is exact.
    pub sticky_by: Option<StickyBy>,
    /// The status codes of the router's own errors: kubernetes (502, 503, 504), or managed (424,
    /// 429, 408) as managed online endpoints answer.
    #[serde(default)]
    pub error_profile: ErrorProfile,
    /// Host names that reach this endpoint with their path unchanged. Without port and wildcards;
    /// IPv6 addresses in brackets.
    #[serde(default)]
    #[schemars(length(max = limits::HOSTS_MAX))]
    #[schemars(inner(length(min = 1, max = grammar::HOST_TEXT_LENGTH_MAX), regex(pattern = grammar::HOST_PATTERN)))]
    pub hosts: Vec<String>,
    /// Whether answers carry Server-Timing: milliseconds of auth, queue, replica and in total.
    #[serde(default)]
    pub server_timing: bool,
    /// Whether Authorization and api-key reach the replica. The same as auth.forwardCredentials;
    /// where both are written they have to agree.
    pub forward_credentials: Option<bool>,
    /// The deployed models behind the endpoint, one to six. The default version takes what the
    /// percentiles leave to 100: the first one, unless another has isDefault: true.
    #[schemars(length(min = 1, max = VERSIONS_MAX))]
    pub versions: Vec<Version>,
}

/// Who may call an endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// What a caller has to show: a Key, a Token, or nothing (None).
    pub mode: AuthMode,
    /// Whether mode Token accepts keys too.
    pub keys: bool,
    /// The Secret with primaryKey and secondaryKey; keys are generated when it is not given.
    pub secret_ref: Option<SecretRef>,
    /// Details of mode Token. The tokens that the router issues itself are always accepted.
    pub token: Option<Token>,
    /// Whether Authorization and api-key reach the replica; not by default.
    pub forward_credentials: Option<bool>,
}

/// What a caller has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of contract §7")]
pub enum AuthMode {
    #[default]
    Key,
    Token,
    None,
}

/// Names a Secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The name of the Secret, in the namespace of the endpoint.
    #[schemars(length(min = 1, max = grammar::HOST_LENGTH_MAX), regex(pattern = grammar::OBJECT_NAME_PATTERN))]
    pub name: String,
}

/// Details of mode `Token`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// Outside issuers whose tokens are accepted.
    #[schemars(length(max = limits::ISSUERS_MAX))]
    pub issuers: Vec<Issuer>,
    /// How long a token that the router issues is valid: 60s to 7 days.
    pub lifetime: DurationText,
}

impl Default for Token {
    fn default() -> Self {
        Self { issuers: Vec::new(), lifetime: hours(12) }
    }
}

/// An outside issuer of tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// The iss claim of its tokens, letter by letter. Without jwksUri an https URI, below which its
    /// OpenID configuration is looked for.
    #[schemars(length(min = 1, max = limits::URI_LENGTH_MAX))]
    pub issuer: String,
    /// Accepted aud claims; a token needs one of them.
    #[schemars(length(min = 1, max = limits::CLAIMS_MAX), inner(length(min = 1, max = limits::URI_LENGTH_MAX)))]
    pub audiences: Vec<String>,
    /// Where its keys are, with https; by default where its OpenID configuration says.
    #[schemars(length(max = limits::URI_LENGTH_MAX), regex(pattern = grammar::HTTPS_PATTERN))]
    pub jwks_uri: Option<String>,
    /// Accepted algorithms of signatures, whatever a token says of itself.
    #[serde(default = "default_algorithms")]
    #[schemars(length(min = 1, max = limits::CLAIMS_MAX))]
    #[schemars(inner(length(max = grammar::ALGORITHM_LENGTH_MAX), regex(pattern = grammar::ALGORITHM_PATTERN)))]
    pub algorithms: Vec<String>,
    /// A token that is valid for longer, from its iat to its exp, is refused: 60s to 30 days.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: DurationText,
    /// Claims that a token needs with exactly this text, by name.
    #[serde(default)]
    #[schemars(schema_with = "texts_by_name")]
    pub required_claims: BTreeMap<String, String>,
    /// Scopes that a token needs, all of them, in scope or scp.
    #[serde(default)]
    #[schemars(length(max = limits::CLAIMS_MAX), inner(length(min = 1, max = limits::CLAIM_LENGTH_MAX)))]
    pub required_scopes: Vec<String>,
}

/// What a request may take.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The largest request payload, like 10MiB or a number of bytes; the router's own limit,
    /// 100MiB, by default and at most.
    pub max_payload: Option<SizeText>,
}

/// The field of the request that chooses the version: exactly one of the two.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct StickyBy {
    /// The name of a header.
    #[schemars(length(min = 1, max = grammar::TOKEN_LENGTH_MAX), regex(pattern = grammar::TOKEN_PATTERN))]
    pub header: Option<String>,
    /// The name of a cookie.
    #[schemars(length(min = 1, max = grammar::TOKEN_LENGTH_MAX), regex(pattern = grammar::TOKEN_PATTERN))]
    pub cookie: Option<String>,
}

/// The status codes of the router's own errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words of contract §6")]
pub enum ErrorProfile {
    #[default]
    Kubernetes,
    Managed,
}

/// One deployed model behind an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// Names the version in the header azureml-model-deployment, in metrics and in logs. Unique
    /// within the endpoint; 3 to 32 characters of a-z, 0-9 and '-'.
    #[schemars(length(min = NAME_LENGTH_MIN, max = NAME_LENGTH_MAX), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Makes it the default version, which takes what no percentile claims. At most one version
    /// has it; the first one is the default where none has.
    #[serde(default)]
    pub is_default: bool,
    /// Its role in a comparison: at most one Control, the others are Treatment. No effect on
    /// routing.
    #[serde(default, rename = "type")]
    pub kind: VersionKind,
    /// Its share of the requests that name no version, in percent. All shares together are at
    /// most 100; what is missing to 100 goes to the default version.
    #[serde(default)]
    #[schemars(range(min = *limits::PERCENT.start(), max = *limits::PERCENT.end()))]
    pub traffic_percentile: i64,
    /// Its share of live requests that are copied to it, in percent; the answers are dropped. Only
    /// with trafficPercentile 0.
    #[serde(default)]
    #[schemars(range(min = *limits::PERCENT.start(), max = *limits::PERCENT.end()))]
    pub mirror_percentile: i64,
    /// Where its replicas come from.
    pub target_ref: TargetRef,
    /// The port of the replicas for HTTP.
    #[serde(default = "default_port")]
    #[schemars(range(min = *limits::PORT.start(), max = *limits::PORT.end()))]
    pub port: i64,
    /// The port of the replicas for gRPC; 0: the same as port.
    #[serde(default)]
    #[schemars(range(min = 0, max = *limits::PORT.end()))]
    pub grpc_port: i64,
    /// How a replica shows that it is healthy.
    #[serde(default)]
    pub probe: Probe,
    /// The replica's path for requests to /score of the endpoint.
    #[serde(default = "default_scoring_path")]
    #[schemars(length(min = 1, max = grammar::PATH_LENGTH_MAX), regex(pattern = grammar::PATH_PATTERN))]
    pub scoring_path: String,
    /// Slots of each replica: it never works on more requests than that at once.
    #[serde(default = "one")]
    #[schemars(range(min = *limits::SLOTS.start(), max = *limits::SLOTS.end()))]
    pub max_concurrent_requests_per_replica: i64,
    /// How long a request may wait for a slot, 0s to 1h; then it is answered with 503.
    #[serde(default = "default_max_queue_wait")]
    pub max_queue_wait: DurationText,
    /// How many requests may wait; more are answered with 503 at once. 0: twice the slots of all
    /// replicas, at least 100.
    #[serde(default)]
    #[schemars(range(min = *limits::QUEUE_LENGTH.start(), max = *limits::QUEUE_LENGTH.end()))]
    pub max_queue_length: i64,
    /// From the slot to the last byte of the answer, or to the head of a streaming one, 1ms to 5m;
    /// then the request is answered with 504.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: DurationText,
    /// How long a streaming answer may be silent, 1ms to 24h.
    #[serde(default = "default_stream_idle_timeout")]
    pub stream_idle_timeout: DurationText,
    /// What happens to the replica's work when its client leaves: finish (the answer is read and
    /// dropped) or cancel (the connection is closed). By default finish, and cancel once a
    /// streaming answer has begun.
    pub on_disconnect: Option<OnDisconnect>,
    /// Whether the default version takes over while no replica of this one is ready.
    #[serde(default)]
    pub fallback_to_default: bool,
    /// How many replicas the version should have.
    #[serde(default)]
    pub autoscale: Autoscale,
    /// How many replicas it has while autoscale.enabled is false. In a cluster: left alone when
    /// not given.
    #[schemars(range(min = 0, max = limits::REPLICAS_MAX))]
    pub replicas: Option<i64>,
}

/// The role of a version in a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of contract §3")]
pub enum VersionKind {
    Control,
    #[default]
    Treatment,
}

/// What happens to the replica's work when its client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words of contract §4")]
pub enum OnDisconnect {
    Finish,
    Cancel,
}

/// How many replicas a version should have.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscale {
    /// Whether the router changes the count of replicas.
    pub enabled: bool,
    /// The fewest replicas; 0 lets the version go to sleep until a request comes.
    #[schemars(range(min = 0, max = limits::REPLICAS_MAX))]
    pub min_replicas: i64,
    /// The most replicas.
    #[schemars(range(min = 1, max = limits::REPLICAS_MAX))]
    pub max_replicas: i64,
    /// The utilization aimed at: busy slots and waiting requests in percent of all slots.
    #[schemars(range(min = *limits::UTILIZATION.start(), max = *limits::UTILIZATION.end()))]
    pub target_utilization: i64,
    /// Replicas are removed only when the load of this whole time needed fewer, 0s to 1h.
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

/// How a replica shows that it is healthy: at most one of http, tcp, grpc and none; http: / by
/// default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// GET of this path answers 2xx.
    #[schemars(length(min = 1, max = grammar::PATH_LENGTH_MAX), regex(pattern = grammar::PATH_PATTERN))]
    pub http: Option<String>,
    /// A TCP connection is accepted.
    pub tcp: Option<Nothing>,
    /// The gRPC health protocol answers SERVING, at the gRPC port.
    pub grpc: Option<Nothing>,
    /// Usable without being asked, until a connection fails.
    pub none: Option<Nothing>,
    /// How often a ready replica is asked, 100ms to 10m.
    pub period: DurationText,
    /// How long an answer may take, 10ms to 1m.
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Where the replicas of a version come from. Which fields belong to which kind is a rule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The kind of source.
    pub kind: TargetKind,
    /// The name of the object, in the namespace of the endpoint.
    #[schemars(length(min = 1, max = grammar::HOST_LENGTH_MAX), regex(pattern = grammar::OBJECT_NAME_PATTERN))]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// What nearly every issuer signs with, and what OpenID Connect takes for granted (Core §2).
fn default_algorithms() -> Vec<String> {
    vec!["RS256".to_owned()]
}

fn default_max_lifetime() -> DurationText {
    hours(24)
}

fn texts_by_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limits::CLAIMS_MAX,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": limits::URI_LENGTH_MAX},
    })
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
