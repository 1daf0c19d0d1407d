//! The election, in tables, in a model and against a real API server.

mod cluster;
mod model;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::{sync::watch, time::Instant};

use super::{
    FOLLOW, LEASE_DURATION, Leadership, MAX_BELIEVED, RENEW_LIMIT, RETRY, Standing, Term,
    candidate::{Candidate, Claim},
};

const SECOND: Duration = Duration::from_secs(1);

fn lease(holder: &str, version: u64, spec: LeaseSpec) -> Lease {
    let resource_version = Some(version.to_string());
    Lease {
        metadata: ObjectMeta { resource_version, ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()).filter(|holder| !holder.is_empty()),
            ..spec
        }),
    }
}

fn held_by(holder: &str, renewed: i64) -> Lease {
    let renew_time = Some(MicroTime(Timestamp::from_second(renewed).unwrap()));
    let seconds = Some(10);
    let spec = LeaseSpec {
        lease_duration_seconds: seconds,
        lease_transitions: Some(4),
        renew_time,
        ..LeaseSpec::default()
    };
    lease(holder, 1, spec)
}

fn claimed(candidate: &Candidate, now: Instant) -> Option<LeaseSpec> {
    Some(match candidate.claim(now, Timestamp::UNIX_EPOCH)? {
        Claim::Create(spec) => spec,
        Claim::Replace(lease) => lease.spec.unwrap(),
    })
}

/// The API server accepts what the candidate claims.
fn grant(candidate: &mut Candidate, asked: Instant, now: Instant) {
    let (metadata, spec) = match candidate.claim(asked, Timestamp::UNIX_EPOCH).unwrap() {
        Claim::Create(spec) => (ObjectMeta::default(), Some(spec)),
        Claim::Replace(lease) => (lease.metadata, lease.spec),
    };
    candidate.wrote(asked, now, Lease { metadata, spec });
}

#[test]
fn a_lease_is_claimed_when_it_is_absent_or_free_and_left_when_it_is_held() {
    let now = Instant::now();
    let mut candidate = Candidate::new("me");
    assert!(candidate.must_look());
    assert!(claimed(&candidate, now).is_none(), "nothing is known");

    candidate.looked(now, None);
    let spec = claimed(&candidate, now).unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(0), Some(10)));

    candidate.looked(now, Some(held_by("", 0)));
    assert_eq!(claimed(&candidate, now).unwrap().lease_transitions, Some(5));

    candidate.looked(now, Some(held_by("another", 0)));
    assert!(claimed(&candidate, now).is_none());
}

#[test]
fn what_is_held_is_claimed_once_its_time_has_passed_here_whatever_time_is_written_in_it() {
    let begun = Instant::now();
    // Decades before and after the clock of this machine.
    for renewed in [0, 4_000_000_000] {
        let mut candidate = Candidate::new("me");
        candidate.looked(begun, Some(held_by("another", renewed)));
        // Read again and unchanged: the time goes on from the first look.
        let later = begun + LEASE_DURATION - Duration::from_nanos(1);
        candidate.looked(later, Some(held_by("another", renewed)));
        assert!(claimed(&candidate, later).is_none());
        assert!(claimed(&candidate, begun + LEASE_DURATION).is_some());
        // Renewed: the time begins again.
        candidate.looked(later, Some(held_by("another", renewed + 1)));
        assert!(claimed(&candidate, begun + LEASE_DURATION).is_none());
        assert!(claimed(&candidate, later + LEASE_DURATION).is_some());
    }
}

#[test]
fn a_term_counts_from_before_the_write_and_lasts_shorter_than_the_lease() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, None);
    grant(&mut candidate, begun, begun + SECOND);
    let term = Arc::clone(candidate.term().unwrap());
    assert!(term.is_valid_at(begun + RENEW_LIMIT - Duration::from_nanos(1)));
    assert!(!term.is_valid_at(begun + RENEW_LIMIT));
    assert!(RENEW_LIMIT < LEASE_DURATION);
}

#[test]
fn a_renewal_keeps_the_term_and_its_epoch_and_a_new_term_has_a_higher_one() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, Some(held_by("", 0)));
    grant(&mut candidate, begun, begun);
    let term = Arc::clone(candidate.term().unwrap());
    assert_eq!(term.epoch(), 5);

    let renewed = begun + RETRY;
    grant(&mut candidate, renewed, renewed);
    assert!(Arc::ptr_eq(&term, candidate.term().unwrap()));
    assert!(term.is_valid_at(begun + RENEW_LIMIT));

    let late = renewed + RENEW_LIMIT;
    assert!(candidate.lapse(late), "the term is over");
    grant(&mut candidate, late, late);
    assert_eq!(candidate.term().unwrap().epoch(), 6);
    assert!(!term.is_valid_at(late), "what is over stays over");
}

#[test]
fn an_answer_that_comes_after_its_own_deadline_begins_no_term() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, None);
    grant(&mut candidate, begun, begun + RENEW_LIMIT);
    assert!(candidate.term().is_none());
}

#[test]
fn a_lease_that_names_another_ends_the_term_at_once() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, None);
    grant(&mut candidate, begun, begun);
    let term = Arc::clone(candidate.term().unwrap());
    candidate.looked(begun + SECOND, Some(held_by("another", 1)));
    assert!(candidate.term().is_none());
    assert!(!term.is_valid_at(begun + SECOND));
}

