//! What is shown of the keys of one outside issuer.

use std::time::Duration;

/// The keys of one outside issuer as this router has them, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    /// The issuer.
    pub issuer: String,
    /// Where its keys are, where an endpoint says so.
    pub jwks_uri: Option<String>,
    /// How many of its keys can be used.
    pub keys: usize,
    /// Time since its keys were last fetched; `None`: never yet.
    pub age: Option<Duration>,
    /// Why the last fetch failed, in words; `None` when it did not.
    pub fault: Option<String>,
}
