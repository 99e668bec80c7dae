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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "rk_test_4f6c2d0b9a1e4c7d8e5f";
    const BODY: &[u8] = br#"{"meta":{"version":"1.1"},"data":{"type":"button_press"}}"#;

    // python3 -c 'import hmac, hashlib; print(hmac.new(b"rk_test_4f6c2d0b9a1e4c7d8e5f",
    //   b"{\"meta\":{\"version\":\"1.1\"},\"data\":{\"type\":\"button_press\"}}", hashlib.sha256).hexdigest())'
    const DIGITS: &str = "295adbabd853dea517a60e4c0288f3d46c6c4fec3040f653e282d630c10b776e";

    fn key(key: &str) -> SigningKey {
        SigningKey::new(key).unwrap()
    }

    fn check(keys: &[&str], body: &[u8], headers: &[&str], expected: Result<usize, SignatureError>) {
        let keys: Vec<SigningKey> = keys.iter().map(|text| key(text)).collect();
        let result = verify(&keys, body, headers.iter().copied());
        assert_eq!(result.map(|verified| verified.key_index()), expected, "{headers:?}");
        if let Ok(verified) = result {
            assert_eq!(verified.body(), body);
        }
    }

    #[test]
    fn python_and_this_crate_sign_alike() {
        for (signing_key, body, digits) in [
            (KEY, BODY, DIGITS),
            // … hmac.new(b"rk_test_4f6c2d0b9a1e4c7d8e5f", b"", hashlib.sha256).hexdigest()
            (
                KEY,
                b"",
                "60b2ef1675010d7d6810e79b9bfa8122c927bf8e1a69c64ce282e14a0359d461",
            ),
            // … hmac.new("schlüssel-🔑".encode(), b"\x00\xff\xfe raw", hashlib.sha256).hexdigest()
            (
                "schlüssel-🔑",
                b"\x00\xff\xfe raw",
                "bc7c6b68d227b0c70716493aa11e303cdfe63850610ea1939b05c8016f87f1f2",
            ),
        ] {
            assert_eq!(sign(&key(signing_key), body), format!("sha256={digits}"));
            check(&[signing_key], body, &[&format!("sha256={digits}")], Ok(0));
        }
    }

    #[test]
    fn trap_19_a_key_is_the_bytes_of_its_text_however_it_looks() {
        // A key in Base64: hmac.new(b"c2VjcmV0LWtleQ==", b"{}", …), and what a decoded one would give.
        let text = "sha256=27d3199ce5db3d2b23eed64ff49fb9cbd1c1836ca02867522eae34810eea20e6";
        let decoded = "sha256=99922a0dbb1fe95624c93c7204445c2eff8a014b0c9b585ddf2da0c21083a34e";
        check(&["c2VjcmV0LWtleQ=="], b"{}", &[text], Ok(0));
        check(&["c2VjcmV0LWtleQ=="], b"{}", &[decoded], Err(SignatureError::Mismatch));
    }

    #[test]
    fn trap_18_one_trailing_line_break_is_no_part_of_a_key() {
        for text in [KEY.to_owned(), format!("{KEY}\n"), format!("{KEY}\r\n")] {
            assert_eq!(sign(&key(&text), BODY), format!("sha256={DIGITS}"));
        }
        for text in [
            format!("{KEY}\n\n"),
            format!("{KEY} "),
            format!("{KEY}\r"),
            format!("\n{KEY}"),
        ] {
            assert_ne!(sign(&key(&text), BODY), format!("sha256={DIGITS}"), "{text:?}");
        }
        for text in ["", "\n", "\r\n"] {
            assert_eq!(SigningKey::new(text).map(|_| ()), Err(EmptyKey));
        }
    }

    #[test]
    fn trap_55_the_prefix_is_needed_and_case_does_not_matter() {
        let upper = DIGITS.to_ascii_uppercase();
        for header in [
            format!("sha256={DIGITS}"),
            format!("SHA256={upper}"),
            format!("Sha256={DIGITS}"),
            format!("  sha256={DIGITS}\t"),
            format!("sha256= {DIGITS}"),
        ] {
            check(&[KEY], BODY, &[&header], Ok(0));
        }
        for header in [
            DIGITS.to_owned(),
            String::new(),
            "sha256=".to_owned(),
            "sha256".to_owned(),
            format!("sha1={DIGITS}"),
            format!("sha256:{DIGITS}"),
            format!("sha256={}", &DIGITS[..62]),
            format!("sha256={}", &DIGITS[..63]),
            format!("sha256={DIGITS}00"),
            format!("sha256={}zz", &DIGITS[..62]),
            format!("sha256={}é", &DIGITS[..62]),
            "sha25é=".to_owned(),
        ] {
            check(&[KEY], BODY, &[&header], Err(SignatureError::Malformed));
        }
    }

    #[test]
    fn every_key_and_every_header_is_tried() {
        let right = format!("sha256={DIGITS}");
        let wrong = format!("sha256={}", "0".repeat(64));
        check(&["new", KEY], BODY, &[&right], Ok(1));
        check(&[KEY, "old"], BODY, &[&right], Ok(0));
        check(&[KEY], BODY, &["nonsense", &wrong, &right], Ok(0));
        // As API Gateway joins headers of one name.
        check(&["new", KEY], BODY, &[&format!("{wrong},{right}")], Ok(1));
        check(&["new", "old"], BODY, &[&right], Err(SignatureError::Mismatch));
        check(&[KEY], b"{}", &[&right], Err(SignatureError::Mismatch));
    }

    #[test]
    fn trap_42_no_key_and_no_header_are_told_from_a_wrong_signature() {
        let right = format!("sha256={DIGITS}");
        check(&[], BODY, &[&right], Err(SignatureError::NoKeys));
        check(&[KEY], BODY, &[], Err(SignatureError::Missing));
    }

    #[test]
    fn trap_56_the_bytes_are_signed_and_not_the_json() {
        let spaced = br#"{"meta": {"version":"1.1"},"data":{"type":"button_press"}}"#;
        check(
            &[KEY],
            spaced,
            &[&format!("sha256={DIGITS}")],
            Err(SignatureError::Mismatch),
        );
    }

    #[test]
    fn debug_shows_nothing_of_a_key_or_a_signature() {
        assert_eq!(format!("{:?}", key(KEY)), "SigningKey(…)");
        assert_eq!(
            format!("{:?}", Signature::parse(&format!("sha256={DIGITS}")).unwrap()),
            "Signature(…)"
        );
    }

    proptest! {
        #[test]
        fn what_one_key_signs_that_key_verifies_and_no_other(
            ours in "\\PC{1,80}",
            other in "\\PC{1,80}",
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            prop_assume!(ours != other);
            let header = sign(&key(&ours), &body);
            prop_assert!(verify(&[key(&ours)], &body, [header.as_str()]).is_ok());
            prop_assert_eq!(
                verify(&[key(&other)], &body, [header.as_str()]).map(|_| ()),
                Err(SignatureError::Mismatch)
            );
        }

        #[test]
        fn one_flipped_bit_of_a_body_or_a_signature_is_noticed(
            body in proptest::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let header = sign(&key(KEY), &body);
            let mut changed = body.clone();
            changed[at.index(body.len())] ^= 1 << bit;
            prop_assert!(verify(&[key(KEY)], &changed, [header.as_str()]).is_err());

            let mut signature = digest(&key(KEY), &body);
            signature[at.index(32)] ^= 1 << bit;
            let header = format!("sha256={}", hex::encode(signature));
            prop_assert!(verify(&[key(KEY)], &body, [header.as_str()]).is_err());
        }

        #[test]
        fn no_header_makes_verification_panic(header in any::<String>(), body in any::<Vec<u8>>()) {
            prop_assert!(verify(&[key(KEY)], &body, [header.as_str()]).is_err());
        }
    }
}
