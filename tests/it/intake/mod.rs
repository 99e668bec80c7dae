//! The intake: what is promised of it for any body, key, clock and fault. It runs here as a library over twins of the
//! services that it calls ([`twin`]); what only the stack can show is in [`deployed`].

pub(crate) mod deployed;
mod forged;
mod mutated;
mod twin;

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring_partner::signature::{self, SigningKey};
use serde_json::{Value, json};
use shared::edge::clock;
use shared::edge::secret::{Secret, SecretError, SigningKeys};
use twin::{Mood, Twin};
use webhook_intake::{Call, Config, Intake, SigningSecret, Webhook};

const KEY: &str = "the-key-of-now";
const PREVIOUS: &str = "the-key-before-it";

/// An intake, warmed as at its start, and the services that it calls.
struct House {
    twin: Twin,
    intake: Intake,
}

impl House {
    async fn open() -> Self {
        let house = Self::cold().await;
        house.intake.warm().await;
        house
    }

    async fn cold() -> Self {
        let twin = Twin::start(KEY, Some(PREVIOUS)).await;
        let config = Config {
            signing_secret_id: "signing".to_owned(),
            events_queue_url: twin.queue("events"),
            quarantine_queue_url: twin.queue("quarantine"),
            media_bucket: "media".to_owned(),
            metrics_namespace: "test".to_owned(),
        };
        let intake = Intake::new(&twin.account(), config);
        Self { twin, intake }
    }

    /// What Ring is answered.
    async fn answers(&self, webhook: Webhook) -> u16 {
        self.intake.answer(webhook).await.status_code
    }

    /// What Ring is answered, and how long that takes.
    async fn answers_in(&self, webhook: Webhook) -> (u16, Duration) {
        let since = Instant::now();
        (self.answers(webhook).await, since.elapsed())
    }

    /// Holds that the last message is these bytes.
    fn has_queued(&self, body: &[u8]) {
        let kept = self.twin.kept();
        let last = kept.messages.last().expect("a message");
        assert_eq!((last.queue.as_str(), last.bytes()), ("events", body.to_vec()));
    }
}

/// A webhook with these values of `X-Signature`.
fn webhook(body: &[u8], signatures: &[&str]) -> Webhook {
    Webhook {
        headers: headers(signatures),
        body: body.to_vec(),
    }
}

fn headers(signatures: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in signatures {
        headers.append(
            "X-Signature",
            HeaderValue::from_bytes(value.as_bytes()).expect("a header"),
        );
    }
    headers
}

fn signed_by(key: &str, body: &[u8]) -> String {
    signature::sign(&SigningKey::new(key).expect("a key"), body)
}

/// The webhook in an event of the gateway's.
pub(crate) fn handed_over(event: &str) -> Webhook {
    match serde_json::from_str(event) {
        Ok(Call::Webhook(webhook)) => webhook,
        other => panic!("no event of the gateway: {other:?}"),
    }
}

fn signed(body: &[u8]) -> Webhook {
    webhook(body, &[&signed_by(KEY, body)])
}

fn motion() -> Value {
    json!({
        "meta": {"version": "1.1", "time": "2026-02-13T13:39:57.200155525Z",
                 "request_id": "2ad45ade-1818-4154-813b-afdd8bcd8085", "account_id": "ava1.ring.account.XXXYYY"},
        "data": {"id": "door_human_1", "type": "motion_detected", "subType": "human",
                 "attributes": {"source": "door", "source_type": "devices", "timestamp": 1_770_989_995_231_i64}}
    })
}

