//! The budget: ramps are free, fights are not.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::{
    WriteBudget, Written,
    budget::{CONTESTED_WRITES_PER_MINUTE, WRITES_PER_MINUTE},
};

const MINUTE: Duration = Duration::from_secs(60);

fn written(from: u32, to: u32) -> Written {
    Written { from, to, resource_version: "1".into() }
}

#[test]
fn a_ramp_of_sixty_steps_is_free_and_the_next_waits_a_second() {
    let now = Instant::now();
    let mut budget = WriteBudget::default();
    for count in 0..60 {
        assert_eq!(budget.ask(now), Ok(()), "step {count}");
        budget.spend(now, &written(count, count + 1));
    }
    let free_at = now + Duration::from_secs(1);
    assert_eq!(budget.ask(now), Err(free_at));
    assert_eq!(budget.ask(free_at), Ok(()));
}

#[test]
fn somebody_who_writes_back_each_time_is_answered_three_times_then_three_times_a_minute() {
    let begun = Instant::now();
    let mut budget = WriteBudget::default();
    budget.spend(begun, &written(1, 5));
    let mut answers = 0;
    for tenth in 0..600 {
        let now = begun + Duration::from_millis(tenth * 100);
        if budget.ask(now).is_ok() {
            // Again it was 1.
            budget.spend(now, &written(1, 5));
            answers += 1;
        }
    }
    assert_eq!(answers, 5, "at 0 s three times, then at 20 s and 40 s");
}

#[test]
fn what_changes_nothing_costs_nothing_and_settles_a_dispute() {
    let now = Instant::now();
    let mut budget = WriteBudget::default();
    budget.spend(now, &written(1, 5));
    for _ in 0..1000 {
        budget.spend(now, &written(7, 7));
    }
    // 7 is now the count that was agreed on.
    budget.spend(now, &written(7, 8));
    budget.spend(now, &written(8, 9));
    assert_eq!(budget.ask(now), Ok(()));
}

proptest! {
    #[test]
    fn in_no_minute_is_more_written_than_the_bounds_say(
        steps in prop::collection::vec((0..3000_u64, any::<bool>()), 1..600),
    ) {
        let mut now = Instant::now();
        let mut budget = WriteBudget::default();
        let mut made: Vec<(Instant, bool)> = Vec::new();
        let mut last = None;
        for (millis, is_contested) in steps {
            now += Duration::from_millis(millis / 10);
            if budget.ask(now).is_err() {
                continue;
            }
            let from = if is_contested { 1000 } else { last.unwrap_or(0) };
            let to = (from + 1) % 100;
            made.push((now, is_contested && last.is_some()));
            budget.spend(now, &written(from, to));
            last = Some(to);
            let recent = made.iter().filter(|(at, _)| now.duration_since(*at) < MINUTE);
            let (mut all, mut contested) = (0, 0);
            for (_, is_contested) in recent {
                all += 1;
                contested += u32::from(*is_contested);
            }
            prop_assert!(all <= WRITES_PER_MINUTE, "{all} in a minute");
            prop_assert!(contested <= CONTESTED_WRITES_PER_MINUTE, "{contested} contested");
        }
    }
}
