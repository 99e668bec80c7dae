//! The synthetic event: signed and sent as Ring's are, so that all of the way from the public URL to the record is tried, and
//! acted on by nobody. Whoever sends it makes it here, and whoever takes it out of the queue knows it here. The signature is all
//! that lets it in: a mark without one is refused at the door, like anything else.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::webhook::Webhook;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::EventId;
use super::ports::Records;
use crate::edge::table::StoreError;

/// The mark, in the place of Ring's word for what happened. Ring's words are of letters and underscores.
pub const MARK: &str = "ring-partner-backend/synthetic";
/// For how long its record is kept: whoever sent it has looked long before that.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long the record is waited for. Whoever waits in a function has a longer time-out in the template.
pub const RECORDED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked for.
const LOOK_EACH: Duration = Duration::from_millis(500);

/// A synthetic event that is sent now, under an id that no other has: its body, to be signed, and the id of its record.
#[must_use]
pub fn made(id: &str, now: Timestamp) -> (Vec<u8>, EventId) {
    let body = json!({
        "meta": {"version": "1.1", "time": now.to_string(), "request_id": id},
        "data": {"id": id, "type": MARK},
    });
    let body = body.to_string().into_bytes();
    let webhook = Webhook::parse(&body).expect("it is JSON and names its type");
    let id = EventId::of(&webhook, &body);
    (body, id)
}

/// Whether the record of one that was taken comes in time.
pub async fn is_recorded(records: &impl Records, id: &EventId) -> Result<bool, StoreError> {
    let since = Instant::now();
    while since.elapsed() < RECORDED_WITHIN {
        if records.get(id).await?.is_some() {
            return Ok(true);
        }
        sleep(LOOK_EACH).await;
    }
    Ok(false)
}

/// Whether this is one: it bears the mark, and is of no account and no device. What names either is Ring's, whatever it is called.
#[must_use]
pub fn is_synthetic(webhook: &Webhook) -> bool {
    webhook.kind.as_str() == MARK && webhook.account_id.is_none() && webhook.device_id.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millisecond(1_770_000_000_123).unwrap()
    }

    #[test]
    fn what_is_made_is_known_and_each_has_a_record_of_its_own() {
        let (body, id) = made("one", now());
        assert!(is_synthetic(&Webhook::parse(&body).unwrap()));
        assert_eq!(made("one", now()).1, id);
        assert_ne!(made("two", now()).1, id);
    }

    #[test]
    fn an_event_of_an_account_or_a_device_is_never_synthetic_nor_is_one_of_rings_words() {
        fn check(change: impl FnOnce(&mut Value)) {
            let mut body: Value = serde_json::from_slice(&made("one", now()).0).unwrap();
            change(&mut body);
            assert!(
                !is_synthetic(&Webhook::parse(body.to_string().as_bytes()).unwrap()),
                "{body}"
            );
        }
        check(|body| body["meta"]["account_id"] = "ava1.ring.account.XXXYYY".into());
        check(|body| body["data"]["attributes"] = json!({"source": "d-1", "source_type": "devices"}));
        check(|body| body["data"]["relationships"] = json!({"devices": {"links": {"self": "/v1/devices/d-1"}}}));
        check(|body| body["data"]["type"] = "motion_detected".into());
        check(|body| body["data"]["type"] = "synthetic".into());
    }
}
