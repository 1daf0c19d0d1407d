//! When what is written, by a clock of the test.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(number: usize) -> ObjectKey {
    ObjectKey { namespace: "models".into(), name: format!("endpoint-{number}").into() }
}

/// Takes what is due; it must be this one.
fn taken(pace: &mut Pace, now: Instant) -> ObjectKey {
    pace.take(now).expect("one is due")
}

#[test]
fn the_first_news_is_written_at_once_and_the_next_after_the_interval() {
    let (mut pace, now) = (Pace::default(), Instant::now());
    pace.news(&key(1), now);
    assert_eq!(taken(&mut pace, now), key(1));
    pace.done(&key(1), Outcome::Written, now + SECOND);
    assert_eq!(pace.next(), None, "nothing new");
    pace.news(&key(1), now + 2 * SECOND);
    let due = now + SECOND + WRITE_INTERVAL;
    assert_eq!(pace.next(), Some(due));
    assert_eq!(pace.take(due - Duration::from_nanos(1)), None);
    assert_eq!(taken(&mut pace, due), key(1));
}

#[test]
fn news_during_a_write_is_written_after_it() {
    let (mut pace, now) = (Pace::default(), Instant::now());
    pace.news(&key(1), now);
    taken(&mut pace, now);
    pace.news(&key(1), now);
    assert_eq!(pace.take(now), None, "one write of an object at a time");
    pace.done(&key(1), Outcome::Written, now);
    assert_eq!(taken(&mut pace, now + WRITE_INTERVAL), key(1));
}

#[test]
fn what_needs_no_write_waits_for_nothing() {
    let (mut pace, now) = (Pace::default(), Instant::now());
    pace.news(&key(1), now);
    taken(&mut pace, now);
    pace.done(&key(1), Outcome::Unchanged, now);
    pace.news(&key(1), now);
    assert_eq!(pace.take(now), Some(key(1)));
}

#[test]
fn a_failed_write_is_tried_again_ever_later_and_never_given_up() {
    let (mut pace, mut now) = (Pace::default(), Instant::now());
    pace.news(&key(1), now);
    let mut waits = Vec::new();
    for _ in 0..9 {
        taken(&mut pace, now);
        pace.done(&key(1), Outcome::Failed, now);
        let next = pace.next().expect("it is tried again");
        waits.push((next - now).as_millis());
        now = next;
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
    taken(&mut pace, now);
    pace.done(&key(1), Outcome::Written, now);
    assert_eq!(pace.next(), None);
}

#[test]
fn an_object_that_is_gone_is_forgotten_unless_there_is_news_of_a_new_one() {
    let (mut pace, now) = (Pace::default(), Instant::now());
    for outcome in [Outcome::Gone, Outcome::Failed] {
        pace.news(&key(1), now);
        taken(&mut pace, now);
        if outcome == Outcome::Failed {
            pace.forget(&key(1));
        }
        pace.done(&key(1), outcome, now);
        assert_eq!(pace.slots.len(), 0, "{outcome:?}");
        assert_eq!(pace.next(), None);
    }
    pace.news(&key(1), now);
    taken(&mut pace, now);
    pace.forget(&key(1));
    pace.news(&key(1), now);
    pace.done(&key(1), Outcome::Gone, now);
    assert_eq!(pace.take(now), Some(key(1)), "the namesake");
}

#[test]
fn no_more_calls_than_allowed_and_the_rest_comes_when_one_ends() {
    let (mut pace, now) = (Pace::default(), Instant::now());
    (0..=CALLS_MAX).for_each(|number| pace.news(&key(number), now));
    let busy: Vec<_> = (0..CALLS_MAX).map(|_| taken(&mut pace, now)).collect();
    assert_eq!(pace.take(now), None);
    assert_eq!(pace.next(), None, "time alone does not help");
    pace.done(&busy[0], Outcome::Written, now);
    assert_eq!(pace.next(), Some(now));
    assert_eq!(pace.take(now), Some(key(CALLS_MAX)));
}

#[test]
fn after_a_change_of_leader_all_are_looked_at() {
    let (mut pace, now) = (Pace::default(), Instant::now());
    for number in 0..3 {
        pace.news(&key(number), now);
        taken(&mut pace, now);
        pace.done(&key(number), Outcome::Written, now);
    }
    pace.all(now + SECOND);
    assert_eq!(pace.due.len(), 3);
    assert_eq!(pace.next(), Some(now + WRITE_INTERVAL));
}

#[derive(Debug, Clone)]
enum Step {
    News(usize),
    Forget(usize),
    Take,
    Done(Outcome),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let outcomes = [Outcome::Unchanged, Outcome::Written, Outcome::Failed, Outcome::Gone];
    prop_oneof![
        3 => (0..4_usize).prop_map(Step::News),
        1 => (0..4_usize).prop_map(Step::Forget),
        3 => Just(Step::Take),
        3 => prop::sample::select(outcomes.to_vec()).prop_map(Step::Done),
        2 => (1..7000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: two writes of one object are an interval apart, and in the end nothing is
    /// left unwritten.
    #[test]
    fn nobody_is_written_too_often_and_nobody_is_forgotten(
        steps in prop::collection::vec(any_step(), 0..200),
    ) {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut busy: Vec<ObjectKey> = Vec::new();
        let mut written: HashMap<ObjectKey, Instant> = HashMap::new();
        let mut unwritten: BTreeSet<ObjectKey> = BTreeSet::new();
        for step in steps {
            match step {
                Step::News(number) => {
                    unwritten.insert(key(number));
                    pace.news(&key(number), now);
                }
                Step::Forget(number) => {
                    unwritten.remove(&key(number));
                    written.remove(&key(number));
                    pace.forget(&key(number));
                }
                Step::Take => if let Some(key) = pace.take(now) {
                    let last = written.get(&key);
                    prop_assert!(last.is_none_or(|last| now - *last >= WRITE_INTERVAL));
                    prop_assert!(!busy.contains(&key));
                    unwritten.remove(&key);
                    busy.push(key);
                }
                Step::Done(outcome) if !busy.is_empty() => {
                    let key = busy.remove(0);
                    if outcome == Outcome::Written && pace.slots.contains_key(&key) {
                        written.insert(key.clone(), now);
                    }
                    pace.done(&key, outcome, now);
                    if !pace.slots.contains_key(&key) {
                        written.remove(&key);
                    }
                }
                Step::Done(_) => {}
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            prop_assert!(busy.len() <= CALLS_MAX);
            prop_assert!(pace.slots.len() <= 4);
        }
        for key in busy {
            pace.done(&key, Outcome::Written, now);
        }
        now += RETRY_MAX + WRITE_INTERVAL;
        while let Some(key) = pace.take(now) {
            unwritten.remove(&key);
            pace.done(&key, Outcome::Written, now);
        }
        prop_assert_eq!(unwritten, BTreeSet::new());
        prop_assert!(pace.due.is_empty());
    }
}
