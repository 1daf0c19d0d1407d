//! The keys of outside issuers, kept fresh beside the data plane, and the cache of verified tokens.
//!
//! Promises: keys that were fetched once stay in force as long as their issuer is away; a token of an
//! issuer whose keys were never had is accepted by nobody; an issuer is asked in the background and
//! at most once in [`ASK_PAUSE`] because of tokens with a key that it does not publish, however many
//! there are; no answer of an issuer takes more than [`FETCH_TIME_MAX`] or 256 KiB; a request waits
//! for keys at most [`KEYS_WAIT`]; a token whose key was taken away is refused with the next fetch.
//!
//! How: [`Issuers`] is what the data plane asks, through [`auth::Tokens`](crate::auth::Tokens): first
//! the cache, by the token's digest, then the keys as they are now, behind one pointer for each
//! issuer. [`Issuers::publish`] takes the issuers of a catalog, and [`Issuers::keep`] has one task for each,
//! which fetches
//! (`fetch`: OpenID discovery and JWK Sets over TLS, no redirects), rests as `rhythm` says, and is
//! woken by a request whose token names an unknown key.
//!
//! Not here: what makes a token good (`auth`), which issuers an endpoint names (`platform::spec`),
//! where our own signing keys come from ([`OwnKeys`]).

mod cache;
mod check;
mod fetch;
mod issuers;
mod rhythm;
mod source;
#[cfg(test)]
mod tests;

pub use cache::CACHED_TOKENS_MAX;
pub use check::{Keys, OwnKeys};
pub use fetch::{FETCH_TIME_MAX, Fetch, FetchFault, Fetched, HttpFetch, Roots, RootsFault};
pub use issuers::{ISSUERS_MAX, Issuers};
pub use rhythm::{ASK_PAUSE, KEYS_WAIT};
pub use source::SourceId;