#[test]
fn a_deleted_lease_stays_anothers_until_it_would_have_run_out() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, Some(held_by("another", 1)));
    candidate.looked(begun + SECOND, None);
    assert!(claimed(&candidate, begun + SECOND).is_none());
    let spec = claimed(&candidate, begun + LEASE_DURATION).unwrap();
    assert_eq!(spec.lease_transitions, Some(5), "epochs go on");
}

#[test]
fn a_term_goes_on_when_its_lease_is_deleted_and_made_again() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, Some(held_by("", 0)));
    grant(&mut candidate, begun, begun);
    candidate.looked(begun + SECOND, None);
    assert!(matches!(
        candidate.claim(begun + SECOND, Timestamp::UNIX_EPOCH),
        Some(Claim::Create(_))
    ));
    grant(&mut candidate, begun + SECOND, begun + SECOND);
    assert_eq!(candidate.term().unwrap().epoch(), 5);
}

#[test]
fn a_release_empties_the_lease_keeps_its_epoch_and_ends_the_term() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, Some(held_by("another", 1)));
    assert!(candidate.release(Timestamp::UNIX_EPOCH).is_none(), "it is not ours");

    candidate.looked(begun, Some(held_by("", 1)));
    grant(&mut candidate, begun, begun);
    let term = Arc::clone(candidate.term().unwrap());
    let released = candidate.release(Timestamp::UNIX_EPOCH).unwrap().spec.unwrap();
    assert_eq!((released.holder_identity, released.lease_transitions), (None, Some(5)));
    assert!(!term.is_valid_at(begun));
}

#[test]
fn a_clock_that_stands_still_renews_visibly_all_the_same() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, None);
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..5 {
        times.insert(claimed(&candidate, begun).unwrap().renew_time.unwrap());
        grant(&mut candidate, begun, begun);
    }
    assert_eq!(times.len(), 5, "none looks like one before");
}

#[test]
fn durations_of_others_are_believed_up_to_a_limit() {
    let begun = Instant::now();
    let limit = MAX_BELIEVED.as_secs();
    for (seconds, held) in [
        (None, LEASE_DURATION),
        (Some(-5), LEASE_DURATION),
        (Some(3), 3 * SECOND),
        (i32::try_from(limit).ok(), MAX_BELIEVED),
        (i32::try_from(limit + 1).ok(), MAX_BELIEVED),
        (Some(i32::MAX), MAX_BELIEVED),
    ] {
        let spec = LeaseSpec { lease_duration_seconds: seconds, ..LeaseSpec::default() };
        let mut candidate = Candidate::new("me");
        candidate.looked(begun, Some(lease("another", 1, spec)));
        assert!(claimed(&candidate, begun + held - Duration::from_nanos(1)).is_none());
        assert!(claimed(&candidate, begun + held).is_some(), "{seconds:?}");
    }
}

#[test]
fn transitions_of_any_kind_are_taken_and_do_not_overflow() {
    let now = Instant::now();
    for (before, after) in
        [(None, 1), (Some(-7), 1), (Some(i32::MAX), 0), (Some(i32::MAX - 1), i32::MAX)]
    {
        let spec = LeaseSpec { lease_transitions: before, ..LeaseSpec::default() };
        let mut candidate = Candidate::new("me");
        candidate.looked(now, Some(lease("", 1, spec)));
        assert_eq!(claimed(&candidate, now).unwrap().lease_transitions, Some(after));
    }
}

#[test]
fn followers_look_often_and_exactly_when_the_lease_runs_out() {
    let begun = Instant::now();
    let mut candidate = Candidate::new("me");
    candidate.looked(begun, Some(held_by("another", 1)));
    for dice in [0.0, 0.5, 1.0, 7.0] {
        let pause = candidate.pause(begun, dice);
        assert!(pause <= FOLLOW && pause >= FOLLOW / 2, "{pause:?}");
    }
    let soon = begun + LEASE_DURATION - Duration::from_millis(3);
    assert_eq!(candidate.pause(soon, 0.5), Duration::from_millis(3));
    candidate.looked(begun, Some(held_by("", 1)));
    grant(&mut candidate, begun, begun);
    assert_eq!(candidate.pause(begun, 0.5), RETRY);
}

#[tokio::test(start_paused = true)]
async fn readers_see_the_end_of_a_term_though_the_election_says_nothing() {
    let term = Arc::new(Term::new(1, Instant::now() + RENEW_LIMIT));
    let standing = Standing { term: Some(Arc::clone(&term)), ..Standing::default() };
    let (_silent, seen) = watch::channel(standing);
    let mut leadership = Leadership::new(seen);
    assert!(leadership.term().is_some());

    // Renewed in silence, as renewals are.
    tokio::time::advance(SECOND).await;
    term.extend(Instant::now(), Instant::now() + RENEW_LIMIT);
    let begun = Instant::now();
    leadership.changed().await;
    assert_eq!(begun.elapsed().as_secs(), RENEW_LIMIT.as_secs());
    assert!(leadership.term().is_none());
    assert!(leadership.standing().term.is_none());
}
