//! How a secret looks where something else holds it: as it is, percent-encoded, in hex, and in either Base64 at any of the
//! three offsets that it can have in what is encoded.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is so long is found by either end of it, so that a part is found too.
const LONG: usize = 40;
const END: usize = 16;

/// All forms of a secret, each with its name. One that is found proves that the secret is there.
pub(super) fn of(secret: &[u8]) -> Vec<(&'static str, String)> {
    let ends = if secret.len() < LONG {
        vec![secret]
    } else {
        vec![&secret[..END], &secret[secret.len() - END..]]
    };
    let mut forms: Vec<_> = ends.into_iter().flat_map(of_whole).collect();
    // Of forms that look alike the first keeps its name.
    forms.sort_by(|(_, one), (_, other)| one.cmp(other));
    forms.dedup_by(|(_, one), (_, other)| one == other);
    forms
}

fn of_whole(secret: &[u8]) -> Vec<(&'static str, String)> {
    let hex = hex::encode(secret);
    let mut forms = vec![("hex", hex.to_uppercase()), ("hex", hex)];
    // Bytes that are no text lie nowhere as they are.
    if let Ok(text) = str::from_utf8(secret) {
        let percent = percent_encoded(text);
        forms.extend([
            ("plain", text.to_owned()),
            ("percent", percent.to_lowercase()),
            ("percent", percent),
        ]);
    }
    for before in 0..3 {
        let shifted = [vec![0; before], secret.to_vec()].concat();
        // The first and the last letters depend on the neighbours too.
        let (first, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        forms.push(("Base64", STANDARD_NO_PAD.encode(&shifted)[first..end].to_owned()));
        forms.push(("Base64", URL_SAFE_NO_PAD.encode(&shifted)[first..end].to_owned()));
    }
    forms
}

/// All but what RFC 3986 calls unreserved.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes it");
        }
        encoded
    })
}

#[test]
fn a_secret_is_found_in_whatever_holds_it() {
    const TOKEN: &str = "Zm9v+bar/baz==_q-~.%0123456789";
    #[track_caller]
    fn check(form: &str, haystack: &str) {
        let found = of(TOKEN.as_bytes())
            .into_iter()
            .find(|(_, needle)| haystack.contains(needle));
        assert_eq!(found.map(|(form, _)| form), Some(form), "{haystack}");
    }
    check("plain", &format!("a log line with {TOKEN} in it"));
    check("percent", "?token=Zm9v%2Bbar%2Fbaz%3D%3D_q-~.%250123456789&");
    check("hex", &format!("00{}ff", hex::encode(TOKEN)));
    check("hex", &hex::encode_upper(TOKEN));
    for before in ["", "a", "ab", "abc", "abcd"] {
        for after in ["", "z", "yz", "xyz"] {
            let held = format!("{before}{TOKEN}{after}");
            check("Base64", &STANDARD_NO_PAD.encode(&held));
            check("Base64", &URL_SAFE_NO_PAD.encode(&held));
        }
    }
    assert!(
        of(TOKEN.as_bytes())
            .iter()
            .all(|(_, needle)| !"Zm9v+bar/baz==".contains(needle))
    );
}

#[test]
fn either_end_of_a_long_secret_is_enough() {
    let long = "0123456789abcdef-and-much-that-comes-between-fedcba9876543210";
    let is_in = |text: &str| of(long.as_bytes()).iter().any(|(_, needle)| text.contains(needle));
    assert!(is_in("0123456789abcdef…"));
    assert!(is_in("…fedcba9876543210"));
    assert!(!is_in("much-that-comes-between"));
}
