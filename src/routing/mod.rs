//! Where a request goes: the grammar of paths, the exact split, the sticky hash.
//!
//! Promises: pure functions of their arguments; the split is exact over any 100 consecutive
//! tickets; the path that is checked is the path that is forwarded, byte for byte.
//!
//! Not here: who may call (`auth`), which replica (`replica`).

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod path;
mod split;
mod sticky;

pub use path::{PathFault, Rest, Routed, check_path, route};
pub use split::Split;
pub use sticky::sticky_version;
