//! The catalog: the immutable picture of all endpoints, versions and replicas.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use super::{Name, VersionKey};

/// All endpoints at one moment. Never changed in place: every change is a new catalog with a
/// higher revision.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Grows by one with every publication.
    pub revision: u64,
    /// The endpoints by name; one space of names per router (contract §2).
    pub endpoints: BTreeMap<Name, Arc<Endpoint>>,
}

/// What a client addresses by name.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name, the path segment of its scoring URI.
    pub name: Name,
    /// Who may call it.
    pub auth: AuthPolicy,
    /// Whether `Authorization` and `api-key` reach the replica (contract §7: not by default).
    pub forward_credentials: bool,
    /// The largest request payload in bytes, at most [`super::MAX_PAYLOAD_BYTES`].
    pub max_payload_bytes: u64,
    /// Hash this header or cookie to choose the version, instead of the exact split.
    pub sticky_by: Option<StickyBy>,
    /// Which status codes the router's own errors use.
    pub error_profile: ErrorProfile,
    /// Lower-case host names (without port) that reach this endpoint with their path unchanged.
    pub hosts: Vec<Box<str>>,
    /// Whether answers carry `Server-Timing`.
    pub server_timing: bool,
    /// One to six versions, in the order of the file or object.
    pub versions: Vec<Version>,
    /// Index of the default version in `versions`.
    pub default_version: usize,
}

/// One deployed model behind an endpoint.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name, unique within the endpoint.
    pub name: Name,
    /// Control or Treatment; information for those who compare, without effect on routing.
    pub kind: VersionKind,
    /// Its share of unpinned requests as written, 0–100. What is missing to 100 over all versions
    /// goes to the default version (`routing::Split` does that sum).
    pub traffic_percentile: u8,
    /// Share of live requests copied to it, 0–100.
    pub mirror_percentile: u8,
    /// The replica's path for `/score`; starts with `/`.
    pub scoring_path: Arc<str>,
    /// `maxConcurrentRequestsPerReplica`: slots of each replica, at least 1.
    pub slots_per_replica: u32,
    /// How long a request may wait for a slot.
    pub max_queue_wait: Duration,
    /// `maxQueueLength`; `None` is max(100, 2 × slots × (ready + starting)).
    pub max_queue_length: Option<u32>,
    /// From the slot to the last byte of a unary answer, or to the first byte of a stream.
    pub request_timeout: Duration,
    /// How long a streaming answer may be silent.
    pub stream_idle_timeout: Duration,
    /// What happens to the replica's work when the client leaves before the answer; `None` where
    /// the file does not say: finish, and cancel once a streaming answer has begun.
    pub on_disconnect: Option<OnDisconnect>,
    /// Send the request to the default version when this one has no ready replica.
    pub fallback_to_default: bool,
    /// How many replicas it should have.
    pub autoscale: Autoscale,
    /// Whether the platform can start a replica of this version (false for fixed addresses).
    pub startable: bool,
    /// Whether its platform is replacing replicas, as in a rollout: for a while there are more than
    /// were asked for, and none of them is to be removed for that.
    pub rolling: bool,
    /// Its replicas, in no particular order.
    pub replicas: Vec<Replica>,
}

/// One model pod or local process of a version.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Never used again for another replica, even at the same address.
    pub id: ReplicaId,
    /// What people see, for example `demo-blue-1`.
    pub name: Arc<str>,
    /// Its place among the replicas of its version where the platform can only remove the highest
    /// first, as Kubernetes does with a `StatefulSet`; `None` where it can remove any.
    pub ordinal: Option<u32>,
    /// Where HTTP requests go.
    pub http: SocketAddr,
    /// Where gRPC requests go; the same as `http` unless the version has a `grpcPort`.
    pub grpc: SocketAddr,
    /// Whether it may get work.
    pub state: ReplicaState,
    /// Grows each time the platform finds the replica ready again, so that a failure seen by the
    /// data plane holds exactly until the next good probe.
    pub generation: u64,
}

/// Identifies a replica within one router process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub u64);

/// Whether a replica may get work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaState {
    /// Started, restarting or not answering its probe: capacity to come.
    Starting,
    /// May get work.
    Ready,
    /// Gets no new work; finishes what it has, then goes.
    Draining,
}

/// The role of a version in a comparison (contract §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum VersionKind {
    /// The one that others are compared with; at most one per endpoint.
    Control,
    /// One of the others.
    Treatment,
}

/// What happens to a replica's work when its client leaves (contract §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// Read the answer to its end, drop it, then free the slot.
    Finish,
    /// Close the connection to the replica, then free the slot.
    Cancel,
}

