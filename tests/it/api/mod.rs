//! The API as it is described: the description is what the programs say, its examples match its schemas, and what the stack
//! answers is what it says. [`tenants`] and [`tokens`] ask each route that it names.

mod account;
mod asked;
mod client;
pub(crate) mod tenants;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jsonschema::Validator;
use local::outside::{Home, rows_about, schedule_at, soon};
use local::{Failure, Stack};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::audit::Deed;
use shared::edge::gateway::SignedIn;
use shared::edge::{clock, key};
use shared::link::{LISTED_WITHIN, STALE_AFTER};

use crate::grants::audited;
use crate::stack::on_the_stack;
use crate::traps::{alone, among_others, fault, only_device};
use crate::viewer::Viewer;

/// The description as it is served.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(partner_api::DESCRIPTION).expect("the description is JSON"));

/// An operation of the description.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    method: Method,
    /// With its parameters in braces.
    pub(crate) path: String,
    said: &'static Value,
}

impl Operation {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (path, item) in DOCUMENT["paths"].as_object().expect("paths") {
            for (method, said) in item.as_object().expect("operations") {
                all.push(Self {
                    id: said["operationId"].as_str().expect("an operation has an id").to_owned(),
                    method: method.to_uppercase().parse().expect("a method"),
                    path: path.clone(),
                    said,
                });
            }
        }
        assert!(all.len() > 15, "the description was read");
        all
    }

    pub(crate) fn of(id: &str) -> Self {
        let found = Self::all().into_iter().find(|operation| operation.id == id);
        found.unwrap_or_else(|| panic!("the description has no operation {id}"))
    }

    fn needs_a_user(&self) -> bool {
        self.said["security"].is_null()
    }

    /// The names in braces.
    fn parameters(&self) -> Vec<String> {
        let segments = self.path.split('/');
        let named = segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        named.map(str::to_owned).collect()
    }

    fn route(&self, value: impl Fn(&str) -> String) -> String {
        let segments = self.path.split('/').map(|segment| {
            let named = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            named.map_or_else(|| segment.to_owned(), &value)
        });
        segments.collect::<Vec<_>>().join("/")
    }

    /// The media type and the schema of its body, where it takes one.
    fn takes(&self) -> Option<(&'static str, &'static Value)> {
        let content = self.said["requestBody"]["content"].as_object()?;
        let (media_type, content) = content.iter().next()?;
        Some((media_type, &content["schema"]))
    }

    /// Fails unless this answer is one that the description has.
    #[track_caller]
    pub(crate) fn may_answer(&self, status: StatusCode, headers: &HeaderMap, body: &str) {
        let shown = format!("{} {}: {status} {headers:?} {body}", self.method, self.path);
        let said = &self.said["responses"][status.as_str()];
        assert!(said.is_object(), "no such answer is described: {shown}");
        let Some(content) = said["content"].as_object() else {
            assert!(body.is_empty(), "no body is described: {shown}");
            return;
        };
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let content = content.get(media_type);
        let content = content.unwrap_or_else(|| panic!("no such media type is described: {shown}"));
        let body = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
        if let Err(error) = validator(&content["schema"], true).validate(&body) {
            panic!("at {:?}: {error}: {shown}", error.instance_path());
        }
        for (name, _) in said["headers"].as_object().into_iter().flatten() {
            // It is told where it is known.
            let optional = status == StatusCode::SERVICE_UNAVAILABLE && name == "Retry-After";
            assert!(optional || headers.contains_key(name), "without {name}: {shown}");
        }
    }
}

/// A validator of a schema of the description; a closed one takes no field that the schema does not name.
fn validator(schema: &Value, closed: bool) -> Validator {
    let mut components = DOCUMENT["components"].clone();
    if closed {
        for (name, schema) in components["schemas"].as_object_mut().expect("schemas") {
            // What may be added to: a problem, which its answers narrow down.
            if name != "Problem" && schema["properties"].is_object() && schema["additionalProperties"].is_null() {
                schema["additionalProperties"] = json!(false);
            }
        }
    }
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "components": components, "allOf": [schema],
    });
    let options = jsonschema::options().should_validate_formats(true);
    options
        .build(&whole)
        .unwrap_or_else(|error| panic!("{error}: {schema}"))
}

#[test]
fn the_description_is_what_the_programs_say() {
    let said = shared::edge::description::whole([partner_api::description(), account_link::description()]);
    assert!(
        said == *DOCUMENT,
        "make it anew: cargo run -p system-tests --example openapi > functions/partner-api/openapi.json"
    );
}

