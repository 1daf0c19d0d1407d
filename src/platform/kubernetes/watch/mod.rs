//! Watches that keep themselves in step with the API server: LIST, WATCH, and everything that can
//! go wrong with them.
//!
//! *Promises*: after any fault ends, the watch is in step again within 35 s; a watch that is not in
//! step says so; no more than 12 LISTs a minute, whatever happens; nothing that was told is lost
//! for want of room in the channel.
//!
//! *How*: a LIST from the API server's cache, then one WATCH after the other from where the last
//! one ended, each of them so short that its silence proves something. Desynchronised (410, 504):
//! a new LIST. A LIST that has lost most of what was there is checked before it is told.
//!
//! *Why not kube's `watcher`* (read in kube-runtime 5.0.0): it answers HTTP 410 at the start of a
//! watch, and ERROR 504 within it, by asking again from the same place for ever; it answers ERROR
//! 410 with a LIST at once, and a backoff that one event resets; its LIST has no deadline; it keeps
//! bookmarks to itself; one object that does not parse fails a whole LIST.
//!
//! *Not here*: what the objects mean.

mod book;
mod event;
mod fault;
mod keeper;
mod known;
mod rhythm;
mod split;
mod subject;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{client::ApiServer, objects::Object};
use crate::lifecycle::{Lifecycle, Phase};

pub(super) use book::Progress;
pub(super) use rhythm::Rhythm;
pub(super) use subject::Subject;

/// What a watch tells, in order.
#[derive(Debug, Clone)]
pub(super) enum News<T> {
    /// Everything there is of the subject; what was told before and is not in it is gone.
    All(Vec<T>),
    /// An object is new or different.
    Changed(T),
    /// An object is gone; this is its last state, of which at least the metadata is known.
    Gone(T),
}

/// One watch. It ends when this is dropped, when the process stops, or when nobody listens any more.
#[derive(Debug)]
pub(super) struct Watch {
    book: Arc<book::Book>,
    /// Never sent to: dropping it ends the task.
    _alive: oneshot::Sender<std::convert::Infallible>,
}

impl Watch {
    /// Begins to watch. `wrap` makes the listener's own message of each piece of news; when the
    /// channel is full the watch waits, and the API server with it.
    pub(super) fn start<T, F, W>(
        lifecycle: &Lifecycle,
        server: &ApiServer,
        subject: Subject,
        out: mpsc::Sender<F>,
        wrap: W,
    ) -> Self
    where
        T: Object,
        F: Send + 'static,
        W: Fn(News<T>) -> F + Send + 'static,
    {
        Self::with_rhythm(lifecycle, server, subject, Rhythm::default(), out, wrap)
    }

    /// [`Watch::start`] with other times than those of production.
    pub(super) fn with_rhythm<T, F, W>(
        lifecycle: &Lifecycle,
        server: &ApiServer,
        subject: Subject,
        rhythm: Rhythm,
        out: mpsc::Sender<F>,
        wrap: W,
    ) -> Self
    where
        T: Object,
        F: Send + 'static,
        W: Fn(News<T>) -> F + Send + 'static,
    {
        let book = Arc::new(book::Book::default());
        let (alive, dropped) = oneshot::channel();
        let keeper = keeper::Keeper::new(
            server.clone(),
            subject,
            rhythm,
            Arc::clone(&book),
            keeper::Listener::new(out, wrap),
        );
        let life = lifecycle.clone();
        lifecycle.spawn("watch", async move {
            tokio::select! {
                () = Box::pin(keeper.run()) => {}
                _ = dropped => {}
                () = life.reached(Phase::Stopped) => {}
            }
        });
        Self { book, _alive: alive }
    }

    /// How the watch is doing.
    pub(super) fn progress(&self) -> Progress {
        self.book.progress()
    }
}
