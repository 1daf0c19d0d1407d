//! Events of InferenceEndpoints (events.k8s.io): what happened, said once.
//!
//! *Promises*: [`changes()`] is a pure function of what was and what is, so that nothing is said
//! again because a router started; [`Events::say`] never waits; only the leader says anything; what
//! does not fit is dropped and counted.
//!
//! *Not here*: what is the case now (`status`).

mod changes;
mod kind;
mod publish;

pub(super) use changes::{Before, changes};
pub(super) use publish::Events;

#[cfg(test)]
mod changes_tests;
#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod real_tests;
