//! The rules of scaling as sentences, by example and for any load.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::{Autoscale, Direction, ReplicaId, ReplicaState};

const WINDOW: Duration = Duration::from_secs(60);

fn settings(min_replicas: u32, max_replicas: u32) -> Autoscale {
    Autoscale {
        enabled: true,
        min_replicas,
        max_replicas,
        target_utilization: 70,
        scale_down_window: WINDOW,
    }
}

fn demand(busy: u32, queued: u32) -> Demand {
    Demand { busy, queued, peak: busy + queued }
}

fn at(seconds: u64, ready: u32, starting: u32, demand: impl Into<Option<Demand>>) -> Sample {
    Sample { now: Duration::from_secs(seconds), ready, starting, demand: demand.into() }
}

fn fresh(settings: &Autoscale, slots: u32, sample: Sample) -> Verdict {
    decide(settings, slots, sample, &mut History::default())
}

#[test]
fn the_reason_of_an_increase_names_load_capacity_target_and_bound() {
    let up = |settings, slots, sample| fresh(&settings, slots, sample).reason();
    for (said, expected) in [
        (
            up(settings(1, 4), 1, at(0, 2, 0, demand(5, 3))),
            "2 → 4: 5 busy + 3 queued over 2 replicas × 1 slot = 400 % > 70 % (wanted 12, at most 4)",
        ),
        (
            up(settings(1, 20), 1, at(0, 2, 0, demand(5, 3))),
            "2 → 12: 5 busy + 3 queued over 2 replicas × 1 slot = 400 % > 70 %",
        ),
        (
            up(settings(1, 20), 4, at(0, 1, 1, demand(4, 5))),
            "2 → 4: 4 busy + 5 queued over 1 replica × 4 slots = 225 % > 70 %, 1 starting",
        ),
        (
            up(settings(0, 4), 2, at(0, 0, 0, demand(0, 1))),
            "0 → 1: 0 busy + 1 queued and no replica",
        ),
        (
            up(settings(0, 4), 1, at(0, 0, 1, demand(0, 1))),
            "1 → 2: 0 busy + 1 queued and no ready replica, 1 starting",
        ),
        (
            up(settings(1, 4), 1, at(0, 1, 0, Some(Demand { busy: 0, queued: 0, peak: 2 }))),
            "1 → 3: a peak of 2 busy or queued over 1 replica × 1 slot = 200 % > 70 %",
        ),
        (up(settings(2, 4), 1, at(0, 0, 0, demand(0, 0))), "0 → 2: at least 2 replicas"),
        (up(settings(1, 3), 1, at(0, 5, 0, demand(0, 0))), "5 → 3: at most 3 replicas"),
        (
            up(settings(1, 400), 100, at(0, 2, 0, demand(141, 0))),
            "2 → 3: 141 busy + 0 queued over 2 replicas × 100 slots = 71 % > 70 %",
        ),
    ] {
        assert_eq!(said, expected);
    }
}

#[test]
fn the_reason_of_a_decrease_names_the_highest_load_of_the_window() {
    let down = |settings: Autoscale, load| {
        let mut history = History::default();
        decide(&settings, 1, at(0, 9, 0, demand(load, 0)), &mut history);
        decide(&settings, 1, at(60, 9, 0, demand(load, 0)), &mut history).reason()
    };
    assert_eq!(
        down(settings(1, 9), 2),
        "9 → 3: never more than 2 busy or queued in the last 1m, enough is 3 replicas"
    );
    assert_eq!(down(settings(0, 9), 0), "9 → 0: nothing busy or queued in the last 1m");
    assert_eq!(
        down(settings(1, 9), 0),
        "9 → 1: nothing busy or queued in the last 1m (wanted 0, at least 1)"
    );
}

#[test]
fn starting_replicas_are_not_ordered_twice() {
    let verdict = fresh(&settings(1, 20), 1, at(0, 2, 10, demand(5, 3)));
    assert_eq!((verdict.to, verdict.cause), (12, Cause::Steady));
}

#[test]
fn a_fresh_history_holds_for_one_whole_window() {
    let (settings, mut history) = (settings(0, 4), History::default());
    for second in 0..60 {
        let verdict = decide(&settings, 1, at(second, 4, 0, demand(0, 0)), &mut history);
        assert_eq!(verdict.direction(), Direction::Hold, "second {second}");
    }
    assert_eq!(decide(&settings, 1, at(60, 4, 0, demand(0, 0)), &mut history).to, 0);
}

