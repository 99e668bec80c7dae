//! What follows from an event on the stack as it is deployed: what policies ask for, what becomes of a device that comes,
//! goes, falls silent and is back, and how a link ends at Ring.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use local::outside::{Answer, Home, rows_about, schedule_at, soon, statuses};
use local::{Failure, Stack};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::audit::Deed;
use shared::edge::{batch, clock};

use crate::grants::{audited, deed};
use crate::stack::published;
use crate::traps::{alone, among_others, events, is_problem, only_device, over, text};

type Row = HashMap<String, AttributeValue>;

fn policy(on: Value) -> Value {
    json!({"on": on, "duration": 2_000, "audio": false, "notify": true, "privacy_zones": "obscure"})
}

async fn put_policy(home: &Home<'_>, device: &str, policy: &Value) -> Result<Answer, Failure> {
    home.call(Method::PUT, &format!("/v1/devices/{device}/policy"), Some(policy))
        .await
}

/// A medium, once it is in this state.
async fn medium_is(home: &Home<'_>, id: &str, state: &str) -> Result<Value, Failure> {
    soon(&format!("medium {id} is {state}"), async || {
        let medium = home.call(Method::GET, &format!("/v1/media/{id}"), None).await?.body;
        Ok(if medium["state"] == state {
            Ok(medium)
        } else {
            Err(medium.to_string())
        })
    })
    .await
}

/// The rows of a table that are about a device, and have this attribute.
async fn rows_with(stack: &Stack, noun: &str, device: &str, attribute: &str) -> Result<Vec<Row>, Failure> {
    let mut rows = rows_about(stack, noun, device).await?;
    rows.retain(|row| row.contains_key(attribute));
    Ok(rows)
}

async fn change(stack: &Stack, noun: &str, row: &Row, expression: &str, value: AttributeValue) {
    let update = stack
        .aws()
        .tables
        .update_item()
        .table_name(&stack.outputs().tables[noun]);
    let update = update.key("pk", row["pk"].clone()).key("sk", row["sk"].clone());
    let update = update
        .update_expression(expression)
        .expression_attribute_values(":value", value);
    update.send().await.expect("the row is changed");
}

/// A message of the queue of media, handed to its program.
async fn hand_to_media_fetch(stack: &Stack, body: &str) -> Result<Value, Failure> {
    let record = json!({"messageId": "m-1", "body": body, "attributes": {"ApproximateReceiveCount": "1"},
                        "messageAttributes": {}, "eventSource": "aws:sqs"});
    stack.invoke("media-fetch", &json!({ "Records": [record] })).await
}

