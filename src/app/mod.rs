//! The composition root: the only place where the rooms meet.
//!
//! Promises: the order of start and end. A router is ready when its first catalog is routed by;
//! before that connections wait in the kernel. At the end it is not ready first, then closed, then
//! idle, and only then are its replicas stopped.
//!
//! How: the control plane (platform, driver, admin port) is this thread's runtime; the data plane
//! has threads of its own. A new catalog goes to the data plane first and to the driver after.

mod admin_token;
mod cores;
mod credentials;
mod edits;
mod ending;
mod files;
mod https;
mod keys;
mod memory;
mod own_tokens;
mod source;
mod start;
mod view;

pub use start::{Say, run};
pub use view::router_name;
