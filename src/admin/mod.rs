//! The admin port: health, metrics and what an operator asks for, as JSON.
//!
//! Promises: every path it answers is in `/openapi.json` and the other way round; health, metrics and
//! lists are open to all and show no secret; keys and tokens are for callers whom the [`Guard`] lets
//! in; a slow or silent client never holds up another one.
//!
//! How: axum on the control runtime. What it shows comes through [`View`], [`Credentials`],
//! [`Metrics`], [`DecisionLog`] and [`Lifecycle`], which whoever composes the process fills in. Lists are plain
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
mod credentials;
mod guard;
mod health;
mod openapi;
mod problem;
mod routes;
mod server;
mod spare;

pub use credentials::{BODY_BYTES_MAX, BODY_TIME_MAX, Credentials};
pub use guard::Guard;
pub use server::{CONNECTIONS_MAX, HEAD_TIME_MAX, STALL_TIME_MAX, serve};
pub use view::{AdminState, CertificateView, ReplicaView, RouterView, View};

#[cfg(test)]
pub(crate) mod tests;
