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
