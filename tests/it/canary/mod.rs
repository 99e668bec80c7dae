//! The canary: what must stay in its place goes through the whole journey, from installing the app to unlinking it, and is
//! then looked for in every other place where something is kept or said.
//!
//! All of it is unique to this test or to this stack: tokens (spent ones too), the code, the nonce, the client's secret,
//! the signing key, the secret part of the Token Exchange URL, presigned queries, a user's ID token, e-mail addresses, a Ring
//! user's name and telephone number. It is looked for as it is, and as it looks where something else holds it ([`forms`]).
//!
//! A search that finds nothing may be blind. So it also has to find what is there by right, in each kind of place, and a
//! token that the test itself plants.

mod forms;
pub(crate) mod places;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use local::outside::{Answer, Home, Visitor, call, claim, schedule_at, soon, statuses};
use local::{Failure, Stack};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;
use uuid::Uuid;

use crate::stack::alone_on_the_stack;
use places::{Bus, Places, Planted, hold_back, log_level};

/// What is looked for, by name.
type Sought = BTreeMap<String, Vec<u8>>;

#[test]
fn no_secret_of_the_journey_is_kept_or_said_where_it_does_not_belong() {
    // It has the programs log all they can, holds queues back and moves the schedule, for the whole stack.
    alone_on_the_stack(async |stack| {
        let levels = log_level(stack, "debug").await;
        let bus = Bus::overheard(stack).await;
        let searched = search(stack, &bus).await;
        bus.silenced(stack).await;
        let cleared = stack.ring().order(Method::DELETE, "faults", None).await;
        levels.restored(stack).await;
        if let Err(failure) = searched.and(cleared.map(|_| ())) {
            panic!("{failure}");
        }
    });
}

async fn search(stack: &Stack, bus: &Bus) -> Result<(), Failure> {
    let mut places = Places::default();
    let mut journey = Journey::begin(stack).await?;
    journey.link(&mut places).await?;
    journey.events_and_media(&mut places).await?;
    journey.refresh().await?;
    // Its own schedule may not have come yet.
    stack.invoke("canary", &schedule_at(clock::now())).await?;
    journey.bad_requests(&mut places).await?;
    let secrets = journey.secrets().await?;
    places.look_around(stack, "while linked").await?;
    journey.unlink().await?;
    places.look_around(stack, "after unlinking").await?;
    places.hear(stack, bus).await;
    let hits = places.hits(&secrets);
    claim(hits.is_empty(), "no secret lies about", &hits)?;

    let by_right = journey.known_to_all();
    let hits = places.hits(&by_right);
    for kind in Places::KINDS {
        let seen = hits.iter().any(|hit| hit.kind == kind);
        claim(seen, &format!("what is there by right is found in each {kind}"), &hits)?;
    }
    for package in stack.outputs().functions.keys() {
        let spoke = format!("\"service\":\"{package}\"");
        claim(
            places.hold("log", &spoke),
            &format!("{package} has logged something"),
            &"nothing",
        )?;
    }

    let token = Sought::from([("token".to_owned(), secrets["refresh token 0"].clone())]);
    let planted = Planted::in_places(stack, &token["token"]).await;
    let mut again = Places::default();
    let looked = again.look_around(stack, "after planting").await;
    planted.removed(stack).await;
    looked?;
    let mut found: Vec<_> = again.hits(&token).iter().map(|hit| (hit.kind, hit.form)).collect();
    found.sort_unstable();
    found.dedup();
    claim(found == Planted::FOUND, "what was planted is found", &found)
}

/// One home's way from installing the app to unlinking it.
struct Journey<'a> {
    home: Home<'a>,
    person: Value,
    code: String,
    nonce: Value,
    device: String,
    link: String,
    /// The newest that was stored.
    medium: String,
    /// What the presigned URLs of our own bucket were signed with.
    signatures: Vec<String>,
}

