//! Pods that do not come up, grouped by what keeps them.

use std::sync::Arc;

use super::{super::objects::Pod, words::one_line};

/// The most bytes of a message of the cluster that are kept: the scheduler's sentence about a
/// hundred nodes is longer, and its beginning says what is missing.
const MESSAGE_BYTES_MAX: usize = 200;
/// The most bytes of a reason word of the cluster.
const WORD_BYTES_MAX: usize = 64;

/// What keeps pods from coming up. In the order of the messages: what an admin can do most about
/// comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) enum TroubleKind {
    /// No node has room for it, or none may take it.
    Unschedulable,
    /// ImagePullBackOff, ErrImagePull, InvalidImageName.
    ImagePull,
    /// CreateContainerConfigError and the like: a ConfigMap or Secret that is not there.
    Config,
    /// It starts and ends, again and again.
    CrashLoop,
    /// It ended and is not started again: Failed, Evicted.
    Failed,
}

/// Pods of one version with the same kind of trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Trouble {
    /// What keeps them.
    pub(in super::super) kind: TroubleKind,
    /// How many.
    pub(in super::super) count: u32,
    /// The first of them by name.
    pub(in super::super) pod: Arc<str>,
    /// The cluster's own word for it, of the first, for example ErrImagePull.
    pub(in super::super) word: Box<str>,
    /// The cluster's message, of the first, on one line and cut; may be empty.
    pub(in super::super) message: Box<str>,
}

/// Collects the troubles of one version; at most one entry for each kind.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Troubles(Vec<Trouble>);

#[cfg(test)]
impl TroubleKind {
    /// Every kind, in order.
    pub(in super::super) const ALL: [Self; 5] =
        [Self::Unschedulable, Self::ImagePull, Self::Config, Self::CrashLoop, Self::Failed];
}

impl Troubles {
    /// Looks at one pod. The order of pods does not matter.
    pub(in super::super) fn look(&mut self, pod: &Pod) {
        let Some((kind, word, message)) = trouble_of(pod) else { return };
        let name = &pod.metadata.name;
        let new = || Trouble {
            kind,
            count: 1,
            pod: Arc::clone(name),
            word: one_line(word, WORD_BYTES_MAX).into(),
            message: one_line(message, MESSAGE_BYTES_MAX).into(),
        };
        match self.0.iter_mut().find(|trouble| trouble.kind == kind) {
            None => self.0.push(new()),
            Some(known) => {
                let count = known.count.saturating_add(1);
                if *name < known.pod {
                    *known = new();
                }
                known.count = count;
            }
        }
    }

    /// What was found, in the order of the kinds.
    pub(in super::super) fn into_list(mut self) -> Vec<Trouble> {
        self.0.sort_by_key(|trouble| trouble.kind);
        self.0
    }
}

/// What keeps this pod, with the cluster's word and message. A pod that is being deleted has no
/// trouble: it is meant to go.
fn trouble_of(pod: &Pod) -> Option<(TroubleKind, &str, &str)> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if &*pod.status.phase == "Failed" {
        let word = if pod.status.reason.is_empty() { "Failed" } else { &pod.status.reason };
        return Some((TroubleKind::Failed, word, &pod.status.message));
    }
    let waits = pod.status.container_statuses.iter().filter_map(|c| c.state.waiting.as_ref());
    let stuck = waits
        .filter_map(|waiting| Some((stuck(&waiting.reason)?, waiting)))
        .min_by_key(|(kind, _)| *kind);
    if let Some((kind, waiting)) = stuck {
        return Some((kind, &waiting.reason, &waiting.message));
    }
    let conditions = &pod.status.conditions;
    let scheduled = conditions.iter().find(|condition| &*condition.kind == "PodScheduled")?;
    let is_stuck = &*scheduled.status == "False" && &*scheduled.reason == "Unschedulable";
    is_stuck.then_some((TroubleKind::Unschedulable, &*scheduled.reason, &*scheduled.message))
}

/// The kinds of waiting that do not end by themselves (the words of kubelet's source,
/// `pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go` and
/// `pkg/kubelet/kuberuntime/kuberuntime_container.go`).
fn stuck(word: &str) -> Option<TroubleKind> {
    match word {
        "CrashLoopBackOff" | "RunContainerError" | "PostStartHookError" => {
            Some(TroubleKind::CrashLoop)
        }
        "ImagePullBackOff"
        | "ErrImagePull"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(TroubleKind::ImagePull),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "PreCreateHookError"
        | "PreStartHookError" => Some(TroubleKind::Config),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
