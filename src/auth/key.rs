//! Keys: the digest under which one is kept, and the comparison of the presented one with all.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::{AuthPolicy, KeyDigest};

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
