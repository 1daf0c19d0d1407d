//! The words of conditions: a closed list of types and reasons.

/// The types of condition, in the order in which they stand in a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Aspect {
    /// The spec is good.
    Accepted,
    /// What the spec names exists and can be used.
    ResolvedRefs,
    /// The routers serve the spec.
    Programmed,
    /// The replicas follow the load.
    Autoscaling,
    /// Requests are answered: the summary.
    Ready,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Holds {
    True,
    False,
    Unknown,
}

/// Why a condition holds or does not. Among those of one type, the first is the most important
/// one: of several versions, it is the reason of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) enum Reason {
    Accepted,
    Invalid,
    NameTaken,
    HostTaken,
    TargetTaken,
    ResolvedRefs,
    TargetNotFound,
    SecretForbidden,
    SecretInvalid,
    SecretNotFound,
    Programmed,
    NotAccepted,
    RoutersPending,
    HpaConflict,
    WriteFailed,
    PodsFailing,
    PodsPending,
    AtMaxReplicas,
    NotLeading,
    ScalingUp,
    ScalingDown,
    Stable,
    Disabled,
    Ready,
    ReplicasStarting,
    NoReadyReplicas,
}

impl Aspect {
    /// Every type, in order.
    pub(in super::super) const ALL: [Self; 5] =
        [Self::Accepted, Self::ResolvedRefs, Self::Programmed, Self::Autoscaling, Self::Ready];

    /// The `type` of the condition.
    pub(in super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
            Self::Autoscaling => "Autoscaling",
            Self::Ready => "Ready",
        }
    }
}

impl Holds {
    /// The `status` of the condition.
    pub(in super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Reason {
    /// Every reason, in order.
    pub(in super::super) const ALL: [Self; 26] = [
        Self::Accepted,
        Self::Invalid,
        Self::NameTaken,
        Self::HostTaken,
        Self::TargetTaken,
        Self::ResolvedRefs,
        Self::TargetNotFound,
        Self::SecretForbidden,
        Self::SecretInvalid,
        Self::SecretNotFound,
        Self::Programmed,
        Self::NotAccepted,
        Self::RoutersPending,
        Self::HpaConflict,
        Self::WriteFailed,
        Self::PodsFailing,
        Self::PodsPending,
        Self::AtMaxReplicas,
        Self::NotLeading,
        Self::ScalingUp,
        Self::ScalingDown,
        Self::Stable,
        Self::Disabled,
        Self::Ready,
        Self::ReplicasStarting,
        Self::NoReadyReplicas,
    ];

    /// The `reason` of the condition.
    pub(in super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::NameTaken => "NameTaken",
            Self::HostTaken => "HostTaken",
            Self::TargetTaken => "TargetTaken",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::TargetNotFound => "TargetNotFound",
            Self::SecretForbidden => "SecretForbidden",
            Self::SecretInvalid => "SecretInvalid",
            Self::SecretNotFound => "SecretNotFound",
            Self::Programmed => "Programmed",
            Self::NotAccepted => "NotAccepted",
            Self::RoutersPending => "RoutersPending",
            Self::HpaConflict => "HpaConflict",
            Self::WriteFailed => "WriteFailed",
            Self::PodsFailing => "PodsFailing",
            Self::PodsPending => "PodsPending",
            Self::AtMaxReplicas => "AtMaxReplicas",
            Self::NotLeading => "NotLeading",
            Self::ScalingUp => "ScalingUp",
            Self::ScalingDown => "ScalingDown",
            Self::Stable => "Stable",
            Self::Disabled => "Disabled",
            Self::Ready => "Ready",
            Self::ReplicasStarting => "ReplicasStarting",
            Self::NoReadyReplicas => "NoReadyReplicas",
        }
    }

    /// The types of condition that a router gives this reason to, with what it then says of them.
    /// `Ready` copies from the others.
    pub(in super::super) const fn uses(self) -> &'static [(Aspect, Holds)] {
        use Aspect as A;
        use Holds::{False, True, Unknown};
        match self {
            Self::Accepted => &[(A::Accepted, True)],
            Self::Invalid | Self::NameTaken | Self::HostTaken | Self::TargetTaken => {
                &[(A::Accepted, False), (A::Ready, False)]
            }
            Self::ResolvedRefs => &[(A::ResolvedRefs, True)],
            Self::TargetNotFound => {
                &[(A::ResolvedRefs, False), (A::Autoscaling, False), (A::Ready, False)]
            }
            Self::SecretForbidden | Self::SecretInvalid | Self::SecretNotFound => {
                &[(A::ResolvedRefs, False), (A::Ready, False)]
            }
            Self::Programmed => &[(A::Programmed, True)],
            Self::NotAccepted => {
                &[(A::ResolvedRefs, Unknown), (A::Programmed, False), (A::Autoscaling, Unknown)]
            }
            Self::RoutersPending => &[(A::Programmed, False), (A::Ready, False)],
            Self::PodsFailing | Self::PodsPending => &[(A::Autoscaling, False), (A::Ready, False)],
            Self::HpaConflict
            | Self::WriteFailed
            | Self::AtMaxReplicas
            | Self::NotLeading
            | Self::Disabled => &[(A::Autoscaling, False)],
            Self::ScalingUp | Self::ScalingDown | Self::Stable => &[(A::Autoscaling, True)],
            Self::Ready => &[(A::Ready, True)],
            Self::ReplicasStarting | Self::NoReadyReplicas => &[(A::Ready, False)],
        }
    }

    /// Whether it is a fault somewhere.
    pub(in super::super) fn is_fault(self) -> bool {
        self.uses().iter().any(|(_, holds)| *holds == Holds::False)
    }

    /// What it says of this type of condition; `None` where the two do not go together.
    pub(in super::super) fn holds(self, aspect: Aspect) -> Option<Holds> {
        self.uses().iter().find(|(of, _)| *of == aspect).map(|(_, holds)| *holds)
    }
}
