//! The `InferenceEndpoint` as written in a file or an object, and its rules.
//!
//! Promises: one definition of fields, defaults, bounds and rules for every source; all problems
//! of an input are reported at once, each with the place where it stands.

mod checked;

pub use checked::{Address, EndpointSpec, Probe, ProbeKind, ProcessTarget, Target, VersionSpec};
