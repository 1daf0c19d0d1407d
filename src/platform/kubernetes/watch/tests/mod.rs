//! Watches against a scripted API server.

#[path = "../../../../../tests/support/fake_api.rs"]
mod fake_api;
mod faults;
mod flow;
mod losses;
mod pieces;
mod promise;
mod seat;
