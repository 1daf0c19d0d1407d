//! The command line: what each command is called, takes and prints.
//!
//! Promises: standard output is for results, standard error for talk; every command that can fail
//! says why and exits with 1; `--help` shows an example.

mod bounds;
mod certificate;
mod cluster;
mod commands;
mod crd;
mod import;
pub mod operator;
pub mod replica_step;
mod router;
mod tls;
pub mod validate;
mod yaml;

pub use commands::main;
