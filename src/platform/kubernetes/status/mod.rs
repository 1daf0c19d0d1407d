//! The status of InferenceEndpoints: five conditions in words, and the task that writes them.
//!
//! *Promises*: [`compose`](compose::compose) is a pure function and never leaves a message empty; [`StatusWriter`]
//! writes the newest status of each object, only where it differs from what the API server has, at
//! most once per [`WRITE_INTERVAL`](pace::WRITE_INTERVAL) and object, and only while this router leads.
//!
//! *How*: whoever has news of an object offers its [`Report`](super::report::Report); only the
//! newest is kept. When the object's time has come (`pace`), its status is composed and compared.
//!
//! *Not here*: what is the case (`report`), what is said once (`events`).

mod call;
mod compose;
mod judge;
mod pace;
mod reason;
mod version;
mod writer;

pub(super) use super::api::EndpointStatus;
#[cfg(test)]
pub(super) use compose::compose;
#[cfg(test)]
pub(super) use reason::Aspect;
pub(super) use reason::Reason;
pub(super) use version::{reason_of, trouble_words};
pub(super) use writer::{Shown, StatusWriter};

#[cfg(test)]
mod real_tests;
