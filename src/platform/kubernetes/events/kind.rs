//! All that can happen to an InferenceEndpoint: a closed list.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum EventKind {
    ScaledUp,
    ScaledDown,
    DefaultChanged,
    HpaGone,
    InvalidEndpoint,
    NameTaken,
    HostTaken,
    TargetTaken,
    TargetNotFound,
    SecretInvalid,
    HpaConflict,
    AtMaxReplicas,
    PodsUnschedulable,
    PodsFailing,
}

impl EventKind {
    /// Every kind, in the order of the documentation.
    #[cfg(test)]
    pub(super) const ALL: [Self; 14] = [
        Self::ScaledUp,
        Self::ScaledDown,
        Self::DefaultChanged,
        Self::HpaGone,
        Self::InvalidEndpoint,
        Self::NameTaken,
        Self::HostTaken,
        Self::TargetTaken,
        Self::TargetNotFound,
        Self::SecretInvalid,
        Self::HpaConflict,
        Self::AtMaxReplicas,
        Self::PodsUnschedulable,
        Self::PodsFailing,
    ];

    /// The `reason` of the event.
    pub(in super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::ScaledUp => "ScaledUp",
            Self::ScaledDown => "ScaledDown",
            Self::DefaultChanged => "DefaultChanged",
            Self::HpaGone => "HpaGone",
            Self::InvalidEndpoint => "InvalidEndpoint",
            Self::NameTaken => "NameTaken",
            Self::HostTaken => "HostTaken",
            Self::TargetTaken => "TargetTaken",
            Self::TargetNotFound => "TargetNotFound",
            Self::SecretInvalid => "SecretInvalid",
            Self::HpaConflict => "HpaConflict",
            Self::AtMaxReplicas => "AtMaxReplicas",
            Self::PodsUnschedulable => "PodsUnschedulable",
            Self::PodsFailing => "PodsFailing",
        }
    }

    /// Whether somebody should look at it: `Warning` and not `Normal`.
    pub(in super::super) const fn is_warning(self) -> bool {
        !matches!(self, Self::ScaledUp | Self::ScaledDown | Self::DefaultChanged | Self::HpaGone)
    }

    /// What the router was at: the first word of the `action`.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::ScaledUp | Self::ScaledDown => "Scale",
            Self::DefaultChanged => "Route",
            Self::HpaGone | Self::HpaConflict | Self::AtMaxReplicas => "Autoscale",
            Self::InvalidEndpoint | Self::NameTaken | Self::HostTaken | Self::TargetTaken => {
                "Check"
            }
            Self::TargetNotFound | Self::SecretInvalid => "Resolve",
            Self::PodsUnschedulable | Self::PodsFailing => "Watch",
        }
    }
}
