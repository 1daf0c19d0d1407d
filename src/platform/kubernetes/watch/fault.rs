//! What goes wrong with a LIST or a watch, and in which words it is said: never with a credential
//! or the content of an object.

use std::{error::Error as StdError, time::Duration};

use hyper_util::client::legacy;
use kube::core::Status;

/// How much is kept of what the API server says about a failure.
const MAX_WORDS: usize = 240;

/// How the API server says that it does not know a version yet (apiserver's storage errors).
const TOO_LARGE: &str = "Too large resource version";

/// Why a LIST or a watch came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the API server did not answer the {0} within {1:?}")]
    Silent(&'static str, Duration),
    #[error("the API server said nothing more on the {0} for {1:?}")]
    Stalled(&'static str, Duration),
    #[error("the API server answers {code}: {words}")]
    Refused { code: u16, words: String },
    #[error("the API server cannot go on from where the watch was ({code}: {words})")]
    OutOfStep { code: u16, words: String },
    #[error("the connection to the API server broke: {0}")]
    Broken(String),
    #[error("the API server ended the watch after {0:?}")]
    Short(Duration),
    #[error("the answer of the API server is not understood: {0}")]
    Garbled(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("the request cannot be made: {0}")]
    Request(#[from] kube::core::request::Error),
}

/// The kinds of faults, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Cause {
    /// No connection.
    Unreachable,
    /// A connection, and no answer on it in time.
    Silent,
    /// 401, 403, 429, 500 and the like.
    Refused,
    /// 410, or 504 for a version that the API server does not know yet.
    OutOfStep,
    /// Reset, cut off or ended too early.
    Broken,
    /// Something that is not what was asked for, or more of it than is allowed.
    Garbled,
}

impl Fault {
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Unreachable(_) => Cause::Unreachable,
            Self::Silent(..) | Self::Stalled(..) => Cause::Silent,
            Self::Refused { .. } => Cause::Refused,
            Self::OutOfStep { .. } => Cause::OutOfStep,
            Self::Broken(_) | Self::Short(_) => Cause::Broken,
            Self::Garbled(_) | Self::TooLarge(_) | Self::Request(_) => Cause::Garbled,
        }
    }

    /// Out of a call that got no answer.
    pub(super) fn of_call(error: &kube::Error) -> Self {
        let words = shorten(&chain(error));
        if never_connected(error) { Self::Unreachable(words) } else { Self::Broken(words) }
    }

    /// Out of an answer that is a failure. A 504 may come from a load balancer, which knows nothing
    /// of versions.
    pub(super) fn of_answer(status: &Status) -> Self {
        let is_out_of_step = status.code == 410 || status.message.contains(TOO_LARGE);
        Self::of_status(status, is_out_of_step)
    }

    /// Out of an ERROR event of a watch, which only the API server itself can send.
    pub(super) fn of_event(status: &Status) -> Self {
        let is_out_of_step = matches!(status.code, 410 | 504) || status.message.contains(TOO_LARGE);
        Self::of_status(status, is_out_of_step)
    }

    fn of_status(status: &Status, is_out_of_step: bool) -> Self {
        let code = status.code;
        let said = if status.message.is_empty() { &status.reason } else { &status.message };
        let words = shorten(said);
        if is_out_of_step { Self::OutOfStep { code, words } } else { Self::Refused { code, words } }
    }
}

/// Whether the call ended before there was a connection.
fn never_connected(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error with everything that led to it, each said once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        next = error.source();
    }
    words
}

/// At most [`MAX_WORDS`] characters, on one line.
pub(super) fn shorten(words: &str) -> String {
    words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

/// Where JSON stops being what it should be, without a word of what stands there.
pub(super) fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field has the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "no JSON",
    };
    format!("{what}, at byte {}", error.column())
}
