//! What holds for any bytes that arrive as a signature header or as a webhook's body. The fuzzer looks for bytes for which
//! it does not; those that it found interesting are kept under `corpus/`, and tried by the system tests with each change.

use ring_partner::signature::{self, SigningKey};
use ring_partner::webhook::Webhook;
use serde_json::Value;
use shared::event::EventId;

/// The two keys that count.
pub const KEYS: [&str; 2] = ["the-key-of-now", "the-key-before-it"];
/// The body that was signed.
pub const BODY: &[u8] = br#"{"data":{"type":"button_press"}}"#;

/// A header's value verifies the body if, and only if, one of its parts is a right signature, whatever the case.
pub fn signature_header(bytes: &[u8]) {
    let header = String::from_utf8_lossy(bytes);
    let keys = KEYS.map(|key| SigningKey::new(key).expect("it is not empty"));
    let right = keys.each_ref().map(|key| signature::sign(key, BODY));
    // Another way to say what counts: no digit is decoded.
    let counts = header.split(',').any(|value| {
        let value = value.trim().to_ascii_lowercase();
        let digits = value.strip_prefix("sha256=").map(str::trim);
        digits.is_some_and(|digits| right.contains(&format!("sha256={digits}")))
    });
    let verified = signature::verify(&keys, BODY, [header.as_ref()]);
    assert_eq!(verified.is_ok(), counts, "{header:?}: {verified:?}");
}

/// A body is a webhook by what it says as JSON, however that is written; and the id of its event depends on account, device
/// and `data.id` alone, where it has one.
pub fn webhook_body(bytes: &[u8]) {
    let parsed = Webhook::parse(bytes);
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else {
        assert!(parsed.is_err(), "what is no JSON is no webhook");
        return;
    };
    let has_type = json
        .pointer("/data/type")
        .and_then(Value::as_str)
        .is_some_and(|kind| !kind.is_empty());
    assert_eq!(parsed.is_ok(), has_type, "what names a type is a webhook");
    let Ok(webhook) = parsed else { return };
    assert_eq!(
        Some(webhook.kind.as_str()),
        json.pointer("/data/type").and_then(Value::as_str)
    );

    let written_anew = json.to_string();
    let again = Webhook::parse(written_anew.as_bytes()).expect("it is the same JSON");
    assert_eq!(again, webhook, "{written_anew}");

    let id = EventId::of(&webhook, bytes);
    assert_eq!(id, EventId::of(&webhook, bytes));
    if webhook.id.is_some() {
        let mut replayed = webhook.clone();
        (replayed.request_id, replayed.sent_at, replayed.version) = (None, None, None);
        assert_eq!(
            EventId::of(&replayed, b"another body"),
            id,
            "a replay is the same event"
        );
        replayed.id = replayed.id.map(|id| id + "_");
        assert_ne!(EventId::of(&replayed, bytes), id, "another id is another event");
    } else if webhook.request_id.is_none() {
        let other = [bytes, b" "].concat();
        assert_ne!(EventId::of(&webhook, &other), id, "without any id the body tells");
    }
}
