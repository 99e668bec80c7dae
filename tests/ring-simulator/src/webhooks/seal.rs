//! The signature of a webhook: `X-Signature: sha256=<hex of HMAC-SHA256 over the raw body>` (Ring: "HMAC-SHA256 Signature
//! Verification"), and the ways of getting it wrong on order.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::config::Settings;

/// How a letter is signed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seal {
    pub(super) key: Key,
    /// Sent as it is, in place of a signature.
    pub(super) header: Option<String>,
}

/// The key that signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Key {
    #[default]
    Current,
    /// The one before the last rotation; the current one where there was none.
    Previous,
    /// One that the partner has not: a signature that is well formed and wrong.
    Wrong,
    /// No signature at all.
    None,
}

impl Seal {
    /// The value of `X-Signature` over these bytes, with the keys of this moment.
    pub(super) fn header(&self, settings: &Settings, body: &[u8]) -> Option<String> {
        if self.header.is_some() {
            return self.header.clone();
        }
        let current = &settings.signing_key;
        match self.key {
            Key::Current => Some(sign(current, body)),
            Key::Previous => Some(sign(settings.signing_key_previous.as_ref().unwrap_or(current), body)),
            Key::Wrong => Some(sign(&format!("not {current}"), body)),
            Key::None => None,
        }
    }
}

fn sign(key: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// python3 -c "import hmac,hashlib; print(hmac.new(b'test-signing-key', b'{\"meta\":{\"version\":\"1.1\"}}',
    /// hashlib.sha256).hexdigest())"
    #[test]
    fn a_signature_is_what_pythons_hmac_makes_of_it() {
        let signature = sign("test-signing-key", br#"{"meta":{"version":"1.1"}}"#);
        assert_eq!(
            signature,
            "sha256=f614a52e7d1ca5a895fb3e23307e0fac435c9d1c70c73ab2e0c06ee4decb85de"
        );
    }

    #[test]
    fn each_way_of_sealing_differs_from_the_others() {
        let settings = Settings {
            signing_key_previous: Some("old".into()),
            ..Settings::default()
        };
        let header = |key| Seal { key, header: None }.header(&settings, b"body");
        assert_eq!(header(Key::Previous), Some(sign("old", b"body")));
        assert_ne!(header(Key::Current), header(Key::Previous));
        assert_ne!(header(Key::Wrong), header(Key::Current));
        assert_eq!(header(Key::None), None);
        let given = Seal {
            key: Key::Current,
            header: Some("sha256=xyz".into()),
        };
        assert_eq!(given.header(&settings, b"body").as_deref(), Some("sha256=xyz"));
    }
}
