//! What holds for any bytes that arrive: as a signature header, as a webhook's body, as packets of video, as a session
//! description. The fuzzer looks for bytes for which
//! it does not; those that it found interesting are kept under `corpus/`, and tried by the system tests with each change.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::signature::{self, SigningKey};
use ring_partner::webhook::Webhook;
use ring_partner::whep::Offer;
use serde_json::Value;
use shared::capture::manifest::Manifest;
use shared::event::EventId;
use stream_capture::codec::Codec;
use stream_capture::recording::Recording;
use stream_capture::rtp::Packet;
use stream_capture::stream::{Settings, Stream};

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

/// A player's offer: sound, which Ring has none of, and video.
pub const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
    a=ice-ufrag:a1b2\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n\
    a=rtpmap:96 H264/90000\r\na=ice-ufrag:a1b2\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n";

/// Whatever comes as an answer to an offer: what is made of it for the player has the offer's sections in their order, of which
/// only the video flows, and tells of no host but those that video comes from. Whatever comes as an offer: what goes to Ring of
/// it is an offer, too, and the same again.
pub fn session_description(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let offer = Offer::parse(OFFER).expect("it is usable");
    if let Ok(answer) = offer.answer(&text) {
        let sections: Vec<_> = answer.lines().filter(|line| line.starts_with("m=")).collect();
        let [audio, video] = sections[..] else {
            panic!("{answer}")
        };
        assert!(
            audio.starts_with("m=audio 0 ") && video.starts_with("m=video "),
            "{answer}"
        );
        assert!(!video.starts_with("m=video 0 "), "{answer}");
        for line in answer.split("\r\n") {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.starts_with("o=") || line.ends_with(" IN IP4 127.0.0.1"), "{line}");
            assert!(!line.starts_with("s=") || line == "s=-", "{line}");
        }
    }
    if let Ok(offer) = Offer::parse(&text) {
        let for_ring = offer.for_ring();
        let again = Offer::parse(&for_ring).expect("Ring is sent an offer");
        assert_eq!(again.for_ring(), for_ring);
        assert_eq!(
            for_ring.lines().filter(|line| line.starts_with("m=")).count(),
            1,
            "{for_ring}"
        );
    }
}

/// Whatever a peer sends as packets of video: what comes out are groups that begin where they say, that a film can be made of,
/// and that have no more in them than came. The bytes are a codec, then packets: what is said of one, how far its place and its
/// time are from the last one's, the length of its payload, and that.
pub fn video_packets(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else {
        return;
    };
    let codec = if first & 1 == 0 { Codec::Avc } else { Codec::Hevc };
    let mut stream = Stream::new(codec, Settings::default());
    let (mut sequence, mut timestamp, mut came) = (u16::MAX - 3, u32::MAX - 20_000, 0);
    let mut at = Duration::ZERO;
    let mut groups = Vec::new();
    while let Some((&[says, place, time, length], after)) = rest.split_first_chunk::<4>() {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        sequence = sequence.wrapping_add_signed(i16::from(place.cast_signed()));
        timestamp = timestamp.wrapping_add(u32::from(time) * 1_500);
        at += Duration::from_millis(u64::from(says >> 1));
        came += payload.len();
        let packet = Packet {
            sequence,
            timestamp,
            marker: says & 1 == 1,
            payload: payload.to_vec().into(),
        };
        stream.packet(packet, at);
        stream.tick(at);
        let _asks = stream.wishes_key_frame(at);
        groups.extend(std::iter::from_fn(|| stream.group()));
    }
    stream.finish(at);
    groups.extend(std::iter::from_fn(|| stream.group()));

    let mut recording = Recording::new(Manifest::new("m"), "m.mp4").expect("an empty manifest");
    let mut kept = 0;
    recording.begin_part(Timestamp::UNIX_EPOCH);
    for group in &groups {
        let shown = group
            .samples
            .iter()
            .map(|sample| sample.time)
            .max()
            .expect("a group has frames");
        assert!(group.ends > shown, "{group:?}");
        kept += group.samples.len();
        let units = group.samples.iter().flat_map(|sample| &sample.units);
        came = came
            .checked_sub(units.map(|unit| unit.len().saturating_sub(2)).sum())
            .expect("no more than came");
        // A configuration that makes no film is refused; what is taken is stored.
        if let Ok(objects) = recording.take(group, Timestamp::UNIX_EPOCH) {
            assert!(objects.iter().all(|object| !object.body.is_empty()));
        }
    }
    let counts = stream.counts();
    assert_eq!(counts.kept, kept as u64, "{counts:?}");
    assert!(counts.damaged <= counts.kept);
    let _films = recording.finish();
}
