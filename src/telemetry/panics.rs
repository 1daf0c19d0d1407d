//! What is told of a panic: where it was, how many there were, and nothing of what it says.

use std::{any::Any, panic::PanicHookInfo};

use prometheus::IntCounter;

use super::Metrics;

/// Counts and logs every panic of the process from now on.
pub fn watch_panics(metrics: &Metrics) {
    let count = metrics.panics.clone();
    std::panic::set_hook(Box::new(move |info| tell(info, &count)));
}

fn tell(info: &PanicHookInfo<'_>, count: &IntCounter) {
    count.inc();
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let what = fixed_words(info.payload());
    tracing::error!(at, thread, what, "the router panicked: this is a bug, please report it");
}

/// The message where it is a literal of the source. A message that was put together may quote a
/// request.
fn fixed_words(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(its message may quote a request)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_of_the_source_itself_is_told() {
        let secret = "Bearer secret".to_owned();
        let put_together =
            std::panic::catch_unwind(|| panic!("not a slice: {secret}")).unwrap_err();
        assert!(!fixed_words(&*put_together).contains("secret"));
        let literal = std::panic::catch_unwind(|| panic!("the index is there")).unwrap_err();
        assert_eq!(fixed_words(&*literal), "the index is there");
    }
}
