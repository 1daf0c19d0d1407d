//! The items of the admin API as they travel; the operator's commands read the same types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{ClearKeys, IssuedToken};

/// An endpoint with its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointItem {
    /// Its name.
    pub name: String,
    /// The path of its scoring URI.
    pub scoring_path: String,
    /// `Key`, `Token` or `None`.
    pub auth_mode: String,
    /// Host names that reach it with their path unchanged.
    pub hosts: Vec<String>,
    /// `header NAME` or `cookie NAME`, where that chooses the version.
    pub sticky_by: Option<String>,
    /// The largest payload in bytes.
    pub max_payload_bytes: u64,
    /// `kubernetes` or `managed`.
    pub error_profile: String,
    /// The default version.
    pub default_version: String,
    /// The split in words, for example `blue=80% green=20%`.
    pub effective_traffic: String,
    /// Its versions, in the order of the file or object.
    pub versions: Vec<VersionItem>,
}

/// A version with its load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionItem {
    /// Its name.
    pub name: String,
    /// Whether it takes what the others leave.
    pub is_default: bool,
    /// `Control` or `Treatment`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its share as written, in percent.
    pub traffic_percentile: u8,
    /// Its share in force, in percent.
    pub effective_percentile: u8,
    /// Share of live requests copied to it, in percent.
    pub mirror_percentile: u8,
    /// Its replicas by state.
    pub replicas: ReplicaCounts,
    /// Slots of the ready replicas.
    pub slots: u32,
    /// Slots of one replica.
    pub slots_per_replica: u32,
    /// Slots in use; null when the load is not known.
    pub busy: Option<u32>,
    /// Requests waiting; null when the load is not known.
    pub queued: Option<u32>,
    /// (busy + queued) / slots; null without slots.
    pub utilization: Option<f64>,
    /// How it is scaled.
    pub autoscale: AutoscaleItem,
    /// The path on the replica.
    pub replica_path: String,
    /// From the slot to the last byte, in milliseconds.
    pub request_timeout_ms: u64,
    /// The longest wait for a slot, in milliseconds.
    pub max_queue_wait_ms: u64,
    /// The most requests that may wait now.
    pub max_queue_length: u32,
    /// `finish`, `cancel`, or null: finish, and cancel once a streaming answer has begun.
    pub on_disconnect: Option<String>,
    /// Whether the default version helps out when no replica is ready.
    pub fallback_to_default: bool,
}

/// Replicas of a version by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaCounts {
    /// May get work.
    pub ready: u32,
    /// Capacity to come.
    pub starting: u32,
    /// Finishing what they have.
    pub draining: u32,
    /// What the autoscaler asks for; null when it leaves the version alone.
    pub wanted: Option<u32>,
}

/// How a version is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscaleItem {
    /// Whether the autoscaler may change the count.
    pub enabled: bool,
    /// The fewest replicas.
    pub min_replicas: u32,
    /// The most replicas.
    pub max_replicas: u32,
    /// Target in percent.
    pub target_utilization: u32,
    /// The window of the way down, in milliseconds.
    pub scale_down_window_ms: u64,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaItem {
    /// Its endpoint.
    pub endpoint: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Its id within the router.
    pub id: u64,
    /// Where HTTP requests go.
    pub address: String,
    /// `starting`, `ready` or `draining`.
    pub state: String,
    /// Slots in use.
    pub busy: u32,
    /// All its slots.
    pub slots: u32,
    /// The local process; null where there is none.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// For how long it gets no work because requests to it failed, in milliseconds; null where it is
    /// not set aside.
    pub set_aside_ms: Option<u64>,
    /// Why it is in its state; may be empty.
    pub message: String,
}

/// A scaling decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionItem {
    /// When, in RFC 3339.
    pub time: String,
    /// Its endpoint.
    pub endpoint: String,
    /// Its version.
    pub version: String,
    /// Replicas before.
    pub from: u32,
    /// Replicas wanted.
    pub to: u32,
    /// `up`, `down` or `hold`.
    pub direction: String,
    /// The reason in words.
    pub reason: String,
    /// The numbers behind the reason.
    pub inputs: serde_json::Value,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterItem {
    /// Its name: the pod or the host.
    pub name: String,
    /// The version of Modelway.
    pub version: String,
    /// When it started, in RFC 3339.
    pub started: String,
    /// Where clients reach it.
    pub data_address: String,
    /// Where this API is.
    pub admin_address: String,
    /// Threads of the data plane.
    pub workers: u64,
    /// `serving`, `draining`, `closing` or `stopped`.
    pub phase: String,
    /// Whether every readiness condition is met.
    pub ready: bool,
    /// Requests in progress, waiting ones included.
    pub requests_in_progress: u64,
    /// Time since the source of the catalog was last in step with it, in seconds.
    pub catalog_age_seconds: f64,
}

/// The keys of an endpoint. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysItem {
    /// The primary key.
    pub primary_key: String,
    /// The secondary key; null where there is none.
    pub secondary_key: Option<String>,
}

impl fmt::Debug for KeysItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeysItem(…)")
    }
}

impl From<ClearKeys> for KeysItem {
    fn from(keys: ClearKeys) -> Self {
        Self {
            primary_key: keys.primary.reveal().to_owned(),
            secondary_key: keys.secondary.map(|key| key.reveal().to_owned()),
        }
    }
}

/// A token for an endpoint, with the fields of Azure Machine Learning. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenItem {
    /// The token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// When to ask for another one, in seconds since 1970.
    pub refresh_after: u64,
    /// From when on it is refused, in seconds since 1970.
    pub expiry_on: u64,
}

impl fmt::Debug for TokenItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenItem(…)")
    }
}

impl From<IssuedToken> for TokenItem {
    fn from(token: IssuedToken) -> Self {
        Self {
            access_token: token.access_token.reveal().to_owned(),
            token_type: "Bearer".to_owned(),
            refresh_after: token.refresh_after,
            expiry_on: token.expiry_on,
        }
    }
}