impl<'a> Journey<'a> {
    /// A Ring user and a partner's user like no other, and the app installed.
    async fn begin(stack: &'a Stack) -> Result<Self, Failure> {
        let now = clock::now().as_millisecond();
        let unique = || Uuid::new_v4().simple().to_string();
        let person = json!({
            "first_name": format!("First{}", unique()),
            "last_name": format!("Last{}", unique()),
            "email": format!("ring-{}@example.com", unique()),
            "phone_number": format!("1800{:012}", Uuid::new_v4().as_u128() % 1_000_000_000_000),
        });
        let mut order = person.clone();
        order["devices"] = json!([{
            "preset": "doorbell",
            "footage": [{ "start": now - 900_000, "end": now }],
            "snapshots": [now - 120_000],
        }]);
        let user = stack.ring().order(Method::POST, "users", Some(&order)).await?;
        let account = user["id"].as_str().unwrap_or_default().to_owned();
        let email = format!("canary-{}@example.com", unique());
        let token = stack.sign_in(&email).await?;
        let visitor = Visitor { email, token };
        let home = Home {
            stack,
            account,
            visitor,
        };
        let installed = home.install().await?;
        claim(installed["partner_status"] == 200, "the code is exchanged", &installed)?;
        Ok(Self {
            code: installed["code"].as_str().unwrap_or_default().to_owned(),
            nonce: home.confirm().await?,
            home,
            person,
            device: String::new(),
            link: String::new(),
            medium: String::new(),
            signatures: Vec::new(),
        })
    }

