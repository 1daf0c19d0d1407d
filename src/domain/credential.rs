//! Credentials in clear text, for the moment in which they are made and shown, and what may be asked
//! for about them.

use std::fmt;

/// A key or a token in clear text. Never printed by `Debug`, and not `Display`: who shows it says so.
#[derive(Clone, PartialEq, Eq)]
pub struct ClearText(String);

impl ClearText {
    /// This text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one person or connection that it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClearText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClearText(…)")
    }
}

/// Which of the two keys of an endpoint (contract §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySlot {
    /// `primaryKey`.
    Primary,
    /// `secondaryKey`.
    Secondary,
}

impl KeySlot {
    /// Both, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Secondary];

    /// The word in paths and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }

    /// The field of the Secret.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Primary => "primaryKey",
            Self::Secondary => "secondaryKey",
        }
    }

    /// The slot of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.as_str() == word)
    }
}

/// The keys of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearKeys {
    /// The primary key.
    pub primary: ClearText,
    /// The secondary key, where the Secret has one.
    pub secondary: Option<ClearText>,
}

/// A token that the router has issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub access_token: ClearText,
    /// When its holder should ask for another one, in seconds since 1970.
    pub refresh_after: u64,
    /// From when on it is refused, in seconds since 1970.
    pub expiry_on: u64,
}

/// Why keys or tokens are not given out or not changed. The text is for who asks; it never holds a
/// value of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There is no such endpoint.
    #[error("no endpoint {0:?}; GET /api/v1/endpoints lists them")]
    UnknownEndpoint(String),
    /// The endpoint is not of a kind that has this.
    #[error("{0}")]
    Unsuitable(String),
    /// The router cannot do it as things are; somebody has to change something.
    #[error("{0}")]
    Refused(String),
    /// Not now; the same may succeed later.
    #[error("{0}")]
    Unavailable(String),
}

/// What somebody may be allowed to do with the credentials of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// See the keys.
    ShowKeys,
    /// Replace a key.
    RegenerateKey,
    /// Have a token issued.
    IssueToken,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 3] = [Self::ShowKeys, Self::RegenerateKey, Self::IssueToken];

    /// The verb of the right in a cluster, and the subresource of `inferenceendpoints` it is about.
    pub const fn in_cluster(self) -> (&'static str, &'static str) {
        match self {
            Self::ShowKeys => ("get", "keys"),
            Self::RegenerateKey => ("update", "keys"),
            Self::IssueToken => ("create", "token"),
        }
    }
}

/// What somebody who knows callers says of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Review {
    /// This user may.
    Allowed(String),
    /// This user may not.
    Denied(String),
    /// The token is nobody's.
    Unknown,
    /// It could not be found out, for this reason.
    Unavailable(String),
}