#[test]
fn missing_data_hold_and_the_window_has_to_fill_again() {
    let (settings, mut history) = (settings(0, 4), History::default());
    for second in 0..59 {
        decide(&settings, 1, at(second, 4, 0, demand(0, 0)), &mut history);
    }
    let verdict = decide(&settings, 1, at(59, 4, 0, None::<Demand>), &mut history);
    assert_eq!((verdict.to, verdict.cause), (4, Cause::NoData));
    for second in 200..260 {
        let verdict = decide(&settings, 1, at(second, 4, 0, demand(0, 0)), &mut history);
        assert_eq!(verdict.direction(), Direction::Hold, "second {second}");
    }
    assert_eq!(decide(&settings, 1, at(260, 4, 0, demand(0, 0)), &mut history).to, 0);
}

#[test]
fn a_peak_between_two_samples_is_remembered_for_the_window() {
    let (settings, mut history) = (settings(1, 9), History::default());
    decide(&settings, 1, at(0, 3, 0, demand(0, 0)), &mut history);
    let spike = Some(Demand { busy: 0, queued: 0, peak: 2 });
    decide(&settings, 1, at(50, 3, 0, spike), &mut history);
    assert_eq!(decide(&settings, 1, at(100, 3, 0, demand(0, 0)), &mut history).to, 3);
    assert_eq!(decide(&settings, 1, at(110, 3, 0, demand(0, 0)), &mut history).to, 1);
}

#[test]
fn a_longer_window_is_not_covered_by_what_a_shorter_one_remembered() {
    let mut history = History::default();
    let short = Autoscale { scale_down_window: Duration::from_secs(5), ..settings(1, 9) };
    decide(&short, 1, at(0, 9, 0, demand(9, 0)), &mut history);
    for second in 1..40 {
        decide(&short, 1, at(second, 1, 0, demand(0, 0)), &mut history);
    }
    let long = settings(1, 9);
    assert_eq!(decide(&long, 1, at(40, 9, 0, demand(0, 0)), &mut history).to, 9);
    assert_eq!(decide(&long, 1, at(93, 9, 0, demand(0, 0)), &mut history).to, 9);
    assert_eq!(decide(&long, 1, at(94, 9, 0, demand(0, 0)), &mut history).to, 1);
}

#[test]
fn a_lower_load_right_after_a_high_one_is_not_forgotten_with_it() {
    let mut history = History::default();
    for (at_ms, load) in [(0, 5), (200, 3), (60_100, 0)] {
        history.record(Duration::from_millis(at_ms), load, WINDOW);
    }
    assert!(history.highest() >= 3);
}

#[test]
fn a_full_history_still_knows_its_highest_load() {
    let (mut history, mut now, mut load) = (History::default(), Duration::ZERO, 1000);
    let short = (Duration::from_secs(1), Duration::from_micros(4200));
    let long = (Duration::from_secs(600), Duration::from_millis(2600));
    for (window, step) in [[short; 230], [long; 230]].concat() {
        history.record(now, load, window);
        now += step;
        load -= 1;
    }
    assert_eq!(history.len(), ENTRIES_MAX);
    assert_eq!(history.highest(), 1000);
}

#[test]
fn nothing_is_decided_when_autoscaling_is_off() {
    let off = Autoscale { enabled: false, ..settings(2, 4) };
    for total in [0, 3, 9] {
        let verdict = fresh(&off, 1, at(0, total, 0, demand(99, 99)));
        assert_eq!((verdict.to, verdict.cause), (total, Cause::Disabled));
    }
    assert_eq!(alarm_level(&off, 1, 0), u32::MAX);
}

#[test]
fn the_replica_that_is_missed_least_goes_first() {
    let view =
        |id, state, busy| VictimView { id: ReplicaId(id), state, busy, started: id, ordinal: None };
    let replicas = [
        view(1, ReplicaState::Ready, 0),
        view(2, ReplicaState::Ready, 2),
        view(3, ReplicaState::Ready, 0),
        view(4, ReplicaState::Starting, 0),
        view(5, ReplicaState::Draining, 0),
        view(6, ReplicaState::Ready, 1),
        view(7, ReplicaState::Starting, 0),
        view(8, ReplicaState::Starting, 1),
    ];
    let chosen: Vec<_> = victims(&replicas, 9).into_iter().map(|id| id.0).collect();
    assert_eq!(chosen, [7, 4, 8, 3, 1, 6, 2]);
    assert_eq!(victims(&replicas, 1), [ReplicaId(7)]);
    assert!(victims(&replicas, 0).is_empty());
}