#[test]
fn a_policy_is_set_for_one_device_for_several_and_for_a_link_and_never_for_somebody_elses() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell", "indoor_camera"])).await?;
        let devices: Vec<_> = home.device_ids().await?.into_values().collect();
        let of = async |device: &str| {
            let found = home
                .call(Method::GET, &format!("/v1/devices/{device}/policy"), None)
                .await?;
            Ok::<_, Failure>(found.must_be(StatusCode::OK, "a device has a policy")?.body)
        };
        let none = json!({"on": {"motion_detected": {}, "button_press": []}, "duration": 30_000, "audio": false,
                          "notify": true, "privacy_zones": "obscure"});
        assert_eq!(of(&devices[0]).await?, none);

        let one = policy(
            json!({"motion_detected": {"human": ["snapshot", "clip"], "default": []},
                                "button_press": ["capture"]}),
        );
        let set = put_policy(&home, &devices[0], &one).await?;
        assert_eq!((set.status, &set.body), (StatusCode::OK, &one));
        assert_eq!((of(&devices[0]).await?, of(&devices[1]).await?), (one, none));

        let several = policy(json!({"motion_detected": {}, "button_press": ["snapshot"]}));
        let order = json!({"devices": devices, "policy": several});
        let set = home.call(Method::PUT, "/v1/policies", Some(&order)).await?;
        assert_eq!((set.status, &set.body), (StatusCode::OK, &several));
        assert_eq!(
            (of(&devices[0]).await?, of(&devices[1]).await?),
            (several.clone(), several.clone())
        );

        let link = text(&home.call(Method::GET, "/v1/links", None).await?.body["items"][0]["id"]).to_owned();
        let all = policy(json!({"motion_detected": {"default": ["clip"]}, "button_press": []}));
        let set = home
            .call(Method::PUT, "/v1/policies", Some(&json!({"link": link, "policy": all})))
            .await?;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
        assert_eq!(
            (of(&devices[0]).await?, of(&devices[1]).await?),
            (all.clone(), all.clone())
        );

        let stranger = Home::linked(stack, &json!(["doorbell"])).await?;
        let theirs = only_device(&stranger).await?;
        is_problem(
            &put_policy(&home, &theirs, &several).await?,
            StatusCode::NOT_FOUND,
            "not-found",
        );
        for order in [
            json!({"devices": [devices[0], theirs], "policy": several}),
            json!({"link": "lnk_of_nobody", "policy": several}),
        ] {
            let refused = home.call(Method::PUT, "/v1/policies", Some(&order)).await?;
            is_problem(&refused, StatusCode::NOT_FOUND, "not-found");
        }
        assert_eq!(of(&devices[0]).await?, all, "not even those that are theirs");

        for (order, pointer) in [
            (json!({"policy": several}), "/devices"),
            (json!({"devices": [], "policy": several}), "/devices"),
            (
                json!({"devices": [devices[0]], "link": link, "policy": several}),
                "/link",
            ),
            (json!({"link": link, "policy": {"duration": 1}}), "/policy/duration"),
        ] {
            let refused = home.call(Method::PUT, "/v1/policies", Some(&order)).await?;
            is_problem(&refused, StatusCode::BAD_REQUEST, "invalid-request");
            assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{refused:?}");
        }
        Ok(())
    });
}

#[test]
fn motion_of_a_person_has_what_its_policy_asks_for_at_its_own_time_and_other_motion_has_nothing() {
    among_others(async |stack| {
        let now = clock::now().as_millisecond();
        let footage = json!([{"start": now - 60_000, "end": now + 600_000}]);
        let home = Home::linked(stack, &json!([{"preset": "doorbell", "footage": footage}])).await?;
        let device = only_device(&home).await?;
        let on = json!({"motion_detected": {"human": ["snapshot", "clip"], "default": []}, "button_press": []});
        put_policy(&home, &device, &policy(on)).await?;

        let motion = |sub_type: &str| {
            json!({"type": "motion_detected", "sub_type": sub_type, "device": device, "copies": 2,
                   "timestamp": now, "wait": true})
        };
        home.emit(&motion("human")).await?;
        home.emit(&motion("vehicle")).await?;
        let events = events(&home, &device).await?;
        let of = |sub_type: &str| {
            let event = events.iter().find(|event| event["subtype"] == sub_type);
            event.unwrap_or_else(|| panic!("{events:?}")).clone()
        };
        assert_eq!(of("vehicle")["media"], json!([]));
        let human = of("human");
        let ids: Vec<_> = human["media"].as_array().into_iter().flatten().map(text).collect();
        assert_eq!(ids.len(), 2, "{human}");
        for (id, kind) in ids.iter().zip(["snapshot", "clip"]) {
            let medium = medium_is(&home, id, "stored").await?;
            assert_eq!((text(&medium["kind"]), &medium["event_id"]), (kind, &human["event_id"]));
            assert_eq!(medium["requested"]["timestamp"], now, "at the event's own time");
        }
        let media = home
            .call(Method::GET, &format!("/v1/devices/{device}/media"), None)
            .await?;
        let media = media.body["items"].as_array().map_or(0, Vec::len);
        assert_eq!(media, 2, "a repeat asks for nothing more");
        Ok(())
    });
}