#[tokio::test]
async fn a_warm_event_is_one_send_and_nothing_else() {
    let house = House::open().await;
    let before = house.twin.kept().calls.clone();
    for number in 0..20 {
        let body = format!(r#"{{"data":{{"type":"button_press","id":"{number}"}}}}"#);
        assert_eq!(house.answers(signed(body.as_bytes())).await, 200);
        house.has_queued(body.as_bytes());
    }
    let mut expected = before;
    assert_eq!(expected.insert("SendMessage".to_owned(), 20), None, "none before");
    assert_eq!(house.twin.kept().calls, expected);
}

#[tokio::test]
async fn the_keys_and_the_queues_connection_are_at_hand_before_the_first_event() {
    let house = House::open().await;
    let calls = house.twin.kept().calls.clone();
    let expected = [("GetQueueAttributes", 1), ("GetSecretValue", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(calls, expected.into());
}

#[tokio::test]
async fn trap_55_either_key_any_of_several_signatures_and_either_case_will_do() {
    let house = House::open().await;
    let body = motion().to_string().into_bytes();
    let (now, before) = (signed_by(KEY, &body), signed_by(PREVIOUS, &body));
    let other = signed_by("another", &body);
    let upper = now.to_uppercase();
    for signatures in [
        vec![now.as_str()],
        vec![&before],
        vec![&upper],
        vec!["nonsense", &other, &before],
        vec![&other, &now],
    ] {
        assert_eq!(house.answers(webhook(&body, &signatures)).await, 200, "{signatures:?}");
        house.has_queued(&body);
    }
    // As the gateway joins headers of one name.
    assert_eq!(house.answers(webhook(&body, &[&format!("{other},{now}")])).await, 200);
    assert_eq!(house.twin.count("GetSecretValue"), 1, "no key had to be looked for");
    for signatures in [
        vec![],
        vec![""],
        vec!["nonsense"],
        vec![&now[7..]],
        vec![other.as_str()],
    ] {
        assert_eq!(house.answers(webhook(&body, &signatures)).await, 401, "{signatures:?}");
    }
    assert_eq!(house.twin.kept().messages.len(), 6, "what is refused is not queued");
}

#[tokio::test]
async fn trap_56_a_body_in_base64_is_verified_and_queued_as_the_bytes_that_were_sent() {
    let house = House::open().await;
    let gateway = |body: &[u8], text: String, in_base64: bool| {
        let sample = include_str!("../../../events/webhook-intake/motion_detected.json");
        let mut event: Value = serde_json::from_str(sample).expect("the sample");
        event["headers"]["x-signature"] = signed_by(KEY, body).into();
        event["body"] = text.into();
        event["isBase64Encoded"] = in_base64.into();
        handed_over(&event.to_string())
    };
    let spaced = br#"{ "data" : {"type": "motion_detected"}, "x": 1.0 }"#;
    let plain = String::from_utf8_lossy(spaced).into_owned();
    assert_eq!(house.answers(gateway(spaced, plain, false)).await, 200);
    house.has_queued(spaced);
    for body in [&spaced[..], b"\xff\x00\xfe", b"", "\u{FFFE} \u{1F511}".as_bytes()] {
        assert_eq!(house.answers(gateway(body, STANDARD.encode(body), true)).await, 200);
        house.has_queued(body);
    }
}

#[tokio::test]
async fn traps_44_45_46_and_58_what_is_signed_is_answered_200_exactly_whatever_it_says() {
    let house = House::open().await;
    let mut unknown = motion();
    unknown["data"]["type"] = json!("package_delivered");
    let mut old = motion();
    old["meta"] = json!({"version": "1.0", "time": "2024-04-07T15:30:45Z", "request_id": "abc123"});
    let mut extra = motion();
    extra["data"]["attributes"]["new"] = json!({"deep": [1, null]});
    let texts = [
        unknown.to_string(),
        old.to_string(),
        extra.to_string(),
        "{\"data\":".to_owned(),
    ];
    let bytes: [&[u8]; 3] = [b"\xff\xfe{\x00}", b"", b"null"];
    for body in texts.iter().map(String::as_bytes).chain(bytes) {
        assert_eq!(house.answers(signed(body)).await, 200, "{body:?}");
        house.has_queued(body);
    }
}

#[tokio::test]
async fn trap_47_and_48_no_event_is_refused_for_its_age() {
    let house = House::open().await;
    for days in [-400, -3, 0, 3] {
        let mut body = motion();
        let time = clock::now() + SignedDuration::from_hours(24 * days);
        body["meta"]["time"] = json!(time.to_string());
        assert_eq!(
            house.answers(signed(body.to_string().as_bytes())).await,
            200,
            "{days} days"
        );
    }
    assert_eq!(house.twin.kept().messages.len(), 4);
}

#[tokio::test]
async fn trap_50_an_event_that_the_queue_did_not_take_is_taken_when_it_comes_again() {
    let house = House::open().await;
    let body = motion().to_string().into_bytes();
    house.twin.kept().queues_are = Mood::Fails;
    assert_eq!(house.answers(signed(&body)).await, 503);
    assert!(house.twin.kept().messages.is_empty());
    house.twin.kept().queues_are = Mood::Well;
    for _ in 0..2 {
        assert_eq!(house.answers(signed(&body)).await, 200);
        house.has_queued(&body);
    }
}

#[tokio::test]
async fn trap_57_a_slow_queue_or_secret_is_a_503_within_3_5_s_and_a_slow_answer_a_200() {
    let house = House::open().await;
    house.twin.kept().queues_are = Mood::Slow(900);
    let (status, took) = house.answers_in(signed(b"{}")).await;
    assert!(
        status == 200 && took < Duration::from_secs(2),
        "{status} after {took:?}"
    );
    house.twin.kept().queues_are = Mood::Hangs;
    let (status, took) = house.answers_in(signed(b"{}")).await;
    assert!(
        status == 503 && took < Duration::from_millis(3_500),
        "{status} after {took:?}"
    );

    // Both at once, and counted from the start of the program.
    let house = House::cold().await;
    house.twin.kept().queues_are = Mood::Hangs;
    house.twin.kept().secrets_are = Mood::Hangs;
    let since = Instant::now();
    house.intake.warm().await;
    let status = house.answers(signed(b"{}")).await;
    let took = since.elapsed();
    assert!(
        status == 503 && took < Duration::from_millis(3_600),
        "{status} after {took:?}"
    );
}

#[tokio::test]
async fn trap_42_a_401_comes_only_after_the_keys_were_read_anew_and_a_503_where_they_cant_be() {
    let house = House::open().await;
    house.twin.keys("a-newer-key", None);
    let body = motion().to_string().into_bytes();
    let newer = signed_by("a-newer-key", &body);
    assert_eq!(
        house.answers(webhook(&body, &[&newer])).await,
        200,
        "the new key makes itself known"
    );
    assert_eq!(house.twin.count("GetSecretValue"), 2);
    // Whoever forges has no second read, and is refused.
    for _ in 0..3 {
        assert_eq!(house.answers(webhook(&body, &[&signed_by("forged", &body)])).await, 401);
    }
    assert_eq!(house.twin.count("GetSecretValue"), 2);

    for mood in [Mood::Fails, Mood::Hangs] {
        let house = House::open().await;
        house.twin.kept().secrets_are = mood;
        for _ in 0..3 {
            let (status, took) = house.answers_in(webhook(&body, &[&newer])).await;
            assert!(
                status == 503 && took < Duration::from_secs(3),
                "{mood:?}: {status} after {took:?}"
            );
        }
        assert_eq!(
            house.answers(signed(&body)).await,
            200,
            "{mood:?}: the keys in memory serve on"
        );
    }

    let house = House::cold().await;
    house.twin.kept().secrets_are = Mood::Fails;
    for signatures in [vec![newer.as_str()], vec![], vec!["nonsense"]] {
        assert_eq!(
            house.answers(webhook(&body, &signatures)).await,
            503,
            "without keys nothing is known"
        );
    }
    house.twin.kept().secrets_are = Mood::Well;
    house.twin.kept().secret = "{}".to_owned();
    assert_eq!(
        house.answers(signed(&body)).await,
        503,
        "nor with a secret that is none"
    );
}

/// The keys, with the time passed in.
struct Keys {
    twin: Twin,
    keys: Secret<SigningKeys, SigningSecret>,
    begun: Timestamp,
}

impl Keys {
    async fn of_now() -> Self {
        let twin = Twin::start(KEY, Some(PREVIOUS)).await;
        let secret = SigningSecret::new(&twin.account(), "signing");
        let keys = Secret::of(secret, Duration::from_secs(300));
        let begun = clock::now();
        assert!(keys.get(begun).await.is_ok());
        Self { twin, keys, begun }
    }

    /// Whether a signature of this key counts so many seconds after the first read.
    async fn verify(&self, key: &str, seconds: i64) -> Result<bool, SecretError> {
        let now = self.begun + SignedDuration::from_secs(seconds);
        let headers = headers(&[&signed_by(key, b"{}")]);
        Ok(self.keys.verify(&headers, b"{}", now).await?.is_ok())
    }
}

#[tokio::test]
async fn a_secret_is_read_anew_at_most_once_in_ten_seconds_whether_or_not_it_can_be_read() {
    let keys = Keys::of_now().await;
    for (second, reads) in [(0, 2), (1, 2), (9, 2), (10, 3), (11, 3), (19, 3), (20, 4)] {
        assert!(!keys.verify("forged", second).await.expect("it can be read"));
        assert_eq!(keys.twin.count("GetSecretValue"), reads, "after {second} s");
    }
    keys.twin.kept().secrets_are = Mood::Fails;
    assert!(keys.verify("forged", 40).await.is_err());
    let reads = keys.twin.count("GetSecretValue");
    for second in 41..50 {
        assert!(keys.verify("forged", second).await.is_err(), "nobody knows");
    }
    assert_eq!(keys.twin.count("GetSecretValue"), reads);
    keys.twin.keys("newer", None);
    keys.twin.kept().secrets_are = Mood::Well;
    assert!(keys.verify("newer", 50).await.expect("it can be read again"));
}

#[tokio::test]
async fn with_keys_in_memory_it_serves_on_for_an_hour_without_secrets_manager_and_no_longer() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let keys = Keys::of_now().await;
        // From here on it is out of reach, and the keys are kept for 5 minutes anyway.
        keys.twin.kept().secrets_are = mood;
        let since = Instant::now();
        for second in [1, 299, 301, 302, 305, 309, 3_599, 3_898] {
            assert!(
                keys.verify(KEY, second).await.expect("it serves on"),
                "{mood:?}, {second} s"
            );
            assert!(
                keys.verify(PREVIOUS, second).await.expect("it serves on"),
                "{mood:?}, {second} s"
            );
        }
        // Three looks, each of half a second at most: in between nobody waits.
        assert!(since.elapsed() < Duration::from_millis(2_500), "{:?}", since.elapsed());
        assert!(keys.verify(KEY, 3_901).await.is_err(), "{mood:?}: no longer");
        keys.twin.kept().secrets_are = Mood::Well;
        assert!(keys.verify(KEY, 3_902).await.expect("it can be read"), "{mood:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_queues_limit_is_in_the_bucket_and_the_quarantine_queue_points_to_it() {
    let house = House::open().await;
    let large = vec![b'7'; 1024 * 1024 + 1];
    // As Base64 it grows by a third.
    let binary = vec![0xFF; 800_000];
    for body in [&large, &binary] {
        assert_eq!(house.answers(signed(body)).await, 200);
        let kept = house.twin.kept();
        let pointer = kept.messages.last().expect("a message");
        assert_eq!(
            (pointer.queue.as_str(), pointer.attributes["reason"].as_str()),
            ("quarantine", "too-large")
        );
        let key = &pointer.attributes["object"];
        assert!(key.starts_with("quarantine/20"), "{key}");
        assert_eq!(&kept.objects[&format!("/media/{key}")], body, "as it came");
    }
    assert_eq!(house.twin.kept().objects.len(), 2);
    assert_eq!(house.answers(signed(&large)).await, 200);
    assert_eq!(house.twin.kept().objects.len(), 2, "a repeat is the same object");
    assert_eq!(
        house.answers(webhook(&large, &[&signed_by("forged", &large)])).await,
        401
    );
    assert_eq!(house.twin.kept().messages.len(), 3, "who forges keeps nothing here");

    // What fits is queued: to the last byte that setting it aside leaves room for.
    for body in [vec![b'7'; 1024 * 1024 - 128], vec![0xFF; 786_000]] {
        assert_eq!(house.answers(signed(&body)).await, 200);
        house.has_queued(&body);
    }
}

#[tokio::test]
async fn a_large_body_that_can_not_be_kept_is_a_503_and_kept_when_it_comes_again() {
    let house = House::open().await;
    let large = vec![b'7'; 1024 * 1024 + 1];
    house.twin.kept().bucket_is = Mood::Fails;
    assert_eq!(house.answers(signed(&large)).await, 503);
    assert!(house.twin.kept().messages.is_empty(), "nothing points to nothing");
    house.twin.kept().bucket_is = Mood::Hangs;
    let (status, took) = house.answers_in(signed(&large)).await;
    assert!(
        status == 503 && took < Duration::from_millis(3_500),
        "{status} after {took:?}"
    );
    house.twin.kept().bucket_is = Mood::Well;
    house.twin.kept().queues_are = Mood::Fails;
    assert_eq!(house.answers(signed(&large)).await, 503);
    house.twin.kept().queues_are = Mood::Well;
    assert_eq!(house.answers(signed(&large)).await, 200);
    let kept = house.twin.kept();
    assert_eq!((kept.objects.len(), kept.messages.len()), (1, 1));
}

#[tokio::test]
async fn one_home_is_one_group_of_the_queue_and_no_account_is_readable_from_it() {
    let house = House::open().await;
    let of = async |account: &str, id: &str| {
        let mut body = motion();
        body["meta"]["account_id"] = json!(account);
        body["data"]["id"] = json!(id);
        assert_eq!(house.answers(signed(body.to_string().as_bytes())).await, 200);
        house.twin.kept().messages.last().expect("a message").group.clone()
    };
    let noisy = of("ava1.ring.account.NOISY", "1").await;
    assert_eq!(noisy, of("ava1.ring.account.NOISY", "2").await);
    assert_ne!(noisy, of("ava1.ring.account.QUIET", "3").await);
    assert!(!noisy.is_empty() && !noisy.contains("NOISY"), "{noisy}");
}
