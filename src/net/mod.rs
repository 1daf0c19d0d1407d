//! Sockets, as both sides of the router use them.
//!
//! Promises: a [`Socket`] can be read and written by its connection and watched by somebody else
//! at the same time; no call blocks.
//!
//! Not here: protocols.

mod socket;

pub use socket::{Socket, SocketIo};
