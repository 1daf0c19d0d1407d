//! An endpoint that has passed every rule: what platforms work with.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::domain;

/// A checked endpoint: what the data plane needs, and where the replicas of each version come from.
#[derive(Debug, Clone)]
pub struct EndpointSpec {
    /// The endpoint with empty replica lists. Its `auth.keys` are filled when the keys stand in
    /// the files, and empty when a cluster holds them or they have to be generated.
    pub endpoint: domain::Endpoint,
    /// Whether a key lets a caller in: in mode Key, and in mode Token with `keys: true`.
    pub takes_keys: bool,
    /// The Secret that holds the keys, in the namespace of the endpoint; `None`: they are generated.
    pub secret: Option<String>,
    /// One per version, in the order of `endpoint.versions`.
    pub versions: Vec<VersionSpec>,
}

/// What a platform needs to know of a version beyond what the data plane needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSpec {
    /// Where its replicas come from.
    pub target: Target,
    /// The replicas' HTTP port where the target does not say: 5001 by default.
    pub port: u16,
    /// The replicas' gRPC port; `None`: the same port.
    pub grpc_port: Option<u16>,
    /// How a replica shows that it is healthy.
    pub probe: Probe,
    /// `replicas`: the count when autoscaling is off; `None` where the file does not say.
    pub replicas: Option<u32>,
}

/// Where the replicas of a version come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Local processes, started and stopped by the router.
    Process(ProcessTarget),
    /// Fixed addresses, never scaled; may be empty.
    Addresses(Vec<Address>),
    /// An object of a cluster; only where the policy allows it.
    Cluster {
        /// `Deployment` or `StatefulSet`.
        kind: &'static str,
        /// Its name, in the namespace of the endpoint.
        name: String,
    },
}

/// How to start a replica process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTarget {
    /// Program and arguments; `{port}`, `{grpcPort}` and `{replica}` are filled in. Never empty.
    pub command: Vec<String>,
    /// Added to the router's own environment; the same placeholders are filled in.
    pub env: BTreeMap<String, String>,
    /// Where it runs; relative to the folder of the file. The folder of the file by default.
    pub working_dir: PathBuf,
    /// How long it may take to pass its first probe.
    pub start_deadline: Duration,
    /// How long it may take to end after SIGTERM before it gets SIGKILL.
    pub stop_grace: Duration,
}

/// A fixed address of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A host name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    /// The port; the version's port where the file gives none.
    pub port: u16,
}

/// How a replica shows that it is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// How often a ready replica is asked.
    pub period: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// `GET` of this path answers 2xx.
    Http(String),
    /// A TCP connection is accepted.
    Tcp,
    /// The gRPC health protocol answers SERVING.
    Grpc,
    /// Usable until a connection fails.
    None,
}