#[test]
fn trap_68_motion_starts_nothing_where_motion_detection_is_off() {
    among_others(async |stack| {
        let off = json!({"preset": "doorbell", "configurations": {"motion_detection": {"enabled": "off"}}});
        let home = Home::linked(stack, &json!([off])).await?;
        let device = only_device(&home).await?;
        let on = json!({"motion_detected": {"default": ["snapshot", "clip", "capture"]}, "button_press": []});
        put_policy(&home, &device, &policy(on)).await?;
        home.emit(&json!({"type": "motion_detected", "device": device, "wait": true}))
            .await?;
        let events = events(&home, &device).await?;
        assert_eq!((events.len(), &events[0]["media"]), (1, &json!([])));
        Ok(())
    });
}

#[test]
fn trap_86_and_120_allow_gives_what_was_recorded_and_a_region_of_the_table_or_an_unknown_place_forbids_it() {
    among_others(async |stack| {
        let now = clock::now().as_millisecond();
        let camera = |location: Value| {
            json!({"preset": "privacy_camera", "location": location,
                   "footage": [{"start": now - 600_000, "end": now}]})
        };
        let georgia = camera(json!({"id": "loc-1", "country": "US", "state": "GA"}));
        let cameras = json!([
            georgia,
            camera(json!({"id": "loc-2", "country": "DE"})),
            camera(json!(null))
        ]);
        let home = Home::linked(stack, &cameras).await?;
        let listed = home.call(Method::GET, "/v1/devices", None).await?.body;
        let allow = json!({"on": {}, "privacy_zones": "allow"});
        let clip = json!({"timestamp": now - 60_000, "duration": 2_000});
        for device in listed["items"].as_array().into_iter().flatten() {
            let (id, country) = (text(&device["id"]), text(&device["location"]["country"]));
            put_policy(&home, id, &allow)
                .await?
                .must_be(StatusCode::OK, "the policy is set")?;
            if country == "US" {
                let medium = over(&home, id, "clips", &clip).await?;
                assert_eq!(
                    (text(&medium["state"]), text(&medium["privacy_zones"])),
                    ("stored", "as_recorded")
                );
                let none = home.call(Method::GET, &format!("/v1/devices/{id}"), None).await?;
                assert_eq!(none.body["privacy_zones"], 2);
            } else {
                let route = format!("/v1/devices/{id}/clips");
                let refused = home.call(Method::POST, &route, Some(&clip)).await?;
                is_problem(&refused, StatusCode::FORBIDDEN, "privacy-zones");
            }
        }
        Ok(())
    });
}

#[test]
fn trap_65_and_76_media_of_an_offline_device_wait_for_it_and_its_capture_stops() {
    among_others(async |stack| {
        let now = clock::now().as_millisecond();
        let footage = json!([{"start": now - 600_000, "end": now}]);
        let home = Home::linked(stack, &json!([{"preset": "doorbell", "footage": footage}])).await?;
        let device = only_device(&home).await?;
        let captures = format!("/v1/devices/{device}/captures");
        let begun = home
            .call(Method::POST, &captures, Some(&json!({"duration": 600_000})))
            .await?;
        let begun = begun.must_be(StatusCode::ACCEPTED, "a capture is asked for")?;

        // Later than the listing of a moment ago, which said that it is online.
        let tell = |kind: &str, after: i64| json!({"type": kind, "device": device, "timestamp": now + after * 1_000, "wait": true});
        home.emit(&tell("device_offline", 30)).await?;
        home.events_settle().await?;
        let id = begun.text("id")?;
        soon("the capture ends long before its time, for that reason", async || {
            let medium = home.call(Method::GET, &format!("/v1/media/{id}"), None).await?.body;
            // What was recorded by then is stored; nothing may have been.
            let is_over = medium["state"] == "stored" || medium["reason"] == "device_offline";
            assert!(is_over || medium["state"] != "failed", "{medium}");
            Ok(if is_over { Ok(()) } else { Err(medium.to_string()) })
        })
        .await?;
        soon("the bus is told why", async || {
            let told = crate::stack::capture_ended(&id).await;
            assert!(told.as_deref().is_none_or(|why| why == "device_offline"), "{told:?}");
            Ok(told.map(drop).ok_or_else(|| "nothing is heard".to_owned()))
        })
        .await?;
        is_problem(
            &home
                .call(Method::POST, &captures, Some(&json!({"duration": 1_000})))
                .await?,
            StatusCode::CONFLICT,
            "device-offline",
        );

        let clip = json!({"timestamp": now - 60_000, "duration": 2_000});
        let asked = home
            .call(Method::POST, &format!("/v1/devices/{device}/clips"), Some(&clip))
            .await?;
        let id = asked.text("id")?;
        soon("the clip waits", async || {
            let medium = home.call(Method::GET, &format!("/v1/media/{id}"), None).await?.body;
            let waits = medium["state"] == "requested" && medium["reason"] == "device_offline";
            Ok(if waits { Ok(()) } else { Err(medium.to_string()) })
        })
        .await?;
        // An older word that it is back releases nothing.
        home.emit(&tell("device_online", 20)).await?;
        home.events_settle().await?;
        let waiting = format!("waiting#{id}");
        assert_eq!(rows_about(stack, "media", &waiting).await?.len(), 1);
        home.emit(&tell("device_online", 40)).await?;
        medium_is(&home, &id, "stored").await?;
        assert!(rows_about(stack, "media", &waiting).await?.is_empty());
        Ok(())
    });
}

