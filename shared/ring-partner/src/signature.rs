//! Whether a webhook's body was signed by Ring. Pure: raw bytes, keys and headers in.
//!
//! Ring: Notifications, Webhook Authentication & Verification. Ring signs the body alone with HMAC-SHA256 and sends
//! `X-Signature: sha256=<hex>`. Nothing here looks at the age of a webhook: a real retry may be over an hour old, and a
//! replay days.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The HMAC signing key of Ring's developer portal, used for webhooks and for nonces.
///
/// Its bytes are those of the text as it was shown (UTF-8): it is not Base64 or hex, however much it may look so.
#[derive(Clone)]
pub struct SigningKey(SecretString);

/// Why a text can't be a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing key can't be empty")]
pub struct EmptyKey;

impl SigningKey {
    /// Takes the key as the portal showed it. One trailing line break, as editors and shells leave it, is dropped.
    pub fn new(key: impl Into<String>) -> Result<Self, EmptyKey> {
        let key = without_line_break(key.into());
        if key.is_empty() {
            Err(EmptyKey)
        } else {
            Ok(Self(key.into()))
        }
    }

    /// The keyed state, to be cloned where many messages are signed with one key.
    pub(crate) fn keyed(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(self.0.expose_secret().as_bytes()).expect("HMAC takes keys of any length")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// A signature as it stands in the header, decoded.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads `sha256=<hex>`: the prefix in any case, 64 hex digits of either case, whitespace around them tolerated.
    pub fn parse(header: &str) -> Result<Self, SignatureError> {
        const PREFIX: &str = "sha256=";
        let header = header.trim();
        let (prefix, digits) = header.split_at_checked(PREFIX.len()).ok_or(SignatureError::Malformed)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(SignatureError::Malformed);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits.trim(), &mut bytes).map_err(|_| SignatureError::Malformed)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// A body that one of the keys signed.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'b> {
    body: &'b [u8],
    key_index: usize,
}

impl<'b> Verified<'b> {
    /// The signed bytes, as they came.
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// Which of the keys signed it: during a rotation, how much still comes with the old one.
    pub fn key_index(&self) -> usize {
        self.key_index
    }
}

/// Why a body does not count as signed. No text of the request is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There was no key to verify with: this says nothing about the body, and must not become a 4xx.
    #[error("there is no signing key to verify with")]
    NoKeys,
    /// There is no signature header.
    #[error("the signature header is missing")]
    Missing,
    /// No signature header has the form `sha256=` and 64 hex digits.
    #[error("the signature header is malformed")]
    Malformed,
    /// No key gives any of the signatures for this body.
    #[error("the signature matches no key")]
    Mismatch,
}

/// Verifies a body against the values of its `X-Signature` headers. Every key and every value is tried, in constant
/// time; values that a gateway joined with commas are taken apart.
pub fn verify<'b, 'h>(
    keys: &[SigningKey],
    body: &'b [u8],
    headers: impl IntoIterator<Item = &'h str>,
) -> Result<Verified<'b>, SignatureError> {
    if keys.is_empty() {
        return Err(SignatureError::NoKeys);
    }
    let mut present = false;
    let signatures: Vec<Signature> = headers
        .into_iter()
        .flat_map(|header| header.split(','))
        .inspect(|_| present = true)
        .filter_map(|value| Signature::parse(value).ok())
        .collect();
    match (present, signatures.is_empty()) {
        (false, _) => return Err(SignatureError::Missing),
        (true, true) => return Err(SignatureError::Malformed),
        (true, false) => {}
    }
    let mut found = None;
    for (key_index, key) in keys.iter().enumerate() {
        let expected = digest(key, body);
        for signature in &signatures {
            if bool::from(expected.ct_eq(&signature.0)) {
                found = found.or(Some(key_index));
            }
        }
    }
    found
        .map(|key_index| Verified { body, key_index })
        .ok_or(SignatureError::Mismatch)
}

/// Signs a body as Ring does: the value of an `X-Signature` header.
pub fn sign(key: &SigningKey, body: &[u8]) -> String {
    format!("sha256={}", hex::encode(digest(key, body)))
}

fn digest(key: &SigningKey, body: &[u8]) -> [u8; 32] {
    key.keyed().chain_update(body).finalize().into_bytes().into()
}

/// Drops one trailing line break, which is never part of a credential.
pub(crate) fn without_line_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}
