//! Seals what must not be read at rest. Each text gets a data key of its own from KMS, whose encryption context names what
//! it is and whose (so that a role may open access tokens and no refresh tokens), and is sealed with AES-256-GCM under
//! that key, with the same names as associated data.

use std::marker::PhantomData;

use aws_config::SdkConfig;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce as Iv, RandomizedNonceKey};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring_partner::nonce::Nonce;
use ring_partner::oauth::{AccessToken, RefreshToken};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::GrantId;
use super::ports::{Keys, NewKey};
use crate::edge::aws::Cause;

/// The first byte of everything sealed: which form the rest has.
const FORM: u8 = 1;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// KMS is out of reach, or refuses: the role may not open this.
    #[error("the key is out of reach")]
    Unavailable(#[source] Cause),
    /// What was sealed has been changed, or belongs to another grant.
    #[error("the sealed text is damaged, or not this grant's")]
    Damaged,
}

/// A text that is kept sealed, and the name it goes by in encryption contexts.
pub trait Secret: Sized {
    /// The value of `token` in the encryption context; the roles' policies name it.
    const PURPOSE: &'static str;
    /// The text, to be sealed.
    fn expose(&self) -> &str;
    /// The text, as it was opened.
    fn from_opened(text: &str) -> Option<Self>;
}

impl Secret for AccessToken {
    const PURPOSE: &'static str = "access";
    fn expose(&self) -> &str {
        Self::expose(self)
    }
    fn from_opened(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

impl Secret for RefreshToken {
    const PURPOSE: &'static str = "refresh";
    fn expose(&self) -> &str {
        Self::expose(self)
    }
    fn from_opened(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

impl Secret for Nonce {
    const PURPOSE: &'static str = "nonce";
    fn expose(&self) -> &str {
        self.as_str()
    }
    fn from_opened(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

/// A sealed `T`: safe to keep and to log, useless without KMS.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed<T> {
    text: String,
    #[serde(skip)]
    what: PhantomData<fn() -> T>,
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            what: PhantomData,
        }
    }
}

impl<T> PartialEq for Sealed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> std::fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(…)")
    }
}

#[cfg(test)]
impl<T> Sealed<T> {
    /// Not sealed at all: for tests that never open it.
    pub(crate) fn from_text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            what: PhantomData,
        }
    }
}

/// A fresh key for one `T` of one grant. It is taken before Ring is asked, so that nothing stands between Ring's answer
/// and its being saved.
pub struct DataKey<T> {
    plain: Zeroizing<Vec<u8>>,
    wrapped: Vec<u8>,
    grant: GrantId,
    what: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for DataKey<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl<T: Secret> DataKey<T> {
    /// Seals the one text that this key is for.
    pub fn seal(self, secret: &T) -> Result<Sealed<T>, VaultError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.plain).map_err(|_| VaultError::Damaged)?;
        let mut text = Zeroizing::new(secret.expose().as_bytes().to_vec());
        let aad = Aad::from(associated::<T>(&self.grant));
        let iv = key
            .seal_in_place_append_tag(aad, &mut *text)
            .map_err(|_| VaultError::Damaged)?;
        let wrapped_length = u16::try_from(self.wrapped.len()).map_err(|_| VaultError::Damaged)?;

        let mut sealed = vec![FORM];
        sealed.extend(wrapped_length.to_be_bytes());
        sealed.extend(&self.wrapped);
        sealed.extend(iv.as_ref());
        sealed.extend(&*text);
        Ok(Sealed {
            text: STANDARD_NO_PAD.encode(sealed),
            what: PhantomData,
        })
    }
}

/// Opens what [`DataKey::seal`] made, given the key that KMS unwrapped.
fn open<T: Secret>(sealed: &Parts<'_>, key: &[u8], grant: &GrantId) -> Result<T, VaultError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Damaged)?;
    let iv = Iv::try_assume_unique_for_key(sealed.iv).map_err(|_| VaultError::Damaged)?;
    let mut text = Zeroizing::new(sealed.text.to_vec());
    let aad = Aad::from(associated::<T>(grant));
    let opened = key.open_in_place(iv, aad, &mut text).map_err(|_| VaultError::Damaged)?;
    let opened = std::str::from_utf8(opened).map_err(|_| VaultError::Damaged)?;
    T::from_opened(opened).ok_or(VaultError::Damaged)
}

fn associated<T: Secret>(grant: &GrantId) -> Vec<u8> {
    format!("{}:{grant}", T::PURPOSE).into_bytes()
}

/// The parts of a sealed text: form, length of the wrapped key, wrapped key, IV, ciphertext with its tag.
struct Parts<'s> {
    wrapped: &'s [u8],
    iv: &'s [u8],
    text: &'s [u8],
}

impl<'s> Parts<'s> {
    fn read(sealed: &'s [u8]) -> Option<Self> {
        let (&form, rest) = sealed.split_first()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (wrapped, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (iv, text) = rest.split_at_checked(NONCE_LEN)?;
        (form == FORM).then_some(Self { wrapped, iv, text })
    }
}

/// Seals and opens, with the data keys that `K` wraps.
#[derive(Clone, Debug)]
pub struct Vault<K> {
    keys: K,
}

impl<K: Keys> Vault<K> {
    /// A vault whose data keys `keys` wraps.
    #[must_use]
    pub fn new(keys: K) -> Self {
        Self { keys }
    }

