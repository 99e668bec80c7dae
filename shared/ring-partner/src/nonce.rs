//! The nonce that binds a linking attempt to one Ring account. Pure: key, time and account in.
//!
//! Ring: Application Deployment, 6.3 Nonce Validation and Account Linking. A nonce is
//! `HMAC-SHA256(key, "<time>:<account id>")` in URL-safe Base64 without padding: another encoding than a webhook's
//! signature, and therefore another type. That a nonce is used once is for the caller to remember.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{AccountId, SigningKey};

/// How long after `time` a nonce is good. Ring: Nonce Technical Reference, "Validation window".
pub const WINDOW: Duration = Duration::from_secs(600);

/// The most that clocks may differ, whatever leeway a caller asks for.
pub const LONGEST_LEEWAY: Duration = Duration::from_secs(5);

/// A nonce from the query of the Account Link URL, decoded. Whoever holds one may link: it is not shown by `Debug`.
#[derive(Clone)]
pub struct Nonce {
    text: String,
    bytes: [u8; 32],
}

/// It is not 32 bytes in URL-safe Base64 without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a nonce has 43 characters of URL-safe Base64, without padding")]
pub struct MalformedNonce;

impl Nonce {
    /// Reads a nonce. Standard Base64, padding and stray final bits are refused: each nonce has one spelling.
    pub fn parse(text: &str) -> Result<Self, MalformedNonce> {
        let mut bytes = [0; 32];
        // decode_slice asks for a whole number of triples.
        let mut buffer = [0; 33];
        if text.len() != 43 || URL_SAFE_NO_PAD.decode_slice(text, &mut buffer) != Ok(bytes.len()) {
            return Err(MalformedNonce);
        }
        bytes.copy_from_slice(&buffer[..32]);
        Ok(Self {
            text: text.to_owned(),
            bytes,
        })
    }

    /// The nonce as Ring wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn of(bytes: [u8; 32]) -> Self {
        Self {
            text: URL_SAFE_NO_PAD.encode(bytes),
            bytes,
        }
    }
}

impl PartialEq for Nonce {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for Nonce {}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// The `time` of the Account Link URL: the digits as they came, which the nonce is computed over, and the instant they
/// name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTime {
    raw: String,
    at: Timestamp,
}

/// It is not a number of milliseconds since 1970 in plain digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time has to be milliseconds since 1970, in digits alone")]
pub struct MalformedTime;

/// Why a nonce of this time is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Staleness {
    /// More than [`WINDOW`] has passed.
    #[error("the link request has expired")]
    Expired,
    /// It lies in the future, by more than the leeway.
    #[error("the link request is from the future")]
    Future,
}

impl LinkTime {
    /// Reads the raw value of the query: ASCII digits alone, no sign, within what an instant can be.
    pub fn parse(raw: &str) -> Result<Self, MalformedTime> {
        // i64::from_str takes a sign, so the digits are looked at first; 19 of them are the most an i64 has.
        if raw.is_empty() || raw.len() > 19 || !raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MalformedTime);
        }
        let millis: i64 = raw.parse().map_err(|_| MalformedTime)?;
        let at = Timestamp::from_millisecond(millis).map_err(|_| MalformedTime)?;
        Ok(Self {
            raw: raw.to_owned(),
            at,
        })
    }

    /// The digits as they came.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The instant they name.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the time is fresh at `now`: in whole milliseconds, 0 ≤ now − time ≤ 600,000, both bounds included.
    /// `leeway` allows for a clock of ours that is behind, and is at most [`LONGEST_LEEWAY`].
    pub fn check(&self, now: Timestamp, leeway: Duration) -> Result<(), Staleness> {
        let age = i128::from(now.as_millisecond()) - i128::from(self.at.as_millisecond());
        let early = leeway.min(LONGEST_LEEWAY).as_millis().cast_signed();
        if age < -early {
            Err(Staleness::Future)
        } else if age > WINDOW.as_millis().cast_signed() {
            Err(Staleness::Expired)
        } else {
            Ok(())
        }
    }
}

/// The nonce that Ring makes for this account at this time.
pub fn mint(key: &SigningKey, time: &LinkTime, account: &AccountId) -> Nonce {
    Nonce::of(tag(started(key, time), account))
}

/// Finds the account of a nonce among many candidates: the key and the time are worked in once, and each candidate is
/// compared in constant time.
#[derive(Clone)]
pub struct Matcher {
    started: Hmac<Sha256>,
    nonce: [u8; 32],
}

impl Matcher {
    /// Prepares the search.
    pub fn new(key: &SigningKey, time: &LinkTime, nonce: &Nonce) -> Self {
        Self {
            started: started(key, time),
            nonce: nonce.bytes,
        }
    }

    /// Whether the nonce is this account's.
    pub fn matches(&self, account: &AccountId) -> bool {
        tag(self.started.clone(), account).ct_eq(&self.nonce).into()
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Matcher(…)")
    }
}

/// HMAC over `"<time>:"`, the part that all candidates share. The time is the text as it came, leading zeros and all.
fn started(key: &SigningKey, time: &LinkTime) -> Hmac<Sha256> {
    key.keyed().chain_update(time.raw.as_bytes()).chain_update(b":")
}

fn tag(started: Hmac<Sha256>, account: &AccountId) -> [u8; 32] {
    started
        .chain_update(account.as_str().as_bytes())
        .finalize()
        .into_bytes()
        .into()
}
