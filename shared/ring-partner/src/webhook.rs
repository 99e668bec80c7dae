//! What a webhook says. Pure: the raw body in, a typed value out.
//!
//! Ring: Notifications, Webhook v1.1 Payload Structure. The documentation has bodies of version 1.0 without an account,
//! ids of more than one form, and one field under two names, and new kinds may come at any time. A body is therefore
//! refused only when it is no JSON or names no type; whatever else can't be used is left out and named in
//! [`Webhook::oddities`].

use std::fmt;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::opaque::opaque_id;
use crate::{AccountId, DeviceId};

opaque_id! {
    /// `meta.request_id`: one for each webhook, repeated when Ring delivers it again. Opaque.
    RequestId
}

/// The longest `data.id` that is taken, in bytes.
const LONGEST_EVENT_ID: usize = 1024;

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `meta.version`: `1.1`, or `1.0` for bodies without an account.
    pub version: Option<String>,
    /// `meta.time`: when Ring made the webhook, with nanoseconds. It is signed, as part of the body.
    pub sent_at: Option<Timestamp>,
    /// `meta.request_id`.
    pub request_id: Option<RequestId>,
    /// `meta.account_id`. Without it the account is to be found by the device.
    pub account_id: Option<AccountId>,
    /// `data.id`, of whatever form: it is compared, never taken apart.
    pub id: Option<String>,
    /// `data.type`.
    pub kind: EventKind,
    /// `data.subType`, or one of the other places where it has been seen.
    pub sub_type: Option<SubType>,
    /// The device it is about: `data.attributes.source`, else the link to the device.
    pub device_id: Option<DeviceId>,
    /// `data.attributes.timestamp`: when it happened.
    pub occurred_at: Option<Timestamp>,
    /// The fields that were there and could not be used, by their paths.
    pub oddities: Vec<&'static str>,
}

/// Why a body can't be read as a webhook at all.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It has no `data.type`, or one that is no text.
    #[error("the body names no event type")]
    NoType,
}

impl Webhook {
    /// Reads a body whose signature has been verified.
    pub fn parse(body: &[u8]) -> Result<Self, WebhookError> {
        let body: Value = serde_json::from_slice(body).map_err(WebhookError::NotJson)?;
        let kind = body
            .pointer("/data/type")
            .and_then(Value::as_str)
            .filter(|kind| !kind.is_empty());
        let kind = EventKind::from(kind.ok_or(WebhookError::NoType)?);
        let mut fields = Fields {
            body: &body,
            oddities: Vec::new(),
        };
        Ok(Self {
            version: fields.read("/meta/version", text),
            sent_at: fields.read("/meta/time", |value| value.as_str()?.parse().ok()),
            request_id: fields.read("/meta/request_id", |value| RequestId::new(value.as_str()?).ok()),
            account_id: fields.read("/meta/account_id", |value| AccountId::new(value.as_str()?).ok()),
            id: fields.read("/data/id", |value| {
                text(value).filter(|id| (1..=LONGEST_EVENT_ID).contains(&id.len()))
            }),
            kind,
            sub_type: fields.sub_type(),
            device_id: fields.device(),
            occurred_at: fields.read("/data/attributes/timestamp", epoch_millis),
            oddities: fields.oddities,
        })
    }
}

struct Fields<'v> {
    body: &'v Value,
    oddities: Vec<&'static str>,
}

