//! The rules of the election: what was seen and when in, what to write out.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use tokio::time::Instant;

use super::{FOLLOW, LEASE_DURATION, MAX_BELIEVED, RENEW_LIMIT, RETRY, term::Term};

/// One router's part in the election.
#[derive(Debug)]
pub(super) struct Candidate {
    me: Box<str>,
    lease: Known,
    /// The newest content of the lease, and when it was seen first. It outlives the lease: a lease
    /// that somebody deletes is still held until it would have run out.
    seen: Option<Seen>,
    term: Option<Arc<Term>>,
    /// The epoch of the last term that began here: no other begins with it.
    last_epoch: Option<u64>,
}

/// What is known of the lease to write upon.
#[derive(Debug)]
enum Known {
    Nothing,
    Absent,
    There(Box<Lease>),
}

#[derive(Debug)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// What to ask of the API server.
#[derive(Debug, Clone)]
pub(super) enum Claim {
    /// Make the lease; refused when somebody was quicker.
    Create(LeaseSpec),
    /// Replace it; its resourceVersion makes that fail when somebody was quicker.
    Replace(Box<Lease>),
}

impl Candidate {
    pub(super) fn new(me: &str) -> Self {
        Self { me: me.into(), lease: Known::Nothing, seen: None, term: None, last_epoch: None }
    }

    /// The term, valid or not.
    pub(super) fn term(&self) -> Option<&Arc<Term>> {
        self.term.as_ref()
    }

