//! The two loops that send.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{task::JoinSet, time::sleep};

use super::{Load, Outcome, Tally, Target, TransportError, client::exchange_on, pace::schedule};

/// Pause of a connection after a failed connect, so that a server that is down is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Runs the plan of `target` into `tally`; returns the time it took. Ends `plan.duration` plus at
/// most `plan.timeout` after its start, or at once when `stop` resolves: what is in flight then
/// stays counted as begun and not as ended. Fails when an open loop cannot start its thread.
pub async fn drive(
    target: &Target,
    tally: &Arc<Mutex<Tally>>,
    stop: impl Future<Output = ()>,
) -> io::Result<Duration> {
    let start = Instant::now();
    let run = async {
        match target.plan().load {
            Load::Closed { connections } => {
                closed(target, tally, start, connections).await;
                Ok(())
            }
            Load::Open { rate, in_flight_max, .. } => {
                open(target, tally, start, rate, in_flight_max).await
            }
        }
    };
    tokio::select! {
        ended = run => ended?,
        () = stop => {}
    }
    Ok(start.elapsed())
}

/// Each connection sends its next request after the answer to the last one.
async fn closed(target: &Target, tally: &Arc<Mutex<Tally>>, start: Instant, connections: u16) {
    let left = Arc::new(AtomicU64::new(target.plan().requests.unwrap_or(u64::MAX)));
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        let (target, tally, left) = (target.clone(), Arc::clone(tally), Arc::clone(&left));
        loops.spawn(async move {
            let client = target.connection();
            while start.elapsed() < target.plan().duration && take(&left) {
                tally.lock().send();
                let begun = Instant::now();
                let outcome = exchange_on(&client, target.plan()).await;
                let time = begun.elapsed();
                tally.lock().end(&outcome, time, time, body_bytes(&target));
                if matches!(outcome, Outcome::Failed(TransportError::Connect)) {
                    sleep(CONNECT_PAUSE).await;
                }
            }
        });
    }
    while loops.join_next().await.is_some() {}
}

fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn body_bytes(target: &Target) -> u64 {
    target.plan().body.len() as u64
}

/// Request `n` is due `n / rate` seconds after the start, whatever became of the others.
async fn open(
    target: &Target,
    tally: &Arc<Mutex<Tally>>,
    start: Instant,
    rate: f64,
    in_flight_max: usize,
) -> io::Result<()> {
    let plan = target.plan();
    let mut ticks = schedule(start, rate, plan.duration, plan.requests)?;
    let mut in_flight = JoinSet::new();
    while let Some(offset) = ticks.recv().await {
        // Lateness of ours is part of the latency; the service time is without it.
        let due = start + offset;
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() >= in_flight_max {
            tally.lock().miss();
            continue;
        }
        tally.lock().send();
        let (target, tally) = (target.clone(), Arc::clone(tally));
        in_flight.spawn(async move {
            let begun = Instant::now();
            let outcome = exchange_on(&target.connection(), target.plan()).await;
            let now = Instant::now();
            tally.lock().end(&outcome, now - due, now - begun, body_bytes(&target));
        });
    }
    while in_flight.join_next().await.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_taken_to_zero_and_not_below() {
        let left = AtomicU64::new(2);
        assert_eq!([take(&left), take(&left), take(&left)], [true, true, false]);
    }
}
