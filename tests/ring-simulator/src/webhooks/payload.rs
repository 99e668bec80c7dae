//! The bodies of webhooks (Ring: "Webhook v1.1 Payload Structure" and the page of each event).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::devices::merge;
use crate::ring::segment;

/// An event that is to be told. What is left out is as Ring has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// One of Ring's six, or any other word.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The device's id, known or not; left out: the user's first.
    pub(crate) device: Option<String>,
    /// Motion alone has one; `motion_detected` has `human` where none is given.
    pub(crate) sub_type: Option<String>,
    /// Where the sub-type stands: the documentation and what is seen live differ.
    #[serde(default)]
    pub(crate) sub_type_at: SubTypeAt,
    /// When it happened, in epoch milliseconds; left out: now.
    pub(crate) timestamp: Option<i64>,
    /// `data.id`.
    pub(crate) id: Option<String>,
    /// `meta.request_id`, the same over all attempts.
    pub(crate) request_id: Option<String>,
    /// `meta.version`; in 1.0 there is no account id.
    pub(crate) version: Option<String>,
    /// Merged into `data` (RFC 7396: null removes).
    #[serde(default)]
    pub(crate) data: Map<String, Value>,
    /// Merged into `meta`.
    #[serde(default)]
    pub(crate) meta: Map<String, Value>,
}

/// Where `subType` or `sub_type` stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SubTypeAt {
    /// `data.subType`, as documented.
    #[default]
    Data,
    /// `data.attributes.sub_type`.
    Attributes,
    Both,
    Nowhere,
}

/// The body of an event's webhook.
pub(super) fn body(event: &Event, account: &str, device: &str, request_id: &str, now: Timestamp) -> Value {
    let version = event.version.as_deref().unwrap_or("1.1");
    let timestamp = event.timestamp.unwrap_or_else(|| now.as_millisecond());
    let motion = event.kind == "motion_detected";
    let sub_type = event.sub_type.as_deref().or(motion.then_some("human"));
    let id = event.id.clone().unwrap_or_else(|| {
        // Motion's own format is <device>_<subType>_<timestamp>.
        let what = sub_type.filter(|_| motion).unwrap_or(&event.kind);
        format!("{device}_{what}_{timestamp}")
    });
    let mut body = json!({
        "meta": {
            "version": version,
            "time": nanoseconds(now),
            "request_id": request_id,
            "account_id": account,
        },
        "data": {
            "id": id,
            "type": event.kind,
            "attributes": { "source": device, "source_type": "devices", "timestamp": timestamp },
            "relationships": { "devices": { "links": { "self": format!("/v1/devices/{}", segment(device)) } } },
        },
    });
    if version == "1.0" {
        merge(
            &mut body,
            &json!({ "meta": { "account_id": null }, "data": { "relationships": null } }),
        );
    }
    if let Some(sub_type) = sub_type {
        if matches!(event.sub_type_at, SubTypeAt::Data | SubTypeAt::Both) {
            body["data"]["subType"] = json!(sub_type);
        }
        if matches!(event.sub_type_at, SubTypeAt::Attributes | SubTypeAt::Both) {
            body["data"]["attributes"]["sub_type"] = json!(sub_type);
        }
    }
    merge(&mut body["data"], &Value::Object(event.data.clone()));
    merge(&mut body["meta"], &Value::Object(event.meta.clone()));
    body
}

/// A body as it is sent: `meta` first and with spaces, as the documentation prints it. A receiver that checks the signature over
/// anything but the raw bytes (over what it parsed and wrote anew, say) finds it wrong.
pub(super) fn text(body: &Value) -> String {
    match body.as_object() {
        Some(parts) if parts.len() == 2 && parts.contains_key("meta") && parts.contains_key("data") => {
            format!("{{\"meta\": {}, \"data\": {}}}", body["meta"], body["data"])
        }
        _ => body.to_string(),
    }
}

/// RFC 3339 with all nine digits, as Ring writes `meta.time`.
fn nanoseconds(now: Timestamp) -> String {
    format!("{now:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "ava1.ring.device.A_%b";

    fn event(order: Value) -> Event {
        serde_json::from_value(order).expect("a good event")
    }

    #[test]
    fn the_body_is_the_documented_one() {
        let now: Timestamp = "2026-02-13T13:39:57.200155525Z".parse().expect("a time");
        let event = event(json!({"type": "motion_detected", "timestamp": 1_770_989_995_231_i64}));
        let found = body(
            &event,
            "ava1.ring.account.XXXYYY",
            DEVICE,
            "2ad45ade-1818-4154-813b-afdd8bcd8085",
            now,
        );
        let expected = json!({
            "meta": {
                "version": "1.1",
                "time": "2026-02-13T13:39:57.200155525Z",
                "request_id": "2ad45ade-1818-4154-813b-afdd8bcd8085",
                "account_id": "ava1.ring.account.XXXYYY",
            },
            "data": {
                "id": "ava1.ring.device.A_%b_human_1770989995231",
                "type": "motion_detected",
                "subType": "human",
                "attributes": { "source": DEVICE, "source_type": "devices", "timestamp": 1_770_989_995_231_i64 },
                "relationships": { "devices": { "links": { "self": "/v1/devices/ava1.ring.device.A_%25b" } } },
            },
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn trap_45_version_1_0_has_no_account_and_no_relationships() {
        let found = body(
            &event(json!({"type": "button_press", "version": "1.0"})),
            "a",
            "d",
            "r",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            found["meta"],
            json!({"version": "1.0", "time": "1970-01-01T00:00:00.000000000Z", "request_id": "r"})
        );
        assert!(found["data"].get("relationships").is_none());
        assert_eq!(found["data"]["id"], "d_button_press_0");
    }

    #[test]
    fn trap_54_a_sub_type_stands_where_it_is_ordered() {
        #[track_caller]
        fn check(place: &str, in_data: bool, in_attributes: bool) {
            let order = json!({"type": "motion_detected", "sub_type": "vehicle", "sub_type_at": place});
            let found = body(&event(order), "a", "d", "r", Timestamp::UNIX_EPOCH);
            assert_eq!(found["data"].get("subType").is_some(), in_data, "{place}");
            assert_eq!(
                found["data"]["attributes"].get("sub_type").is_some(),
                in_attributes,
                "{place}"
            );
        }
        check("data", true, false);
        check("attributes", false, true);
        check("both", true, true);
        check("nowhere", false, false);
    }

    #[test]
    fn trap_56_the_text_is_not_what_a_serializer_would_write_again() {
        let value = body(&event(json!({"type": "x"})), "a", "d", "r", Timestamp::UNIX_EPOCH);
        let text = text(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
        assert_ne!(text, value.to_string());
        assert!(text.starts_with("{\"meta\": {"));
    }

    #[test]
    fn what_is_ordered_beside_it_is_merged_and_null_removes() {
        let order =
            json!({"type": "x", "data": {"attributes": {"source": null}, "new": 1}, "meta": {"account_id": "other"}});
        let found = body(&event(order), "a", "d", "r", Timestamp::UNIX_EPOCH);
        assert!(found["data"]["attributes"].get("source").is_none());
        assert_eq!(
            (&found["data"]["new"], &found["meta"]["account_id"]),
            (&json!(1), &json!("other"))
        );
    }
}
