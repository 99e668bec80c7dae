//! Media that come hard: too slowly for one go, without their end, or with a word of Ring's that nobody may lose; and media that
//! are deleted by somebody who dies over it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use local::outside::{Home, rows_about, soon};
use local::{Failure, Stack};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;
use shared::media::MediumId;
use shared::media::store::Media;

use crate::grants::{set, set_back};
use crate::traps::{Held, alone, among_others, only_device, over, text};

/// What `media-fetch` makes of a message with this body.
pub(crate) async fn message_comes(stack: &Stack, body: &Value) -> Held {
    let record = json!({
        "messageId": uuid::Uuid::new_v4().to_string(),
        "receiptHandle": "none",
        "body": body.to_string(),
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    });
    let answer = stack.invoke("media-fetch", &json!({ "Records": [record] })).await?;
    assert_eq!(answer, json!({ "batchItemFailures": [] }), "{body}");
    Ok(())
}

/// A doorbell that recorded from `start` on for so many milliseconds.
async fn doorbell(stack: &Stack, start: i64, length: i64) -> Result<(Home<'_>, String), Failure> {
    let footage = json!([{ "start": start, "end": start + length }]);
    let home = Home::linked(stack, &json!([{ "preset": "doorbell", "footage": footage }])).await?;
    let device = only_device(&home).await?;
    Ok((home, device))
}

async fn medium(home: &Home<'_>, id: &str) -> Result<Value, Failure> {
    let answer = home.call(Method::GET, &format!("/v1/media/{id}"), None).await?;
    Ok(answer.must_be(StatusCode::OK, "the medium can be asked for")?.body)
}

async fn is_there(url: &Value) -> bool {
    let answer = reqwest::get(text(url)).await.expect("the bucket answers");
    answer.status().is_success()
}

fn window(timestamp: i64, duration: i64) -> Value {
    json!({ "timestamp": timestamp, "duration": duration })
}

/// An hour ago, in epoch milliseconds: what was recorded then is not on its way any more.
fn an_hour_ago() -> i64 {
    clock::now().as_millisecond() - 3_600_000
}

#[test]
fn a_source_that_is_too_slow_for_one_go_is_asked_for_in_halves_which_are_the_clip() {
    alone(async |stack| {
        let start = an_hour_ago();
        let (home, device) = doorbell(stack, start - 1_000, 60_000).await?;
        // It comes all along, and takes four seconds: each of its halves comes at once.
        let slow = json!({ "path": format!("/v1/devices/{device}/media/video/*"), "do": "drip", "bytes": 2_000, "delay_ms": 100 });
        stack.ring().order(Method::POST, "faults", Some(&slow)).await?;
        let right = set(stack, "media-fetch", &[("FETCH_SECONDS", "2")]).await;
        let fetched = over(&home, &device, "clips", &window(start, 10_000)).await;
        set_back(stack, "media-fetch", &right).await;
        let clip = fetched?;
        assert_eq!(
            (&clip["state"], &clip["reason"]),
            (&json!("stored"), &json!(null)),
            "{clip}"
        );
        assert_eq!(
            (&clip["partial"], &clip["actual"]),
            (&json!(false), &window(start, 10_000))
        );
        let parts = clip["parts"].as_array().expect("parts");
        let asked: Vec<_> = parts.iter().map(|part| part["requested"].clone()).collect();
        assert_eq!(asked, [window(start, 5_000), window(start + 5_000, 5_000)], "{clip}");
        for part in parts {
            assert_eq!(part["requested"], part["actual"], "{part}");
            assert!(is_there(&part["url"]).await);
        }
        assert_eq!(clip["sha256"], parts[0]["sha256"]);

        let route = format!("/v1/media/{}", text(&clip["id"]));
        home.call(Method::DELETE, &route, None)
            .await?
            .must_be(StatusCode::NO_CONTENT, "it is deleted")?;
        for part in parts.iter().chain([&json!({ "url": clip["thumbnail"] })]) {
            assert!(!is_there(&part["url"]).await, "nothing is left: {part}");
        }
        Ok(())
    });
}

