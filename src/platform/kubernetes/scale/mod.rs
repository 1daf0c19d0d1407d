//! What the leader writes to scale: the count of a workload, and the mark on a victim.
//!
//! *Promises*: nothing is written without a valid [`Term`](super::leader::Term), asked for right
//! before each write, nor upon a state of the object other than the one that was decided on
//! (resourceVersion, uid); nothing is written that changes nothing; every write ends within
//! [`WRITE_LIMIT`].
//!
//! *Not here*: how many (`autoscale`), whose turn it is (`leader`), and when a write that failed is
//! tried again: that is the actor's, within the [`WriteBudget`].

mod budget;
mod error;
mod replicas;
#[cfg(test)]
mod tests;
mod victim;

use std::time::Duration;

pub(super) use self::{
    budget::WriteBudget,
    error::WriteError,
    replicas::{Known, Written, set_replicas},
    victim::{VICTIM_COST, mark_victim},
};

/// How long a write may take, with every look and try that it needs.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How often a write is tried upon a newer state. Each loss means that somebody else has written
/// in the two milliseconds since the look, as controllers do that count pods.
const MAX_TRIES: u32 = 8;

/// Whether the text may be a part of a path: only what names of objects are made of, so that no
/// name leads to another resource.
fn is_name(text: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part) && text.bytes().any(|byte| byte != b'.')
}