/// How many replicas a version should have (contract §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoscale {
    /// Whether the autoscaler may change the count.
    pub enabled: bool,
    /// The fewest replicas, 0 allowed.
    pub min_replicas: u32,
    /// The most replicas, at least `min_replicas` and at least 1.
    pub max_replicas: u32,
    /// The utilization aimed at, in percent, 1–100.
    pub target_utilization: u32,
    /// Replicas are removed only when the highest want of this window is lower.
    pub scale_down_window: Duration,
}

/// The request field whose value chooses the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// A header, by its lower-case name.
    Header(Box<str>),
    /// A cookie, by its name.
    Cookie(Box<str>),
}

/// Which status codes the router's own errors use (contract §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorProfile {
    /// 502, 503, 504.
    Kubernetes,
    /// 424, 429, 408, as managed online endpoints do.
    Managed,
}

/// Who may call an endpoint.
#[derive(Debug, Clone)]
pub struct AuthPolicy {
    /// Key, token or nobody asked.
    pub mode: AuthMode,
    /// Digests of the valid keys: primary, then secondary. Empty where no key is accepted.
    pub keys: Vec<KeyDigest>,
    /// Which tokens are accepted; only in mode `Token`.
    pub token: Option<Arc<TokenPolicy>>,
}

impl AuthPolicy {
    /// Nobody is asked.
    pub const fn open() -> Self {
        Self { mode: AuthMode::None, keys: Vec::new(), token: None }
    }

    /// One of these keys is asked for.
    pub const fn of_keys(keys: Vec<KeyDigest>) -> Self {
        Self { mode: AuthMode::Key, keys, token: None }
    }
}

/// Which tokens an endpoint accepts (contract §7). Those that the router issues itself always are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// How long a token that the router issues is valid.
    pub lifetime: Duration,
    /// Outside issuers.
    pub issuers: Vec<Issuer>,
}

/// An outside issuer and what its tokens have to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The `iss` claim, byte by byte.
    pub issuer: String,
    /// One of these has to be among the audiences (`aud`) of a token. Never empty.
    pub audiences: Vec<String>,
    /// Where its keys are; `None` means where its OpenID configuration says.
    pub jwks_uri: Option<String>,
    /// The algorithms that are accepted; whatever a token says of itself. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// A token that is valid for longer, from `iat` or now to `exp`, is refused.
    pub max_lifetime: Duration,
    /// Claims that have to be there with exactly this text.
    pub required_claims: BTreeMap<String, String>,
    /// All of these have to be among the scopes (`scope` or `scp`) of a token.
    pub required_scopes: Vec<String>,
}

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1). Only signatures with two halves: with an
/// HMAC whoever checks a token could make one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of RFC 7518 and RFC 8037")]
pub enum Algorithm {
    EdDSA,
    ES256,
    ES384,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}

impl Algorithm {
    /// All that may be accepted.
    pub const ALL: [Self; 9] = [
        Self::EdDSA,
        Self::ES256,
        Self::ES384,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
    ];

    /// The word in a token's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
        }
    }

    /// The algorithm of this name, in exactly this spelling.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// How a caller proves who it is (contract §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum AuthMode {
    /// A primary or secondary key.
    Key,
    /// A JWT.
    Token,
    /// No credential is asked for.
    None,
}

/// SHA-256 of a key. The key itself is never held in memory (contract §7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(pub [u8; 32]);

/// A digest of a weak key would still help an attacker, so not even it is printed.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

impl Version {
    /// The bound of the queue for this many ready and starting replicas (contract §12).
    pub fn queue_length_max(&self, replicas: u32) -> u32 {
        self.max_queue_length
            .unwrap_or_else(|| (2 * self.slots_per_replica).saturating_mul(replicas).max(100))
    }

    /// How many replicas are in this state.
    pub fn count(&self, state: ReplicaState) -> u32 {
        let count = self.replicas.iter().filter(|replica| replica.state == state).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl Endpoint {
    /// What each version really gets of the unpinned requests, in percent: its percentile, and for
    /// the default version what is missing to 100 as well.
    pub fn effective_percentiles(&self) -> Vec<u8> {
        let written = self.versions.iter().map(|version| version.traffic_percentile);
        let rest = written.clone().fold(100_u8, u8::saturating_sub);
        let is_default = |index| index == self.default_version;
        written.enumerate().map(|(i, share)| share + if is_default(i) { rest } else { 0 }).collect()
    }

    /// The name of one of its versions among all versions.
    pub fn key_of(&self, version: &Version) -> VersionKey {
        VersionKey { endpoint: self.name.clone(), version: version.name.clone() }
    }

    /// The version of this name, with its index.
    pub fn version(&self, name: &str) -> Option<(usize, &Version)> {
        self.versions.iter().enumerate().find(|(_, version)| version.name.as_str() == name)
    }
}
