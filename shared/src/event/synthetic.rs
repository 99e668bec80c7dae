//! The synthetic event: signed and sent as Ring's are, so that all of the way from the public URL to the record is tried, and
//! acted on by nobody. Whoever signs it makes it here, and whoever takes it out of the queue knows it here. The signature is all
//! that lets it in: a mark without one is refused at the door, like anything else. Who sends it needs no key: the intake, which
//! has it, signs such an event for whoever may ask, and nothing else.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::webhook::Webhook;
use serde::{Deserialize, Serialize};
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

/// Asks the intake to sign a synthetic event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The id that the event is to have, and no other has.
    pub sign_synthetic: String,
}

/// A synthetic event that can be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Its body.
    pub body: String,
    /// The value of `X-Signature` for it.
    pub signature: String,
}

/// A synthetic event that is sent now, under an id that no other has: its body, to be signed, and the id of its record.
#[must_use]
pub fn made(id: &str, now: Timestamp) -> (String, EventId) {
    let body = json!({
        "meta": {"version": "1.1", "time": now.to_string(), "request_id": id},
        "data": {"id": id, "type": MARK},
    });
    let body = body.to_string();
    let record = record_of(&body).expect("it has the mark, and names nobody");
    (body, record)
}

/// The id of the record of a synthetic event; `None`: this is none.
#[must_use]
pub fn record_of(body: &str) -> Option<EventId> {
    let webhook = Webhook::parse(body.as_bytes()).ok()?;
    is_synthetic(&webhook).then(|| EventId::of(&webhook, body.as_bytes()))
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
        assert_eq!(record_of(&body).as_ref(), Some(&id));
        assert_eq!(made("one", now()).1, id);
        assert_ne!(made("two", now()).1, id);
    }

    /// Whoever may have synthetic events signed gets nothing else signed, whatever id they name.
    #[test]
    fn no_id_makes_it_another_event() {
        for id in [
            "",
            "\"}, \"data\": {\"type\": \"button_press\"",
            "ava1.ring.account.X",
            "\u{0}\n",
        ] {
            let (body, id) = made(id, now());
            assert_eq!(record_of(&body), Some(id), "{body}");
        }
    }

    #[test]
    fn an_event_of_an_account_or_a_device_is_never_synthetic_nor_is_one_of_rings_words() {
        fn check(change: impl FnOnce(&mut Value)) {
            let mut body: Value = serde_json::from_str(&made("one", now()).0).unwrap();
            change(&mut body);
            assert_eq!(record_of(&body.to_string()), None, "{body}");
        }
        check(|body| body["meta"]["account_id"] = "ava1.ring.account.XXXYYY".into());
        check(|body| body["data"]["attributes"] = json!({"source": "d-1", "source_type": "devices"}));
        check(|body| body["data"]["relationships"] = json!({"devices": {"links": {"self": "/v1/devices/d-1"}}}));
        check(|body| body["data"]["type"] = "motion_detected".into());
        check(|body| body["data"]["type"] = "synthetic".into());
    }
}
