//! The data plane from outside: one router, scripted replicas, clients on bare sockets.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "code of tests, outside of any #[test] function"
)]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod answers;
mod canary;
mod client_faults;
mod forwarding;
mod heads;
mod hostile_replicas;
mod patience;
mod payload;
mod protocol;
mod retries;
mod world;
