//! Keys: the digest under which one is kept, and the comparison of the presented one with all.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::{AuthPolicy, KeyDigest};

/// A key in clear text, for the moment in which it is made and shown. Never printed by `Debug`.
pub struct Key(String);

impl Key {
    /// A key with this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The digest under which it is kept.
    pub fn digest(&self) -> KeyDigest {
        digest(self.0.as_bytes())
    }

    /// The clear text, for the person it is made for.
    pub fn reveal(&self) -> String {
        self.0.clone()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The digest under which a key is kept.
pub fn digest(key: &[u8]) -> KeyDigest {
    KeyDigest(Sha256::digest(key).into())
}

/// Whether this is one of the policy's keys. Compares with all of them, in constant time.
pub(super) fn is_valid(policy: &AuthPolicy, key: &[u8]) -> bool {
    let KeyDigest(presented) = digest(key);
    let mut valid = Choice::from(0);
    for KeyDigest(known) in &policy.keys {
        valid |= presented.ct_eq(known);
    }
    valid.into()
}
