//! The live state of a version: slots, queue, and which replica gets the next request.
//!
//! Promises: a replica never has more requests than its slots; a free slot is never idle while a
//! request of its version waits; waiting is first come first served and bounded; a [`Slot`] is
//! given back exactly once, by its drop, on whatever path a request ends.
//!
//! How: one structure per version behind one short lock (`buckets`: replicas by busy
//! count, constant time at any number of replicas). Taking and giving back a slot costs tens of
//! nanoseconds; an approximate choice (two random replicas) would not be cheaper enough to justify
//! its worse balance.
//!
//! Not here: connections to replicas (`upstream`), how many there should be (`autoscale`).

mod aside;
mod buckets;
mod queue;
mod registry;
mod slot;
mod standing;
mod tokens;
mod version;

#[cfg(test)]
mod tests;

pub use aside::Aside;
pub use registry::Registry;
pub use slot::{Slot, Target};
pub use tokens::{AllHere, TokenHolder};
pub use version::{Acquired, Refused, VersionState, Waiting};
