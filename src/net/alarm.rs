//! A deadline that moves with every use.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

/// A timer for a deadline that is nearly always moved before it comes. The runtime's timer is made
/// only when somebody has to wait, and moved only when it fires early, so that a deadline which
/// moves with every request costs neither a lock nor an allocation.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Resolves at the deadline, which may be another one with each call.
    pub fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_keeps_the_deadline_of_its_last_use() {
        let second = Duration::from_secs(1);
        let mut alarm = Alarm::default();
        for moved in [10, 30, 20, 21] {
            let began = Instant::now();
            let deadline = began + moved * second;
            let early = tokio::time::timeout(second, poll_fn(|cx| alarm.poll(deadline, cx)));
            assert!(early.await.is_err());
            poll_fn(|cx| alarm.poll(began + 15 * second, cx)).await;
            assert_eq!(began.elapsed().as_secs(), 15);
        }
    }
}
