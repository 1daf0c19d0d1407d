//! What the rest of the router sees of the election.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::term::Term;

/// The election as this router sees it.
#[derive(Debug, Clone, Default)]
pub(in crate::platform::kubernetes) struct Standing {
    /// There while this router leads; read it through [`Leadership::term`].
    pub(super) term: Option<Arc<Term>>,
    /// Who holds the lease, as far as is known.
    pub(in crate::platform::kubernetes) holder: Option<Box<str>>,
    /// Why the lease cannot be read or written, in words for the operator.
    pub(in crate::platform::kubernetes) trouble: Option<Box<str>>,
}

impl Standing {
    /// Whether both show the same term, however often it was renewed.
    pub(super) fn is_same_term(&self, other: &Self) -> bool {
        match (&self.term, &other.term) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Whether this router leads; clones see the same.
#[derive(Debug, Clone)]
pub(in crate::platform::kubernetes) struct Leadership(watch::Receiver<Standing>);

impl Leadership {
    pub(super) fn new(standing: watch::Receiver<Standing>) -> Self {
        Self(standing)
    }

    /// The term, while this router leads. Never one that is over, even when the election task
    /// had no chance to say so.
    pub(in crate::platform::kubernetes) fn term(&self) -> Option<Arc<Term>> {
        self.0.borrow().term.clone().filter(|term| term.is_valid())
    }

    /// The whole picture.
    #[cfg(test)]
    pub(in crate::platform::kubernetes) fn standing(&self) -> Standing {
        let mut standing = self.0.borrow().clone();
        standing.term = standing.term.filter(|term| term.is_valid());
        standing
    }

    /// Resolves when something changed, or when the term ends by its own deadline. Never again
    /// once the election is over and nobody leads.
    pub(in crate::platform::kubernetes) async fn changed(&mut self) {
        loop {
            let ends = self.term().and_then(|term| term.ends());
            let changed = async {
                if self.0.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let Some(ends) = ends else { return changed.await };
            tokio::select! {
                () = changed => return,
                // Renewals move the deadline without a word, so it may not have come yet.
                () = sleep_until(ends) => {
                    if self.term().is_none_or(|term| term.ends() <= Some(Instant::now())) {
                        return;
                    }
                }
            }
        }
    }
}
