//! A panic of one request stays its own: wherever its code runs, somebody here catches it.
//!
//! How: the journey, the body of an answer, the body of a request, work that goes on without its
//! client and tunnels are each polled inside of [`contain`]. What unwinds on the way frees slots and
//! locks; what is caught is counted as a request that panicked. The panic hook has logged where.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, rc::Rc, task::Poll};

use super::worker::Worker;

/// Something panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs `step`; a panic in it ends here.
///
/// The caller never runs again what panicked. Nothing that the request shares with others is left
/// half-changed: locks are released and guards dropped by the unwinding.
pub(crate) fn contain<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    std::panic::catch_unwind(AssertUnwindSafe(step)).map_err(|_| Panicked)
}

/// Runs `work` to its end, or to its panic.
pub(crate) async fn contained<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Panicked> {
    std::future::poll_fn(|cx| match contain(|| work.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Runs work of a request as a task of this thread; a panic in it is counted.
pub(crate) fn spawn(worker: Rc<Worker>, work: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(async move {
        if contained(std::pin::pin!(work)).await.is_err() {
            worker.count_panic();
        }
    });
}

/// Panics on demand, in tests of the library only: the router that is built has nothing of it.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;

    /// Where requests run.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Place {
        /// Between the head of a request and its slot.
        Journey,
        /// Between the slot and the head of the answer.
        Exchange,
        /// In the body of the request.
        Upload,
        /// In the body of the answer.
        Reply,
        /// In an upgraded connection.
        Tunnel,
    }

    thread_local! {
        static ARMED: Cell<Option<Place>> = const { Cell::new(None) };
    }

    /// The next request of this thread that comes there panics.
    pub(crate) fn arm(place: Place) {
        ARMED.set(Some(place));
    }

    /// A request has come there.
    pub(crate) fn pass(place: Place) {
        if ARMED.get() == Some(place) {
            ARMED.set(None);
            panic!("a panic on demand");
        }
    }
}

#[cfg(test)]
#[path = "panic_tests.rs"]
mod tests;