#[test]
fn trap_104_the_end_that_a_part_lacks_is_asked_for_once_more_and_joined_to_it() {
    among_others(async |stack| {
        let start = an_hour_ago();
        let (home, device) = doorbell(stack, start, 5_000).await?;
        let clip = over(&home, &device, "clips", &window(start, 10_000)).await?;
        let id = text(&clip["id"]);
        assert_eq!(
            (&clip["partial"], &clip["actual"]),
            (&json!(true), &window(start, 5_000)),
            "{clip}"
        );
        assert_eq!(clip["parts"], json!([]), "it is one object");

        // Ring has the rest by now.
        let footage = json!({ "footage": [{ "start": start, "end": start + 60_000 }] });
        let path = format!("users/{}/devices/{device}", home.account);
        stack.ring().order(Method::PATCH, &path, Some(&footage)).await?;
        message_comes(stack, &json!({ "tail_of": id })).await?;
        let joined = medium(&home, id).await?;
        assert_eq!(
            (&joined["partial"], &joined["actual"]),
            (&json!(false), &window(start, 10_000)),
            "{joined}"
        );
        let asked: Vec<_> = joined["parts"]
            .as_array()
            .expect("parts")
            .iter()
            .map(|part| &part["actual"])
            .collect();
        assert_eq!(asked, [&window(start, 5_000), &window(start + 5_000, 5_000)]);
        assert_eq!(joined["sha256"], clip["sha256"], "what was there is there still");

        // The message comes again, and finds nothing to do.
        let downloads = async || -> Result<usize, Failure> {
            let path = format!("journal?path=*/media/video/download&device={device}");
            let journal = stack.ring().order(Method::GET, &path, None).await?;
            Ok(journal["items"].as_array().map_or(0, Vec::len))
        };
        assert_eq!(downloads().await?, 2);
        message_comes(stack, &json!({ "tail_of": id })).await?;
        assert_eq!(downloads().await?, 2);
        Ok(())
    });
}

#[test]
fn trap_104_an_end_that_ring_never_had_is_asked_for_once_and_the_part_stays_a_part() {
    among_others(async |stack| {
        let start = an_hour_ago();
        let (home, device) = doorbell(stack, start, 5_000).await?;
        let clip = over(&home, &device, "clips", &window(start, 10_000)).await?;
        let tail = json!({ "tail_of": clip["id"] });
        message_comes(stack, &tail).await?;
        message_comes(stack, &tail).await?;
        let after = medium(&home, text(&clip["id"])).await?;
        assert_eq!(
            (&after["partial"], &after["actual"]),
            (&json!(true), &window(start, 5_000))
        );
        let path = format!("journal?path=*/media/video/download&device={device}");
        let journal = stack.ring().order(Method::GET, &path, None).await?;
        assert_eq!(journal["items"].as_array().map(Vec::len), Some(2));
        Ok(())
    });
}

#[test]
fn rings_ids_of_what_it_refused_are_kept_with_the_medium_and_in_the_log() {
    among_others(async |stack| {
        let start = an_hour_ago();
        let (home, device) = doorbell(stack, start, 60_000).await?;
        let (request_id, error_id) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
        let refused = json!({
            "path": format!("/v1/devices/{device}/media/video/*"), "do": "answer", "status": 422,
            "headers": { "x-request-id": request_id },
            "body": { "errors": [{ "id": error_id, "status": "422", "code": "INVALID_PAYLOAD" }] },
        });
        stack.ring().order(Method::POST, "faults", Some(&refused)).await?;
        let clip = over(&home, &device, "clips", &window(start, 5_000)).await?;
        assert_eq!(
            (&clip["state"], &clip["reason"]),
            (&json!("failed"), &json!("INVALID_PAYLOAD"))
        );
        assert_eq!(text(&clip["ring_request_id"]), request_id);
        let rows = rows_about(stack, "media", text(&clip["id"])).await?;
        let row = format!("{rows:?}");
        assert!(row.contains(&request_id) && row.contains(&error_id), "{row}");
        soon("the log has both", async || {
            let log = stack.gather_logs().await?;
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let said = log
                .lines()
                .any(|line| line.contains(&request_id) && line.contains(&error_id));
            Ok(if said { Ok(()) } else { Err("it does not".to_owned()) })
        })
        .await?;
        // Asked for anew, it comes, and has the id of the answer that brought it.
        let anew = over(&home, &device, "clips", &window(start, 5_000)).await?;
        assert_eq!(anew["state"], "stored");
        assert_ne!(text(&anew["ring_request_id"]), request_id);
        Ok(())
    });
}

