//! Why a write did not happen, by what the caller can do about it.

use std::{sync::Arc, time::Duration};

use super::super::client::CallError;

/// Why a write did not happen, or is not known to have happened.
#[derive(Debug, thiserror::Error)]
pub(in crate::platform::kubernetes) enum WriteError {
    /// Another router writes now.
    #[error("this router no longer leads: nothing was written")]
    NotLeader,
    /// Wait until the watch shows it.
    #[error("{what} does not exist")]
    NotFound { what: String },
    /// Somebody has to grant it, or a policy forbids it: `said` is the API server's word.
    #[error("needs {verb} on {resource} in namespace {namespace}; the API server says: {said}")]
    Forbidden { verb: &'static str, resource: &'static str, namespace: Arc<str>, said: String },
    /// Others write all the time: try later.
    #[error("{what} was changed by others {tries} times while it was to be written; try later")]
    Conflict { what: String, tries: u32 },
    /// Not known whether it was written; what the watch shows next will tell.
    #[error("{what}: no answer within {limit:?}")]
    Late { what: String, limit: Duration },
    /// Anything else: try later.
    #[error("{what}: {error}")]
    Failed { what: String, error: CallError },
}

/// One call: what it was, so that its failure can be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'call> {
    pub(super) verb: &'static str,
    pub(super) resource: &'static str,
    pub(super) namespace: &'call Arc<str>,
}

impl WriteError {
    /// What a failed call means.
    pub(super) fn of(error: CallError, call: Call<'_>, what: &impl ToString) -> Self {
        let Call { verb, resource, namespace } = call;
        let what = what.to_string();
        match (error.code(), error) {
            (_, CallError::Silent(limit)) => Self::Late { what, limit },
            (_, CallError::Kube(kube::Error::Api(status))) if status.code == 403 => {
                let said = status.message;
                Self::Forbidden { verb, resource, namespace: Arc::clone(namespace), said }
            }
            (Some(404), _) => Self::NotFound { what },
            (_, error) => Self::Failed { what, error },
        }
    }
}
