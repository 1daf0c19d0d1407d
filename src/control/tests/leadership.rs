//! Who leads scales; who does not leaves everything to the one who does.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    SLACK, WINDOW,
    world::{Order, World, autoscale, key, settle},
};
use crate::{
    control::{ORDER_UNSEEN_MAX, TICK, always_leads},
    domain::{ReplicaId, ReplicaState, Signal},
    lifecycle::Phase,
};

#[tokio::test(start_paused = true)]
async fn who_follows_decides_nothing_and_arms_no_alarm_but_passes_failures_on() {
    let (world, handle) = World::following(2, autoscale(1, 9)).await;
    world.set_load(9);
    world.signal(Signal::Pressure(key()));
    sleep(WINDOW).await;
    world.change(|state| state.version.autoscale = autoscale(4, 9));
    world.set_load(0);
    world.signal(Signal::Idle(ReplicaId(1)));
    sleep(WINDOW * 2).await;
    assert!(world.take_orders().is_empty());
    assert!(world.reasons().is_empty());
    assert_eq!(world.look(|state| state.armed), u32::MAX);
    assert_eq!(handle.wanted(&key()), None);
    world.signal(Signal::Failed(ReplicaId(2), 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Suspect(2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_lead_adds_at_once_what_is_missing_by_the_load_of_now() {
    let (world, handle) = World::following(1, autoscale(1, 9)).await;
    world.set_load(6); // A peak of before, for the one who led then.
    world.set_load(2);
    sleep(SLACK).await;
    let begun = Instant::now();
    world.lead(true);
    settle().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    assert_eq!(
        world.reasons(),
        ["1 → 3: 1 busy + 1 queued over 1 replica × 1 slot = 200 % > 70 %"]
    );
    assert_eq!(handle.wanted(&key()), Some(3));
    world.set_load(5);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(8)], "the alarm is armed");
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_lead_removes_nothing_before_it_has_seen_a_whole_window() {
    let (world, _handle) = World::following(4, autoscale(1, 4)).await;
    sleep(WINDOW * 3).await;
    world.lead(true);
    let begun = Instant::now();
    while world.look(|state| state.orders.is_empty()) {
        sleep(Duration::from_millis(10)).await;
    }
    let waited = begun.elapsed();
    assert!((WINDOW..=WINDOW + SLACK).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn leadership_that_is_lost_and_won_again_starts_the_window_anew() {
    let (world, _handle) = World::with(4, autoscale(1, 4)).await;
    sleep(WINDOW.saturating_sub(SLACK)).await;
    world.lead(false);
    settle().await;
    world.lead(true);
    sleep(WINDOW.saturating_sub(SLACK)).await;
    assert!(world.take_orders().is_empty());
    sleep(SLACK * 2).await;
    assert_eq!(world.reasons().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_again_that_it_leads_goes_on_as_before() {
    let (world, _handle) = World::with(4, autoscale(1, 4)).await;
    let begun = Instant::now();
    while world.look(|state| state.orders.is_empty()) && begun.elapsed() < WINDOW * 2 {
        sleep(TICK).await;
        world.lead(true);
    }
    assert!(begun.elapsed() <= WINDOW + SLACK, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_loses_leadership_takes_its_victims_back_and_forgets_what_it_wanted() {
    let (world, handle) = World::with(3, autoscale(1, 3)).await;
    world.set_load(3);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    world.look(|state| state.lagging = true); // The retired one stays in sight.
    world.finish_on(3);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(3), Order::Drain(2), Order::Retire(vec![3])]);
    world.look(|state| state.lagging = false);
    world.lead(false);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Readmit(2)]);
    assert_eq!(world.look(|state| state.ids(ReplicaState::Ready)), [1, 2]);
    assert_eq!(world.look(|state| state.armed), u32::MAX);
    assert_eq!(handle.wanted(&key()), None);
    world.set_load(9);
    world.set_load(0);
    sleep(WINDOW * 2).await;
    assert!(world.take_orders().is_empty());
    assert_eq!(world.look(|state| state.killed), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_ordered_from_the_moment_on_in_which_leadership_is_lost() {
    let (world, _handle) = World::with(1, autoscale(1, 9)).await;
    for _ in 0..50 {
        // The signal, the catalog and the loss wait for the driver together, in whatever order it
        // takes them.
        world.set_load(9);
        world.change(|state| state.version.autoscale = autoscale(5, 9));
        world.lead(false);
        settle().await;
        assert!(world.take_orders().is_empty());
        assert!(world.reasons().is_empty());
        world.set_load(0);
        world.change(|state| state.version.autoscale = autoscale(1, 9));
        settle().await;
        world.lead(true);
        settle().await;
        assert!(world.take_orders().is_empty());
        assert!(world.look(|state| state.armed) < u32::MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_between_a_loss_and_a_gain_that_come_together_is_not_missed() {
    for _ in 0..50 {
        let (world, _handle) = World::with(1, autoscale(1, 9)).await;
        world.lead(false);
        world.change(|state| state.version.autoscale = autoscale(5, 9));
        world.lead(true);
        settle().await;
        assert_eq!(world.take_orders(), [Order::Start(5)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_of_before_the_loss_is_not_counted_after_the_gain() {
    let (world, _handle) = World::with(1, autoscale(1, 8)).await;
    world.look(|state| state.deaf = true);
    world.set_load(2);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    world.lead(false);
    settle().await;
    world.lead(true);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(3)]);
    sleep(ORDER_UNSEEN_MAX.saturating_sub(TICK)).await;
    assert!(world.take_orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_another_led_is_taken_over_with_leadership() {
    let (world, handle) = World::with(1, autoscale(1, 8)).await;
    world.lead(false);
    settle().await;
    world.change(|state| state.version.autoscale.enabled = false);
    settle().await;
    world.lead(true);
    settle().await;
    assert_eq!(handle.wanted(&key()), None);
    world.lead(false);
    settle().await;
    world.change(|state| state.version.autoscale = autoscale(4, 8));
    settle().await;
    assert!(world.take_orders().is_empty());
    world.lead(true);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Start(4)]);
    assert_eq!(world.reasons(), ["1 → 4: at least 4 replicas"]);
}

#[tokio::test(start_paused = true)]
async fn victims_are_taken_back_also_by_a_router_that_gives_leadership_up_to_stop() {
    let (world, _handle) = World::with(2, autoscale(1, 2)).await;
    world.set_load(2);
    world.change(|state| state.version.autoscale = autoscale(1, 1));
    settle().await;
    assert_eq!(world.take_orders(), [Order::Drain(2)]);
    world.lifecycle().enter(Phase::Draining);
    settle().await;
    assert!(world.take_orders().is_empty());
    world.lead(false);
    settle().await;
    assert_eq!(world.take_orders(), [Order::Readmit(2)]);
    world.lead(true);
    world.set_load(9);
    sleep(SLACK).await;
    assert!(world.take_orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_the_election_is_gone_nobody_leads() {
    let (world, handle) = World::with(1, autoscale(1, 9)).await;
    world.end_election();
    settle().await;
    assert_eq!(handle.wanted(&key()), None);
    world.set_load(9);
    sleep(SLACK).await;
    assert!(world.take_orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_router_without_others_leads_for_good() {
    let mut leads = always_leads();
    assert!(*leads.borrow_and_update());
    assert!(tokio::time::timeout(WINDOW, leads.changed()).await.is_err());
}
