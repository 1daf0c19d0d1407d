//! Modelway on a real cluster: its own image, real containers, real Services.
#![expect(clippy::indexing_slicing, reason = "code of tests, outside of any #[test] function")]
#![expect(clippy::print_stdout, reason = "figures and kubectl's words go into the documentation")]

#[path = "../support/mod.rs"]
mod support;

mod installed;
mod models;
mod quickstart;
mod storm;
