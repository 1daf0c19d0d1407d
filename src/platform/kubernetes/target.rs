//! The workloads that are targets of versions.

use std::fmt;

use super::objects::ObjectKey;

/// The kinds of workload that can be a target; both of `apps/v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum WorkloadKind {
    Deployment,
    StatefulSet,
}

/// Names a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) kind: WorkloadKind,
    pub(super) object: ObjectKey,
}

impl WorkloadKind {
    /// As objects are called.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// The kind of this name, if it is one of ours.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        [Self::Deployment, Self::StatefulSet].into_iter().find(|kind| kind.as_str() == text)
    }

    /// The resource of the kind, as in URLs and roles.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
        }
    }

    /// The resource that is written, as in roles.
    pub(super) const fn scale_resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments/scale",
            Self::StatefulSet => "statefulsets/scale",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.object)
    }
}
