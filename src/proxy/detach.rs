//! Work that goes on when nobody waits for its result any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A future that, when dropped before its end, is finished as a task of the same thread, and its
/// result dropped. For a replica that works on although its client has left: somebody must see
/// the end of that work, because the slot is busy until then.
#[derive(Debug)]
pub(crate) struct Detach<F: Future + 'static>(Option<Pin<Box<F>>>);

impl<F: Future + 'static> Detach<F> {
    /// Wraps a future.
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future + 'static> Future for Detach<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut().expect("a future is not polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future + 'static> Drop for Detach<F> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            tokio::task::spawn_local(async move {
                drop(future.await);
            });
        }
    }
}
