//! The contract at the door: what each route answers to what it can't use. An answer is a problem document of ours or the
//! gateway's own; it shows nothing of the inside; and what Ring has signed is never lost.

use std::collections::BTreeSet;

use local::outside::{Home, claim, soon};
use local::{Failure, Stack};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stack::on_the_stack;

const JSON: &str = "application/json";

/// What may come back.
#[derive(Clone, Copy, Debug)]
enum Answered {
    /// A problem document of this status and name.
    Problem(u16, &'static str),
    /// The gateway's own answer, before any program of ours is asked.
    Gateway(u16),
}
use Answered::{Gateway, Problem};

/// A request that can't be used.
struct Bad {
    what: &'static str,
    method: Method,
    route: String,
    media_type: Option<&'static str>,
    body: Vec<u8>,
    answered: Answered,
}

fn bad(what: &'static str, method: Method, route: impl Into<String>, answered: Answered) -> Bad {
    Bad {
        what,
        method,
        route: route.into(),
        media_type: None,
        body: Vec::new(),
        answered,
    }
}

impl Bad {
    fn with(mut self, media_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.media_type = Some(media_type);
        self.body = body.into();
        self
    }

    async fn check(&self, stack: &Stack, token: Option<&str>) {
        let Self {
            what, method, route, ..
        } = self;
        let mut request = stack.request(method.clone(), route).body(self.body.clone());
        if let Some(media_type) = self.media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{method} {route}, {what}: {error}"));
        let status = answer.status().as_u16();
        let media_type = answer.headers().get(CONTENT_TYPE).cloned();
        let text = answer.text().await.expect("an answer's body");
        let shown = format!("{method} {route}, {what}: {status} {text}");
        shows_nothing_of_the_inside(stack, &text, &shown);
        match self.answered {
            Problem(expected, name) => {
                assert_eq!(status, expected, "{shown}");
                assert_eq!(
                    media_type,
                    Some(HeaderValue::from_static("application/problem+json")),
                    "{shown}"
                );
                let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{shown}"));
                assert_eq!(problem["type"], format!("/problems/{name}"), "{shown}");
                assert_eq!(problem["status"], expected, "{shown}");
                assert!(problem["title"].is_string(), "{shown}");
                if name == "invalid-request" {
                    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{shown}"));
                    let explained = |error: &Value| error["pointer"].is_string() && error["detail"].is_string();
                    assert!(!errors.is_empty() && errors.iter().all(explained), "{shown}");
                }
            }
            Gateway(expected) => {
                assert_eq!(status, expected, "{shown}");
                assert!(!text.contains("/problems/"), "{shown}");
            }
        }
    }
}

/// Words that would tell a stranger how we are built, and names of what the stack is made of.
fn shows_nothing_of_the_inside(stack: &Stack, text: &str, shown: &str) {
    let outputs = stack.outputs();
    let names = outputs
        .tables
        .values()
        .chain(outputs.functions.values())
        .chain(outputs.queues.values());
    let words = [
        "arn:",
        "dynamodb",
        "sqs",
        "kms",
        "panicked",
        ".rs:",
        "serde",
        "line 1 column",
        "backtrace",
        "eyJ",
    ];
    for word in names.map(String::as_str).chain(words) {
        assert!(!text.contains(word), "it shows {word:?}: {shown}");
    }
}

async fn check_all(stack: &Stack, token: Option<&str>, table: impl IntoIterator<Item = Bad>) {
    for bad in table {
        bad.check(stack, token).await;
    }
}

fn held<V>(outcome: Result<V, Failure>) -> V {
    outcome.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn the_token_exchange_url_refuses_what_is_no_code() {
    on_the_stack(async |stack| {
        let url = held(stack.output("TokenExchangeUrl"));
        let route = &url[url.find("/ring/").expect("the route of the Token Exchange URL")..];
        let no_code = Problem(400, "invalid-request");
        check_all(
            stack,
            None,
            [
                bad("no body", Method::POST, route, no_code),
                bad("an empty object", Method::POST, route, no_code).with(JSON, "{}"),
                bad("a wrong type", Method::POST, route, no_code).with(JSON, r#"{"code": 7}"#),
                bad("a list", Method::POST, route, no_code).with(JSON, "[]"),
                bad("broken JSON", Method::POST, route, no_code).with(JSON, r#"{"code": "abc"#),
                bad("an empty code", Method::POST, route, no_code).with(JSON, r#"{"code": ""}"#),
                bad("a code with a line break", Method::POST, route, no_code).with(JSON, r#"{"code": "a\r\nb"}"#),
                bad("two codes", Method::POST, route, no_code)
                    .with("application/x-www-form-urlencoded", "code=a&code=b"),
                bad("not UTF-8", Method::POST, route, no_code).with("application/octet-stream", [0xff, 0xfe, 0x00]),
                bad("a code that Ring refuses", Method::POST, route, no_code).with(JSON, r#"{"code": "not-of-ring"}"#),
                bad("too large", Method::POST, route, Problem(413, "payload-too-large")).with(JSON, vec![b' '; 4097]),
                bad(
                    "a wrong key",
                    Method::POST,
                    "/ring/token/0123456789abcdef",
                    Problem(404, "not-found"),
                )
                .with(JSON, r#"{"code": "abc"}"#),
                bad("a wrong method", Method::GET, route, Gateway(404)),
                bad("no key", Method::POST, "/ring/token/", Gateway(404)),
            ],
        )
        .await;
    });
}

#[test]
fn the_webhook_url_refuses_what_nobody_signed() {
    on_the_stack(async |stack| {
        let unsigned = Problem(401, "signature-invalid");
        let event = r#"{"meta": {"version": "1.1"}, "data": {"id": "1", "type": "motion_detected"}}"#;
        check_all(
            stack,
            None,
            [
                bad("no body", Method::POST, "/ring/webhook", unsigned),
                bad("an event", Method::POST, "/ring/webhook", unsigned).with(JSON, event),
                bad("broken JSON", Method::POST, "/ring/webhook", unsigned).with(JSON, "{"),
                bad("not UTF-8", Method::POST, "/ring/webhook", unsigned)
                    .with("application/octet-stream", [0xff, 0xfe, 0x00]),
                bad("a megabyte", Method::POST, "/ring/webhook", unsigned).with(JSON, vec![b'7'; 1024 * 1024]),
                bad("a wrong method", Method::GET, "/ring/webhook", Gateway(404)),
                bad("a slash at the end", Method::POST, "/ring/webhook/", Gateway(404)).with(JSON, event),
            ],
        )
        .await;
    });
}

#[test]
fn trap_46_what_ring_has_signed_is_taken_whatever_it_is_and_set_aside_where_it_can_not_be_read() {
    on_the_stack(async |stack| {
        // Base64 of each body; what can be read in the quarantine of those that are text.
        let signed = [
            ("no body", ""),
            ("no JSON", "bm8tSlNPTi1tYXJrZXI="),
            ("a JSON text", "Impzb24tdGV4dC1tYXJrZXIi"),
            ("a list", "WyJqc29uLWxpc3QtbWFya2VyIl0="),
            ("no data", "eyJtZXRhIjp7InZlcnNpb24iOiJuby1kYXRhLW1hcmtlciJ9fQ=="),
            ("not UTF-8", "//4AbWFya2Vy"),
            ("a control character", "eyJhIjoiAWNvbnRyb2wtbWFya2VyIn0="),
        ];
        for (what, body) in signed {
            let order = json!({ "body_base64": body, "content_type": "application/octet-stream", "wait": true });
            let emitted = held(stack.ring().order(Method::POST, "events/raw", Some(&order)).await);
            assert_eq!(local::outside::statuses(&emitted), [200], "{what}: {emitted}");
        }
        let markers = [
            "no-JSON-marker",
            "json-text-marker",
            "json-list-marker",
            "no-data-marker",
            "//4AbWFya2Vy",
        ];
        let mut missing: BTreeSet<&str> = markers.into();
        let quarantine = &stack.outputs().queues["quarantine"];
        held(
            soon("all of them are in quarantine", async || {
                let queue = stack
                    .aws()
                    .queues
                    .receive_message()
                    .queue_url(quarantine)
                    .max_number_of_messages(10);
                // Left for others to see.
                let page = queue.visibility_timeout(1).wait_time_seconds(1).send().await;
                let page = page.map_err(|error| Failure::new("quarantine can't be read").because(error.to_string()))?;
                for message in page.messages() {
                    missing.retain(|marker| !message.body().is_some_and(|body| body.contains(marker)));
                }
                Ok(if missing.is_empty() {
                    Ok(())
                } else {
                    Err(format!("missing: {missing:?}"))
                })
            })
            .await,
        );
    });
}

#[test]
fn trap_44_an_event_with_unknown_fields_and_of_an_unknown_type_is_recorded() {
    on_the_stack(async |stack| {
        let home = held(Home::linked(stack, &json!(["doorbell"])).await);
        let device = held(home.device_ids().await).into_values().next().expect("a device");
        let event = json!({
            "type": "teleported", "device": device, "wait": true,
            "data": { "colour": "blue", "attributes": { "depth": [1, 2] } }, "meta": { "planet": "Earth" },
        });
        let emitted = held(home.emit(&event).await);
        assert_eq!(local::outside::statuses(&emitted), [200], "{emitted}");
        let events = soon("the event is recorded", async || {
            let events = home.events_of(&device).await?;
            Ok(if events.is_empty() {
                Err("none".into())
            } else {
                Ok(events)
            })
        });
        let events = held(events.await);
        held(claim(
            events.len() == 1 && events[0]["type"] == "teleported",
            "its type is as it came",
            &events,
        ));
    });
}

#[test]
fn the_pages_are_for_anyone_and_say_what_they_may_do() {
    on_the_stack(async |stack| {
        for route in [
            "/ring/link?nonce=m0hVxkW1rV7Gx0jQpD0Yw3XlGJ0y8o3Zb1cFv6qk2sE&time=1",
            "/ring/home",
        ] {
            let page = stack.request(Method::GET, route).send().await.expect("an answer");
            assert_eq!(page.status(), StatusCode::OK, "{route}");
            assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8", "{route}");
            let policy = page.headers()["content-security-policy"]
                .to_str()
                .expect("a text")
                .to_owned();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
            // Signing in and media are at the emulator, and nowhere else.
            let outside: BTreeSet<&str> = policy.split([' ', ';']).filter(|word| word.contains("://")).collect();
            assert_eq!(
                outside,
                BTreeSet::from([stack.outputs().aws_endpoint_url.as_str()]),
                "{policy}"
            );
            let html = page.text().await.expect("a page");
            assert!(!html.contains("m0hVxkW1"), "what the URL carries is not in the page");
            let script = html
                .split("src=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .expect("a script");
            let asset = stack
                .request(Method::GET, &format!("/ring/{script}"))
                .send()
                .await
                .expect("an answer");
            assert_eq!(
                (asset.status(), &asset.headers()["cache-control"]),
                (
                    StatusCode::OK,
                    &HeaderValue::from_static("public, max-age=31536000, immutable")
                )
            );
        }
        check_all(
            stack,
            None,
            [
                bad(
                    "a file that is not there",
                    Method::GET,
                    "/ring/assets/v/none.js",
                    Problem(404, "not-found"),
                ),
                bad(
                    "a path too deep",
                    Method::GET,
                    "/ring/assets/a/b/c",
                    Problem(404, "not-found"),
                ),
                bad("a wrong method", Method::POST, "/ring/link", Gateway(404)),
                bad("no file", Method::GET, "/ring/assets", Gateway(404)),
            ],
        )
        .await;
    });
}

#[test]
fn the_frontends_routes_refuse_whoever_is_not_signed_in() {
    on_the_stack(async |stack| {
        let routes = [
            (Method::GET, "/v1/links"),
            (Method::POST, "/v1/links"),
            (Method::POST, "/v1/links/preview"),
            (Method::PATCH, "/v1/links/lnk_1"),
            (Method::DELETE, "/v1/links/lnk_1"),
            (Method::GET, "/v1/devices"),
            (Method::GET, "/v1/devices/device/events"),
            (Method::POST, "/v1/devices/device/clips"),
            (Method::POST, "/v1/devices/device/snapshots"),
            (Method::GET, "/v1/events"),
            (Method::GET, "/v1/media/med_1"),
            (Method::DELETE, "/v1/media/med_1"),
        ];
        for (method, route) in routes {
            let what = "no token, a word, a token of nobody";
            bad(what, method.clone(), route, Gateway(401)).check(stack, None).await;
            bad(what, method.clone(), route, Gateway(401))
                .check(stack, Some("word"))
                .await;
            let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.";
            bad(what, method, route, Gateway(401)).check(stack, Some(forged)).await;
        }
    });
}

#[test]
fn the_links_routes_say_what_is_wrong_with_a_request() {
    on_the_stack(async |stack| {
        let token = held(stack.sign_in("bad-links@example.com").await);
        let wrong = Problem(400, "invalid-request");
        let nonce = "m0hVxkW1rV7Gx0jQpD0Yw3XlGJ0y8o3Zb1cFv6qk2sE";
        let mut table = Vec::new();
        for route in ["/v1/links", "/v1/links/preview"] {
            let with = |nonce: &str, time: &str| json!({ "nonce": nonce, "time": time }).to_string();
            table.extend([
                bad("no body", Method::POST, route, wrong).with(JSON, ""),
                bad("an empty object", Method::POST, route, wrong).with(JSON, "{}"),
                bad("a list", Method::POST, route, wrong).with(JSON, "[1]"),
                bad("broken JSON", Method::POST, route, wrong).with(JSON, r#"{"nonce": "#),
                bad("a wrong type", Method::POST, route, wrong).with(JSON, r#"{"nonce": 1, "time": []}"#),
                bad("an unknown field", Method::POST, route, wrong).with(
                    JSON,
                    json!({ "nonce": nonce, "time": "1", "colour": "blue" }).to_string(),
                ),
                bad("a nonce that is none", Method::POST, route, wrong).with(JSON, with("x", "1770989995231")),
                bad(
                    "a time that is none",
                    Method::POST,
                    route,
                    Problem(400, "link-time-invalid"),
                )
                .with(JSON, with(nonce, "yesterday")),
                bad("a time to come", Method::POST, route, Problem(400, "link-time-invalid"))
                    .with(JSON, with(nonce, "9770989995231")),
                bad("a time long past", Method::POST, route, Problem(410, "link-expired"))
                    .with(JSON, with(nonce, "1770989995231")),
                bad(
                    "another media type",
                    Method::POST,
                    route,
                    Problem(415, "unsupported-media-type"),
                )
                .with("text/plain", with(nonce, "1")),
                bad("not UTF-8", Method::POST, route, Problem(415, "unsupported-media-type"))
                    .with("application/octet-stream", [0xff, 0xfe]),
                bad("too large", Method::POST, route, Problem(413, "payload-too-large"))
                    .with(JSON, vec![b' '; 64 * 1024 + 1]),
            ]);
        }
        table.extend([
            bad(
                "a link that is not there",
                Method::PATCH,
                "/v1/links/lnk_nobodys",
                Problem(404, "not-found"),
            )
            .with(JSON, r#"{"status": "completed"}"#),
            bad("a status that is none", Method::PATCH, "/v1/links/lnk_nobodys", wrong)
                .with(JSON, r#"{"status": "over"}"#),
            bad("no body", Method::PATCH, "/v1/links/lnk_nobodys", wrong).with(JSON, ""),
            bad(
                "a link that is not there",
                Method::DELETE,
                "/v1/links/lnk_nobodys",
                Problem(404, "not-found"),
            ),
            bad(
                "a wrong method",
                Method::GET,
                "/v1/links/lnk_nobodys",
                Problem(405, "method-not-allowed"),
            ),
            bad(
                "a wrong method",
                Method::GET,
                "/v1/links/preview",
                Problem(405, "method-not-allowed"),
            ),
            bad(
                "a path too deep",
                Method::POST,
                "/v1/links/a/b",
                Problem(404, "not-found"),
            )
            .with(JSON, "{}"),
        ]);
        check_all(stack, Some(&token), table).await;
    });
}

#[test]
fn the_device_and_media_routes_say_what_is_wrong_with_a_request() {
    on_the_stack(async |stack| {
        let home = held(Home::linked(stack, &json!(["doorbell"])).await);
        let device = held(home.device_ids().await).into_values().next().expect("a device");
        let wrong = Problem(400, "invalid-request");
        let not_found = Problem(404, "not-found");
        let clips = format!("/v1/devices/{device}/clips");
        let snapshots = format!("/v1/devices/{device}/snapshots");
        let events = format!("/v1/devices/{device}/events");
        let mut table = vec![
            bad(
                "a time that is none",
                Method::GET,
                format!("{events}?from=yesterday"),
                wrong,
            ),
            bad("a limit of none", Method::GET, format!("{events}?limit=0"), wrong),
            bad("a limit beyond", Method::GET, format!("{events}?limit=101"), wrong),
            bad("a limit that is no number", Method::GET, "/v1/events?limit=many", wrong),
            bad("a cursor of nobody", Method::GET, "/v1/events?cursor=%FF%FE", wrong),
            bad(
                "a filter that is none",
                Method::GET,
                "/v1/devices?online=perhaps",
                wrong,
            ),
            bad(
                "a device that is not there",
                Method::GET,
                "/v1/devices/ava1.ring.device.none",
                not_found,
            ),
            bad(
                "a device that is not there",
                Method::POST,
                "/v1/devices/none/clips",
                not_found,
            )
            .with(JSON, r#"{"timestamp": 1770989995231, "duration": 1000}"#),
            bad("a device's id that is none", Method::GET, "/v1/devices/%00", not_found),
            bad(
                "a medium that is not there",
                Method::GET,
                "/v1/media/med_none",
                not_found,
            ),
            bad(
                "a medium that is not there",
                Method::DELETE,
                "/v1/media/med_none",
                not_found,
            ),
            bad("a path that is not there", Method::GET, "/v1/nothing", not_found),
            bad(
                "a wrong method",
                Method::DELETE,
                "/v1/devices",
                Problem(405, "method-not-allowed"),
            ),
            bad(
                "a wrong method",
                Method::GET,
                &*clips,
                Problem(405, "method-not-allowed"),
            ),
            bad(
                "a wrong method",
                Method::PUT,
                "/v1/media/med_none",
                Problem(405, "method-not-allowed"),
            ),
        ];
        let both = |what: &'static str, answered: Answered, media_type: &'static str, body: &[u8]| {
            [&clips, &snapshots].map(|route| bad(what, Method::POST, route, answered).with(media_type, body))
        };
        table.extend(both("broken JSON", wrong, JSON, b"{"));
        table.extend(both("a list", wrong, JSON, b"[]"));
        table.extend(both("a wrong type", wrong, JSON, br#"{"timestamp": "now"}"#));
        table.extend(both(
            "an unknown field",
            wrong,
            JSON,
            br#"{"timestamp": 1, "colour": "blue"}"#,
        ));
        table.extend(both(
            "another media type",
            Problem(415, "unsupported-media-type"),
            "text/plain",
            b"{}",
        ));
        table.extend(both(
            "too large",
            Problem(413, "payload-too-large"),
            JSON,
            &vec![b' '; 64 * 1024 + 1],
        ));
        let unusable_clips = [
            ("no body", json!(null)),
            ("no window", json!({})),
            ("no length", json!({ "timestamp": 1_770_989_995_231_i64 })),
            (
                "a length of nothing",
                json!({ "timestamp": 1_770_989_995_231_i64, "duration": 0 }),
            ),
            (
                "more than 15 minutes",
                json!({ "timestamp": 1_770_989_995_231_i64, "duration": 900_001 }),
            ),
            (
                "a time to come",
                json!({ "timestamp": 9_770_989_995_231_i64, "duration": 1_000 }),
            ),
            ("before all time", json!({ "timestamp": -1, "duration": 1_000 })),
            ("beyond all numbers", json!({ "timestamp": 1e300, "duration": 1_000 })),
            (
                "an unknown codec",
                json!({ "timestamp": 1_770_989_995_231_i64, "duration": 1_000,
                "video_options": { "codec": "mpeg1" } }),
            ),
        ];
        table.extend(unusable_clips.into_iter().map(|(what, body)| {
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            bad(what, Method::POST, &*clips, wrong).with(JSON, body)
        }));
        let unusable_snapshots = [
            ("an unknown type", json!({ "type": "at_noon" })),
            ("no time", json!({ "type": "at_timestamp" })),
            ("a window without its start", json!({ "type": "latest_in_range" })),
            (
                "a time to come",
                json!({ "type": "at_timestamp", "timestamp": 9_770_989_995_231_i64 }),
            ),
            (
                "more than 180 days ago",
                json!({ "type": "at_timestamp", "timestamp": 1 }),
            ),
            (
                "an unknown format",
                json!({ "type": "at_timestamp", "timestamp": 1_770_989_995_231_i64,
                "image_options": { "format": "bmp" } }),
            ),
        ];
        table.extend(
            unusable_snapshots
                .into_iter()
                .map(|(what, body)| bad(what, Method::POST, &*snapshots, wrong).with(JSON, body.to_string())),
        );
        check_all(stack, Some(&home.visitor.token), table).await;
        // None of it was taken for a request.
        let media = home
            .call(Method::GET, &format!("/v1/devices/{device}/media"), None)
            .await;
        let media = held(held(media).must_be(StatusCode::OK, "a device's media can be listed"));
        assert_eq!(media.body["items"], json!([]));
    });
}
