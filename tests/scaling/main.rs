//! Replicas come and go: with the load, with edits of the file, after crashes, and with the router.

#[path = "../support/mod.rs"]
mod support;

mod autoscale;
mod edits;
mod processes;
