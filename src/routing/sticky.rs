//! The sticky hash: the same key goes to the same version, and as few keys as possible move when
//! shares change.
//!
//! How: weighted rendezvous hashing. Every version draws a number from the key's hash, weighted by
//! its share, and the highest wins; a changed share moves only keys that the changed version wins
//! or loses. SHA-256 instead of a faster hash: all routers, of any build, must agree.

use sha2::{Digest, Sha256};

/// The version for this key. `shares` are the effective percentages with the version names; one
/// with share 0 never wins. `None` only when every share is 0.
pub fn sticky_version<'v>(
    endpoint: &str,
    key: &[u8],
    shares: impl IntoIterator<Item = (&'v str, u8)>,
) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, (version, share)) in shares.into_iter().enumerate() {
        if share == 0 {
            continue;
        }
        let score = -f64::from(share) / draw(endpoint, version, key).ln();
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// A number in (0, 1) that depends on nothing but the arguments.
fn draw(endpoint: &str, version: &str, key: &[u8]) -> f64 {
    let digest = Sha256::new()
        .chain_update(endpoint.as_bytes())
        .chain_update([0])
        .chain_update(version.as_bytes())
        .chain_update([0])
        .chain_update(key)
        .finalize();
    let mut word = [0_u8; 4];
    for (byte, from) in word.iter_mut().zip(digest.iter()) {
        *byte = *from;
    }
    // 32 bits are exact in an f64; the half keeps the ends 0 and 1 out.
    (f64::from(u32::from_be_bytes(word)) + 0.5) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(key: u32, blue: u8, green: u8) -> usize {
        sticky_version("demo", &key.to_be_bytes(), [("blue", blue), ("green", green)]).unwrap()
    }

    #[test]
    fn shares_hold_over_many_keys_and_zero_gets_none() {
        let green = (0..10_000).filter(|key| pick(*key, 80, 20) == 1).count();
        assert!((1_850..=2_150).contains(&green), "{green} of 10000 to a share of 20 %");
        assert!((0..10_000).all(|key| pick(key, 100, 0) == 0));
    }

    #[test]
    fn a_changed_share_moves_only_what_it_must() {
        let moved = (0..10_000).filter(|key| pick(*key, 80, 20) != pick(*key, 70, 30)).count();
        assert!((850..=1_150).contains(&moved), "{moved} of 10000 moved for 10 points");
        let back = (0..10_000).any(|key| pick(key, 80, 20) == 1 && pick(key, 70, 30) == 0);
        assert!(!back, "a key left the version that grew");
    }
}
