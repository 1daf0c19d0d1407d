//! The path from the root of a document to a field.

use std::fmt;

/// Where a field stands: `spec.versions[1].name`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Into a mapping.
    Key(Box<str>),
    /// Into a list.
    Index(usize),
}

impl FieldPath {
    /// From a list of keys, for example `["spec", "auth"]`.
    pub(super) fn keys(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Segment::Key((*key).into())).collect())
    }

    /// From the steps in the order from the leaf to the root, as an error that travels up sees them.
    pub(super) fn from_leaf(mut steps: Vec<Segment>) -> Self {
        steps.reverse();
        Self(steps)
    }

    /// This path and one key more.
    pub(super) fn key(&self, key: &str) -> Self {
        self.step(Segment::Key(key.into()))
    }

    /// This path and one index more.
    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Segment::Index(index))
    }

    /// Whether `other` is this path or leads to it.
    pub(super) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The steps from the root.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path without its last step, and that step; `None` at the root.
    pub(super) fn split_last(&self) -> Option<(Self, &Segment)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last))
    }

    fn step(&self, segment: Segment) -> Self {
        let mut steps = self.0.clone();
        steps.push(segment);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_plain(key) && i == 0 => f.write_str(key)?,
                Segment::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Segment::Key(key) => {
                    let short: String = key.chars().take(64).collect();
                    write!(f, "[{short:?}]")?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a key can stand in a path without quotes.
fn is_plain(key: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !key.is_empty() && key.len() <= 64 && key.bytes().all(fits)
}