#[test]
fn the_gateway_leads_each_route_of_the_description_to_its_program_and_no_other_route_is_open() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let template = fs::read_to_string(template).expect("the template");
    // Route key -> integration and authorization.
    let mut routes = BTreeMap::new();
    for block in template.split("    Type: AWS::ApiGatewayV2::Route\n").skip(1) {
        let field = |name: &str| {
            let line = block.lines().take(7).find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        routes.insert(field("RouteKey:"), (field("Target:"), field("AuthorizationType:")));
    }
    routes.retain(|key, _| key.contains(" /v1/"));
    assert!(routes.len() > 5, "the template's routes were read: {routes:?}");
    let of_links: BTreeSet<_> = account_link::description().paths().collect();

    let mut used = BTreeSet::new();
    for operation in Operation::all() {
        let method = &operation.method;
        // The one that names most of the path wins.
        let below = operation.path.strip_prefix("/v1/").expect("all are below /v1/");
        let mut keys = vec![format!("{method} {}", operation.path)];
        if let Some((first, _)) = below.split_once('/') {
            keys.push(format!("{method} /v1/{first}/{{proxy+}}"));
        }
        keys.push(format!("{method} /v1/{{proxy+}}"));
        let key = keys.into_iter().find(|key| routes.contains_key(key));
        let key = key.unwrap_or_else(|| panic!("the gateway has no route for {method} {}", operation.path));
        let (target, authorization) = &routes[&key];
        let program = if of_links.contains(operation.path.as_str()) {
            "AccountLink"
        } else {
            "PartnerApi"
        };
        assert!(
            target.contains(&format!("${{{program}Integration}}")),
            "{key}: {target}"
        );
        let expected = if operation.needs_a_user() { "JWT" } else { "NONE" };
        assert_eq!(authorization, expected, "{key}");
        used.insert(key);
    }
    let unused: Vec<_> = routes.keys().filter(|key| !used.contains(*key)).collect();
    // There, so that who uses a wrong method is told the right ones.
    assert_eq!(unused, ["GET /v1/links/{proxy+}", "PATCH /v1/{proxy+}"]);
}

#[test]
fn every_example_of_the_description_matches_its_schema() {
    let mut seen = 0;
    let mut check = |schema: &Value, example: &Value| {
        seen += 1;
        if let Err(error) = validator(schema, true).validate(example) {
            panic!("{error} in {example:#} of {schema:#}");
        }
    };
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().expect("schemas") {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(&reference, example);
        }
    }
    for operation in Operation::all() {
        let answers = operation.said["responses"].as_object().expect("answers");
        for content in answers
            .values()
            .filter_map(|answer| answer["content"].as_object())
            .flatten()
        {
            let (_, content) = content;
            if !content["example"].is_null() {
                check(&content["schema"], &content["example"]);
            }
            for example in content["examples"]
                .as_object()
                .into_iter()
                .flat_map(|named| named.values())
            {
                check(&content["schema"], &example["value"]);
            }
        }
    }
    assert!(seen > 50, "{seen} examples");
    let device = json!({ "$ref": "#/components/schemas/Device" });
    assert!(
        !validator(&device, true).is_valid(&json!({})),
        "a device without its fields is none"
    );
    let problem = &DOCUMENT["paths"]["/v1/devices/{device}"]["get"]["responses"]["404"]["content"];
    let problem = validator(&problem["application/problem+json"]["schema"], true);
    let other = json!({ "type": "/problems/link-taken", "title": "", "status": 409 });
    assert!(!problem.is_valid(&other), "a problem of another route is none");
}

/// Somebody who walks through the API, and holds each answer to the description.
struct Walker<'a> {
    stack: &'a Stack,
    token: String,
    walked: BTreeSet<String>,
}

impl<'a> Walker<'a> {
    fn new(stack: &'a Stack, token: &str) -> Self {
        Self {
            stack,
            token: token.to_owned(),
            walked: BTreeSet::new(),
        }
    }