    /// Who holds the lease, as far as is known.
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(|seen| holder(&seen.spec))
    }

    /// Whether the lease named this router when it was seen last.
    pub(super) fn is_holder(&self) -> bool {
        self.holder() == Some(&*self.me)
    }

    /// Whether the lease must be read before anything else.
    pub(super) fn must_look(&self) -> bool {
        matches!(self.lease, Known::Nothing)
    }

    /// The lease was read; `now` is after the answer, so that others are given their full time.
    pub(super) fn looked(&mut self, now: Instant, lease: Option<Lease>) {
        let Some(lease) = lease else {
            self.lease = Known::Absent;
            return;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if holder(&spec) != Some(&*self.me) {
            self.end();
        }
        self.observe(now, spec);
        self.lease = Known::There(Box::new(lease));
    }

    /// What to write now; `None` while another holds the lease or when nothing is known. `wall` is
    /// for people who read the lease.
    pub(super) fn claim(&self, now: Instant, wall: Timestamp) -> Option<Claim> {
        if self.held_until().is_some_and(|until| now < until) {
            return None;
        }
        match &self.lease {
            Known::Nothing => None,
            Known::Absent => Some(Claim::Create(self.spec(now, wall))),
            Known::There(lease) => {
                let spec = Some(self.spec(now, wall));
                Some(Claim::Replace(Box::new(Lease { metadata: lease.metadata.clone(), spec })))
            }
        }
    }

    /// A claim was accepted. `asked` is before it was sent: others cannot have seen it earlier, so
    /// the term counts from there.
    pub(super) fn wrote(&mut self, asked: Instant, now: Instant, lease: Lease) {
        let epoch = lease.spec.as_ref().map_or(0, epoch);
        let ends = asked + RENEW_LIMIT;
        // Also ends the term if the answer names another holder.
        self.looked(now, Some(lease));
        if !self.is_holder() || ends <= now {
            return;
        }
        match &self.term {
            Some(term) if term.epoch() == epoch && term.is_valid_at(now) => term.extend(now, ends),
            // A renewal that came too late: the next claim begins another term.
            _ if self.last_epoch == Some(epoch) => {}
            _ => {
                self.last_epoch = Some(epoch);
                self.term = Some(Arc::new(Term::new(epoch, ends)));
            }
        }
    }

    /// What was known of the lease is in doubt: somebody was quicker, or an answer was lost.
    pub(super) fn doubt(&mut self) {
        self.lease = Known::Nothing;
    }

    /// Drops a term whose time is over; whether there was one.
    pub(super) fn lapse(&mut self, now: Instant) -> bool {
        self.term.take_if(|term| !term.is_valid_at(now)).is_some()
    }

    /// Stops leading, and says what to write so that another may lead at once; `None` when there
    /// is nothing of ours to give back.
    pub(super) fn release(&mut self, wall: Timestamp) -> Option<Box<Lease>> {
        self.end();
        let Known::There(lease) = &self.lease else { return None };
        let spec = lease.spec.as_ref().filter(|spec| holder(spec) == Some(&*self.me))?;
        let spec = LeaseSpec {
            holder_identity: None,
            // The shortest that the API server takes.
            lease_duration_seconds: Some(1),
            renew_time: Some(later(spec.renew_time.as_ref(), wall)),
            ..spec.clone()
        };
        Some(Box::new(Lease { metadata: lease.metadata.clone(), spec: Some(spec) }))
    }

    /// How long to wait after a round that went well. `dice` is from 0 to 1, so that routers that
    /// were started together do not ask together.
    pub(super) fn pause(&self, now: Instant, dice: f64) -> Duration {
        if self.term.is_some() {
            return RETRY;
        }
        let look = FOLLOW.mul_f64(0.7 + 0.3 * dice.clamp(0.0, 1.0));
        let runs_out = self.held_until().and_then(|until| until.checked_duration_since(now));
        runs_out.map_or(look, |left| left.min(look))
    }

    fn end(&mut self) {
        if let Some(term) = self.term.take() {
            term.end();
        }
    }

    fn observe(&mut self, now: Instant, spec: LeaseSpec) {
        if self.seen.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.seen = Some(Seen { spec, since: now });
        }
    }

    /// Until when the lease is another's, if it is.
    fn held_until(&self) -> Option<Instant> {
        let seen = self.seen.as_ref()?;
        holder(&seen.spec).filter(|holder| *holder != &*self.me)?;
        Some(seen.since + duration(&seen.spec))
    }

    /// The lease as ours: the running term renewed, or the next one begun.
    fn spec(&self, now: Instant, wall: Timestamp) -> LeaseSpec {
        let before = self.seen.as_ref().map(|seen| seen.spec.clone());
        let transitions = before.as_ref().map(transitions);
        let before = before.unwrap_or_default();
        let ours = LeaseSpec {
            holder_identity: Some(self.me.as_ref().to_owned()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: Some(later(before.renew_time.as_ref(), wall)),
            ..before
        };
        if self.term.as_ref().is_some_and(|term| term.is_valid_at(now)) {
            return ours;
        }
        let begins = Some(MicroTime(wall));
        LeaseSpec {
            acquire_time: begins.clone(),
            renew_time: begins,
            // Only nonsense is so high that it overflows.
            lease_transitions: Some(
                transitions.map_or(0, |count| count.checked_add(1).unwrap_or_default()),
            ),
            ..ours
        }
    }
}

/// Who holds the lease; an empty name is nobody.
fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

fn transitions(spec: &LeaseSpec) -> i32 {
    spec.lease_transitions.unwrap_or_default().max(0)
}

fn epoch(spec: &LeaseSpec) -> u64 {
    transitions(spec).unsigned_abs().into()
}

/// How long others leave the lease to its holder after each change.
fn duration(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(LEASE_DURATION, Duration::from_secs).min(MAX_BELIEVED)
}

/// `wall`, but in microseconds later than before: with a clock that stands still or goes back, a
/// renewal might look like one that others have seen, and they would not give it its time.
fn later(before: Option<&MicroTime>, wall: Timestamp) -> MicroTime {
    let next = before.and_then(|before| before.0.checked_add(SignedDuration::from_micros(1)).ok());
    MicroTime(next.map_or(wall, |next| next.max(wall)))
}
