//! The API of the cluster: the kind `InferenceEndpoint`, its schema, its rules and its status.
//!
//! *Promises*: the fields, defaults and bounds are those of `platform::spec::types`; what the API
//! server accepts is refused by `platform::spec` only for what a schema cannot say (see `rules`).
//!
//! *How*: kube derives the definition from the types (`definition`), `schema` makes it structural
//! and takes out what only files have, `rules` adds the rules in CEL, the API server's language.

mod definition;
mod rules;
mod schema;
mod status;

pub use crate::platform::spec::types::{API_VERSION, KIND};
pub use definition::{CustomResourceDefinition, PLURAL, crd};
pub use status::{EndpointStatus, LastScale, VersionStatus};