    /// Asks, with a value for the path's parameter and a body, and gives back what came with this status.
    async fn asks(&mut self, id: &str, value: &str, body: Option<&Value>, status: u16) -> (HeaderMap, Value) {
        let operation = Operation::of(id);
        let mut request = self
            .stack
            .request(operation.method.clone(), &operation.route(|_| value.to_owned()));
        if operation.needs_a_user() {
            request = request.bearer_auth(&self.token);
        }
        if let (Some(body), Some((media_type, schema))) = (body, operation.takes()) {
            if let Err(error) = validator(schema, true).validate(body) {
                panic!("{id} is asked with what the description does not have: {error}: {body}");
            }
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            request = request.header(CONTENT_TYPE, media_type).body(text);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{id}: {error}"));
        let (found, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        operation.may_answer(found, &headers, &text);
        assert_eq!(found, status, "{id} {value}: {text}");
        self.walked.insert(id.to_owned());
        (headers, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

#[test]
fn each_route_answers_as_the_description_says() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!([{ "preset": "doorbell", "live": {} }])).await?;
        let mut walker = Walker::new(stack, &home.visitor.token);
        let (_, said) = walker.asks("getDescription", "", None, 200).await;
        assert_eq!(said, *DOCUMENT);

        home.install().await?;
        let nonce = home.confirm().await?;
        walker.asks("previewLink", "", Some(&nonce), 200).await;
        let (_, link) = walker.asks("createLink", "", Some(&nonce), 201).await;
        walker.asks("createLink", "", Some(&nonce), 200).await;
        let long_past = json!({ "nonce": "m0hVxkW1rV7Gx0jQpD0Yw3XlGJ0y8o3Zb1cFv6qk2sE", "time": "1770989995231" });
        walker.asks("createLink", "", Some(&long_past), 410).await;
        let link = link["id"].as_str().expect("a link's id").to_owned();
        walker.asks("listLinks", "", None, 200).await;
        walker
            .asks("changeLink", &link, Some(&json!({ "status": "completed" })), 200)
            .await;

        walker.asks("listDevices", "", None, 200).await;
        let device = only_device(&home).await?;
        walker.asks("getDevice", &device, None, 200).await;
        walker.asks("getDevice", "none", None, 404).await;
        walker.asks("getPolicy", &device, None, 200).await;
        let policy = json!({ "on": { "motion_detected": { "default": ["snapshot"] } } });
        walker.asks("setPolicy", &device, Some(&policy), 200).await;
        let for_all = json!({ "link": link, "policy": policy });
        walker.asks("setPolicies", "", Some(&for_all), 200).await;

        home.emit(&json!({ "type": "motion_detected", "sub_type": "human", "device": device, "wait": true }))
            .await?;
        home.events_settle().await?;
        let events = soon("the event is shown", async || {
            let events = home.events_of(&device).await?;
            Ok(if events.is_empty() {
                Err("none".into())
            } else {
                Ok(events)
            })
        });
        assert_eq!(events.await?[0]["type"], "motion_detected");
        walker.asks("listDeviceEvents", &device, None, 200).await;
        walker.asks("listEvents", "", None, 200).await;
        let (_, summary) = walker.asks("getSummary", "", None, 200).await;
        assert_eq!(summary["devices"], 1, "{summary}");
        assert_eq!(summary["online"], 1, "{summary}");
        assert_eq!(summary["offline"], 0, "{summary}");
        assert_eq!(summary["motion_24h"], json!({ device.clone(): 1 }), "{summary}");
        assert_eq!(summary["last"][0]["type"], "motion_detected", "{summary}");

        let now = clock::now().as_millisecond();
        let clip = json!({ "timestamp": now - 60_000, "duration": 5_000 });
        walker.asks("requestClip", &device, Some(&clip), 202).await;
        let (_, medium) = walker.asks("requestSnapshot", &device, Some(&json!({})), 202).await;
        let medium = medium["id"].as_str().expect("a medium's id").to_owned();
        soon("the medium is fetched", async || {
            let found = home.call(Method::GET, &format!("/v1/media/{medium}"), None).await?;
            let over = ["stored", "no_media", "failed"]
                .map(Value::from)
                .contains(&found.body["state"]);
            Ok(if over { Ok(()) } else { Err(found.body.to_string()) })
        })
        .await?;
        walker.asks("getMedium", &medium, None, 200).await;
        walker.asks("listMedia", &device, None, 200).await;
        // A snapshot has none; that of a capture is asked for where one is recorded.
        walker.asks("getPlaylist", &medium, None, 404).await;
        walker.asks("deleteMedium", &medium, None, 204).await;
        walker.asks("deleteMedium", &medium, None, 404).await;

        let viewer = Viewer::new(false).await;
        let (headers, _) = walker.asks("openLive", &device, Some(&json!(viewer.offer)), 201).await;
        let session = headers[LOCATION].to_str().expect("a text").replace("/v1/live/", "");
        walker.asks("openLive", &device, Some(&json!("no offer")), 422).await;
        walker.asks("closeLive", &session, None, 200).await;
        viewer.close().await;
        let (_, capture) = walker
            .asks("requestCapture", &device, Some(&json!({ "duration": 1_000 })), 202)
            .await;
        let capture = capture["id"].as_str().expect("a medium's id").to_owned();
        walker.asks("deleteMedium", &capture, None, 204).await;

        walker.asks("getAccount", "", None, 200).await;
        // Each of these deeds stands in the trail, and because of what, where a policy did it.
        let trail = audited(stack, &home.account).await;
        for deed in ["viewed", "fetched", "recorded", "medium_deleted"] {
            let found = trail
                .iter()
                .find(|entry| entry.deed.as_str() == deed && entry.why.is_none());
            let found = found.unwrap_or_else(|| panic!("{deed}: {trail:?}"));
            assert_eq!(found.device_id.as_ref().map(ToString::to_string), Some(device.clone()));
        }
        let by_policy = trail
            .iter()
            .filter(|entry| entry.deed == Deed::Fetched && entry.why.is_some());
        assert_eq!(by_policy.count(), 1, "{trail:?}");
        walker.asks("exportAccount", "", None, 202).await;
        walker.asks("unlink", &link, None, 204).await;
        walker.asks("unlink", &link, None, 404).await;
        walker.asks("eraseAccount", "", None, 202).await;
        walker.asks("getDevice", &device, None, 404).await;
        let described: BTreeSet<_> = Operation::all().into_iter().map(|operation| operation.id).collect();
        assert_eq!(walker.walked, described, "each of them was asked");
        Ok(())
    });
}

#[test]
fn a_list_that_has_not_changed_is_not_sent_again() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let get = async |route: &str, tag: Option<&str>| {
            let mut request = stack.request(Method::GET, route).bearer_auth(&home.visitor.token);
            if let Some(tag) = tag {
                request = request.header(IF_NONE_MATCH, tag);
            }
            let answer = request.send().await.expect("an answer");
            let tag = answer
                .headers()
                .get(ETAG)
                .and_then(|tag| tag.to_str().ok())
                .map(str::to_owned);
            (answer.status().as_u16(), tag, answer.text().await.expect("a body"))
        };
        let each = [
            "/v1/links",
            "/v1/devices",
            "/v1/events",
            "/v1/summary",
            "/v1/openapi.json",
        ]
        .map(str::to_owned);
        let of_device = ["events", "media", "policy"].map(|what| format!("/v1/devices/{device}/{what}"));
        for route in each.iter().chain(&of_device) {
            let (status, tag, _) = get(route, None).await;
            assert_eq!(status, 200, "{route}");
            let tag = tag.unwrap_or_else(|| panic!("{route} has a tag"));
            let (status, again, body) = get(route, Some(&tag)).await;
            assert_eq!(
                (status, again.as_ref(), body.as_str()),
                (304, Some(&tag), ""),
                "{route}"
            );
        }
        let (_, tag, _) = get("/v1/events", None).await;
        home.emit(&json!({ "type": "motion_detected", "sub_type": "human", "device": device, "wait": true }))
            .await?;
        soon("the list is another one", async || {
            let (status, _, body) = get("/v1/events", tag.as_deref()).await;
            Ok(if status == 200 { Ok(()) } else { Err(body) })
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_post_is_done_once_under_its_key_and_the_key_is_no_other_requests() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell", "doorbell"])).await?;
        let devices = home.call(Method::GET, "/v1/devices", None).await?;
        let device = |at: usize| devices.body["items"][at]["id"].as_str().expect("a device").to_owned();
        let post = async |token: &str, device: &str, key: &str, body: &Value| {
            let request = stack.request(Method::POST, &format!("/v1/devices/{device}/snapshots"));
            let request = request.bearer_auth(token).header("idempotency-key", key).json(body);
            let answer = request.send().await.expect("an answer");
            let (status, headers) = (answer.status(), answer.headers().clone());
            let text = answer.text().await.expect("a body");
            Operation::of("requestSnapshot").may_answer(status, &headers, &text);
            let location = headers.get(LOCATION).cloned();
            (status.as_u16(), location, text)
        };
        let token = &home.visitor.token;
        let latest = json!({});
        let first = post(token, &device(0), "one", &latest).await;
        assert_eq!(first.0, 202, "{first:?}");
        soon("it is fetched, so that it would be answered otherwise", async || {
            let location = first
                .1
                .as_ref()
                .and_then(|location| location.to_str().ok())
                .unwrap_or_default();
            let found = home.call(Method::GET, location, None).await?;
            let over = ["stored", "no_media", "failed"]
                .map(Value::from)
                .contains(&found.body["state"]);
            Ok(if over { Ok(()) } else { Err(found.body.to_string()) })
        })
        .await?;
        assert_eq!(post(token, &device(0), "one", &latest).await, first, "the same answer");
        let other = post(token, &device(0), "two", &latest).await;
        assert_ne!(other.1, first.1, "another key is another request");
        let body = json!({ "timestamp": clock::now().as_millisecond() - 60_000 });
        for (device, body) in [(device(1), &latest), (device(0), &body)] {
            let refused = post(token, &device, "one", body).await;
            assert_eq!(refused.0, 422, "{refused:?}");
            assert!(refused.2.contains("/problems/idempotency-key-reused"), "{refused:?}");
        }
        // What did not go well can be tried again under its key, with what was wrong mended.
        let wrong = post(token, &device(0), "three", &json!({ "end_timestamp": 5 })).await;
        assert_eq!(wrong.0, 400, "{wrong:?}");
        assert_eq!(post(token, &device(0), "three", &latest).await.0, 202);
        let stranger = stack.sign_in(&email()).await?;
        assert_eq!(
            post(&stranger, &device(0), "one", &latest).await.0,
            404,
            "a key is its user's alone"
        );
        Ok(())
    });
}

