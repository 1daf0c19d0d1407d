//! When a signing key is made, signs and goes: arithmetic on the times at which keys were made.
//!
//! Routers do not talk to each other about it. Each one sees the same list, and a key signs only when
//! it is so old that every router has long had it, whatever their clocks say. Clocks may differ by
//! [`SKEW`] from the true time; a list reaches every router within [`SEEN_WITHIN`]. A key made by a
//! slow clock looks older by [`SKEW`], and older by another [`SKEW`] to a fast one: so [`SIGN_AFTER`]
//! is [`SEEN_WITHIN`] and twice [`SKEW`].
//!
//! The first key of all has nobody who signs before it, and waiting so long for it would leave a new
//! installation without tokens. It signs once a router has had it for [`SIGN_FIRST_AFTER`]: a time by
//! one clock alone, far longer than a watch takes.

use std::{ops::RangeInclusive, time::Duration};

use crate::auth::{LEEWAY, MAX_OWN_LIFETIME};

/// How wrong the clock of a router may be.
pub const SKEW: Duration = Duration::from_secs(60);
/// How long a new key may take to reach every router. A watch needs less than a second, and after any
/// fault it is in step again within 35 s.
pub const SEEN_WITHIN: Duration = Duration::from_secs(180);
/// The age at which a key begins to sign.
pub const SIGN_AFTER: Duration = Duration::from_secs(300);
/// The first key signs when a router has had it for so long.
pub const SIGN_FIRST_AFTER: Duration = Duration::from_secs(10);
/// How long a router that gets no news may go on signing with an old key, so that its tokens are still
/// accepted everywhere to their end.
pub const CUT_OFF_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often a key is made when nothing else is said.
pub const ROTATE_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a key may be made: the bounds of [`ROTATE_EVERY`]. At the shortest there are about ten.
pub const ROTATE_BOUNDS: RangeInclusive<Duration> =
    Duration::from_secs(24 * 3600)..=Duration::from_secs(365 * 24 * 3600);
/// The most keys of a ring: what the shortest rotation needs, and some.
pub const KEYS_MAX: usize = 16;

/// When a key goes, after its successor was made: it signs up to [`SIGN_AFTER`] longer (twice
/// [`SKEW`] more by the clocks), by a router that is cut off a day longer; its last token then lives as
/// long as a token may, and is accepted a little longer still.
pub const KEEP_AFTER: Duration = Duration::from_secs(
    SIGN_AFTER.as_secs()
        + 2 * SKEW.as_secs()
        + CUT_OFF_MAX.as_secs()
        + MAX_OWN_LIFETIME.as_secs()
        + 2 * LEEWAY.as_secs(),
);

/// Which of the keys signs now. `made` are the times at which they were made, in seconds since 1970,
/// oldest first; `first_had_for` is how long this router has had the first one.
///
/// The newest one that is old enough; while none is, the oldest, since others may not have the newer
/// ones yet. `None` without keys, and while the only one is too fresh.
pub fn signer(made: &[u64], now: u64, first_had_for: Duration) -> Option<usize> {
    let is_old = |made: &&u64| made.saturating_add(SIGN_AFTER.as_secs()) <= now;
    let old = made.iter().take_while(is_old).count();
    match old.checked_sub(1) {
        Some(newest) => Some(newest),
        None if made.is_empty() || first_had_for < SIGN_FIRST_AFTER => None,
        None => Some(0),
    }
}

/// When a new key was made, if one is due now: there is none, or the newest is old enough. Never
/// before the others, also when the clock was set back.
pub fn due(made: &[u64], now: u64, rotate_every: Duration) -> Option<u64> {
    let Some(newest) = made.last() else { return Some(now) };
    let is_due = newest.saturating_add(rotate_every.as_secs()) <= now && made.len() < KEYS_MAX;
    is_due.then_some(now.max(newest.saturating_add(1)))
}

/// How many of the oldest keys have no token left that anybody accepts.
pub fn spent(made: &[u64], now: u64) -> usize {
    let is_over = |successor: &&u64| successor.saturating_add(KEEP_AFTER.as_secs()) <= now;
    made.iter().skip(1).take_while(is_over).count()
}
