//! A stand-in model server: the replica of the demo, of tests and of load runs.
//!
//! *Promises*: it behaves as told (latency, concurrency, failures, slow start, sudden exit, closing
//! connections) and tells the truth about what reached it: how often each request id was executed,
//! and the most requests it ever had in progress. An execution is counted before its first effect
//! and its end before the last byte of its answer, so that a router which counts exactly is never
//! blamed for the order in which two sockets are read.
//!
//! *How*: hyper serves HTTP/1.1 and HTTP/2 on one port. Work runs in a task of its own, because most
//! model servers go on computing when their client has left. [`Truth`] is kept in memory and, when
//! asked for, appended to a file line by line, which outlives a SIGKILL.
//!
//! *Not here*: anything of the router. It has no keys, no limits and no mercy.

mod answer;
mod args;
mod behaviour;
mod grpc;
mod http;
mod latency;
mod ledger;
mod score;
mod server;
mod stream;
mod truth;
mod websocket;

#[cfg(test)]
mod tests;

pub use args::{ConcurrencyMode, ExitAfter, ModelArgs};
pub use latency::Latency;
pub use server::{Ended, Model, run, run_blocking};
pub use truth::{IDS_MAX, Stats, Truth};