#[test]
fn devices_are_found_by_what_they_can_do_where_they_are_and_whether_they_are_online_page_by_page() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell", { "preset": "doorbell", "online": false }])).await?;
        let all = home.call(Method::GET, "/v1/devices", None).await?;
        let ids = |body: &Value| -> BTreeSet<String> {
            let items = body["items"].as_array().cloned().unwrap_or_default();
            items
                .iter()
                .map(|device| device["id"].as_str().expect("an id").to_owned())
                .collect()
        };
        let every = ids(&all.body);
        assert_eq!(every.len(), 2, "{:?}", all.body);
        let find = async |query: &str| {
            let found = home.call(Method::GET, &format!("/v1/devices?{query}"), None).await?;
            assert_eq!(found.status, 200, "{query}: {:?}", found.body);
            Ok::<_, Failure>(found.body)
        };
        let online = ids(&find("online=true").await?);
        let offline = ids(&find("online=false").await?);
        assert_eq!((online.len(), offline.len()), (1, 1), "{:?}", all.body);
        assert_eq!(online.union(&offline).cloned().collect::<BTreeSet<_>>(), every);
        let country = all.body["items"][0]["location"]["country"].as_str().expect("a country");
        assert_eq!(ids(&find(&format!("country={}", country.to_lowercase())).await?), every);
        assert_eq!(ids(&find("country=ZZ").await?), BTreeSet::new());
        assert_eq!(ids(&find("capability=motion_detection").await?), every);
        assert_eq!(ids(&find("capability=teleportation").await?), BTreeSet::new());
        assert_eq!(ids(&find("online=true&capability=video").await?), online);
        let first = find("limit=1").await?;
        let cursor = first["next"].as_str().expect("there is more");
        assert!(
            !every.iter().any(|id| cursor.contains(id.as_str())),
            "a cursor tells nothing: {cursor}"
        );
        let second = find(&format!("limit=1&cursor={cursor}")).await?;
        assert_eq!(second["next"], Value::Null);
        assert_eq!(
            ids(&first).union(&ids(&second)).cloned().collect::<BTreeSet<_>>(),
            every
        );
        let wrong = home.call(Method::GET, "/v1/devices?cursor=%21", None).await?;
        assert_eq!(wrong.status, 400, "{:?}", wrong.body);
        Ok(())
    });
}

