//! Ring's side of events: what it tells, in which bodies, and how often it tries.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::signature::SigningKey;
use serde_json::json;
use shared::world::Nature as _;
use tokio::time::{sleep, timeout};

use crate::house::{House, SIGNING_KEY};

/// When Ring tries, in seconds after the end of the attempt before. Ring: Webhook Response Handling.
const SCHEDULE_SECONDS: [u64; 7] = [0, 1, 5, 30, 120, 600, 3_600];
/// How long Ring waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The key that Ring's is changed to.
const NEXT_KEY: &str = "the next key of a simulated Ring";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// Whose device it is.
    pub account: String,
    /// The device.
    pub device: String,
    /// Ring's word for it.
    pub kind: &'static str,
    /// When, in epoch milliseconds: no two events of a device share one.
    pub at: i64,
    /// Its body does not name the account, as those of the older form.
    pub is_old_form: bool,
}

impl Event {
    /// A body that tells it, under this request. `said` differs where the body says something else.
    #[must_use]
    pub fn body(&self, request: u64, said: u64, now: Timestamp) -> Vec<u8> {
        let mut body = json!({
            "meta": { "version": "1.1", "time": now.to_string(), "request_id": format!("request-{request}"),
                      "account_id": self.account },
            "data": { "id": format!("{}_{}_{}", self.device, self.kind, self.at), "type": self.kind, "said": said,
                      "attributes": { "source": self.device, "source_type": "devices", "timestamp": self.at } },
        });
        if self.is_old_form {
            body["meta"]["version"] = json!("1.0");
            body["meta"]["account_id"] = json!(null);
        }
        body.to_string().into_bytes()
    }
}

/// The key that Ring signs webhooks with, and what our secret says of it.
#[derive(Clone, Debug)]
pub struct Signing {
    key: &'static str,
    /// The string of the secret.
    pub secret: String,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            key: SIGNING_KEY,
            secret: json!({ "hmac_signing_key": SIGNING_KEY }).to_string(),
        }
    }
}

impl Signing {
    /// The key that Ring signs with now.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        SigningKey::new(self.key).expect("it is not empty")
    }
}

/// The key is changed as it should be: both are in the secret, then Ring signs with the new one. The old one stays until nothing
/// comes any more that is signed with it.
pub async fn change_key(house: &House) {
    let both = json!({ "hmac_signing_key": NEXT_KEY, "hmac_signing_key_previous": SIGNING_KEY });
    house.world.all().signing.secret = both.to_string();
    // Whoever has read the secret a moment ago may not read it again for ten seconds.
    sleep(Duration::from_secs(15)).await;
    house.world.all().signing.key = NEXT_KEY;
}

/// The old key goes.
pub fn forget_old_key(house: &House) {
    house.world.all().signing.secret = json!({ "hmac_signing_key": NEXT_KEY }).to_string();
}

/// What a delivery came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// How often Ring tried.
    pub attempts: u64,
    /// We have said that we have it.
    pub is_acknowledged: bool,
    /// We have said that we never will.
    pub is_refused: bool,
}

/// Delivers a body as Ring does, signed with its key. One process of `killed_in` dies; 0: none.
pub async fn deliver(house: &House, body: &[u8], killed_in: u64) -> Delivered {
    deliver_signed(house, body, None, killed_in).await
}

/// The same, signed with this key; `None`: with the one that is Ring's when it begins. What is sent again is signed as it was.
pub async fn deliver_signed(house: &House, body: &[u8], key: Option<&SigningKey>, killed_in: u64) -> Delivered {
    let mut delivered = Delivered::default();
    let key = key.cloned().unwrap_or_else(|| house.world.all().signing.key());
    for pause in SCHEDULE_SECONDS {
        sleep(Duration::from_secs(pause)).await;
        delivered.attempts += 1;
        let door = house.door();
        let random = house.world.random();
        if killed_in > 0 && random.is_multiple_of(u128::from(killed_in)) {
            let (doomed, after) = (door.process.clone(), Duration::from_millis((random >> 64) as u64 % 100));
            tokio::spawn(async move {
                sleep(after).await;
                doomed.kill();
            });
        }
        let answer = timeout(PATIENCE, door.post(&key, body)).await;
        // One that has died, or hangs, is not asked again.
        if let Ok(Some(status)) = answer {
            house.waits(door);
            match status {
                200..=299 => {
                    delivered.is_acknowledged = true;
                    return delivered;
                }
                100..=499 => {
                    delivered.is_refused = true;
                    return delivered;
                }
                _ => {}
            }
        }
    }
    delivered
}
