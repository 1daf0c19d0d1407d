//! The words of the product as plain data: what an endpoint, a version and a replica are, the
//! [`Catalog`] that the data plane reads and the [`VersionLoad`] that it reports back.
//!
//! Promises: values are valid once built; nothing here does I/O, reads a clock or is async.
//!
//! How: the control plane builds a new immutable [`Catalog`] for every change and publishes it
//! whole; the data plane answers through [`LoadSource`] and [`Signal`].
//!
//! Not here: how a file or an object becomes a catalog (`platform`), the live state of a version
//! (`replica`).

mod catalog;
mod changes;
mod credential;
mod decision;
mod issuer_status;
mod load;
mod name;
mod reason;
mod replica_status;
#[cfg(any(test, fuzzing))]
pub(crate) mod samples;

pub use catalog::{
    Algorithm, AuthMode, AuthPolicy, Autoscale, Catalog, Endpoint, ErrorProfile, Issuer, KeyDigest,
    OnDisconnect, Replica, ReplicaId, ReplicaState, StickyBy, TokenPolicy, Version, VersionKind,
};
pub use changes::Change;
pub use credential::{ClearKeys, ClearText, CredentialError, IssuedToken, KeySlot, Review, Right};
pub use decision::{Decision, DecisionInputs, Direction};
pub use issuer_status::IssuerStatus;
pub use load::{
    AsideCause, CatalogSink, LoadSource, ReplicaLoad, SetAside, Signal, SignalSink, VersionKey,
    VersionLoad,
};
pub use name::{InvalidName, NAME_LENGTH_MAX, NAME_LENGTH_MIN, NAME_PATTERN, Name};
pub use reason::Reason;
pub use replica_status::ReplicaStatus;

/// The largest request payload the router accepts, in bytes: 100 MiB (contract §5).
pub const MAX_PAYLOAD_BYTES: u64 = 104_857_600;
/// The most versions one endpoint may have (contract §3).
pub const VERSIONS_MAX: usize = 6;