#[test]
fn an_old_list_is_made_anew_when_somebody_looks_and_while_ring_is_out_of_reach_the_last_one_is_shown_as_such() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let look = async || {
            let found = home.call(Method::GET, "/v1/devices", None).await?;
            assert_eq!(found.status, 200, "{found:?}");
            Ok::<_, Failure>(found.body["items"][0].clone())
        };
        let listings = async || -> Result<usize, Failure> {
            let path = format!("journal?user={}&method=GET&path=/v1/devices", home.account);
            let journal = stack.ring().order(Method::GET, &path, None).await?;
            Ok(journal["items"].as_array().map_or(0, Vec::len))
        };
        let links = rows_about(stack, "link", &home.account).await?;
        let since = async |attribute: &str, ago: Duration| {
            let table = &stack.outputs().tables["link"];
            // The account's row, and its copy for the user.
            for row in links.iter().filter(|row| row.contains_key("listed_at")) {
                let update = stack.aws().tables.update_item().table_name(table);
                let update = update.key("pk", row["pk"].clone()).key("sk", row["sk"].clone());
                let at = AttributeValue::S((clock::now() - ago).to_string());
                let update = update.update_expression(format!("SET {attribute} = :at"));
                update
                    .expression_attribute_values(":at", at)
                    .send()
                    .await
                    .expect("the row is changed");
            }
        };
        let minute = async || stack.invoke("token-refresh", &schedule_at(clock::now())).await;

        let before = listings().await?;
        let young = look().await?;
        minute().await?;
        assert_eq!(listings().await?, before, "what is young is not asked for");

        since("listed_at", STALE_AFTER).await;
        assert_eq!(look().await?["ring"], "ok");
        fault(
            stack,
            json!({ "method": "GET", "path": "/v1/devices", "count": null, "do": "answer", "status": 503 }),
        )
        .await?;
        minute().await?;
        since("wanted_at", LISTED_WITHIN).await;
        let degraded = look().await?;
        assert_eq!(degraded["ring"], "degraded", "{degraded}");
        assert_eq!(degraded["as_of"], young["as_of"], "with its age");
        assert_eq!((&degraded["id"], &degraded["online"]), (&young["id"], &young["online"]));

        stack.ring().order(Method::DELETE, "faults", None).await?;
        soon("the list is made anew", async || {
            stack
                .invoke("token-refresh", &schedule_at(clock::now() + LISTED_WITHIN))
                .await?;
            let now = look().await?;
            let anew = now["ring"] == "ok" && now["as_of"].as_str() > young["as_of"].as_str();
            Ok(if anew { Ok(()) } else { Err(now.to_string()) })
        })
        .await?;
        let after = listings().await?;
        look().await?;
        minute().await?;
        assert_eq!(listings().await?, after, "once");
        Ok(())
    });
}

