//! Hostile clients as data: bytes in, verdict out, and what the replica may have seen of it.
//!
//! The cases are in `cases`, their form in `README.md`. A case passes only when the answers, the end of
//! the connection and what the replica recorded all fit.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "code of tests, outside of any #[test] function"
)]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod case;
mod h2spec;
mod hpack;
mod http1;
mod http2;
mod recorder;
mod suite;
mod text;
mod verdict;
mod world;
