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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "rk_test_4f6c2d0b9a1e4c7d8e5f";
    const TIME: i64 = 1_771_130_906_289;

    fn key() -> SigningKey {
        SigningKey::new(KEY).unwrap()
    }

    fn account(id: &str) -> AccountId {
        AccountId::new(id).unwrap()
    }

    #[test]
    fn trap_22_python_and_this_crate_mint_alike() {
        // python3 -c 'import hmac, hashlib, base64; print(base64.urlsafe_b64encode(hmac.new(
        //   b"rk_test_4f6c2d0b9a1e4c7d8e5f", b"1771130906289:ava1.ring.account.XXXYYY", hashlib.sha256
        //   ).digest()).rstrip(b"="))'
        for (signing_key, time, id, nonce) in [
            (
                KEY,
                "1771130906289",
                "ava1.ring.account.XXXYYY",
                "r-51GMOnHufZP6tuFPt8HBBEQKoVnNx2lQUVkSeMi7A",
            ),
            (
                KEY,
                "1771130906289",
                "acct-0",
                "BL--pR_xXaFVRw6j8Qj4hctv9_hx13S4LW_ofcXD0nI",
            ),
            // Trap 23: the text of the time counts, leading zeros and all.
            (
                "schlüssel-🔑",
                "0001771130906289",
                "ava1.ring.account.Ä_b.c",
                "rHUCGksklN9y-WvRfLv6CzxGmNX3s5dfrdSkdcQ_vz8",
            ),
        ] {
            let (key, time) = (SigningKey::new(signing_key).unwrap(), LinkTime::parse(time).unwrap());
            assert_eq!(mint(&key, &time, &account(id)).as_str(), nonce);
            let matcher = Matcher::new(&key, &time, &Nonce::parse(nonce).unwrap());
            assert!(matcher.matches(&account(id)));
            assert!(!matcher.matches(&account("ava1.ring.account.ZZZ")));
        }
    }

    #[test]
    fn the_nonce_of_the_documentation_is_read() {
        let text = "yT8jdW_nu2W4gR6FI-l8hkPpt_c9EAf4DJ9CTIcuM7c";
        let nonce = Nonce::parse(text).unwrap();
        assert_eq!(nonce.as_str(), text);
        assert_eq!(nonce.to_string(), text);
        assert_eq!(LinkTime::parse("1771130906289").unwrap().at().as_millisecond(), TIME);
    }

    #[test]
    fn trap_22_a_nonce_has_one_encoding() {
        let text = "yT8jdW_nu2W4gR6FI-l8hkPpt_c9EAf4DJ9CTIcuM7c";
        for other in [
            String::new(),
            format!("{text}="),
            text.replace('_', "/"),
            text.replace('-', "+"),
            text[..42].to_owned(),
            format!("{text}A"),
            format!(" {}", &text[1..]),
            // The same bytes, but for two bits that no byte has.
            format!("{}d", &text[..42]),
            "sha256=295adbabd853dea517a60e4c0288f3d46c6c4fec3040f653e282d630c10b776e".to_owned(),
            "é".repeat(43),
        ] {
            assert_eq!(Nonce::parse(&other).map(|_| ()), Err(MalformedNonce), "{other}");
        }
    }

    #[test]
    fn trap_23_a_time_is_digits_and_nothing_else() {
        for raw in ["0", "1771130906289", "0001771130906289", "253402207200000"] {
            assert_eq!(LinkTime::parse(raw).unwrap().raw(), raw);
        }
        for raw in [
            "",
            "-1",
            "+1771130906289",
            "1771130906289.0",
            "1e12",
            " 1771130906289",
            "0x19",
            "१७७१",
            "9223372036854775807",
            "9223372036854775808",
            "99999999999999999999999999",
        ] {
            assert_eq!(LinkTime::parse(raw), Err(MalformedTime), "{raw}");
        }
    }

    #[test]
    fn trap_24_both_bounds_of_the_window_are_in_it() {
        let check = |age: i64, leeway: u64, expected| {
            let now = Timestamp::from_millisecond(TIME + age).unwrap();
            let time = LinkTime::parse(&TIME.to_string()).unwrap();
            assert_eq!(
                time.check(now, Duration::from_millis(leeway)),
                expected,
                "{age} ms, leeway {leeway} ms"
            );
        };
        check(0, 0, Ok(()));
        check(600_000, 0, Ok(()));
        check(600_001, 0, Err(Staleness::Expired));
        check(-1, 0, Err(Staleness::Future));
        check(-600_000, 0, Err(Staleness::Future));
        // A leeway is for the future alone, and is bounded.
        check(-2_000, 2_000, Ok(()));
        check(-2_001, 2_000, Err(Staleness::Future));
        check(600_001, 2_000, Err(Staleness::Expired));
        check(-5_000, 3_600_000, Ok(()));
        check(-5_001, 3_600_000, Err(Staleness::Future));
    }

    #[test]
    fn the_nanoseconds_of_a_clock_do_not_shorten_the_window() {
        let now = Timestamp::from_nanosecond(i128::from(TIME + 600_000) * 1_000_000 + 999_999).unwrap();
        assert_eq!(
            LinkTime::parse(&TIME.to_string()).unwrap().check(now, Duration::ZERO),
            Ok(())
        );
    }

    #[test]
    fn debug_shows_nothing_of_a_nonce() {
        let nonce = Nonce::parse("yT8jdW_nu2W4gR6FI-l8hkPpt_c9EAf4DJ9CTIcuM7c").unwrap();
        assert_eq!(format!("{nonce:?}"), "Nonce(…)");
        let matcher = Matcher::new(&key(), &LinkTime::parse("1").unwrap(), &nonce);
        assert_eq!(format!("{matcher:?}"), "Matcher(…)");
    }

    proptest! {
        #[test]
        fn a_nonce_matches_its_own_account_time_and_key_alone(
            id in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,60}",
            other in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,60}",
            time in 0..253_402_207_200_000_i64,
        ) {
            prop_assume!(id != other);
            let raw = time.to_string();
            let link_time = LinkTime::parse(&raw).unwrap();
            let nonce = mint(&key(), &link_time, &account(&id));
            prop_assert_eq!(Nonce::parse(nonce.as_str()), Ok(nonce.clone()));

            let matcher = Matcher::new(&key(), &link_time, &nonce);
            prop_assert!(!matcher.matches(&account(&other)));
            prop_assert!(matcher.matches(&account(&id)));
            prop_assert!(matcher.matches(&account(&id)), "a matcher has no memory");

            let zeros = LinkTime::parse(&format!("0{raw}")).unwrap();
            prop_assert!(!Matcher::new(&key(), &zeros, &nonce).matches(&account(&id)));
            let another = SigningKey::new("another key").unwrap();
            prop_assert!(!Matcher::new(&another, &link_time, &nonce).matches(&account(&id)));
        }

        #[test]
        fn no_query_makes_parsing_panic(text in any::<String>(), now in -377_705_023_201_000_i64..253_402_207_200_000) {
            let _ = Nonce::parse(&text);
            if let Ok(time) = LinkTime::parse(&text) {
                let _ = time.check(Timestamp::from_millisecond(now).unwrap(), Duration::MAX);
            }
        }

        #[test]
        fn digits_of_any_length_are_read_or_refused(raw in "[0-9]{0,40}", leeway in any::<u64>()) {
            if let Ok(time) = LinkTime::parse(&raw) {
                prop_assert_eq!(time.raw(), raw);
                prop_assert_eq!(time.check(time.at(), Duration::from_millis(leeway)), Ok(()));
            }
        }
    }
}