#[test]
fn who_has_made_too_many_requests_is_told_when_to_come_again_and_nobody_else_is() {
    on_the_stack(async |stack| {
        let tokens = [
            stack.sign_in(&email()).await.expect("a user"),
            stack.sign_in(&email()).await.expect("a user"),
        ];
        // As though all of the minute's blocks were taken, and the next minute's, should it begin meanwhile.
        let claims = tokens::claims(&tokens[0]);
        let text = |name: &str| claims[name].as_str().expect("a claim").to_owned();
        let user = SignedIn::new(&text("iss"), &text("sub"), None).user_id;
        let minute = clock::now().as_second().div_euclid(60);
        for (name, noun) in [("api", "device"), ("links-api", "link")] {
            for minute in [minute, minute + 1] {
                let key = format!("quota#{}#{minute}", key::derived(name, &[&user]));
                let attribute = aws_sdk_dynamodb::types::AttributeValue::S;
                let put = stack.aws().tables.put_item().table_name(&stack.outputs().tables[noun]);
                let put = put.item("pk", attribute(key)).item("sk", attribute("quota".into()));
                let taken = aws_sdk_dynamodb::types::AttributeValue::N("1000000".into());
                put.item("taken", taken).send().await.expect("a row");
            }
        }
        for id in ["listDevices", "getSummary", "listLinks"] {
            let operation = Operation::of(id);
            let get = async |token: &str| {
                let request = stack.request(operation.method.clone(), &operation.path);
                let answer = request.bearer_auth(token).send().await.expect("an answer");
                let (status, headers) = (answer.status(), answer.headers().clone());
                operation.may_answer(status, &headers, &answer.text().await.expect("a body"));
                (status.as_u16(), headers)
            };
            let (status, headers) = get(&tokens[0]).await;
            assert_eq!(status, 429, "{id}");
            let wait = headers[RETRY_AFTER]
                .to_str()
                .expect("a text")
                .parse::<u64>()
                .expect("seconds");
            assert!((1..=61).contains(&wait), "{id}: {wait}");
            assert_eq!(get(&tokens[1]).await.0, 200, "{id}: another user");
        }
    });
}

fn email() -> String {
    format!("visitor-{}@example.com", uuid::Uuid::new_v4().simple())
}

/// A little later than a token of one second is over.
const OVER: Duration = Duration::from_secs(3);

type Held = Result<(), Failure>;
