//! Tenants are apart: each route that the description names, asked by a user with the ids of another's things, answers to the
//! letter as it does for things that do not exist.

use std::collections::BTreeMap;

use local::Stack;
use local::outside::Home;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::{Value, json};
use shared::edge::clock;

use super::{Held, Operation};
use crate::traps::{among_others, only_device};
use crate::viewer::Viewer;

/// What is in a body or a query that names a thing, and which thing.
const NAMED: [(&str, &str); 3] = [("link", "link"), ("devices", "device"), ("device", "device")];

/// Whoever has things, and their ids by what they are.
pub(crate) struct Owner<'a> {
    pub(crate) home: Home<'a>,
    pub(crate) viewer: Viewer,
    pub(crate) ids: BTreeMap<&'static str, String>,
}

impl<'a> Owner<'a> {
    pub(crate) async fn new(stack: &'a Stack) -> Result<Self, local::Failure> {
        let home = Home::linked(stack, &json!([{ "preset": "doorbell", "live": {} }])).await?;
        let device = only_device(&home).await?;
        let now = clock::now().as_millisecond();
        let clip = json!({ "timestamp": now - 60_000, "duration": 5_000 });
        let medium = home
            .call(Method::POST, &format!("/v1/devices/{device}/clips"), Some(&clip))
            .await?
            .text("id")?;
        let viewer = Viewer::new(false).await;
        let live = stack
            .request(Method::POST, &format!("/v1/devices/{device}/live"))
            .bearer_auth(&home.visitor.token)
            .header(CONTENT_TYPE, "application/sdp")
            .body(viewer.offer.clone());
        let live = live.send().await.expect("an answer");
        assert_eq!(live.status(), 201, "a session opens");
        let session = live.headers()[LOCATION]
            .to_str()
            .expect("a text")
            .replace("/v1/live/", "");
        let links = home.call(Method::GET, "/v1/links", None).await?;
        let link = links.body["items"][0]["id"].as_str().expect("a link").to_owned();
        let ids = BTreeMap::from([("device", device), ("link", link), ("id", medium), ("session", session)]);
        Ok(Self { home, viewer, ids })
    }

    /// The state of all that is the owner's, as far as the API shows it.
    async fn things(&self) -> Result<Vec<Value>, local::Failure> {
        let device = &self.ids["device"];
        let routes = [
            "/v1/links".to_owned(),
            format!("/v1/devices/{device}/policy"),
            format!("/v1/devices/{device}/events"),
        ];
        let mut things = Vec::new();
        for route in routes {
            things.push(self.home.call(Method::GET, &route, None).await?.body);
        }
        let media = self
            .home
            .call(Method::GET, &format!("/v1/devices/{device}/media"), None)
            .await?;
        let media = media.body["items"].as_array().cloned().unwrap_or_default();
        things.extend(media.into_iter().map(|medium| medium["id"].clone()));
        Ok(things)
    }
}

/// How many sessions of a device are open at Ring.
async fn stack_sessions(stack: &Stack, device: &str) -> Result<usize, local::Failure> {
    let listed = stack
        .ring()
        .order(Method::GET, &format!("live?device={device}"), None)
        .await?;
    let sessions = listed["items"].as_array().cloned().unwrap_or_default();
    Ok(sessions.iter().filter(|session| session["open"] == true).count())
}

/// A request that names things, and what it is of.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) route: String,
    pub(crate) body: Option<(&'static str, String)>,
}