    /// The nonce is refused in a few ways first, and then links.
    async fn link(&mut self, places: &mut Places) -> Result<(), Failure> {
        let time: i64 = self.nonce["time"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .unwrap_or_default();
        let nonce = self.nonce["nonce"].as_str().unwrap_or_default();
        for bad in [
            json!({ "nonce": format!("{nonce}="), "time": time.to_string() }),
            json!({ "nonce": nonce, "time": (time - 700_000).to_string() }),
            json!({ "nonce": nonce, "time": (time + 700_000).to_string() }),
            json!({ "nonce": nonce, "time": nonce }),
            json!({ "nonce": [nonce], "time": time }),
            json!(nonce),
        ] {
            for route in ["/v1/links/preview", "/v1/links"] {
                self.refused(places, Method::POST, route, Some(&bad)).await?;
            }
        }
        // As Ring's app opens it in a browser.
        let page = format!("/ring/link?nonce={nonce}&time={time}");
        let page = call(self.home.stack, None, Method::GET, &page, None).await?;
        places.answer("link page", &page.must_be(StatusCode::OK, "the page is there")?);
        let preview = self
            .home
            .call(Method::POST, "/v1/links/preview", Some(&self.nonce))
            .await?;
        let preview = preview.must_be(StatusCode::OK, "the preview knows the nonce")?;
        places.answer("preview", &preview);
        let made = self.home.link_with(&self.nonce).await?;
        let made = made.must_be(StatusCode::CREATED, "the link is made")?;
        places.answer("link", &made);
        self.link = made.text("id")?;
        self.device = self.home.device_ids().await?.into_values().next().unwrap_or_default();
        Ok(())
    }

    /// An event and two media, seen in their queues on the way; once Ring's store hangs up.
    async fn events_and_media(&mut self, places: &mut Places) -> Result<(), Failure> {
        let stack = self.home.stack;
        let now = clock::now().as_millisecond();
        let held = hold_back(stack).await;
        let seen = async {
            let motion = json!({ "type": "motion_detected", "sub_type": "human", "device": self.device, "wait": true });
            self.home.emit(&motion).await?;
            let snapshot = json!({ "type": "at_timestamp", "timestamp": now - 240_000 });
            self.ask("snapshots", &snapshot).await?;
            for queue in ["events", "media"] {
                soon("what was queued is in the queue", async || {
                    let came = places.peek(stack, queue, "on the way").await;
                    Ok(if came > 0 {
                        Ok(())
                    } else {
                        Err(format!("nothing in {queue}"))
                    })
                })
                .await?;
            }
            Ok::<_, Failure>(())
        };
        let seen = seen.await;
        held.released(stack).await;
        seen?;
        self.home.events_settle().await?;

        let cut = json!({ "door": "media", "path": "*", "do": "cut" });
        stack.ring().order(Method::POST, "faults", Some(&cut)).await?;
        let snapshot = json!({ "type": "at_timestamp", "timestamp": now - 300_000 });
        self.stored("snapshots", &snapshot).await?;
        self.stored("clips", &json!({ "timestamp": now - 300_000, "duration": 5_000 }))
            .await
    }

    async fn ask(&self, what: &str, order: &Value) -> Result<String, Failure> {
        let route = format!("/v1/devices/{}/{what}", self.device);
        let asked = self.home.call(Method::POST, &route, Some(order)).await?;
        asked
            .must_be(StatusCode::ACCEPTED, "a medium is on its way")?
            .text("id")
    }

    async fn stored(&mut self, what: &str, order: &Value) -> Result<(), Failure> {
        let medium = self.home.fetched(&self.device, what, order).await?;
        let url = medium["url"].as_str().unwrap_or_default();
        let signature = url
            .split(['?', '&'])
            .find_map(|pair| pair.strip_prefix("X-Amz-Signature="));
        claim(signature.is_some(), "the medium has a presigned URL", &medium["state"])?;
        self.signatures.extend(signature.map(str::to_owned));
        self.medium = medium["id"].as_str().unwrap_or_default().to_owned();
        Ok(())
    }

    /// The pair is renewed and used; then Ring's token endpoint fails.
    async fn refresh(&mut self) -> Result<(), Failure> {
        let stack = self.home.stack;
        let days = |count: i64| schedule_at(clock::now() + SignedDuration::from_hours(24 * count));
        stack.invoke("token-refresh", &days(2)).await?;
        let now = clock::now().as_millisecond();
        self.stored("clips", &json!({ "timestamp": now - 400_000, "duration": 5_000 }))
            .await?;
        let broken = json!({ "path": "/oauth/token", "do": "answer", "status": 500 });
        stack.ring().order(Method::POST, "faults", Some(&broken)).await?;
        stack.invoke("token-refresh", &days(5)).await?;
        Ok(())
    }

    /// Each route is asked for what it refuses, with secrets where they may come by mistake.
    async fn bad_requests(&self, places: &mut Places) -> Result<(), Failure> {
        let stack = self.home.stack;
        let wrong = json!({ "type": "button_press", "device": self.device, "key": "wrong", "wait": true });
        let emitted = self.home.emit(&wrong).await?;
        claim(statuses(&emitted) == [401], "a wrong signature is refused", &emitted)?;
        let issued = self.issued().await?;
        let token = issued["access_tokens"][0].clone();
        let door = stack.output("TokenExchangeUrl")?;
        let (_, door) = door.split_once("/ring/").unwrap_or_default();
        let forged = Uuid::new_v4().simple();
        for (route, body) in [
            (format!("/ring/{door}"), json!({ "code": self.nonce["nonce"] })),
            (
                format!("/ring/{door}"),
                json!({ "code": format!("{} {}", self.code, self.code) }),
            ),
            (format!("/ring/{door}"), json!({ "code": [self.code] })),
            (format!("/ring/{door}"), token.clone()),
            (format!("/ring/token/{forged}"), json!({ "code": self.code })),
            (
                "/ring/webhook".to_owned(),
                json!({ "data": token, "user": self.person }),
            ),
        ] {
            let answer = call(stack, None, Method::POST, &route, Some(&body)).await?;
            claim(
                answer.status.is_client_error(),
                "a bad request is refused",
                &answer.status,
            )?;
            places.answer("Ring's door", &answer);
        }

        let (link, device) = (
            format!("/v1/links/{}", self.link),
            format!("/v1/devices/{}", self.device),
        );
        let nonce = self.nonce["nonce"].as_str().unwrap_or_default();
        let token = || Some(json!({ "status": token, "timestamp": token, "duration": token, "type": token }));
        for (method, route, body) in [
            (Method::GET, "/v1/links/nobodys", None),
            (Method::PATCH, &link, token()),
            (
                Method::PATCH,
                "/v1/links/nobodys",
                Some(json!({ "status": "completed" })),
            ),
            (Method::DELETE, "/v1/links/nobodys", None),
            (Method::GET, "/v1/devices/nobodys", None),
            (Method::GET, "/v1/devices/nobodys/events", None),
            (Method::GET, &format!("/v1/events?limit={nonce}"), None),
            (Method::GET, &format!("/v1/events?cursor={nonce}"), None),
            (Method::GET, &format!("{device}/media?limit={nonce}"), None),
            (Method::GET, "/v1/nothing", None),
            (Method::PUT, "/v1/nothing", token()),
            (Method::POST, &format!("{device}/clips"), token()),
            (Method::POST, &format!("{device}/snapshots"), token()),
            (Method::GET, "/v1/media/nobodys", None),
            (Method::DELETE, "/v1/media/nobodys", None),
        ] {
            self.refused(places, method, route, body.as_ref()).await?;
        }
        Ok(())
    }

    /// Asks for what is refused: as the user, and as somebody whose token does not hold.
    async fn refused(
        &self,
        places: &mut Places,
        method: Method,
        route: &str,
        body: Option<&Value>,
    ) -> Result<(), Failure> {
        let token = &self.home.visitor.token;
        for token in [token.clone(), format!("{token}A")] {
            let answer = call(self.home.stack, Some(&token), method.clone(), route, body).await?;
            let what = format!("{method} {route} is refused");
            claim(answer.status.is_client_error(), &what, &answer.status)?;
            places.answer(route, &answer);
        }
        Ok(())
    }

    async fn unlink(&self) -> Result<(), Failure> {
        let gone = self
            .home
            .call(Method::DELETE, &format!("/v1/links/{}", self.link), None)
            .await?;
        gone.must_be(StatusCode::NO_CONTENT, "the account is unlinked")
            .map(|_| ())
    }

    /// What Ring has issued for the account so far.
    async fn issued(&self) -> Result<Value, Failure> {
        let path = format!("users/{}/secrets", self.home.account);
        self.home.stack.ring().order(Method::GET, &path, None).await
    }

    /// All that has to stay in its place.
    async fn secrets(&self) -> Result<Sought, Failure> {
        let stack = self.home.stack;
        let mut secrets = Sought::new();
        let mut add = |name: &str, value: &str| {
            assert!(value.len() >= 12, "a {name} of so few letters is anywhere");
            secrets.insert(name.to_owned(), value.into());
        };
        let issued = self.issued().await?;
        for (name, field, at_least) in [
            ("access token", "access_tokens", 2),
            ("refresh token", "refresh_tokens", 2),
            ("presigned query of Ring's", "security_tokens", 2),
        ] {
            let values: Vec<_> = issued[field]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            claim(
                values.len() >= at_least,
                "Ring has issued enough",
                &(field, values.len()),
            )?;
            for (number, value) in values.into_iter().enumerate() {
                add(&format!("{name} {number}"), value);
            }
        }
        for (number, signature) in self.signatures.iter().enumerate() {
            add(&format!("presigned query of ours {number}"), signature);
        }
        let settings = stack.ring().order(Method::GET, "config", None).await?;
        add(
            "client's secret",
            settings["client_secret"].as_str().unwrap_or_default(),
        );
        for name in ["signing_key", "signing_key_previous"] {
            if let Some(key) = settings[name].as_str() {
                add(name, key);
            }
        }
        for (name, value) in self.person.as_object().into_iter().flatten() {
            add(&format!("Ring user's {name}"), value.as_str().unwrap_or_default());
        }
        let url = stack.output("TokenExchangeUrl")?;
        add("Token Exchange URL's key", url.rsplit('/').next().unwrap_or_default());
        add("code", &self.code);
        add("e-mail", &self.home.visitor.email);
        // The rest of it names its issuer and its user, which rows and logs may.
        add(
            "ID token",
            self.home.visitor.token.rsplit('.').next().unwrap_or_default(),
        );
        let nonce = self.nonce["nonce"].as_str().unwrap_or_default();
        add("nonce", nonce);
        let bytes = URL_SAFE_NO_PAD.decode(nonce).expect("a nonce is Base64");
        secrets.insert("nonce's bytes".to_owned(), bytes);
        Ok(secrets)
    }

    /// What may lie anywhere.
    fn known_to_all(&self) -> Sought {
        Sought::from([
            ("account".to_owned(), self.home.account.clone().into()),
            ("device".to_owned(), self.device.clone().into()),
            ("link".to_owned(), self.link.clone().into()),
            ("medium".to_owned(), self.medium.clone().into()),
        ])
    }
}

/// An answer as it came: status, headers, body.
fn whole(answer: &Answer) -> String {
    let Answer { status, headers, body } = answer;
    format!("{status} {headers:?} {body}")
}
