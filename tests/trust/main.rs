//! Trust from outside: a router, issuers of tokens over real TLS, and clients with all kinds of
//! credentials.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "code of tests, outside of any #[test] function"
)]

#[path = "../support/mod.rs"]
mod support;

mod fetching;
mod idp;
mod issuers;
mod signer;
