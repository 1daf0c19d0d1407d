//! Sockets, as both sides of the router use them.
//!
//! Promises: a [`Socket`] can be read and written by its connection and watched by somebody else
//! at the same time; no call blocks. An [`Alarm`] costs next to nothing while it does not ring.
//!
//! Not here: protocols.

mod alarm;
mod socket;

pub use alarm::Alarm;
pub use socket::{Socket, SocketIo};