/// Every request of an operation that names one thing of each place, with this id in it. None where it names nothing.
pub(crate) fn requests(operation: &Operation, offer: &str, id: &dyn Fn(&str) -> String) -> Vec<Asked> {
    let example = operation.takes().map(|(media_type, schema)| {
        let example = if media_type == "application/sdp" {
            json!(offer)
        } else {
            schema["examples"][0].clone()
        };
        assert!(!example.is_null(), "{}: its body has an example", operation.id);
        (media_type, schema, example)
    });
    let text = |body: &Value| body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    let asked = |route: String, body: Option<(&'static str, &Value)>| Asked {
        method: operation.method.clone(),
        route,
        body: body.map(|(media_type, body)| (media_type, text(body))),
    };
    let mut all = Vec::new();
    if !operation.parameters().is_empty() {
        let body = example.as_ref().map(|(media_type, _, body)| (*media_type, body));
        all.push(asked(operation.route(id), body));
    }
    if let Some((media_type, schema, example)) = &example {
        for (field, kind) in NAMED {
            if schema["properties"][field].is_null() {
                continue;
            }
            let mut body = example.clone();
            for (other, _) in NAMED {
                body.as_object_mut().expect("an object").remove(other);
            }
            body[field] = if field == "devices" {
                json!([id(kind)])
            } else {
                json!(id(kind))
            };
            all.push(asked(operation.route(id), Some((media_type, &body))));
        }
    }
    for parameter in operation.said["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some((_, kind)) = NAMED
            .iter()
            .find(|(field, _)| parameter["in"] == "query" && *field == name)
        {
            all.push(asked(format!("{}?{name}={}", operation.route(id), id(kind)), None));
        }
    }
    all
}

pub(crate) async fn answer(stack: &Stack, token: &str, asked: &Asked) -> (u16, String) {
    let mut request = stack.request(asked.method.clone(), &asked.route).bearer_auth(token);
    if let Some((media_type, body)) = &asked.body {
        request = request.header(CONTENT_TYPE, *media_type).body(body.clone());
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[test]
fn another_users_things_are_as_though_they_did_not_exist() {
    among_others(async |stack| {
        let owners = [Owner::new(stack).await?, Owner::new(stack).await?];
        for (owner, stranger) in [(0, 1), (1, 0)] {
            apart(stack, &owners[owner], &owners[stranger]).await?;
        }
        for owner in owners {
            owner.viewer.close().await;
        }
        Ok(())
    });
}

async fn apart(stack: &Stack, owner: &Owner<'_>, stranger: &Owner<'_>) -> Held {
    let before = owner.things().await?;
    let token = &stranger.home.visitor.token;
    let mut asked = 0;
    // A session ends by itself, also while nobody can close it: it is looked at first.
    let (of_sessions, others): (Vec<_>, Vec<_>) = Operation::all()
        .into_iter()
        .partition(|operation| operation.path.starts_with("/v1/live/"));
    let mut looked_at = false;
    for operation in of_sessions.into_iter().chain(others) {
        if !looked_at && !operation.path.starts_with("/v1/live/") {
            let open = stack_sessions(stack, &owner.ids["device"]).await?;
            assert_eq!(open, 1, "it is open still");
            looked_at = true;
        }
        for parameter in operation.parameters() {
            // A new kind of thing has to be made above, or nobody would know whose it is.
            assert!(
                owner.ids.contains_key(parameter.as_str()),
                "{}: {parameter}",
                operation.path
            );
        }
        // With the thing that belongs there, and with each of another kind.
        let offer = &stranger.viewer.offer;
        let mut of_another = requests(&operation, offer, &|kind| owner.ids[kind].clone());
        for of_any_kind in owner.ids.values().chain([&owner.home.account]) {
            of_another.extend(requests(&operation, offer, &|_| of_any_kind.clone()));
        }
        let nobodys = requests(&operation, offer, &|kind| nobodys_like(&owner.ids[kind]));
        let each = of_another.len().checked_div(nobodys.len()).unwrap_or(0);
        assert_eq!(each * nobodys.len(), of_another.len());
        for (turn, theirs) in of_another.iter().enumerate() {
            let none = &nobodys[turn % nobodys.len()];
            let (found, expected) = (answer(stack, token, theirs).await, answer(stack, token, none).await);
            let shown = format!("{} {} {:?}", theirs.method, theirs.route, theirs.body);
            assert_eq!(found, expected, "{shown}");
            // A filter finds nothing; everything else is not there.
            let filter = theirs.route.contains('?');
            assert_eq!(found.0, if filter { 200 } else { 404 }, "{shown}: {}", found.1);
            if filter {
                assert_eq!(found.1, r#"{"items":[],"next":null}"#, "{shown}");
            }
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked} requests");
    assert_eq!(owner.things().await?, before, "nothing of the owner's has changed");
    Ok(())
}

/// An id of the same form that nobody has.
pub(crate) fn nobodys_like(id: &str) -> String {
    let kept: String = id.chars().take(id.chars().count().saturating_sub(6)).collect();
    format!("{kept}nobody")
}
