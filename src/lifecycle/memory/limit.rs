//! How a limit of memory is given.

use std::{fmt, str::FromStr};

use bytesize::ByteSize;

/// The smallest limit: an idle router with two threads needs about 20 MiB, and 80 % of this must
/// leave room for work.
pub const MEMORY_LIMIT_MIN: u64 = 48 * 1024 * 1024;

/// Which limit of memory counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryLimit {
    /// That of the cgroup; none where it has none.
    #[default]
    Cgroup,
    /// This many bytes for the resident memory of the process.
    Bytes(u64),
    /// None.
    Off,
}

/// A text that is not a [`MemoryLimit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryLimitError {
    /// Neither a word nor a size.
    #[error("memory limit {0:?} is not cgroup, off or a size like 512MiB")]
    Unknown(String),
    /// Too small to work with.
    #[error("memory limit {0} is below the least of {least}", least = ByteSize(MEMORY_LIMIT_MIN))]
    TooSmall(ByteSize),
}

impl FromStr for MemoryLimit {
    type Err = MemoryLimitError;

    fn from_str(text: &str) -> Result<Self, MemoryLimitError> {
        match text {
            "cgroup" => return Ok(Self::Cgroup),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let unknown = |_| MemoryLimitError::Unknown(text.chars().take(64).collect());
        let size: ByteSize = text.parse().map_err(unknown)?;
        if size.as_u64() < MEMORY_LIMIT_MIN {
            return Err(MemoryLimitError::TooSmall(size));
        }
        Ok(Self::Bytes(size.as_u64()))
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup => f.write_str("cgroup"),
            Self::Off => f.write_str("off"),
            Self::Bytes(bytes) => ByteSize(*bytes).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_word_or_a_size_that_is_large_enough() {
        assert_eq!("cgroup".parse(), Ok(MemoryLimit::Cgroup));
        assert_eq!("off".parse(), Ok(MemoryLimit::Off));
        assert_eq!("512MiB".parse(), Ok(MemoryLimit::Bytes(512 << 20)));
        assert_eq!("50331648".parse(), Ok(MemoryLimit::Bytes(MEMORY_LIMIT_MIN)));
        let refused = |text: &str| text.parse::<MemoryLimit>().unwrap_err().to_string();
        assert!(refused("50331647").contains("below the least of 48.0 MiB"));
        assert!(refused("0").contains("below the least"));
        assert!(refused("lots").contains("\"lots\" is not cgroup, off or a size"));
        assert!(refused("-1").contains("is not cgroup"));
    }
}