impl Fields<'_> {
    /// The field at this path. One that is there and is of no use is noted; `null` counts as not there.
    fn read<T>(&mut self, path: &'static str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.body.pointer(path).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.oddities.push(path);
        }
        read
    }

    /// The documentation has `subType` beside the type; live bodies have been seen with `sub_type` in the attributes.
    fn sub_type(&mut self) -> Option<SubType> {
        [
            "/data/subType",
            "/data/sub_type",
            "/data/attributes/subType",
            "/data/attributes/sub_type",
        ]
        .into_iter()
        .fold(None, |found, path| {
            let sub_type = self.read(path, |value| {
                value.as_str().filter(|word| !word.is_empty()).map(SubType::from)
            });
            found.or(sub_type)
        })
    }

    /// A source of another type than a device is no device id. The link is looked at when the source is of no use.
    fn device(&mut self) -> Option<DeviceId> {
        let of_a_device = self
            .body
            .pointer("/data/attributes/source_type")
            .is_none_or(|kind| kind == "devices");
        let source = of_a_device
            .then(|| self.read("/data/attributes/source", |value| DeviceId::new(value.as_str()?).ok()))
            .flatten();
        source.or_else(|| self.read("/data/relationships/devices/links/self", device_of_link))
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Milliseconds are more than an `i32` holds. A number with a fraction of zero is as good as a whole one.
fn epoch_millis(value: &Value) -> Option<Timestamp> {
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    Timestamp::from_millisecond(value.as_i64().or_else(|| value.as_f64().and_then(whole))?).ok()
}

/// The id in `/v1/devices/<id>`, which is one percent-encoded segment after `devices`.
fn device_of_link(link: &Value) -> Option<DeviceId> {
    let path = link.as_str()?.split(['?', '#']).next()?;
    let mut segments = path.rsplit('/');
    let id = segments.next()?;
    if segments.next()? != "devices" {
        return None;
    }
    DeviceId::new(percent_decode_str(id).decode_utf8().ok()?).ok()
}

/// Declares an open list of Ring's words: those that are documented by name, and any other as a value.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that Ring's documentation does not list.
            Other(String),
        }

        impl $name {
            /// Ring's word for it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                Self::from(word.as_str())
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What happened. Ring: Notifications, Event Types.
    EventKind {
        /// A camera saw motion; its [`SubType`] says of what.
        MotionDetected = "motion_detected",
        /// A doorbell was pressed.
        ButtonPress = "button_press",
        /// A device came within the partner's reach.
        DeviceAdded = "device_added",
        /// A device went out of the partner's reach.
        DeviceRemoved = "device_removed",
        /// A device has a connection again.
        DeviceOnline = "device_online",
        /// A device lost its connection.
        DeviceOffline = "device_offline",
        /// A user removed the integration. Not in the documentation, and sent nevertheless.
        AppIntegrationRemoved = "app_integration_removed",
    }
}

