//! Work that goes on when nobody waits for its result any more.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{guard, worker::Worker};

/// A future that, when dropped before its end, is finished as a task of the same thread, and its
/// result dropped. For a replica that works on although its client has left: somebody must see
/// the end of that work, because the slot is busy until then.
#[derive(Debug)]
pub(crate) struct Detach<F: Future + 'static> {
    future: Option<Pin<Box<F>>>,
    worker: Rc<Worker>,
}

impl<F: Future + 'static> Detach<F> {
    /// Wraps a future.
    pub(crate) fn new(future: F, worker: &Rc<Worker>) -> Self {
        Self { future: Some(Box::pin(future)), worker: Rc::clone(worker) }
    }
}

impl<F: Future + 'static> Future for Detach<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.future.as_mut().expect("a future is not polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<F: Future + 'static> Drop for Detach<F> {
    fn drop(&mut self) {
        // What has panicked is not polled again.
        if let Some(future) = self.future.take().filter(|_| !std::thread::panicking()) {
            guard::spawn(Rc::clone(&self.worker), async move { drop(future.await) });
        }
    }
}
