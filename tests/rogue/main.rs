//! Replicas that break every rule: one row for each way, with what the client must see.
//!
//! Each row is asked for over HTTP/1 and over HTTP/2 (gRPC rows over HTTP/2 alone), with an ordinary
//! request behind it on the same client connection. Whatever the replica did, the second answer is
//! its own, the poisoned connection is not used again, and every slot comes back.
#![expect(
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "code of tests, outside of any #[test] function; a table is one function"
)]

#[path = "../support/mod.rs"]
mod support;

mod frames;
mod grpc;
mod grpc_rows;
mod health;
mod plain;
mod rogue;
mod row;
mod rows;
mod stage;
