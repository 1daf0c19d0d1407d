//! Who may call, and who may say so: a router, its keys, tokens and admin port, issuers of tokens over
//! real TLS, and clients with all kinds of credentials.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "code of tests, outside of any #[test] function"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod fetching;
mod idp;
mod issuers;
mod keys;
mod own_tokens;
mod signer;
mod world;