    /// A fresh data key for one `T` of `grant`.
    pub async fn data_key<T: Secret>(&self, grant: &GrantId) -> Result<DataKey<T>, VaultError> {
        let NewKey { plain, wrapped } = self.keys.data_key(T::PURPOSE, grant).await?;
        Ok(DataKey {
            plain,
            wrapped,
            grant: grant.clone(),
            what: PhantomData,
        })
    }

    /// Opens a sealed `T` of `grant`.
    pub async fn open<T: Secret>(&self, sealed: &Sealed<T>, grant: &GrantId) -> Result<T, VaultError> {
        let bytes = STANDARD_NO_PAD.decode(&sealed.text).map_err(|_| VaultError::Damaged)?;
        let parts = Parts::read(&bytes).ok_or(VaultError::Damaged)?;
        let key = self.keys.unwrap(parts.wrapped, T::PURPOSE, grant).await?;
        open(&parts, &key, grant)
    }
}

/// One KMS key that wraps all data keys, with the purpose and the grant as encryption context.
#[derive(Clone, Debug)]
pub struct Kms {
    client: Client,
    key_id: String,
}

impl Kms {
    /// The KMS key `key_id`.
    #[must_use]
    pub fn new(config: &SdkConfig, key_id: impl Into<String>) -> Self {
        Self {
            client: Client::new(config),
            key_id: key_id.into(),
        }
    }
}

impl Keys for Kms {
    async fn data_key(&self, purpose: &'static str, grant: &GrantId) -> Result<NewKey, VaultError> {
        let answer = self
            .client
            .generate_data_key()
            .key_id(&self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context("token", purpose)
            .encryption_context("grant", grant.as_str())
            .send()
            .await
            .map_err(out_of_reach)?;
        let missing = || out_of_reach("KMS answered without a key");
        Ok(NewKey {
            plain: Zeroizing::new(answer.plaintext.ok_or_else(missing)?.into_inner()),
            wrapped: answer.ciphertext_blob.ok_or_else(missing)?.into_inner(),
        })
    }

    async fn unwrap(
        &self,
        wrapped: &[u8],
        purpose: &'static str,
        grant: &GrantId,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let answer = self
            .client
            .decrypt()
            .key_id(&self.key_id)
            .ciphertext_blob(Blob::new(wrapped))
            .encryption_context("token", purpose)
            .encryption_context("grant", grant.as_str())
            .send()
            .await
            .map_err(out_of_reach)?;
        let key = answer
            .plaintext
            .ok_or_else(|| out_of_reach("KMS answered without a key"))?;
        Ok(Zeroizing::new(key.into_inner()))
    }
}

fn out_of_reach(cause: impl Into<Cause>) -> VaultError {
    let error = VaultError::Unavailable(cause.into());
    tracing::error!(
        alarm = "key_out_of_reach",
        error = &error as &dyn std::error::Error,
        "a token can't be sealed or opened"
    );
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(token: &str, grant: &GrantId) -> Vec<u8> {
        let key = DataKey {
            plain: Zeroizing::new(KEY.to_vec()),
            wrapped: b"wrapped".to_vec(),
            grant: grant.clone(),
            what: PhantomData,
        };
        STANDARD_NO_PAD
            .decode(key.seal(&AccessToken::new(token).unwrap()).unwrap().text)
            .unwrap()
    }

    fn opened<T: Secret>(sealed: &[u8], grant: &GrantId) -> Result<T, VaultError> {
        open(&Parts::read(sealed).ok_or(VaultError::Damaged)?, &KEY, grant)
    }

    #[test]
    fn what_is_sealed_opens_again_for_the_same_grant() {
        let grant = GrantId::new(7);
        let token: AccessToken = opened(&sealed("marker-token", &grant), &grant).unwrap();
        assert_eq!(token.expose(), "marker-token");
    }

    #[test]
    fn it_does_not_open_for_another_grant_or_as_another_kind_of_token() {
        let grant = GrantId::new(7);
        let sealed = sealed("marker-token", &grant);
        assert!(matches!(
            opened::<AccessToken>(&sealed, &GrantId::new(8)),
            Err(VaultError::Damaged)
        ));
        assert!(matches!(
            opened::<RefreshToken>(&sealed, &grant),
            Err(VaultError::Damaged)
        ));
    }

    #[test]
    fn a_change_of_any_byte_behind_the_key_is_noticed() {
        let grant = GrantId::new(7);
        let whole = sealed("marker-token", &grant);
        for index in 3 + b"wrapped".len()..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            assert!(opened::<AccessToken>(&changed, &grant).is_err(), "byte {index}");
        }
    }

    #[test]
    fn a_short_or_foreign_text_is_damaged_and_no_panic() {
        let grant = GrantId::new(7);
        let whole = sealed("marker-token", &grant);
        for length in 0..whole.len() {
            assert!(opened::<AccessToken>(&whole[..length], &grant).is_err());
        }
        assert!(Parts::read(&[9, 0, 0]).is_none());
    }

    #[test]
    fn neither_the_key_nor_the_sealed_text_shows_itself() {
        let sealed = Sealed::<AccessToken>::from_text("marker");
        assert!(!format!("{sealed:?}").contains("marker"));
    }

    #[test]
    fn two_seals_of_the_same_token_differ() {
        let grant = GrantId::new(7);
        assert_ne!(sealed("marker-token", &grant), sealed("marker-token", &grant));
    }
}