#[test]
fn trap_64_and_65_a_removed_devices_media_are_out_of_reach_at_once_back_with_it_and_purged_in_the_end() {
    alone(async |stack| {
        let now = clock::now().as_millisecond();
        let footage = json!([{"start": now - 600_000, "end": now}]);
        let home = Home::linked(stack, &json!([{"preset": "doorbell", "footage": footage}])).await?;
        let device = only_device(&home).await?;
        let clip = json!({"timestamp": now - 60_000, "duration": 2_000});
        let medium = over(&home, &device, "clips", &clip).await?;
        let route = format!("/v1/media/{}", text(&medium["id"]));
        let tell = async |kind: &str, after: i64| {
            let event = json!({"type": kind, "device": device, "timestamp": now + after * 1_000, "effects": false,
                               "wait": true});
            assert_eq!(statuses(&home.emit(&event).await?), [200]);
            home.events_settle().await
        };
        let purge = async || {
            let mut rows = rows_with(stack, "media", &device, "purge_at").await?;
            Ok::<_, Failure>(rows.pop())
        };

        tell("device_removed", 30).await?;
        is_problem(
            &home.call(Method::GET, &route, None).await?,
            StatusCode::NOT_FOUND,
            "not-found",
        );
        let retired = purge().await?.expect("its media have a date");
        let days = |row: &Row| row["purge_at"].as_n().ok().and_then(|at| at.parse::<i64>().ok());
        let kept_for = days(&retired).unwrap_or_default() - now - 30_000;
        assert_eq!(kept_for, 30 * 24 * 3_600_000, "thirty days, by default");

        tell("device_added", 40).await?;
        assert_eq!(purge().await?, None, "given back in time");
        assert_eq!(home.call(Method::GET, &route, None).await?.status, StatusCode::OK);
        tell("device_removed", 35).await?;
        assert_eq!(purge().await?, None, "a late removal starts nothing");

        tell("device_removed", 50).await?;
        let retired = purge().await?.expect("its media have a date");
        change(
            stack,
            "media",
            &retired,
            "SET due_at = :value",
            AttributeValue::N("1".to_owned()),
        )
        .await;
        let swept = hand_to_media_fetch(stack, r#"{"sweep":"due"}"#).await?;
        assert_eq!(swept["batchItemFailures"], json!([]), "{swept}");
        assert!(rows_with(stack, "media", &device, "request").await?.is_empty());
        assert_eq!(purge().await?, None);

        let mut deeds: Vec<_> = audited(stack, &device).await.iter().map(deed).collect();
        deeds.sort();
        assert_eq!(
            deeds,
            [
                "device_added",
                "device_removed",
                "device_removed",
                "device_removed",
                "fetched"
            ]
        );
        Ok(())
    });
}

#[test]
fn an_added_device_has_its_links_policy() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!([])).await?;
        let link = text(&home.call(Method::GET, "/v1/links", None).await?.body["items"][0]["id"]).to_owned();
        let all = policy(json!({"motion_detected": {"default": ["clip"]}, "button_press": []}));
        let order = json!({"link": link, "policy": all});
        home.call(Method::PUT, "/v1/policies", Some(&order))
            .await?
            .must_be(StatusCode::OK, "the link has a policy")?;
        let path = format!("users/{}/devices", home.account);
        let order = json!({"preset": "doorbell", "announce": true});
        let added = stack.ring().order(Method::POST, &path, Some(&order)).await?;
        let device = text(&added["id"]).to_owned();
        soon("the device is there", async || {
            let found = home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
            Ok(match found.status {
                StatusCode::OK => Ok(()),
                _ => Err(format!("{found:?}")),
            })
        })
        .await?;
        home.events_settle().await?;
        let rows = rows_with(stack, "device", &device, "policy").await?;
        assert_eq!(rows.len(), 1, "it has the policy for its own");
        let found = home
            .call(Method::GET, &format!("/v1/devices/{device}/policy"), None)
            .await?;
        assert_eq!(found.body, all);
        Ok(())
    });
}

