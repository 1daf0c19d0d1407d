//! Protocols and real clients through the real binary: gRPC, events, WebSockets, the programs that
//! people score with, a real model server, and the commands themselves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod azureml;
mod bench;
mod commands;
mod endpoints;
mod grpc;
mod grpc_replica;
mod http;
mod newcomer;
mod programs;
mod websocket;
