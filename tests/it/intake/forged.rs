//! A million signatures that Ring did not make: none is accepted.

use ring_partner::signature::{SignatureError, verify};

use super::mutated::Numbers;
use super::*;

const FORGED: usize = 1_000_000;
/// One header may carry several signatures, of which any will do.
const IN_A_HEADER: usize = 100;

#[test]
fn a_million_forged_or_bit_flipped_signatures_are_none_of_them_accepted() {
    let keys = [KEY, PREVIOUS].map(|key| SigningKey::new(key).expect("a key"));
    let mut numbers = Numbers(7);
    let mut tried = 0;
    while tried < FORGED {
        let body = format!(r#"{{"data":{{"id":"{tried}"}}}}"#).into_bytes();
        // What is forged is near to what would count: a bit of it is flipped, or it is of another body or key.
        let right = [0, 1].map(|index| decoded(&signature::sign(&keys[index], &body)));
        let other = decoded(&signature::sign(&keys[0], format!("{tried}").as_bytes()));
        let forged: Vec<String> = (0..IN_A_HEADER)
            .map(|number| {
                let mut bytes = match number % 4 {
                    0 | 1 => right[number % 2],
                    2 => other,
                    _ => std::array::from_fn(|_| numbers.next().to_le_bytes()[0]),
                };
                if number % 4 < 2 {
                    // One bit, or two.
                    let bit = numbers.below(256);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    let more = numbers.below(256);
                    if number % 3 == 0 && more != bit {
                        bytes[more / 8] ^= 1 << (more % 8);
                    }
                }
                format!("sha256={}", hex::encode(bytes))
            })
            .collect();
        let refused = verify(&keys, &body, [forged.join(",").as_str()]);
        assert_eq!(refused.map(|_| ()), Err(SignatureError::Mismatch), "{forged:?}");
        tried += IN_A_HEADER;
    }
    assert_eq!(tried, FORGED);
}

/// The same test would notice one that is right, anywhere in a header.
#[test]
fn one_right_signature_among_a_hundred_forged_ones_is_found() {
    let key = SigningKey::new(KEY).expect("a key");
    let right = signature::sign(&key, b"{}");
    for at in [0, 1, 50, 99] {
        let mut header = vec![format!("sha256={}", "0".repeat(64)); 100];
        header[at] = right.clone();
        assert!(verify(std::slice::from_ref(&key), b"{}", [header.join(",").as_str()]).is_ok());
    }
}

fn decoded(header: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    hex::decode_to_slice(&header["sha256=".len()..], &mut bytes).expect("64 digits");
    bytes
}
