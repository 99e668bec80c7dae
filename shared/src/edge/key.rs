//! Keys of our own: random ids, and hashes that stand for several opaque parts at once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// A new unguessable id: a prefix that says what it is, and 122 random bits.
#[must_use]
pub fn random(prefix: &str) -> String {
    with_prefix(prefix, random_bits())
}

/// An id of these bits: a prefix that says of what.
#[must_use]
pub fn with_prefix(prefix: &str, bits: u128) -> String {
    format!("{prefix}_{bits:032x}")
}

/// Bits that nobody can guess, 122 of the 128.
#[must_use]
pub fn random_bits() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

/// One id for several opaque parts: the same parts give the same id, and no two lists of parts share one, since each part
/// goes in with its length. 160 bits of SHA-256, URL-safe.
#[must_use]
pub fn derived(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(&hash.finalize()[..20]))
}

/// A number in 0..1 of random bits, to spread what would else happen at once.
#[must_use]
pub fn fraction_of(bits: u128) -> f64 {
    f64::from((bits >> 96) as u32) / (f64::from(u32::MAX) + 1.0)
}

/// Which of `count` shards a key belongs to: stable, and evenly spread.
#[must_use]
pub fn shard(key: &str, count: u8) -> String {
    let first = Sha256::digest(key.as_bytes())[0];
    format!("{:02}", first % count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn moving_a_boundary_between_parts_gives_another_id(a in "[a-z_]{1,8}", b in "[a-z_]{1,8}") {
            let joined = format!("{a}{b}");
            prop_assert_ne!(derived("x", &[&a, &b]), derived("x", &[&joined]));
            prop_assert_ne!(derived("x", &[&a, &b]), derived("x", &[&joined, ""]));
        }
    }

    #[test]
    fn the_same_parts_give_the_same_id() {
        assert_eq!(
            derived("evt", &["account", "device", "id"]),
            derived("evt", &["account", "device", "id"])
        );
    }

    #[test]
    fn shards_stay_within_their_count_and_are_all_used() {
        let used: std::collections::BTreeSet<_> = (0..1000).map(|n| shard(&n.to_string(), 16)).collect();
        assert_eq!(used.len(), 16);
        assert_eq!(used.last().unwrap(), "15");
    }
}
