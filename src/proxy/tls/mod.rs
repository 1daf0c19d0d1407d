//! HTTPS for clients: certificates, handshakes, and the bytes of a connection under TLS.
//!
//! Promises: TLS 1.2 and 1.3 only; a handshake has one deadline, whatever the client sends; changed
//! files are in force for new handshakes while connections go on; what is not good changes nothing
//! and says so. Plain HTTP costs one branch for each read and write.
//!
//! How: [`Tls`] holds a complete `rustls` configuration that is replaced as a whole (`store`). A
//! handshake takes the one in force (`handshake`) and leaves a [`Secured`] stream, which stands
//! where the socket stood: the clocks and the refusals of `client_io` are above it, watching for a
//! client that leaves is below it, on the socket itself.
//!
//! Not here: who watches the files (`app`), what becomes of plain HTTP (`plain`).

mod choice;
mod expiry;
mod handshake;
mod pair;
mod secured;
mod settings;
mod store;

pub(super) use handshake::{Protocol, handshake};
pub(super) use secured::{Secured, SecuredIo};

pub use expiry::{WARN_FROM, watch_expiry};
pub use settings::{ClientCertificates, PAIRS_MAX, PairSource, TlsSettings};
pub use store::{CertificateStatus, Tls, TlsFault};

#[cfg(test)]
mod tests;
