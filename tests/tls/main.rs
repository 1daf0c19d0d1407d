//! HTTPS from outside: real routers, real TLS clients, certificates made at test time.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "code of tests, outside of any #[test] function"
)]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod command;
mod handshakes;
mod hostile;
mod pki;
mod plain;
mod promises;
mod rotation;
mod site;
mod tools;
