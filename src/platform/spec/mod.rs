//! The `InferenceEndpoint` as written in a file or an object, and its rules.
//!
//! Promises: one definition of fields, defaults, bounds and rules for every source; all problems
//! of an input are reported at once, each with the place where it stands; time and memory are
//! bounded for any input; no value of a Secret appears in a message or a `Debug`.
//!
//! An object of the API server goes the same way (`object`), without places.
//!
//! How: a text becomes a tree in which every value knows its line and column (`tree`), the tree
//! becomes a raw type (`types`) with every structural problem noted on the way (`decode`), and the
//! rules (`endpoint`, `version`, `target`, `secrets`) turn the raw type into an [`EndpointSpec`].
//! Rules are silent about fields whose value was not understood, so that one mistake is one message.
//!
//! Not here: watching files and starting replicas (`platform::local`), making keys.

mod checked;
mod decode;
mod document;
mod endpoint;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grammar;
pub mod limits;
mod load;
mod object;
mod path;
mod problem;
mod read;
mod rewrite;
mod scalar;
mod scope;
mod secrets;
mod target;
mod tokens;
mod tree;
pub mod types;
mod units;
mod version;

pub use checked::{Address, EndpointSpec, Probe, ProbeKind, ProcessTarget, Target, VersionSpec};
pub use document::{load_document, load_values};
pub use load::{FILE_BYTES_MAX, Loaded, load, load_files, load_object};
pub use problem::{Mark, PROBLEMS_MAX, Problem};
pub use rewrite::{keys_in_files, replace_key};
pub use secrets::key_digest;
pub use units::{DURATION_PATTERN, DurationText, SizeText, shown};

use crate::domain::MAX_PAYLOAD_BYTES;

/// What the reader of the endpoints can serve. Everything else is understood and refused with a
/// message that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Where replicas may come from.
    pub targets: Targets,
    /// Whether `mirrorPercentile` is served.
    pub mirror: bool,
    /// The router's own limit of a request payload, in bytes.
    pub max_payload_bytes: u64,
}

/// Where replicas may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// Processes and addresses: a router with files and without a cluster.
    Local,
    /// Deployments and StatefulSets: a router in a cluster.
    Cluster,
    /// All of those and Deployments and StatefulSets, in different endpoints: a check without a router.
    Any,
}

impl Policy {
    /// What a router with files serves.
    pub const FILES: Self =
        Self { targets: Targets::Local, mirror: false, max_payload_bytes: MAX_PAYLOAD_BYTES };
    /// What a router in a cluster serves.
    pub const CLUSTER: Self = Self { targets: Targets::Cluster, ..Self::FILES };
    /// What is checked where no router says what it serves, as in `modelway validate`.
    pub const ANY: Self = Self { targets: Targets::Any, ..Self::FILES };
}

#[cfg(test)]
mod tests;
