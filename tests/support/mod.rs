//! What the tests of the whole program share: a router as a process, and ways to talk to it.
//!
//! Every suite uses a part of it, so what one leaves unused is not dead.
#![allow(dead_code, reason = "each suite is its own crate and uses a part of this")]

pub(crate) mod audit;
pub(crate) mod book;
pub(crate) mod cluster;
pub(crate) mod controlplane;
pub(crate) mod kubectl;
pub(crate) mod kubelet;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod replica;
pub(crate) mod router;
pub(crate) mod spec;
pub(crate) mod tool;
pub(crate) mod watch;
pub(crate) mod wire;