words! {
    /// What moved. Ring: Motion Detection, Valid subType values.
    SubType {
        /// Motion of no further description.
        Motion = "motion",
        /// A person.
        Human = "human",
        /// A vehicle.
        Vehicle = "vehicle",
        /// An animal.
        Animal = "animal",
        /// Motion that could not be put into a category.
        OtherMotion = "other_motion",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Ring's six samples, as the documentation has them.
    const SAMPLES: [(&str, EventKind, &str, i64); 6] = [
        (
            include_str!("../tests/samples/webhooks/motion_detected.json"),
            EventKind::MotionDetected,
            "<device_id>_human_<timestamp>",
            1_770_989_995_231,
        ),
        (
            include_str!("../tests/samples/webhooks/button_press.json"),
            EventKind::ButtonPress,
            "<device_id>_button_press_<timestamp>",
            1_771_027_372_393,
        ),
        (
            include_str!("../tests/samples/webhooks/device_added.json"),
            EventKind::DeviceAdded,
            "<device_id>_device_added_<timestamp>",
            1_770_985_219_558,
        ),
        (
            include_str!("../tests/samples/webhooks/device_removed.json"),
            EventKind::DeviceRemoved,
            "<device_id>_device_removed_<timestamp>",
            1_771_010_883_164,
        ),
        (
            include_str!("../tests/samples/webhooks/device_online.json"),
            EventKind::DeviceOnline,
            "<device_id>_device_online_<timestamp>",
            1_771_025_567_000,
        ),
        (
            include_str!("../tests/samples/webhooks/device_offline.json"),
            EventKind::DeviceOffline,
            "<device_id>_device_offline_<timestamp>",
            1_771_025_206_000,
        ),
    ];

    fn parse(body: &Value) -> Webhook {
        Webhook::parse(body.to_string().as_bytes()).unwrap()
    }

    /// The motion sample, changed.
    fn motion(change: impl FnOnce(&mut Value)) -> Webhook {
        let mut body = serde_json::from_str(SAMPLES[0].0).unwrap();
        change(&mut body);
        parse(&body)
    }

    #[test]
    fn each_of_rings_samples_is_read_whole() {
        for (body, kind, id, occurred_at) in SAMPLES {
            let webhook = Webhook::parse(body.as_bytes()).unwrap();
            assert_eq!(webhook.kind, kind);
            assert_eq!(webhook.id.as_deref(), Some(id));
            assert_eq!(webhook.version.as_deref(), Some("1.1"));
            assert_eq!(webhook.account_id.unwrap().as_str(), "ava1.ring.account.XXXYYY");
            assert_eq!(webhook.device_id.unwrap().as_str(), "<device_id>");
            assert_eq!(webhook.occurred_at.unwrap().as_millisecond(), occurred_at);
            assert_eq!(
                webhook.sub_type,
                (kind == EventKind::MotionDetected).then_some(SubType::Human)
            );
            assert_eq!(webhook.request_id.unwrap().as_str().len(), 36);
            assert_eq!(webhook.oddities, [""; 0]);
        }
    }

    #[test]
    fn trap_61_nanoseconds_and_large_milliseconds_are_kept() {
        let webhook = motion(|_| ());
        assert_eq!(webhook.sent_at.unwrap().to_string(), "2026-02-13T13:39:57.200155525Z");
        assert_eq!(webhook.occurred_at.unwrap().to_string(), "2026-02-13T13:39:55.231Z");
    }

    #[test]
    fn trap_45_a_body_of_version_1_0_has_no_account() {
        // Ring: API Use Cases, Smart Home Integration.
        let webhook = parse(&json!({
            "meta": {"version": "1.0", "time": "2024-04-07T15:30:45Z", "request_id": "abc123"},
            "data": {
                "id": "event123",
                "type": "motion_detected",
                "attributes": {"source": "device123", "source_type": "devices", "timestamp": 1_699_457_230_000_i64}
            }
        }));
        assert_eq!(webhook.version.as_deref(), Some("1.0"));
        assert_eq!(webhook.account_id, None);
        assert_eq!(webhook.device_id.unwrap().as_str(), "device123");
        assert_eq!(webhook.sub_type, None);
        assert_eq!(webhook.oddities, [""; 0]);
    }

    #[test]
    fn trap_44_an_unknown_kind_is_a_value() {
        let webhook = motion(|body| body["data"]["type"] = json!("package_delivered"));
        assert_eq!(webhook.kind, EventKind::Other("package_delivered".to_owned()));
        assert_eq!(webhook.kind.to_string(), "package_delivered");
        let removed = motion(|body| body["data"]["type"] = json!("app_integration_removed"));
        assert_eq!(removed.kind, EventKind::AppIntegrationRemoved);
    }

    #[test]
    fn trap_46_only_no_json_and_no_type_are_errors() {
        for body in [&b""[..], b"{", b"\xff\xfe", b"{\"data\":{\"type\":\"a\"}} x"] {
            assert!(matches!(Webhook::parse(body), Err(WebhookError::NotJson(_))));
        }
        for body in [
            json!(null),
            json!([]),
            json!("motion_detected"),
            json!({}),
            json!({"data": []}),
            json!({"data": {"type": 7}}),
            json!({"data": {"type": ""}}),
        ] {
            let result = Webhook::parse(body.to_string().as_bytes());
            assert!(matches!(result, Err(WebhookError::NoType)), "{body}");
        }
        let bare = parse(&json!({"data": {"type": "button_press"}}));
        assert_eq!(bare.kind, EventKind::ButtonPress);
        assert_eq!(
            (bare.id, bare.device_id, bare.request_id, bare.oddities),
            (None, None, None, vec![])
        );
    }

    #[test]
    fn trap_54_accepts_both_spellings_of_sub_type_in_both_places() {
        let check = |data: Value, expected: Option<&str>| {
            let webhook = motion(|body| {
                body["data"].as_object_mut().unwrap().remove("subType");
                for (name, value) in data.as_object().unwrap() {
                    match name.strip_prefix("attributes.") {
                        Some(name) => body["data"]["attributes"][name] = value.clone(),
                        None => body["data"][name] = value.clone(),
                    }
                }
            });
            assert_eq!(webhook.sub_type.as_ref().map(SubType::as_str), expected, "{data}");
        };
        check(json!({}), None);
        for place in ["subType", "sub_type", "attributes.subType", "attributes.sub_type"] {
            for word in ["motion", "human", "vehicle", "animal", "other_motion", "package"] {
                check(json!({place: word}), Some(word));
            }
        }
        check(
            json!({"subType": "human", "attributes.sub_type": "vehicle"}),
            Some("human"),
        );
        check(
            json!({"subType": null, "attributes.sub_type": "vehicle"}),
            Some("vehicle"),
        );
        check(json!({"subType": 3, "attributes.sub_type": "vehicle"}), Some("vehicle"));
        assert!(!matches!(SubType::from("other_motion"), SubType::Other(_)));
        assert_eq!(SubType::from("Human"), SubType::Other("Human".to_owned()));
    }

    #[test]
    fn traps_51_and_52_an_id_of_whatever_form_is_kept_as_it_is() {
        for id in [
            "<device_id>_human_<timestamp>",
            "<device_id>_motion_detected_1",
            "event123",
            "a b/ü",
            "___",
        ] {
            assert_eq!(motion(|body| body["data"]["id"] = json!(id)).id.as_deref(), Some(id));
        }
        for (id, odd) in [
            (json!(null), false),
            (json!(""), true),
            (json!(7), true),
            (json!("x".repeat(1025)), true),
        ] {
            let webhook = motion(|body| body["data"]["id"] = id.clone());
            assert_eq!(webhook.id, None);
            assert_eq!(webhook.oddities, if odd { vec!["/data/id"] } else { vec![] }, "{id}");
            assert_eq!(
                webhook.request_id.unwrap().as_str(),
                "2ad45ade-1818-4154-813b-afdd8bcd8085"
            );
        }
    }

    #[test]
    fn trap_53_a_device_is_its_source_else_the_end_of_its_link() {
        let check = |source: Value, link: Value, expected: Option<&str>| {
            let webhook = motion(|body| {
                body["data"]["attributes"]["source"] = source.clone();
                body["data"]["relationships"]["devices"]["links"]["self"] = link.clone();
            });
            assert_eq!(
                webhook.device_id.as_ref().map(DeviceId::as_str),
                expected,
                "{source} {link}"
            );
        };
        check(
            json!("ava1.ring.device.A_b.c"),
            json!("/v1/devices/other"),
            Some("ava1.ring.device.A_b.c"),
        );
        check(json!(null), json!("/v1/devices/a%2Fb%20c_d.e"), Some("a/b c_d.e"));
        check(
            json!(7),
            json!("https://api.amazonvision.com/v1/devices/x?y=/z#/w"),
            Some("x"),
        );
        check(json!(""), json!("/v1/devices/x"), Some("x"));
        check(json!(null), json!("/v1/devices"), None);
        check(json!(null), json!("/v1/devices/"), None);
        check(json!(null), json!("/v1/devices/x/status"), None);
        check(json!(null), json!("/v1/devices/%ff"), None);
        check(json!(null), json!("/v1/devices/.."), None);
        check(json!(null), json!(null), None);
    }

    #[test]
    fn a_source_that_is_no_device_is_not_taken_for_one() {
        let webhook = motion(|body| {
            body["data"]["attributes"]["source_type"] = json!("accounts");
            body["data"]["attributes"]["source"] = json!("ava1.ring.account.XXXYYY");
            body["data"].as_object_mut().unwrap().remove("relationships");
        });
        assert_eq!(webhook.device_id, None);
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_named() {
        let webhook = motion(|body| {
            body["meta"] = json!({"version": 1.1, "time": "yesterday", "request_id": [], "account_id": {}});
            body["data"]["subType"] = json!(false);
            body["data"]["attributes"] = json!({"source": 1, "timestamp": "1770989995231"});
        });
        assert_eq!(
            webhook.oddities,
            [
                "/meta/version",
                "/meta/time",
                "/meta/request_id",
                "/meta/account_id",
                "/data/subType",
                "/data/attributes/source",
                "/data/attributes/timestamp",
            ]
        );
        assert_eq!(webhook.device_id.unwrap().as_str(), "<device_id>");
        assert_eq!(
            (webhook.sent_at, webhook.occurred_at, webhook.account_id),
            (None, None, None)
        );
    }

    #[test]
    fn a_time_is_whole_milliseconds_that_an_instant_can_have() {
        let check = |timestamp: Value, expected: Option<i64>| {
            let webhook = motion(|body| body["data"]["attributes"]["timestamp"] = timestamp.clone());
            assert_eq!(
                webhook.occurred_at.map(Timestamp::as_millisecond),
                expected,
                "{timestamp}"
            );
        };
        check(json!(1_770_989_995_231_i64), Some(1_770_989_995_231));
        check(json!(1_770_989_995_231.0), Some(1_770_989_995_231));
        check(json!(0), Some(0));
        check(json!(1.5), None);
        check(json!(i64::MAX), None);
        check(json!(u64::MAX), None);
        check(json!(1e300), None);
    }

    #[test]
    fn words_survive_being_stored() {
        for word in ["motion_detected", "device_removed", "package_delivered"] {
            let kind = EventKind::from(word);
            let stored = serde_json::to_string(&kind).unwrap();
            assert_eq!(stored, format!("{word:?}"));
            assert_eq!(serde_json::from_str::<EventKind>(&stored).unwrap(), kind);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("2026-02-13T13:39:57.200155525Z")),
        ];
        leaf.prop_recursive(5, 48, 6, |inner| {
            let names = prop::sample::select(vec![
                "meta",
                "data",
                "attributes",
                "relationships",
                "devices",
                "links",
                "self",
                "type",
                "subType",
                "sub_type",
                "source",
                "source_type",
                "timestamp",
                "time",
                "id",
                "account_id",
                "request_id",
                "version",
            ]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..6).prop_map(|fields| {
                    Value::Object(
                        fields
                            .into_iter()
                            .map(|(name, value)| (name.to_owned(), value))
                            .collect(),
                    )
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(body in any::<Vec<u8>>()) {
            let _ = Webhook::parse(&body);
        }

        #[test]
        fn any_json_with_a_type_is_a_webhook(mut body in any_json(), kind in ".{1,20}") {
            if !body.is_object() {
                body = json!({});
            }
            if !body["data"].is_object() {
                body["data"] = json!({});
            }
            body["data"]["type"] = json!(kind);
            prop_assert_eq!(parse(&body).kind, EventKind::from(kind.as_str()));
        }
    }
}
