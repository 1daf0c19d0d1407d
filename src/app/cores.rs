//! The memory of the router stays in memory: it holds keys in clear text for moments.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// No core file when the process crashes, and no other process of the same user, replicas included,
/// may read its memory or its environment (prctl(2), `PR_SET_DUMPABLE`). Replicas inherit the limit
/// of core files, and may raise it again: what they dump is their own.
pub(super) fn forbid() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    for (what, done) in [("the limit of core files", limited), ("PR_SET_DUMPABLE", hidden)] {
        if let Err(error) = done {
            // A router that serves is worth more than one that cannot crash in private.
            tracing::warn!(%error, "cannot set {what}; a crash may write memory to a disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn a_process_that_forbids_core_files_has_none_and_hides_its_memory() {
        forbid();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().expect("Linux says"), DumpableBehavior::NotDumpable);
    }
}
