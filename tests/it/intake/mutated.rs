//! Ten thousand bodies that Ring might sign and nobody expects: each is queued as it came, and answered with 200.

use std::collections::BTreeSet;

use super::*;

const BODIES: usize = 10_000;

/// Numbers that look random and are the same each time (SplitMix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One below `count`, which is not nothing.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).expect("a small number");
        usize::try_from(self.next() % count).expect("a small number")
    }
}

/// The samples' bodies, as the gateway hands them over.
fn samples() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/webhook-intake");
    let entries = std::fs::read_dir(folder).expect("the samples");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let bodies = paths.iter().map(|path| {
        let event = std::fs::read_to_string(path).expect("a sample");
        handed_over(&event).body
    });
    bodies.collect()
}

const WORDS: [&[u8]; 16] = [
    b"null",
    b"{}",
    b"[[[[",
    b"\"\\ud800\"",
    b"\\u0000",
    b"1e999",
    b"-0",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x00\x01\x1f\x7f",
    "\u{FFFE}\u{FFFF}".as_bytes(),
    "\u{202E}\u{1F511}".as_bytes(),
    b"\"data\":{\"type\":\"\"},",
    b"\"account_id\":null,",
    b"<xml/>",
    b"\r\n\t ",
];

fn mutated(body: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(body.len() + 1);
        let end = (at + numbers.below(24)).min(body.len());
        match numbers.below(8) {
            0 if at < body.len() => body[at] ^= 1 << numbers.below(8),
            1 => body.truncate(at),
            2 => drop(body.drain(at..end)),
            3 => {
                let again = body[at..end].to_vec();
                body.splice(at..at, again);
            }
            4 => body.reverse(),
            5 => body
                .splice(at..end, (0..16).map(|_| numbers.next().to_le_bytes()[0]))
                .for_each(drop),
            6 => body = body.repeat(1 + numbers.below(3)),
            _ => body
                .splice(at..end, WORDS[numbers.below(WORDS.len())].iter().copied())
                .for_each(drop),
        }
    }
    body
}

#[tokio::test]
async fn ten_thousand_mutated_bodies_with_a_valid_signature_are_queued_as_they_came_and_answered_200() {
    let house = House::open().await;
    let samples = samples();
    let mut numbers = Numbers(42);
    let (mut different, mut in_base64) = (BTreeSet::new(), 0);
    for number in 0..BODIES {
        let body = mutated(&samples[number % samples.len()], &mut numbers);
        let key = if numbers.below(2) == 0 { KEY } else { PREVIOUS };
        let mut header = signed_by(key, &body);
        if numbers.below(4) == 0 {
            header = header.to_uppercase();
        }
        let status = house.answers(webhook(&body, &[&header])).await;
        assert_eq!(status, 200, "body {number}: {:?}", String::from_utf8_lossy(&body));
        house.has_queued(&body);
        let queued = house.twin.kept().messages.drain(..).next_back().expect("a message");
        in_base64 += usize::from(!queued.attributes.is_empty());
        different.insert(body);
    }
    // They are what they are said to be.
    assert!(
        different.len() > BODIES * 9 / 10,
        "{} different bodies",
        different.len()
    );
    assert!(
        (BODIES / 20..BODIES * 3 / 4).contains(&in_base64),
        "{in_base64} in Base64"
    );
    assert_eq!(
        house.twin.count("SendMessage"),
        u32::try_from(BODIES).expect("a small number")
    );
    assert_eq!(house.twin.count("GetSecretValue"), 1);
}