#[test]
fn one_capture_of_a_device_goes_on_at_a_time_and_what_happens_meanwhile_prolongs_it() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let on = json!({"motion_detected": {}, "button_press": ["capture"]});
        let wanted = json!({"on": on, "duration": 300_000});
        put_policy(&home, &device, &wanted)
            .await?
            .must_be(StatusCode::OK, "the policy is set")?;
        let route = format!("/v1/devices/{device}/captures");
        let begun = home
            .call(Method::POST, &route, Some(&json!({"duration": 120_000})))
            .await?;
        let begun = begun.must_be(StatusCode::ACCEPTED, "a capture is asked for")?;
        let id = begun.text("id")?;
        assert_eq!(
            (text(&begun.body["kind"]), begun.headers["location"].to_str().ok()),
            ("capture", Some(&*format!("/v1/media/{id}")))
        );
        let until = async || {
            let slots = rows_with(stack, "media", &device, "until").await?;
            let until = slots
                .first()
                .and_then(|slot| slot["until"].as_n().ok()?.parse::<i64>().ok());
            Ok::<_, Failure>(until.expect("the device's slot is taken"))
        };
        let first = until().await?;

        let again = home
            .call(Method::POST, &route, Some(&json!({"duration": 200_000})))
            .await?;
        assert_eq!(again.text("id")?, id, "no second session");
        let second = until().await?;
        assert!(second > first, "it is prolonged");

        let press = json!({"type": "button_press", "device": device, "copies": 2, "wait": true});
        home.emit(&press).await?;
        let events = events(&home, &device).await?;
        assert_eq!(events[0]["media"], json!([id]));
        assert!(until().await? > second);
        for wrong in [
            json!({}),
            json!({"duration": 0}),
            json!({"duration": 900_001}),
            json!({"duration": 1_000, "x": 1}),
        ] {
            let refused = home.call(Method::POST, &route, Some(&wrong)).await?;
            is_problem(&refused, StatusCode::BAD_REQUEST, "invalid-request");
        }

        let deleted = home.call(Method::DELETE, &format!("/v1/media/{id}"), None).await?;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        let slots = rows_with(stack, "media", &device, "until").await?;
        assert_eq!(slots[0]["stop"], AttributeValue::S("deleted".to_owned()), "{slots:?}");
        let anew = home
            .call(Method::POST, &route, Some(&json!({"duration": 10_000})))
            .await?;
        assert_ne!(anew.text("id")?, id, "the slot is free again");
        Ok(())
    });
}

