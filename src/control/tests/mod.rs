//! The driver against a version in memory, in virtual time.

mod leadership;
mod world;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::world::{Order, State, World, autoscale, key, settle};
use super::{ORDER_UNSEEN_MAX, TICK};
use crate::{
    domain::{Autoscale, Direction, ReplicaId, ReplicaState, Signal},
    lifecycle::Phase,
};

const WINDOW: Duration = Duration::from_secs(60);
/// The history's resolution and one tick.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn saturation_orders_replicas_without_waiting_for_the_tick() {
    let (world, handle) = World::with(2, autoscale(1, 4)).await;
    for _ in 0..50 {
        sleep(Duration::from_millis(90)).await;
        let begun = Instant::now();
        world.set_load(8);
        settle().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(world.take_orders(), [Order::Start(4)]);
        assert_eq!(handle.wanted(&key()), Some(4));
        assert_eq!(
            world.reasons(),
            [
                "2 → 4: 2 busy + 6 queued over 2 replicas × 1 slot = 400 % > 70 % (wanted 12, at most 4)"
            ]
        );
        world.set_load(0);
        sleep(TICK * 2).await; // The peak of the load is over and counted.
        world.change(|state| state.version.replicas.truncate(2));
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crossing_that_is_over_before_the_driver_looks_counts_once() {
    let (world, _handle) = World::with(1, autoscale(1, 9)).await;
    for _ in 0..1000 {
        world.set_load(2);
        world.set_load(0);
        settle().await;
    }
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    assert_eq!(
        world.reasons(),
        ["1 → 3: a peak of 2 busy or queued over 1 replica × 1 slot = 200 % > 70 %"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_signal_costs_one_tick() {
    let (world, _handle) = World::with(1, autoscale(1, 4)).await;
    world.look(|state| state.mute = true);
    sleep(Duration::from_millis(10)).await;
    let begun = Instant::now();
    world.set_load(2);
    while world.look(|state| state.orders.is_empty()) {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() <= TICK, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_ordered_twice_while_replicas_start() {
    let (world, handle) = World::with(1, autoscale(1, 8)).await;
    world.look(|state| state.lagging = true);
    world.set_load(4);
    sleep(ORDER_UNSEEN_MAX.saturating_sub(TICK)).await;
    world.change(|state| state.lagging = false);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.take_orders(), [Order::Start(6)]);
    assert_eq!(world.reasons().len(), 1);
    world.set_load(5);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(8)]);
    assert_eq!(
        world.reasons(),
        ["6 → 8: 1 busy + 4 queued over 1 replica × 1 slot = 500 % > 70 %, 5 starting"]
    );
    world.change(State::make_ready);
    sleep(SLACK).await;
    assert!(world.take_orders().is_empty());
    assert_eq!(handle.wanted(&key()), Some(8));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_got_lost_is_given_again_and_recorded_once() {
    let (world, _handle) = World::with(1, autoscale(1, 8)).await;
    world.look(|state| state.deaf = true);
    world.set_load(2);
    sleep(ORDER_UNSEEN_MAX * 2 + TICK * 2).await;
    assert_eq!(world.take_orders(), vec![Order::Start(3); 3]);
    assert_eq!(world.reasons().len(), 1);
    world.look(|state| state.deaf = false);
    sleep(ORDER_UNSEEN_MAX).await;
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    assert_eq!(world.look(|state| state.count(ReplicaState::Starting)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_later_order_of_the_same_count_as_a_lost_one_is_news() {
    let (world, _handle) = World::with(1, autoscale(1, 8)).await;
    world.look(|state| state.deaf = true);
    for _ in 0..2 {
        world.set_load(2);
        settle().await;
        world.set_load(0);
        sleep(ORDER_UNSEEN_MAX * 2).await;
        assert_eq!(world.take_orders(), [Order::Start(3)]);
        assert_eq!(world.reasons().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_order_is_not_taken_for_surplus() {
    let (world, _handle) = World::with(1, autoscale(1, 8)).await;
    world.look(|state| state.deaf = true);
    world.set_load(2);
    settle().await;
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    sleep(ORDER_UNSEEN_MAX * 2).await;
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    assert_eq!(world.reasons().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn surplus_drains_after_the_window_and_idle_replicas_go_first() {
    let (world, handle) = World::with(4, autoscale(1, 4)).await;
    world.set_load(4);
    for idle in [1, 2, 3] {
        world.finish_on(idle);
    }
    let begun = Instant::now();
    while world.look(|state| state.orders.is_empty()) {
        sleep(Duration::from_millis(10)).await;
    }
    let waited = begun.elapsed();
    assert!((WINDOW..=WINDOW + SLACK).contains(&waited), "{waited:?}");
    settle().await;
    // Load 1 at 70 % wants two: the busy newest one stays, and the oldest of the idle ones.
    assert_eq!(world.take_orders(), [Order::Drain(3), Order::Drain(2), Order::Retire(vec![3, 2])]);
    assert_eq!(world.look(|state| state.ids(ReplicaState::Ready)), [1, 4]);
    assert_eq!(handle.wanted(&key()), Some(2));
    assert_eq!(
        world.reasons(),
        ["4 → 2: never more than 1 busy or queued in the last 1m, enough is 2 replicas"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_maximum_drains_at_once_and_ends_a_busy_victim_when_it_is_idle() {
    let (world, handle) = World::with(3, autoscale(1, 3)).await;
    world.set_load(3);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(3), Order::Drain(2)]);
    assert_eq!(world.reasons(), ["3 → 1: at most 1 replica"]);
    assert_eq!(handle.wanted(&key()), Some(1));
    sleep(Duration::from_secs(5)).await;
    assert!(world.take_orders().is_empty());
    let begun = Instant::now();
    world.finish_on(2);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![2])]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // The signal gets lost; the tick asks.
    world.look(|state| state.mute = true);
    world.finish_on(3);
    sleep(TICK + TICK).await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![3])]);
    sleep(WINDOW * 2).await;
    assert!(world.take_orders().is_empty());
    assert_eq!(world.look(|state| state.killed), 0);
}

#[tokio::test(start_paused = true)]
async fn where_only_the_highest_can_go_a_victim_waits_for_all_above_it() {
    let (world, _handle) = World::with(4, autoscale(1, 4)).await;
    world.change(State::give_ordinals);
    world.set_load(4);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(4), Order::Drain(3), Order::Drain(2)]);
    world.finish_on(3);
    sleep(SLACK).await;
    assert!(world.take_orders().is_empty());
    world.finish_on(4);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![4, 3])]);
    world.finish_on(2);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![2])]);
    assert_eq!(world.look(|state| state.ids(ReplicaState::Ready)), [1]);
    assert_eq!(world.look(|state| state.killed), 0);
}

