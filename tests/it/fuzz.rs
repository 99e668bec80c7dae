//! What the fuzzer found interesting once, tried with each change: nothing of it may break what holds for all bytes.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod holds;

use std::path::Path;

use ring_partner::signature::{self, SigningKey};

fn replay(target: &str, holds: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        holds(&std::fs::read(&path).expect("a file"));
        count += 1;
    }
    count
}

#[test]
fn what_the_fuzzer_found_interesting_in_signature_headers_breaks_nothing() {
    assert!(replay("signature_header", holds::signature_header) >= 10);
    // It begins with what counts, so that what nearly counts is found from there.
    let right = SigningKey::new(holds::KEYS[1])
        .map(|key| signature::sign(&key, holds::BODY))
        .expect("a key");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/signature_header/right");
    assert_eq!(std::fs::read_to_string(kept).expect("it is kept"), right);
}

#[test]
fn what_the_fuzzer_found_interesting_in_bodies_breaks_nothing() {
    assert!(replay("webhook_body", holds::webhook_body) >= 10);
}

#[test]
fn what_the_fuzzer_found_interesting_in_session_descriptions_breaks_nothing() {
    assert!(replay("session_description", holds::session_description) >= 10);
}

#[test]
fn what_the_fuzzer_found_interesting_in_packets_of_video_breaks_nothing() {
    assert!(replay("video_packets", holds::video_packets) >= 10);
}

/// What else is tried of it, at random but the same each time: cut, changed, put together anew.
#[test]
fn ten_thousand_malformed_streams_of_packets_are_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/video_packets");
    let entries = std::fs::read_dir(&folder).expect("the corpus");
    let mut seeds: Vec<Vec<u8>> = entries
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file"))
        .filter(|seed| seed.len() > 8)
        .collect();
    seeds.sort();
    let mut chance = crate::recorder::Chance::new(113);
    for _ in 0..10_000 {
        let mut bytes = seeds[chance.below(seeds.len())].clone();
        for _ in 0..=chance.below(8) {
            let at = chance.below(bytes.len());
            match chance.below(4) {
                0 => bytes[at] = chance.byte(),
                1 => bytes.truncate(at.max(8)),
                2 => bytes[at] ^= 1 << chance.below(8),
                _ => bytes.extend_from_slice(&seeds[chance.below(seeds.len())][1..]),
            }
        }
        holds::video_packets(&bytes);
    }
}
