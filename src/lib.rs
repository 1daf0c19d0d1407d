//! Modelway, an inference router: clients POST scoring requests to one address; the router finds
//! the endpoint, checks the caller, chooses a version, gives the request a slot on a replica and
//! streams the answer back, while an autoscaler follows the load.
//!
//! The rooms, in the order of the journey of a request, are described in `ARCHITECTURE.md`.

pub mod admin;
pub mod app;
pub mod auth;
pub mod autoscale;
pub mod bench;
pub mod cli;
pub mod config;
pub mod control;
pub mod domain;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod lifecycle;
pub mod model;
pub mod net;
pub mod platform;
pub mod proxy;
pub mod replica;
pub mod ring;
pub mod routing;
pub mod telemetry;
pub mod tokens;
pub mod upstream;
