//! The admin port: health, metrics and what an operator asks for, as JSON.
//!
//! Promises: it only reads; every path it answers is in `/openapi.json` and the other way round;
//! no key, digest or payload is shown; a slow or silent client never holds up another one.
//!
//! How: axum on the control runtime. What it shows comes through [`View`], [`Metrics`],
//! [`DecisionLog`] and [`Lifecycle`], which whoever composes the process fills in. Lists are plain
//! JSON arrays with camelCase fields, so that a script needs no more than `.[]`.
//!
//! Not here: the declaration of metrics (`telemetry`), the commands that read this API
//! (`cli::operator`).
//!
//! [`Metrics`]: crate::telemetry::Metrics
//! [`DecisionLog`]: crate::telemetry::DecisionLog
//! [`Lifecycle`]: crate::lifecycle::Lifecycle

mod view;

pub mod items;

mod collect;
mod health;
mod openapi;
mod problem;
mod routes;
mod server;

pub use server::{CONNECTIONS_MAX, HEAD_TIME_MAX, STALL_TIME_MAX, serve};
pub use view::{AdminState, CertificateView, ReplicaView, RouterView, View};

#[cfg(test)]
pub(crate) mod tests;