#[test]
fn trap_63_a_removed_integration_ends_the_link_and_a_late_word_of_an_earlier_one_does_not() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let removed = |seconds: i64| {
            json!({"type": "app_integration_removed", "device": device, "effects": false, "wait": true,
                   "timestamp": clock::now().as_millisecond() + seconds * 1_000})
        };
        let links = async || {
            let links = home.call(Method::GET, "/v1/links", None).await?;
            Ok::<_, Failure>(links.body["items"].as_array().map_or(0, Vec::len))
        };
        assert_eq!(statuses(&home.emit(&removed(-3_600)).await?), [200]);
        home.events_settle().await?;
        assert_eq!(links().await?, 1, "it was linked since");

        let before = published("account_unlinked").await;
        assert_eq!(statuses(&home.emit(&removed(10)).await?), [200]);
        soon("the link has ended", async || {
            Ok(match links().await? {
                0 => Ok(()),
                more => Err(more.to_string()),
            })
        })
        .await?;
        home.events_settle().await?;
        assert!(published("account_unlinked").await > before);
        assert!(published("app_integration_removed").await > 0);
        let kept = rows_about(stack, "grant", &home.account).await?;
        assert!(
            kept.iter().all(|row| !row.contains_key("tokens")),
            "both tokens are deleted"
        );
        let audited = audited(stack, &home.account).await;
        assert!(
            audited.iter().any(|entry| entry.deed == Deed::RemovedAtRing),
            "{audited:?}"
        );
        Ok(())
    });
}

#[test]
fn trap_63_a_404_of_the_integration_ends_the_link() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!([])).await?;
        let link = text(&home.call(Method::GET, "/v1/links", None).await?.body["items"][0]["id"]).to_owned();
        let unknown =
            json!({"method": "PATCH", "path": "/v1/accounts/me/app-integrations", "do": "answer", "status": 404});
        stack.ring().order(Method::POST, "faults", Some(&unknown)).await?;
        let order = json!({"status": "awaiting"});
        let refused = home
            .call(Method::PATCH, &format!("/v1/links/{link}"), Some(&order))
            .await?;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{refused:?}");
        let links = home.call(Method::GET, "/v1/links", None).await?;
        assert_eq!(links.body["items"], json!([]));
        let kept = rows_about(stack, "grant", &home.account).await?;
        assert!(
            kept.iter().all(|row| !row.contains_key("tokens")),
            "both tokens are deleted"
        );
        Ok(())
    });
}

#[test]
fn trap_63_a_404_of_users_me_ends_the_link() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        // Its user comes by Ring's app once more, and is shown whose account it is.
        let nonce = home.confirm().await?;
        let unknown = json!({"method": "GET", "path": "/v1/users/me", "do": "answer", "status": 404});
        stack.ring().order(Method::POST, "faults", Some(&unknown)).await?;
        let before = published("account_unlinked").await;
        let refused = home.call(Method::POST, "/v1/links/preview", Some(&nonce)).await?;
        assert!(
            refused.status.is_client_error() || refused.status.is_server_error(),
            "{refused:?}"
        );
        let links = home.call(Method::GET, "/v1/links", None).await?;
        assert_eq!(links.body["items"], json!([]));
        let kept = rows_about(stack, "grant", &home.account).await?;
        assert!(
            kept.iter().all(|row| !row.contains_key("tokens")),
            "both tokens are deleted"
        );
        let audited = audited(stack, &home.account).await;
        assert!(
            audited.iter().any(|entry| entry.deed == Deed::RemovedAtRing),
            "{audited:?}"
        );
        assert!(published("account_unlinked").await > before, "it is announced");
        Ok(())
    });
}

#[test]
fn trap_63_and_64_a_device_that_a_listing_does_not_show_any_more_is_removed_as_by_an_event() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        // Its event is lost.
        let path = format!("users/{}/devices/{device}", home.account);
        stack.ring().order(Method::DELETE, &path, None).await?;
        for _ in 0..2 {
            stack
                .invoke(
                    "token-refresh",
                    &schedule_at(clock::now() + SignedDuration::from_hours(30)),
                )
                .await?;
            home.events_settle().await?;
            let retired = rows_with(stack, "media", &device, "purge_at").await?;
            assert_eq!(retired.len(), 1, "its media have a date");
        }
        let audited = audited(stack, &device).await;
        assert_eq!(audited.len(), 1, "once, however often it is listed: {audited:?}");
        Ok(())
    });
}

