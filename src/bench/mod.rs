//! A load generator: `modelway bench URL`.
//!
//! *Promises*: it ends by itself, whatever the server does; it says what it saw and hides nothing.
//! In a closed loop (`-c`) latency is from the call to the last byte of the answer. In an open loop
//! (`-q`) it is from the moment at which the schedule says that the request is due, so a server that
//! pauses is charged for every request that had to wait (no coordinated omission), and requests that
//! could not be sent are counted as missed and as errors.
//!
//! *How*: hyper's client with keep-alive. One [`Tally`] takes every outcome; a [`Report`] is made of
//! it once; [`Check`]s judge the report and give the exit code.
//!
//! *Not here*: a ledger of single requests (`modelway model` keeps one), TLS, gRPC.

mod args;
mod check;
mod client;
mod drive;
mod outcome;
mod pace;
mod plan;
mod report;
mod run;
mod split;
mod tally;

#[cfg(test)]
mod tests;

pub use args::{BenchArgs, OutputFormat};
pub use check::{Check, InvalidCheck, Metric};
pub use client::{Target, exchange};
pub use drive::drive;
pub use outcome::{Answered, Outcome, ServerTiming, TransportError};
pub use plan::{Load, Plan};
pub use report::{Latencies, Report, StatusLine, VersionLine};
pub use run::{run, run_blocking};
pub use split::Shares;
pub use tally::Tally;
