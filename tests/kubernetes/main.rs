//! Modelway in Kubernetes: against a real control plane, with pods that are real processes.
#![expect(clippy::indexing_slicing, reason = "code of tests, outside of any #[test] function")]

#[path = "../support/mod.rs"]
mod support;

// Only here, and in the library: other suites have no API server to imitate.
#[path = "../support/fake_api.rs"]
mod fake_api;

mod api;
mod faults;
mod kubelets;
mod plane;
mod scenarios;
