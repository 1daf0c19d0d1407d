//! Floods, slow clients and bounds: what hostile clients cost the router and its good clients.
//!
//! The router is a process of its own, so that its files, its memory and its CPU are its own. Each
//! test prints a table: attack, good traffic with and without it, memory, time to eviction. A test
//! that measures runs alone, so that one does not measure the other.
#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "code of tests, outside of any #[test] function"
)]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod files;
mod frames;
mod good;
mod memory;
mod slow;
mod tries;
mod world;