#[test]
fn a_medium_whose_deleting_was_left_half_way_leaves_nothing_in_the_bucket() {
    among_others(async |stack| {
        let start = an_hour_ago();
        let (home, device) = doorbell(stack, start, 60_000).await?;
        let clip = over(&home, &device, "clips", &window(start, 5_000)).await?;
        let media = Media::new(&stack.aws().config, &stack.outputs().tables["media"]);
        let id = MediumId::from(text(&clip["id"]).to_owned());
        let kept = media.get(&id).await.expect("the table answers").expect("it is there");
        // As somebody leaves it who dies before the objects are gone, an hour ago.
        let deleted = media.delete(&kept, clock::now() - SignedDuration::from_hours(1)).await;
        deleted.expect("the table takes it");
        let route = format!("/v1/media/{}", text(&clip["id"]));
        home.call(Method::GET, &route, None)
            .await?
            .must_be(StatusCode::NOT_FOUND, "it is gone")?;
        assert!(is_there(&clip["url"]).await);
        message_comes(stack, &json!({ "sweep": "due" })).await?;
        assert!(!is_there(&clip["url"]).await && !is_there(&clip["thumbnail"]).await);
        assert!(
            rows_about(stack, "media", text(&clip["id"])).await?.is_empty(),
            "nor a row"
        );
        Ok(())
    });
}

#[test]
fn a_medium_whose_time_is_up_is_hidden_and_may_be_asked_for_anew() {
    among_others(async |stack| {
        let start = an_hour_ago();
        let (home, device) = doorbell(stack, start, 60_000).await?;
        let clip = over(&home, &device, "clips", &window(start, 5_000)).await?;
        let table = &stack.outputs().tables["media"];
        let media = Media::new(&stack.aws().config, table).forgetting_after(2);
        let id = MediumId::from(text(&clip["id"]).to_owned());
        let kept = media.get(&id).await.expect("the table answers").expect("it is there");

        // The bucket's rule goes by the tag, on the file and on what lies beside it.
        let bucket = stack.output("MediaBucketName")?;
        let key = kept.object_key();
        for key in [key.clone(), shared::media::archive::thumbnail_key(&key)] {
            let tags = stack.aws().objects.get_object_tagging().bucket(bucket).key(&key);
            let tags = tags.send().await.unwrap_or_else(|error| panic!("{key}: {error:?}"));
            let tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
            assert_eq!(tags, [("kept-for", "media-retention")], "{key}");
        }

        // What is over is kept for two days from then on.
        media.keep(&kept).await.expect("it is kept");
        let ends = |row: &HashMap<String, AttributeValue>| row.get("expires_at").cloned();
        let rows = rows_about(stack, "media", id.as_str()).await?;
        let Some(AttributeValue::N(ends)) = rows.iter().find_map(ends) else {
            panic!("{rows:?}");
        };
        let left = ends.parse::<i64>().expect("a number") - clock::now().as_second();
        assert!((172_700..=172_800).contains(&left), "{left} s");

        // DynamoDB has not taken it away yet.
        let up = stack.aws().tables.update_item().table_name(table);
        let up = up
            .key("pk", AttributeValue::S(id.as_str().to_owned()))
            .key("sk", AttributeValue::S("medium".to_owned()))
            .update_expression("SET expires_at = :past")
            .expression_attribute_values(":past", AttributeValue::N((clock::now().as_second() - 1).to_string()));
        up.send().await.expect("its time is up");
        let route = format!("/v1/media/{}", id.as_str());
        let hidden = home.call(Method::GET, &route, None).await?;
        hidden.must_be(StatusCode::NOT_FOUND, "it is hidden")?;
        let listed = home
            .call(Method::GET, &format!("/v1/devices/{device}/media"), None)
            .await?;
        assert_eq!(listed.body["items"], json!([]), "{}", listed.body);

        let anew = over(&home, &device, "clips", &window(start, 5_000)).await?;
        assert_eq!((&anew["state"], &anew["id"]), (&json!("stored"), &clip["id"]));
        Ok(())
    });
}
