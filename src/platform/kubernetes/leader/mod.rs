//! One router at a time writes: a Lease says which.
//!
//! *Promises*: at most one router has a valid [`Term`], as long as no clock runs more than 40 %
//! faster than another (`RENEW_LIMIT` against `LEASE_DURATION`); a router that was paused, or that
//! cannot reach the API server, does not believe that it leads; the lease is given back when the
//! router drains.
//!
//! *How*: the algorithm of client-go's leader election. Every write replaces the lease under its
//! resourceVersion, so that of two who claim it one is refused. Times are the local monotonic
//! clock's: what others write into the lease is compared with what they wrote before, never with
//! our clock. The rules are [`candidate`]'s, without a clock and without I/O; [`task`] asks the API
//! server.
//!
//! *Not here*: what the leader writes (`scale`). A valid term is not a fence: a router may be
//! paused between the check and its write, so every write also has a precondition.

mod candidate;
mod standing;
mod task;
mod term;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub(super) use self::{
    standing::{Leadership, Standing},
    task::elect,
    term::Term,
};

/// How long others leave a lease alone that is not renewed: so long a cluster may be without a
/// leader after one is killed. client-go's default is 15 s; scaling should not stand still so long.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(10);
/// How long a term lasts after the renewal that was sent last. The 3 s to [`LEASE_DURATION`] are the
/// margin for clocks of different speed.
pub(super) const RENEW_LIMIT: Duration = Duration::from_secs(7);
/// The pause between two renewals, so that three may fail before the term ends; and between two
/// tries while the API server is away.
const RETRY: Duration = Duration::from_secs(2);
/// The longest pause of a leader after a renewal that failed.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// The longest pause between two looks of those who do not lead: a lease that was given back is
/// taken within it. One GET of one small object a second is nothing to an API server.
const FOLLOW: Duration = Duration::from_secs(1);
/// The longest pause after the API server said no: rights are granted by hand, and a refusal is
/// a line in its audit log.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(30);
/// How long one call may take, shorter than other calls so that three fit into [`RENEW_LIMIT`].
const LEASE_CALL_LIMIT: Duration = Duration::from_secs(2);
/// The longest `leaseDurationSeconds` of another that is believed: a mistake there should not leave
/// a cluster without a leader for good.
const MAX_BELIEVED: Duration = Duration::from_secs(60);

/// Which lease, and who asks for it.
#[derive(Debug, Clone)]
pub(super) struct LeaseSettings {
    /// The router's own.
    pub(super) namespace: Arc<str>,
    /// The lease's name.
    pub(super) name: Arc<str>,
    /// The pod's name: what `kubectl get lease` shows, followed by `_` and a word that no other
    /// life of this pod has.
    pub(super) identity: Arc<str>,
}

impl fmt::Display for LeaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
