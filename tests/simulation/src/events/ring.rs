//! Ring's side of events: what it tells, in which bodies, and how often it tries.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shared::world::Nature as _;
use tokio::time::{sleep, timeout};

use crate::house::House;

/// When Ring tries, in seconds after the end of the attempt before. Ring: Webhook Response Handling.
const SCHEDULE_SECONDS: [u64; 7] = [0, 1, 5, 30, 120, 600, 3_600];
/// How long Ring waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Delivers a body as Ring does, the intake each time in a process of its own. One of `killed_in` dies; 0: none.
pub async fn deliver(house: &House, body: &[u8], killed_in: u64) -> Delivered {
    let mut delivered = Delivered::default();
    for pause in SCHEDULE_SECONDS {
        sleep(Duration::from_secs(pause)).await;
        delivered.attempts += 1;
        let process = house.world.process();
        let random = house.world.random();
        if killed_in > 0 && random.is_multiple_of(u128::from(killed_in)) {
            let (doomed, after) = (process.clone(), Duration::from_millis((random >> 64) as u64 % 100));
            tokio::spawn(async move {
                sleep(after).await;
                doomed.kill();
            });
        }
        match timeout(PATIENCE, process.run(house.intake(&process, body))).await {
            Ok(Some(200..=299)) => {
                delivered.is_acknowledged = true;
                return delivered;
            }
            Ok(Some(100..=499)) => {
                delivered.is_refused = true;
                return delivered;
            }
            _ => {}
        }
    }
    delivered
}
