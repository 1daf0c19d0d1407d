//! Names of endpoints and versions.

use std::{fmt, str::FromStr, sync::Arc};

/// The shortest name, in characters (contract §12, "names").
pub const NAME_LENGTH_MIN: usize = 3;
/// The longest name, in characters (contract §12, "names").
pub const NAME_LENGTH_MAX: usize = 32;
/// The grammar of names, as a pattern for schemas.
pub const NAME_PATTERN: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// The name of an endpoint or a version: 3–32 characters, `^[a-z]([-a-z0-9]*[a-z0-9])?$`.
/// Cloning is one reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "name {0:?} must be 3 to 32 characters of a-z, 0-9 and '-', start with a letter and not end with '-'"
)]
pub struct InvalidName(String);

impl Name {
    /// Checks the text against the grammar of names.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let bytes = text.as_bytes();
        let length_fits = (NAME_LENGTH_MIN..=NAME_LENGTH_MAX).contains(&bytes.len());
        let letters_fit =
            bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        let ends_fit = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last().is_some_and(|b| *b != b'-');
        if length_fits && letters_fit && ends_fit {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName(text.chars().take(64).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Lets a map keyed by [`Name`] be asked with the text of a request path, without an allocation.
impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_at_their_limits_and_refused_one_past_them() {
        for good in ["abc", "a-1", "a".repeat(32).as_str()] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "a".repeat(33).as_str(), "1ab", "-ab", "ab-", "aBc", "a_c", "ä123"] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
