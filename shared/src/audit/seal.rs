//! The key to one user's entries: what they say of people, accounts and devices is sealed under it, and the name that they lie
//! under is drawn with it. Once it is destroyed they tell that something was done, what and when, and never more.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Entry;
use crate::edge::key;

/// What everything that is sealed here is bound to.
const PURPOSE: &str = "audit";

/// The key to one user's entries.
#[derive(Clone, Serialize, Deserialize)]
pub struct AuditKey {
    /// The user, as everything else knows them.
    pub user_id: String,
    /// The user, as the trail knows them: drawn, and made of nothing.
    pub pseudonym: String,
    /// 256 bits, in Base64.
    key: String,
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditKey")
            .field("pseudonym", &self.pseudonym)
            .finish_non_exhaustive()
    }
}

/// An entry can't be sealed, or what is stored is not one of this key's.
#[derive(Debug, thiserror::Error)]
#[error("an entry of the audit trail can't be sealed or opened")]
pub struct Unsealable;

impl AuditKey {
    /// A new one of this user's, of these random bits.
    #[must_use]
    pub fn new(user_id: &str, bits: [u128; 3]) -> Self {
        let [name, left, right] = bits;
        let key = [left.to_be_bytes(), right.to_be_bytes()].concat();
        Self {
            user_id: user_id.to_owned(),
            pseudonym: key::with_prefix("who", name),
            key: STANDARD_NO_PAD.encode(Zeroizing::new(key)),
        }
    }

    /// What tells an entry from the user's others, and tells nothing of it without the key.
    #[must_use]
    pub fn id_of(&self, entry: &Entry) -> String {
        key::derived("aud", &[&self.key, &entry.id()])
    }

    /// An entry, sealed.
    pub fn seal(&self, entry: &Entry) -> Result<String, Unsealable> {
        let mut text = Zeroizing::new(serde_json::to_vec(entry).map_err(|_| Unsealable)?);
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(PURPOSE), &mut *text)
            .map_err(|_| Unsealable)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend(&*text);
        Ok(STANDARD_NO_PAD.encode(sealed))
    }

    /// What [`seal`](Self::seal) made.
    pub fn open(&self, sealed: &str) -> Result<Entry, Unsealable> {
        let mut sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| Unsealable)?;
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let opened = self
            .cipher()?
            .open_in_place(nonce, Aad::from(PURPOSE), text)
            .map_err(|_| Unsealable)?;
        serde_json::from_slice(opened).map_err(|_| Unsealable)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, Unsealable> {
        let key = Zeroizing::new(STANDARD_NO_PAD.decode(&self.key).map_err(|_| Unsealable)?);
        RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| Unsealable)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::audit::Deed;

    fn entry() -> Entry {
        Entry {
            at: Timestamp::from_second(1_770_000_000).unwrap(),
            user_id: "usr_1".to_owned(),
            deed: Deed::Linked,
            account_id: None,
            link_id: Some("lnk_1".to_owned()),
            device_id: None,
            why: None,
        }
    }

    #[test]
    fn an_entry_is_opened_by_its_own_key_alone() {
        let key = AuditKey::new("usr_1", [1, 2, 3]);
        let sealed = key.seal(&entry()).unwrap();
        assert_eq!(key.open(&sealed).unwrap(), entry());
        assert!(!sealed.contains("usr_1"));
        for other in [[1, 2, 4], [1, 3, 3]] {
            assert!(AuditKey::new("usr_1", other).open(&sealed).is_err());
        }
        for damaged in ["", "AA", &sealed[4..]] {
            assert!(key.open(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn without_the_key_nobody_can_make_the_name_of_an_entry() {
        let one = AuditKey::new("usr_1", [1, 2, 3]);
        assert_eq!(one.id_of(&entry()), one.id_of(&entry()));
        assert_ne!(one.id_of(&entry()), AuditKey::new("usr_1", [1, 2, 4]).id_of(&entry()));
        assert!(!format!("{one:?}").contains(&one.key));
    }
}