#[test]
fn where_only_the_highest_ordinal_can_go_it_goes_whatever_it_does() {
    let view = |id, state, busy, ordinal| VictimView {
        id: ReplicaId(id),
        state,
        busy,
        started: id,
        ordinal: Some(ordinal),
    };
    let replicas = [
        view(9, ReplicaState::Starting, 0, 0),
        view(1, ReplicaState::Ready, 3, 4),
        view(2, ReplicaState::Draining, 1, 3),
        view(4, ReplicaState::Ready, 0, 10),
        view(8, ReplicaState::Ready, 0, 2),
    ];
    let chosen: Vec<_> = victims(&replicas, 3).into_iter().map(|id| id.0).collect();
    assert_eq!(chosen, [4, 1, 8]);
}

/// Plays a load that is a function of time, with replicas that are ready at once, and returns each
/// change as (time, direction, count after it).
fn simulate(
    settings: &Autoscale,
    slots: u32,
    until: Duration,
    step: Duration,
    load: impl Fn(Duration) -> u32,
) -> Vec<(Duration, Direction, u32)> {
    let (mut history, mut total, mut now) =
        (History::default(), settings.min_replicas, Duration::ZERO);
    let mut changes = Vec::new();
    while now < until {
        let sample = Sample { now, ready: total, starting: 0, demand: Some(demand(load(now), 0)) };
        let verdict = decide(settings, slots, sample, &mut history);
        if verdict.direction() != Direction::Hold {
            changes.push((now, verdict.direction(), verdict.to));
        }
        total = verdict.to;
        now += step;
    }
    changes
}

fn any_settings() -> impl Strategy<Value = Autoscale> {
    (0..20_u32, 0..20_u32, 1..=100_u32, 0..120_u64).prop_map(|(min, more, target, window)| {
        Autoscale {
            enabled: true,
            min_replicas: min,
            max_replicas: (min + more).max(1),
            target_utilization: target,
            scale_down_window: Duration::from_secs(window),
        }
    })
}

