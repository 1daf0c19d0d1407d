//! The data plane: listener, the journey of a request, limits, answers.
//!
//! Promises: a body is streamed, never collected; a slot lives in the body of the answer and is
//! freed by its end or its drop; every failure is a `ProxyError` with one entry in one
//! table; the fault of a client is never counted against a replica.
//!
//! How: one current-thread runtime per core, each with its own listener on the same port and its
//! own connections to replicas, so that a request wakes no other thread. A request first passes
//! *decide* (`head`, `journey`: heads only, no sockets), then *exchange* (`exchange`, `reply`: bytes only,
//! no policies).
//!
//! Not here: which replicas there are (`platform`), how many there should be (`autoscale`).

mod answer;
mod caller;
mod client_io;
mod connection;
mod crowd;
mod decide;
mod detach;
mod error;
mod evidence;
mod exchange;
mod failures;
mod forward;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grpc;
mod guard;
mod head;
mod identity;
mod journey;
mod link;
mod listener;
mod plain;
mod raw_head;
mod record;
mod reply;
mod routes;
mod settings;
mod spare;
mod tls;
mod tunnel;
mod upload;
mod verdict;
mod worker;

pub use listener::{BindError, Door, Listeners};
pub use plain::Plain;
pub use routes::Proxy;
pub use settings::{FailedCredentials, Settings};
pub use tls::{
    CertificateStatus, ClientCertificates, PAIRS_MAX, PairSource, Tls, TlsFault, TlsSettings,
    WARN_FROM, watch_expiry,
};
pub use worker::{Secure, Workers};
