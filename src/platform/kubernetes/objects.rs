//! The objects of the cluster, cut down to the fields that matter here while they are read: ten
//! thousand pods cost a few megabytes instead of hundreds.
//!
//! Everything has a default, so that an object with something missing is still an object, and one
//! odd object never ends a watch.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

/// Names an object of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ObjectKey {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object that can be watched.
pub(super) trait Object:
    DeserializeOwned + Clone + Send + Sync + fmt::Debug + 'static
{
    /// Its metadata.
    fn meta(&self) -> &Meta;

    /// Its name among the objects of its kind.
    fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey { namespace: Arc::clone(&meta.namespace), name: Arc::clone(&meta.name) }
    }
}

/// The metadata that every kind has.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: Arc<str>,
    pub(super) namespace: Arc<str>,
    pub(super) uid: Arc<str>,
    pub(super) resource_version: Box<str>,
    pub(super) generation: i64,
    pub(super) creation_timestamp: Option<Timestamp>,
    pub(super) deletion_timestamp: Option<Timestamp>,
    pub(super) owner_references: Vec<Owner>,
    pub(super) labels: Labels,
    pub(super) annotations: Annotations,
}

/// Who an object belongs to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Owner {
    pub(super) kind: Box<str>,
    pub(super) name: Arc<str>,
    pub(super) uid: Arc<str>,
    /// Whether it is the one owner that manages the object.
    pub(super) controller: bool,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            name: "".into(),
            namespace: "".into(),
            uid: "".into(),
            resource_version: "".into(),
            generation: 0,
            creation_timestamp: None,
            deletion_timestamp: None,
            owner_references: Vec::new(),
            labels: Labels::new(),
            annotations: Annotations::default(),
        }
    }
}

/// The one annotation that is kept, a pod's: others may hold whole manifests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    /// The lowest goes first when a ReplicaSet shrinks.
    #[serde(rename = "controller.kubernetes.io/pod-deletion-cost")]
    pub(super) deletion_cost: Option<Box<str>>,
}

/// Labels, as they are.
pub(super) type Labels = BTreeMap<Box<str>, Box<str>>;

/// A pod: a replica to be, or another pod of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pod {
    pub(super) metadata: Meta,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

/// What a pod was asked to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    /// Where it is scheduled; empty before that.
    pub(super) node_name: Box<str>,
    pub(super) termination_grace_period_seconds: Option<u32>,
}

/// What kubelet says of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub(super) phase: Box<str>,
    /// Why it is in its phase, for example Evicted.
    pub(super) reason: Box<str>,
    /// The same in a sentence.
    pub(super) message: Box<str>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Box<str>,
    pub(super) conditions: Vec<PodCondition>,
    pub(super) container_statuses: Vec<ContainerStatus>,
}

/// One condition of a pod: Ready, PodScheduled and others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodCondition {
    #[serde(rename = "type")]
    pub(super) kind: Box<str>,
    /// True, False or Unknown.
    pub(super) status: Box<str>,
    pub(super) reason: Box<str>,
    pub(super) message: Box<str>,
}

/// One container of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatus {
    pub(super) name: Box<str>,
    pub(super) restart_count: u32,
    pub(super) state: ContainerState,
}

/// What a container is doing; only waiting matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Waiting>,
}

/// Why a container does not run: CrashLoopBackOff, ImagePullBackOff and others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) reason: Box<str>,
    pub(super) message: Box<str>,
}

/// Metadata alone: ReplicaSets are only a link of the owner chain.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReplicaSet {
    pub(super) metadata: Meta,
}

/// A Deployment or a StatefulSet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Workload {
    pub(super) metadata: Meta,
    pub(super) spec: WorkloadSpec,
}

/// What a workload was asked to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkloadSpec {
    /// The API server fills in 1 where nothing is said.
    pub(super) replicas: Option<u32>,
    pub(super) selector: LabelSelector,
}

/// Which pods a workload takes for its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LabelSelector {
    pub(super) match_labels: Labels,
    pub(super) match_expressions: Vec<LabelRequirement>,
}

/// One rule of a selector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct LabelRequirement {
    pub(super) key: Box<str>,
    /// In, NotIn, Exists or DoesNotExist.
    pub(super) operator: Box<str>,
    pub(super) values: Vec<Box<str>>,
}

/// A HorizontalPodAutoscaler: another who scales.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hpa {
    pub(super) metadata: Meta,
    pub(super) spec: HpaSpec,
}

/// What an HPA scales.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HpaSpec {
    pub(super) scale_target_ref: HpaTarget,
}

/// The target of an HPA.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HpaTarget {
    pub(super) api_version: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) name: Box<str>,
}

/// A Secret with keys. Its values are never shown.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Secret {
    pub(super) metadata: Meta,
    /// Base64, as the API server sends it.
    pub(super) data: BTreeMap<Box<str>, Box<str>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

/// An InferenceEndpoint, its spec unread: `platform::spec` reads it, so that one bad object is a
/// refused object and not the end of the watch.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EndpointObject {
    pub(super) metadata: Meta,
    pub(super) spec: serde_json::Value,
    /// What we, or a router before us, said of it.
    pub(super) status: serde_json::Value,
}

macro_rules! objects {
    ($($kind:ty),*) => {
        $(impl Object for $kind {
            fn meta(&self) -> &Meta {
                &self.metadata
            }
        })*
    };
}
objects!(Pod, ReplicaSet, Workload, Hpa, Secret, EndpointObject);