proptest! {
    #[test]
    fn the_result_is_within_bounds_for_any_run(
        settings in any_settings(),
        slots in 1..64_u32,
        start in 0..50_u32,
        steps in prop::collection::vec((0..20_000_u64, 0..500_u32, 0..500_u32, 0..1500_u32), 1..60),
    ) {
        let (mut history, mut total, mut now) = (History::default(), start, Duration::ZERO);
        for (wait_ms, busy, queued, peak) in steps {
            now += Duration::from_millis(wait_ms);
            let demand = Some(Demand { busy, queued, peak });
            let sample = Sample { now, ready: total / 2, starting: total - total / 2, demand };
            total = decide(&settings, slots, sample, &mut history).to;
            prop_assert!((settings.min_replicas..=settings.max_replicas).contains(&total));
        }
    }

    #[test]
    fn more_load_never_means_fewer_replicas(
        settings in any_settings(),
        slots in 1..64_u32,
        total in 0..50_u32,
        earlier in prop::collection::vec(0..300_u32, 0..20),
        (less, more) in (0..2000_u32, 0..2000_u32),
    ) {
        let mut history = History::default();
        for (second, load) in (0_u64..).zip(earlier) {
            decide(&settings, slots, at(second * 10, total, 0, demand(load, 0)), &mut history);
        }
        let to = |load| {
            let sample = at(500, total, 0, demand(load, 0));
            decide(&settings, slots, sample, &mut history.clone()).to
        };
        prop_assert!(to(less) <= to(less + more));
    }

    #[test]
    fn starting_replicas_count_like_ready_ones(
        settings in any_settings(),
        slots in 1..64_u32,
        (ready, starting) in (0..50_u32, 0..50_u32),
        load in 0..2000_u32,
    ) {
        let some_start = fresh(&settings, slots, at(0, ready, starting, demand(load, 0)));
        let all_ready = fresh(&settings, slots, at(0, ready + starting, 0, demand(load, 0)));
        prop_assert_eq!((some_start.from, some_start.to), (all_ready.from, all_ready.to));
    }

    #[test]
    fn the_alarm_level_is_the_last_load_that_needs_no_further_replica(
        settings in any_settings(),
        slots in 1..64_u32,
        total in 0..50_u32,
    ) {
        let level = alarm_level(&settings, slots, total);
        if total >= settings.max_replicas {
            prop_assert_eq!(level, u32::MAX);
        } else {
            prop_assert!(want(&settings, slots, level) <= total);
            prop_assert!(want(&settings, slots, level + 1) > total);
            let after = |load| fresh(&settings, slots, at(0, total, 0, demand(load, 0))).to;
            prop_assert!(after(level) <= total.max(settings.min_replicas));
            prop_assert!(after(level + 1) > total);
        }
    }

    #[test]
    fn the_want_is_the_fewest_replicas_that_keep_the_target(
        settings in any_settings(),
        slots in 1..64_u32,
        load in 0..100_000_u32,
    ) {
        let carries = |replicas: u32| {
            u64::from(load) * 100
                <= u64::from(replicas) * u64::from(slots) * u64::from(settings.target_utilization)
        };
        let wanted = want(&settings, slots, load);
        prop_assert!(carries(wanted));
        prop_assert!(wanted == 0 || !carries(wanted - 1));
    }

    #[test]
    fn history_never_reports_less_than_the_window_and_holds_a_load_one_part_longer_at_most(
        window_ms in 0..100_000_u64,
        samples in prop::collection::vec((0..3000_u64, 0..50_u32), 1..400),
    ) {
        let window = Duration::from_millis(window_ms);
        let part = (window / 240).max(Duration::from_millis(1));
        let (mut history, mut now, mut all) = (History::default(), Duration::ZERO, Vec::new());
        for (wait_ms, load) in samples {
            now += Duration::from_millis(wait_ms);
            history.record(now, load, window);
            all.push((now, load));
            let highest_within = |age: Duration| {
                all.iter().filter(|(at, _)| now.saturating_sub(*at) < age).map(|(_, load)| *load).max()
            };
            let brute = highest_within(window).unwrap_or(0).max(load);
            prop_assert!(history.highest() >= brute);
            prop_assert!(history.highest() <= highest_within(window + part).unwrap_or(0).max(load));
            prop_assert!(history.len() <= ENTRIES_MAX);
        }
    }

    #[test]
    fn history_is_exact_when_no_two_samples_share_a_part(
        samples in prop::collection::vec((1..40_u64, 0..50_u32), 1..400),
    ) {
        let (mut history, mut now, mut all) = (History::default(), Duration::ZERO, Vec::new());
        for (parts, load) in samples {
            now += Duration::from_millis(parts * 250);
            history.record(now, load, WINDOW);
            all.push((now, load));
            let brute = all.iter().filter(|(at, _)| now.saturating_sub(*at) < WINDOW).map(|(_, load)| *load).max();
            prop_assert_eq!(Some(history.highest()), brute);
        }
    }

    #[test]
    fn history_stays_bounded_and_high_enough_through_edits_of_the_window(
        runs in prop::collection::vec((1..400_000_u64, 1..400_u32), 1..8),
    ) {
        let (mut history, mut now, mut load) = (History::default(), Duration::ZERO, 1_000_000);
        for (window_ms, samples) in runs {
            for _ in 0..samples {
                // Ever lower loads are the worst case: none makes another superfluous.
                now += Duration::from_millis(window_ms / 300 + 1);
                load -= 1;
                history.record(now, load, Duration::from_millis(window_ms));
                prop_assert!(history.len() <= ENTRIES_MAX);
                prop_assert!(history.highest() >= load);
            }
        }
    }

    #[test]
    fn a_square_wave_of_any_period_never_flaps(
        period_ms in 500..200_000_u64,
        duty_percent in 1..100_u64,
        (low, high) in (0..5_u32, 5..60_u32),
        slots in 1..8_u32,
        min_replicas in 0..3_u32,
    ) {
        let settings = Autoscale { max_replicas: 30, ..settings(min_replicas, 30) };
        let wave = |now: Duration| {
            let phase = u64::try_from(now.as_millis()).unwrap() % period_ms;
            if phase * 100 < duty_percent * period_ms { high } else { low }
        };
        let step = Duration::from_millis(250);
        let changes = simulate(&settings, slots, Duration::from_secs(900), step, wave);

        for direction in [Direction::Up, Direction::Down] {
            let times: Vec<_> =
                changes.iter().filter(|change| change.1 == direction).map(|change| change.0).collect();
            // The first samples may raise twice: to the minimum, then to the wave.
            for pair in times.windows(2).skip(1) {
                prop_assert!(pair[1].saturating_sub(pair[0]) >= WINDOW, "{direction:?} {pair:?}");
            }
        }
        let lowest_phase_ms = period_ms - period_ms * duty_percent / 100;
        let seen = period_ms * duty_percent / 100 > 250;
        if seen && lowest_phase_ms < 59_000 {
            let down = changes.iter().find(|change| change.1 == Direction::Down);
            prop_assert!(down.is_none(), "{down:?}");
        }
    }

    #[test]
    fn any_load_turns_from_down_to_up_and_back_at_most_once_per_window(
        loads in prop::collection::vec(0..40_u32, 20..80),
        hold_ms in 250..40_000_u64,
    ) {
        let settings = settings(0, 30);
        let load = |now: Duration| {
            let index = usize::try_from(now.as_millis() / u128::from(hold_ms)).unwrap();
            loads.get(index).copied().unwrap_or(0)
        };
        let step = Duration::from_millis(250);
        let changes = simulate(&settings, 1, Duration::from_secs(1200), step, load);
        let turns_down: Vec<_> = changes
            .windows(2)
            .filter(|pair| pair[0].1 == Direction::Up && pair[1].1 == Direction::Down)
            .map(|pair| pair[1].0.saturating_sub(pair[0].0))
            .collect();
        prop_assert!(turns_down.iter().all(|gap| *gap >= WINDOW), "{turns_down:?}");
    }

    #[test]
    fn victims_do_not_depend_on_the_order_of_the_replicas(
        replicas in prop::collection::vec((0..2_u8, 0..4_u32), 0..20),
        turn in 0..20_usize,
        count in 0..25_usize,
    ) {
        let mut views: Vec<_> = (0_u64..)
            .zip(replicas)
            .map(|(id, (ready, busy))| {
                let state = if ready == 1 { ReplicaState::Ready } else { ReplicaState::Starting };
                VictimView { id: ReplicaId(id), state, busy, started: id, ordinal: None }
            })
            .collect();
        let chosen = victims(&views, count);
        prop_assert_eq!(chosen.len(), count.min(views.len()));
        if !views.is_empty() {
            let middle = turn % views.len();
            views.rotate_left(middle);
        }
        prop_assert_eq!(victims(&views, count), chosen);
    }

    #[test]
    fn victims_with_ordinals_and_those_that_drain_are_all_there_is_above_the_lowest_victim(
        replicas in prop::collection::btree_map(0..40_u32, (0..3_u8, 0..4_u32, 0..100_u64), 0..20),
        count in 0..25_usize,
    ) {
        let views: Vec<_> = (0_u64..)
            .zip(replicas)
            .map(|(id, (ordinal, (state, busy, started)))| {
                let states = [ReplicaState::Ready, ReplicaState::Starting, ReplicaState::Draining];
                let state = states[usize::from(state)];
                VictimView { id: ReplicaId(id), state, busy, started, ordinal: Some(ordinal) }
            })
            .collect();
        let chosen = victims(&views, count);
        let stays = |view: &&VictimView| {
            view.state != ReplicaState::Draining && !chosen.contains(&view.id)
        };
        let total = views.iter().filter(|view| view.state != ReplicaState::Draining).count();
        prop_assert_eq!(chosen.len(), count.min(total));
        let ordinals: Vec<_> = chosen
            .iter()
            .map(|id| views.iter().find(|view| view.id == *id).unwrap().ordinal)
            .collect();
        prop_assert!(ordinals.is_sorted_by(|one, next| one > next), "{ordinals:?}");
        let highest_that_stays = views.iter().filter(stays).map(|view| view.ordinal).max();
        if let (Some(lowest), Some(stays)) = (ordinals.last(), highest_that_stays) {
            prop_assert!(*lowest > stays, "{ordinals:?} {stays:?}");
        }
    }
}
