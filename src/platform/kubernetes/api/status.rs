//! What the router says of an endpoint: the status of its object.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::VERSIONS_MAX;

/// The most conditions of an object: ours are five, and others may add some.
const CONDITIONS_MAX: usize = 16;

/// What the router says of the endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointStatus {
    /// The generation of the object that this status is about.
    pub observed_generation: i64,
    /// Accepted, ResolvedRefs, Programmed, Autoscaling and Ready, each with its reason and message.
    #[schemars(length(max = CONDITIONS_MAX))]
    pub conditions: Vec<Condition>,
    /// The version that takes what the percentiles leave to 100.
    pub default_version: Option<String>,
    /// The shares of the versions, the default one's rest included: blue=80% green=20%.
    pub effective_traffic: Option<String>,
    /// Ready and desired replicas of all versions: 2/3.
    pub replicas: Option<String>,
    /// Where requests go.
    pub scoring_uri: Option<String>,
    /// The versions in the order of the spec.
    #[schemars(length(max = VERSIONS_MAX))]
    pub versions: Vec<VersionStatus>,
}

/// What the router says of a version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VersionStatus {
    /// The name of the version.
    pub name: String,
    /// How many replicas it should have.
    pub desired_replicas: i32,
    /// How many replicas can take requests.
    pub ready_replicas: i32,
    /// Its share of the requests that name no version, in percent.
    pub effective_percentile: i32,
    /// The last time that the router changed the count of its replicas.
    pub last_scale: Option<LastScale>,
}

/// One change of the count of replicas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastScale {
    /// When.
    #[schemars(with = "Option<Time>")]
    pub time: Option<Timestamp>,
    /// The count before.
    pub from: i32,
    /// The count that was ordered.
    pub to: i32,
    /// Why, in words.
    pub reason: String,
}