#[test]
fn trap_51_a_repeat_keeps_its_request_id_and_what_it_says_otherwise_and_changes_nothing() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let id = format!("{device}_1");
        let tell = |kind: &str, request: &str| {
            json!({"type": kind, "device": device, "id": id, "request_id": request,
                   "timestamp": clock::now().as_millisecond(), "effects": false, "wait": true})
        };
        home.emit(&tell("motion_detected", "request-one")).await?;
        let first = events(&home, &device).await?;
        home.emit(&tell("device_offline", "request-two")).await?;
        assert_eq!(events(&home, &device).await?, first, "the first one stands");
        let found = home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
        assert_eq!(found.body["online"], true, "what the other says has no effect");
        let kept = rows_about(stack, "event", "request-two").await?;
        let body = kept.iter().find_map(|row| row.get("body")?.as_s().ok());
        assert!(body.is_some_and(|body| body.contains("device_offline")), "{kept:?}");
        assert_eq!(rows_about(stack, "event", "request-one").await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_69_what_has_run_out_counts_as_gone_although_it_is_still_there() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let motion = json!({"type": "motion_detected", "device": device, "id": format!("{device}_1"),
                            "timestamp": clock::now().as_millisecond(), "wait": true});
        home.emit(&motion).await?;
        let event = text(&events(&home, &device).await?[0]["event_id"]).to_owned();
        let expired = AttributeValue::N("1770000000".to_owned());
        for row in rows_about(stack, "event", &event).await? {
            change(stack, "event", &row, "SET expires_at = :value", expired.clone()).await;
        }
        assert!(home.events_of(&device).await?.is_empty(), "it is not shown");
        home.emit(&motion).await?;
        let again = events(&home, &device).await?;
        assert_eq!(again.len(), 1, "it is a new event");
        let rows = rows_about(stack, "event", &event).await?;
        assert!(rows.iter().all(|row| row["expires_at"] != expired), "{rows:?}");
        Ok(())
    });
}

#[test]
fn trap_67_our_own_dead_letters_and_what_nobody_could_read_are_watched() {
    let read = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a template");
    let (template, alarms) = (read("../template.yaml"), read("../infra/alarms.yaml"));
    let names = template
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let watched: Vec<_> = names
        .filter(|name| name.ends_with("Dlq") || *name == "QuarantineQueue")
        .collect();
    assert!(watched.len() >= 4, "{watched:?}");
    for queue in watched {
        let given = format!("        {queue}: !GetAtt {queue}.QueueName");
        assert!(
            template.lines().any(|line| line == given),
            "{queue} is given to the alarms"
        );
        let dimension = format!("Value: !Ref {queue} }}]");
        let mut alarms = alarms.split("Type: AWS::CloudWatch::Alarm\n").skip(1);
        let is_watched = alarms.any(|alarm| {
            alarm
                .split("\n\n")
                .next()
                .is_some_and(|alarm| alarm.contains(&dimension))
        });
        assert!(is_watched, "{queue}");
    }
}

#[test]
fn every_queue_is_tried_for_more_than_two_hours_whether_its_program_fails_or_is_not_free() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let template = fs::read_to_string(template).expect("the template");
    let mut seen = 0;
    for block in template.split("Type: AWS::SQS::Queue\n").skip(1) {
        let of = |name: &str| {
            let line = block.lines().take_while(|line| !line.is_empty());
            let value = line.filter_map(|line| line.trim().strip_prefix(name)).next()?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        let Some(receipts) = of("maxReceiveCount: ") else {
            continue;
        };
        let receipts_u32 = u32::try_from(receipts).expect("not so many");
        let failing: u64 = (1..receipts_u32).map(|received| batch::wait(received).as_secs()).sum();
        assert!(failing > 2 * 3_600, "{receipts} receipts last for {failing} s");
        if let Some(visibility) = of("VisibilityTimeout: ").filter(|visibility| *visibility > 60) {
            assert!(
                visibility * receipts > 2 * 3_600,
                "{receipts} receipts of {visibility} s"
            );
        }
        seen += 1;
    }
    assert!(seen >= 3, "the queues of events, media and captures: {seen}");
}