#[tokio::test(start_paused = true)]
async fn where_only_the_highest_can_go_the_lowest_victim_is_taken_back_first() {
    let (world, _handle) = World::with(3, autoscale(1, 3)).await;
    world.change(State::give_ordinals);
    world.set_load(3);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    world.change(|state| state.version.autoscale = autoscale(2, 2));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(3), Order::Drain(2), Order::Readmit(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_victim_that_somebody_puts_a_replica_on_top_of_is_taken_back_and_the_top_goes() {
    let (world, _handle) = World::with(2, autoscale(1, 2)).await;
    world.change(State::give_ordinals);
    world.set_load(2);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(2)]);
    world.change(|state| {
        state.add(1);
        state.give_ordinals();
        state.make_ready();
    });
    settle().await;
    let orders = [Order::Readmit(2), Order::Drain(3), Order::Retire(vec![3]), Order::Drain(2)];
    assert_eq!(world.take_orders(), orders);
    world.finish_on(2);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![2])]);
    assert_eq!(world.look(|state| state.killed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_minimum_starts_at_once() {
    let (world, _handle) = World::with(1, autoscale(1, 4)).await;
    world.change(|state| state.version.autoscale = autoscale(3, 4));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    assert_eq!(world.reasons(), ["1 → 3: at least 3 replicas"]);
}

#[tokio::test(start_paused = true)]
async fn returning_load_takes_victims_back_before_it_starts_replicas() {
    let (world, _handle) = World::with(3, autoscale(1, 3)).await;
    world.set_load(3);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    world.finish_on(3);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(3), Order::Drain(2), Order::Retire(vec![3])]);
    // Two busy (one of them on the victim) want three: the victim, and one new.
    world.change(|state| state.version.autoscale = autoscale(1, 3));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Readmit(2), Order::Start(3)]);
    assert_eq!(world.look(|state| state.ids(ReplicaState::Ready)), [1, 2]);
    assert_eq!(world.look(|state| state.count(ReplicaState::Starting)), 1);
    world.finish_on(2);
    sleep(SLACK).await;
    assert!(world.take_orders().is_empty(), "a readmitted replica is no victim any more");
}

