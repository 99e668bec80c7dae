//! One trace from a webhook to its effects, on the stack.

use local::outside::{Home, claim, soon};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;
use uuid::Uuid;

use crate::traps::{among_others, only_device};

#[test]
fn a_webhooks_trace_goes_through_the_queues_to_its_effects() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let policy = json!({"on": {"motion_detected": {}, "button_press": ["snapshot"]}, "duration": 2_000,
                            "audio": false, "notify": true, "privacy_zones": "obscure"});
        let route = format!("/v1/devices/{device}/policy");
        home.call(Method::PUT, &route, Some(&policy))
            .await?
            .must_be(StatusCode::OK, "the policy is set")?;
        let now = clock::now();
        let body = json!({
            "meta": {"version": "1.1", "time": now.to_string(), "request_id": Uuid::new_v4().to_string(),
                     "account_id": home.account},
            "data": {"id": Uuid::new_v4().to_string(), "type": "button_press",
                     "attributes": {"source": device, "source_type": "devices", "timestamp": now.as_millisecond()}}
        });
        // As the queue hands it on: with the context that the intake has sent with it.
        let root = format!(
            "1-{:08x}-{}",
            now.as_second(),
            &Uuid::new_v4().simple().to_string()[..24]
        );
        let context = format!("Root={root};Parent=53995c3f42cd8ad8;Sampled=1");
        let record = json!({"messageId": Uuid::new_v4().to_string(), "body": body.to_string(), "messageAttributes": {},
                            "attributes": {"ApproximateReceiveCount": "1", "AWSTraceHeader": context,
                                           "SentTimestamp": now.as_millisecond().to_string()},
                            "eventSource": "aws:sqs"});
        let answer = stack.invoke("event-processor", &json!({ "Records": [record] })).await?;
        claim(answer["batchItemFailures"] == json!([]), "the event is taken", &answer)?;

        soon("each program on the way names the trace", async || {
            let logs = std::fs::read_to_string(stack.gather_logs().await?).expect("the logs");
            let lines = logs.lines().filter(|line| line.contains(&root));
            let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
            let lines: Vec<_> = lines.filter(|line| line["xray_trace_id"] == root.as_str()).collect();
            let all = ["event-processor", "media-fetch"]
                .iter()
                .all(|program| lines.iter().any(|line| line["service"] == *program));
            Ok(if all { Ok(()) } else { Err(format!("{lines:?}")) })
        })
        .await
    });
}
