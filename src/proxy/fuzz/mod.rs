//! Fuzz targets of the data plane: the check of raw heads, and the whole of it.
//!
//! How: `heads` compares three readers of the same bytes. `world` runs the real connection code on
//! a current-thread runtime with paused time, between a client that is fed by the input (`plan`,
//! `client`) and a replica that does what the input says (`replica`), and then looks at the books.

mod client;
mod heads;
mod plan;
mod replica;
mod wire;
mod world;

pub use heads::raw_head;
pub use world::data_plane;