#[tokio::test(start_paused = true)]
async fn a_retired_replica_is_not_taken_back_while_the_catalog_still_shows_it() {
    let (world, _handle) = World::with(3, autoscale(1, 3)).await;
    world.change(|state| {
        state.version.slots_per_replica = 4;
        state.busy = vec![(1, 0), (2, 1), (3, 1)];
    });
    sleep(WINDOW + SLACK).await;
    assert_eq!(world.take_orders(), [Order::Drain(1), Order::Drain(3), Order::Retire(vec![1])]);
    world.look(|state| state.lagging = true);
    world.finish_on(3);
    settle().await;
    world.set_load(6);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![3]), Order::Start(3)]);
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_rules_starts_the_window_again() {
    let (world, _handle) = World::with(4, autoscale(1, 4)).await;
    sleep(WINDOW.saturating_sub(SLACK)).await;
    world.change(|state| state.version.autoscale.target_utilization = 71);
    sleep(WINDOW.saturating_sub(SLACK)).await;
    assert!(world.take_orders().is_empty());
    sleep(SLACK * 2).await;
    assert_eq!(world.reasons().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn missing_data_hold_and_the_window_starts_again() {
    let (world, _handle) = World::with(4, autoscale(0, 4)).await;
    sleep(WINDOW.saturating_sub(SLACK)).await;
    world.look(|state| state.unknown = true);
    sleep(WINDOW * 3).await;
    world.look(|state| state.unknown = false);
    sleep(WINDOW.saturating_sub(SLACK)).await;
    assert!(world.take_orders().is_empty());
    sleep(SLACK * 2).await;
    assert_eq!(world.reasons(), ["4 → 0: nothing busy or queued in the last 1m"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_at_zero_is_woken_by_the_first_request() {
    let (world, handle) = World::with(1, autoscale(0, 4)).await;
    sleep(WINDOW + SLACK).await;
    assert_eq!(world.take_orders(), [Order::Drain(1), Order::Retire(vec![1])]);
    assert_eq!(handle.wanted(&key()), Some(0));
    drop(world.reasons());
    let begun = Instant::now();
    world.set_load(1);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(2)]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(world.reasons(), ["0 → 2: 0 busy + 1 queued and no replica"]);
    world.change(State::make_ready);
    assert_eq!(world.look(|state| state.queued), 0);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_cycles_of_load_order_exactly_what_is_wanted_and_end_no_busy_replica() {
    let (world, _handle) = World::with(1, autoscale(1, 8)).await;
    for cycle in 0..200_u64 {
        world.set_load(5);
        sleep(Duration::from_millis(100 + cycle * 7)).await;
        world.change(State::make_ready);
        sleep(Duration::from_secs(3)).await;
        let high = world.look(|state| state.count(ReplicaState::Ready));
        assert_eq!(high, 8, "cycle {cycle}");
        world.set_load(0);
        sleep(WINDOW + SLACK).await;
        let left = world.look(|state| state.version.replicas.len());
        assert_eq!(left, 1, "cycle {cycle}");
    }
    let decisions = world.look(|state| std::mem::take(&mut state.decisions));
    let of = |wanted| decisions.iter().filter(|one| one.1.direction() == wanted).count();
    assert_eq!((of(Direction::Up), of(Direction::Down)), (200, 200));
    assert_eq!(world.look(|state| state.killed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_short_square_wave_never_removes_a_replica() {
    let (world, _handle) = World::with(1, autoscale(1, 8)).await;
    for _ in 0..40 {
        world.set_load(5);
        settle().await;
        world.change(State::make_ready);
        sleep(Duration::from_secs(15)).await;
        world.set_load(0);
        sleep(Duration::from_secs(15)).await;
    }
    assert_eq!(world.take_orders(), [Order::Start(8)]);
    assert_eq!(world.look(|state| state.decisions.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_starting_victim_ends_only_when_the_catalog_shows_it_draining() {
    let (world, _handle) = World::with(0, autoscale(0, 2)).await;
    world.set_load(1);
    settle().await;
    world.set_load(0);
    world.look(|state| {
        state.lagging = true;
        state.busy.clear(); // The data plane has never heard of the two, so they are idle to it.
    });
    sleep(WINDOW + SLACK).await;
    assert_eq!(world.take_orders(), [Order::Start(2), Order::Drain(2), Order::Drain(1)]);
    world.change(|state| state.lagging = false);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Retire(vec![2, 1])]);
}

#[tokio::test(start_paused = true)]
async fn versions_that_are_not_ours_to_scale_are_left_alone() {
    let off = Autoscale { enabled: false, ..autoscale(2, 4) };
    let (world, handle) = World::with(1, off).await;
    world.set_load(9);
    world.signal(Signal::Pressure(key()));
    sleep(WINDOW).await;
    world.change(|state| {
        state.version.autoscale = autoscale(2, 4);
        state.version.startable = false;
    });
    sleep(WINDOW).await;
    assert!(world.take_orders().is_empty());
    assert_eq!(handle.wanted(&key()), None);
}

#[tokio::test(start_paused = true)]
async fn turning_autoscaling_off_takes_victims_back_and_disarms_the_alarm() {
    let (world, handle) = World::with(2, autoscale(1, 2)).await;
    world.set_load(2);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(2)]);
    world.change(|state| state.version.autoscale.enabled = false);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Readmit(2)]);
    assert_eq!(world.look(|state| state.armed), u32::MAX);
    assert_eq!(handle.wanted(&key()), None);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_comes_under_the_autoscaler_is_not_judged_by_an_old_peak() {
    let off = Autoscale { enabled: false, ..autoscale(1, 9) };
    let (world, _handle) = World::with(1, off).await;
    world.set_load(9);
    world.set_load(0);
    world.change(|state| state.version.autoscale.enabled = true);
    sleep(SLACK).await;
    assert!(world.take_orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_scaled_while_the_router_drains_but_failures_are_passed_on() {
    let (world, _handle) = World::with(2, autoscale(1, 9)).await;
    world.lifecycle().enter(Phase::Draining);
    world.set_load(9);
    sleep(SLACK).await;
    world.set_load(0);
    sleep(WINDOW * 2).await;
    assert!(world.take_orders().is_empty());
    world.signal(Signal::Failed(ReplicaId(2), 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Suspect(2, 1)]);
    world.lifecycle().enter(Phase::Stopped);
    let begun = Instant::now();
    world.lifecycle().finish_tasks(WINDOW).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
