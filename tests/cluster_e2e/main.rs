//! Modelway on a real cluster: its own image, real containers, real Services.
#![expect(clippy::indexing_slicing, reason = "code of tests, outside of any #[test] function")]

#[path = "../support/mod.rs"]
mod support;

mod models;
