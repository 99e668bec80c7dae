//! Tokens and links on the stack, where more than one program has a part: the rescue queue, the epoch, limits, the audit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_lambda::types::Environment;
use lambda_http::RequestExt as _;
use local::outside::{Home, at_ring, rows_about, schedule_at};
use local::{Failure, Stack};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use ring_partner::signature::{SigningKey, sign};
use serde_json::{Value, json};
use shared::audit::Entry;
use shared::audit::store::Audit;
use shared::edge::clock;
use shared::edge::queue::Queue;
use shared::grant::ports::{Grants as _, Rescue as _, Rescued, RescuedPair};
use shared::grant::store::GrantTable;
use shared::grant::{Grant, GrantId, Tokens};
use token_exchange::TokenExchange;

use crate::stack::{alone_on_the_stack, on_the_stack};

fn held(held: Result<(), Failure>) {
    if let Err(failure) = held {
        panic!("{failure}");
    }
}

/// The entries of the audit trail about an account, a device or a user.
pub(crate) async fn audited(stack: &Stack, about: &str) -> Vec<Entry> {
    let tables = &stack.outputs().tables;
    let audit = Audit::new(&stack.aws().config, &tables["audit"], 1, &tables["link"]);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, end) = audit.page(None, after).await.expect("the trail can be read");
        all.extend(page.into_iter().filter_map(|read| read.entry));
        after = end;
        if after.is_none() {
            all.retain(|entry| {
                let account = entry
                    .account_id
                    .as_ref()
                    .is_some_and(|account| account.as_str() == about);
                let device = entry.device_id.as_ref().is_some_and(|device| device.as_str() == about);
                account || device || entry.user_id == about
            });
            all.sort_by_key(|entry| entry.at);
            return all;
        }
    }
}

/// What an entry is called in the trail.
pub(crate) fn deed(entry: &Entry) -> String {
    entry.deed.as_str().to_owned()
}

/// The one grant of a home that has tokens.
async fn grant_of(home: &Home<'_>) -> Result<Grant, Failure> {
    let rows = rows_about(home.stack, "grant", &home.account).await?;
    let row = rows
        .iter()
        .find(|row| row.contains_key("tokens"))
        .expect("a grant with tokens");
    let id = match &row["id"] {
        AttributeValue::S(id) => id,
        other => panic!("{other:?}"),
    };
    let id: GrantId = serde_json::from_value(json!(id)).expect("an id");
    let grants = GrantTable::new(&home.stack.aws().config, &home.stack.outputs().tables["grant"]);
    Ok(grants.get(&id).await.expect("the table answers").expect("the grant"))
}

#[test]
fn trap_10_a_pair_in_the_rescue_queue_comes_home_with_the_next_minute_and_an_outdated_one_does_not() {
    alone_on_the_stack(async |stack| {
        held(
            async {
                let home = Home::linked(stack, &json!(["doorbell"])).await?;
                let grant = grant_of(&home).await?;
                let stored = grant.tokens.clone().expect("tokens");
                let queue = Queue::new(&stack.aws().config, &stack.outputs().queues["rescue"]);
                let waits = async |generation: u64, scope: &str| {
                    let tokens = Tokens {
                        generation,
                        scope: Some(scope.to_owned()),
                        ..stored.clone()
                    };
                    let pair = RescuedPair {
                        grant: grant.id.clone(),
                        tokens,
                        due: None,
                    };
                    queue.keep(&Rescued::Renewed(Box::new(pair))).await.expect("it is kept");
                };
                waits(stored.generation, "outdated").await;
                waits(stored.generation + 1, "rescued").await;
                stack.invoke("token-refresh", &schedule_at(clock::now())).await?;

                let home_again = grant_of(&home).await?.tokens.expect("tokens");
                assert_eq!(home_again.generation, stored.generation + 1);
                let links = home.call(Method::GET, "/v1/links", None).await?;
                assert_eq!(
                    links.body["items"][0]["scope"], "rescued",
                    "the link shows the scope of the latest answer"
                );
                assert!(
                    queue
                        .receive(Duration::from_secs(1))
                        .await
                        .expect("an answer")
                        .is_empty()
                );
                Ok(())
            }
            .await,
        );
    });
}

/// A function's variables.
async fn variables(stack: &Stack, package: &str) -> HashMap<String, String> {
    let functions = &stack.aws().functions;
    let now = functions
        .get_function_configuration()
        .function_name(&stack.outputs().functions[package])
        .send()
        .await
        .expect("its settings");
    let variables = now.environment.and_then(|environment| environment.variables);
    variables.expect("its variables")
}

/// Sets a function's variables; and returns those that it had.
pub(crate) async fn set(stack: &Stack, package: &str, changes: &[(&str, &str)]) -> HashMap<String, String> {
    let before = variables(stack, package).await;
    let mut variables = before.clone();
    variables.extend(
        changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let environment = Environment::builder().set_variables(Some(variables)).build();
    let update = stack.aws().functions.update_function_configuration();
    let update = update
        .function_name(&stack.outputs().functions[package])
        .environment(environment);
    update.send().await.expect("the settings are changed");
    before
}

pub(crate) async fn set_back(stack: &Stack, package: &str, before: &HashMap<String, String>) {
    let all: Vec<_> = before
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    set(stack, package, &all).await;
}

#[test]
fn where_a_signature_is_required_a_code_without_one_is_not_looked_at() {
    alone_on_the_stack(async |stack| {
        let asked = async {
            let home = Home::of_strangers(stack, &json!([])).await?;
            let changes = [
                ("TOKEN_URL_SIGNATURE", "require"),
                ("SIGNING_SECRET_ID", stack.output("SigningSecretId")?),
            ];
            let before = set(stack, "token-exchange", &changes).await;
            let unsigned = home.install().await;
            // Its role reads the signing keys only where the template's parameter says so: it is told to come again.
            let url = stack.output("TokenExchangeUrl")?;
            let (_, key) = url.rsplit_once('/').expect("a path");
            let body = r#"{"code":"some-code"}"#;
            let signature = sign(
                &SigningKey::new(stack.ring().signing_key()).expect("a key"),
                body.as_bytes(),
            );
            let signed = stack
                .request(Method::POST, &format!("/ring/token/{key}"))
                .header("x-signature", signature)
                .body(body)
                .send()
                .await;
            set(stack, "token-exchange", &[("TOKEN_URL_SIGNATURE", "observe")]).await;
            let observed = home.install().await;
            set_back(stack, "token-exchange", &before).await;
            assert_eq!(unsigned?["partner_status"], 404);
            assert_eq!(
                signed.expect("the gateway answers").status(),
                StatusCode::SERVICE_UNAVAILABLE
            );
            assert_eq!(observed?["partner_status"], 200);
            Ok(())
        };
        held(asked.await);
    });
}

#[test]
fn where_a_signature_is_required_a_code_with_a_good_one_is_exchanged_and_with_another_it_is_not() {
    on_the_stack(async |stack| {
        let asked = async {
            let home = Home::of_strangers(stack, &json!([])).await?;
            // The very program over the very stack, with the settings and rights that the template's parameter gives it.
            let mut settings = variables(stack, "token-exchange").await;
            settings.insert("TOKEN_URL_SIGNATURE".to_owned(), "require".to_owned());
            settings.insert(
                "SIGNING_SECRET_ID".to_owned(),
                stack.output("SigningSecretId")?.to_owned(),
            );
            let config = token_exchange::Config::read(&settings).expect("its settings");
            let program = TokenExchange::new(&stack.aws().config, config).expect("a program");
            let url = stack.output("TokenExchangeUrl")?;
            let (_, key) = url.rsplit_once('/').expect("a path");
            let path = format!("users/{}/install", home.account);
            let code = stack
                .ring()
                .order(Method::POST, &path, Some(&json!({"push": false})))
                .await?;
            let body = json!({"code": code["code"]}).to_string();
            let status = async |signing_key: &str| {
                let signature = sign(&SigningKey::new(signing_key).expect("a key"), body.as_bytes());
                let mut request = lambda_http::Request::new(body.clone().into());
                let headers = request.headers_mut();
                headers.insert("content-type", "application/json".parse().expect("a header"));
                headers.insert("x-signature", signature.parse().expect("a header"));
                let parameters = HashMap::from([("key".to_owned(), vec![key.to_owned()])]);
                let answer = program.answer(request.with_path_parameters(parameters)).await;
                let Ok(answer) = answer;
                answer.status()
            };
            assert_eq!(status("another key").await, StatusCode::NOT_FOUND);
            assert_eq!(rows_about(stack, "grant", &home.account).await?.len(), 0);
            assert_eq!(status(stack.ring().signing_key()).await, StatusCode::OK);
            assert_eq!(
                grant_of(&home).await?.account_id.map(|id| id.as_str().to_owned()),
                Some(home.account.clone())
            );
            Ok(())
        };
        held(asked.await);
    });
}

/// The status of a link with us, and of its integration at Ring.
async fn statuses(home: &Home<'_>) -> Result<(Value, Value), Failure> {
    let links = home.call(Method::GET, "/v1/links", None).await?;
    let at_ring = at_ring(home.stack, &home.account).await?;
    Ok((
        links.body["items"][0]["status"].clone(),
        at_ring["integration"]["status"].clone(),
    ))
}

#[test]
fn trap_36_a_link_that_is_set_up_again_is_the_same_at_ring_and_with_us_and_a_repeat_is_no_error() {
    alone_on_the_stack(async |stack| {
        let ring = stack.ring();
        let strict = |strict: bool| json!({"refuse_repeated_status": strict});
        let asked = async {
            ring.order(Method::PUT, "config", Some(&strict(true))).await?;
            let home = Home::linked(stack, &json!(["doorbell"])).await?;
            let links = home.call(Method::GET, "/v1/links", None).await?;
            let route = format!("/v1/links/{}", links.body["items"][0]["id"].as_str().expect("an id"));
            for status in ["completed", "awaiting", "awaiting", "completed", "completed"] {
                let changed = home
                    .call(Method::PATCH, &route, Some(&json!({"status": status})))
                    .await?;
                let changed = changed.must_be(StatusCode::OK, "it is set")?;
                assert_eq!(changed.body["status"], status);
                assert_eq!(statuses(&home).await?, (json!(status), json!(status)));
            }
            let out_of_scope = json!({
                "method": "PATCH", "path": "/v1/accounts/me/app-integrations", "do": "answer", "status": 403,
            });
            ring.order(Method::POST, "faults", Some(&out_of_scope)).await?;
            let refused = home
                .call(Method::PATCH, &route, Some(&json!({"status": "awaiting"})))
                .await?;
            let refused = refused.must_be(StatusCode::FORBIDDEN, "Ring has not granted it")?;
            assert_eq!(refused.body["type"], "/problems/scope-missing");
            Ok(())
        };
        let asked = asked.await;
        let lenient = ring.order(Method::PUT, "config", Some(&strict(false))).await;
        held(asked.and(lenient.map(|_| ())));
    });
}

#[test]
fn a_link_that_is_completed_after_set_up_awaits_its_user_at_ring_until_then() {
    alone_on_the_stack(async |stack| {
        let before = set(stack, "account-link", &[("COMPLETE_LINK", "after-setup")]).await;
        let asked = async {
            let home = Home::linked(stack, &json!(["doorbell"])).await?;
            assert_eq!(statuses(&home).await?, (json!("awaiting"), json!("awaiting")));
            assert_eq!(home.device_ids().await?.len(), 1, "its devices are there already");
            let links = home.call(Method::GET, "/v1/links", None).await?;
            let route = format!("/v1/links/{}", links.body["items"][0]["id"].as_str().expect("an id"));
            home.call(Method::PATCH, &route, Some(&json!({"status": "completed"})))
                .await?
                .must_be(StatusCode::OK, "it is completed")?;
            assert_eq!(statuses(&home).await?, (json!("completed"), json!("completed")));
            Ok(())
        };
        let asked = asked.await;
        set_back(stack, "account-link", &before).await;
        held(asked);
    });
}

#[test]
fn a_pair_of_an_earlier_epoch_is_never_shown_to_ring() {
    alone_on_the_stack(async |stack| {
        let asked = async {
            let home = Home::linked(stack, &json!(["doorbell"])).await?;
            let grant = grant_of(&home).await?;
            let generation = grant.tokens.as_ref().map_or(0, |tokens| tokens.generation);
            let before = set(stack, "token-refresh", &[("GRANTS_EPOCH", "2")]).await;
            let asked: Value = json!({"grant": grant.id, "generation": generation});
            let outcome = stack.invoke("token-refresh", &asked).await;
            set_back(stack, "token-refresh", &before).await;
            assert_eq!(outcome?, json!("relink_required"));
            let link = home.call(Method::GET, "/v1/links", None).await?.body["items"][0].clone();
            assert_eq!(link["status"], "relink_required");
            let family = at_ring(stack, &home.account).await?["families"][0].clone();
            assert_eq!(
                (&family["rotations"], &family["live"]),
                (&json!(0), &json!(true)),
                "{family}"
            );
            Ok(())
        };
        held(asked.await);
    });
}

#[test]
fn who_tries_to_link_too_often_is_told_when_to_come_again_and_others_are_not() {
    on_the_stack(async |stack| {
        let asked = async {
            let (hasty, other) = (
                Home::of_strangers(stack, &json!([])).await?,
                Home::of_strangers(stack, &json!([])).await?,
            );
            // A nonce of nobody: it is looked for among all that wait.
            let nonce = json!({"nonce": "A".repeat(43), "time": clock::now().as_millisecond().to_string()});
            let ask = || hasty.call(Method::POST, "/v1/links/preview", Some(&nonce));
            // All at once, twice as many as two windows have: a minute may turn meanwhile.
            let answers = futures_util::future::join_all((0..70).map(|_| ask())).await;
            let mut refused = Vec::new();
            for answer in answers {
                let answer = answer?;
                if answer.status == StatusCode::TOO_MANY_REQUESTS {
                    refused.push(answer);
                }
            }
            let last = refused.pop().expect("somebody is told to wait");
            assert_eq!(last.body["type"], "/problems/rate-limited", "{last:?}");
            let wait: u64 = last.headers[RETRY_AFTER]
                .to_str()
                .ok()
                .and_then(|wait| wait.parse().ok())
                .expect("seconds");
            assert!((1..=60).contains(&wait), "{wait}");
            let answer = other.call(Method::POST, "/v1/links/preview", Some(&nonce)).await?;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
            Ok(())
        };
        held(asked.await);
    });
}

#[test]
fn a_link_a_refusal_and_an_unlinking_stand_in_the_audit_trail() {
    on_the_stack(async |stack| {
        let asked = async {
            let home = Home::linked(stack, &json!(["doorbell"])).await?;
            home.install().await?;
            let nonce = home.confirm().await?;
            let other = Home::of_strangers(stack, &json!([])).await?;
            assert_eq!(other.link_with(&nonce).await?.status, StatusCode::CONFLICT);
            // Its user takes it, and the other comes with it again.
            home.link_with(&nonce)
                .await?
                .must_be(StatusCode::CREATED, "it is linked anew")?;
            let preview = other.call(Method::POST, "/v1/links/preview", Some(&nonce)).await?;
            assert_eq!(preview.status, StatusCode::CONFLICT);
            let links = home.call(Method::GET, "/v1/links", None).await?;
            let link = links.body["items"][0]["id"].as_str().expect("a link").to_owned();
            home.call(Method::DELETE, &format!("/v1/links/{link}"), None)
                .await?
                .must_be(StatusCode::NO_CONTENT, "it is unlinked")?;

            let entries = audited(stack, &home.account).await;
            let mut deeds: Vec<_> = entries.iter().map(deed).collect();
            deeds.sort();
            assert_eq!(
                deeds,
                [
                    "link_refused_taken",
                    "link_refused_taken",
                    "linked",
                    "linked",
                    "unlinked"
                ]
            );
            let users: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.user_id.clone()).collect();
            assert_eq!(users.len(), 2, "who was refused is another");
            let all = format!("{entries:?}");
            for secret in [&home.visitor.email, &other.visitor.email] {
                assert!(!all.contains(secret.as_str()), "people are pseudonyms");
            }
            assert!(!all.contains(nonce["nonce"].as_str().expect("a nonce")));
            let scan = stack.aws().tables.scan().table_name(&stack.outputs().tables["audit"]);
            let rows = scan
                .send()
                .await
                .expect("the table can be read")
                .items
                .unwrap_or_default();
            assert!(
                rows.len() >= entries.len() && rows.iter().all(|row| row.contains_key("expires_at")),
                "its retention deletes it"
            );
            let stored = format!("{rows:?}");
            for about in users.iter().chain([&home.account]) {
                assert!(!stored.contains(about.as_str()), "whose they are is sealed");
            }
            Ok(())
        };
        held(asked.await);
    });
}

#[test]
fn trap_1_refused_codes_are_counted_by_source_and_good_ones_are_not() {
    alone_on_the_stack(async |stack| {
        let asked = async {
            let url = stack.output("TokenExchangeUrl")?;
            let (_, key) = url.rsplit_once('/').expect("a path");
            let route = format!("/ring/token/{key}");
            let home = Home::of_strangers(stack, &json!([])).await?;
            let before = refused_codes(stack).await?;
            for number in 0..3 {
                let forged = json!({"code": format!("forged-{number}")});
                let answer = stack.request(Method::POST, &route).json(&forged).send().await;
                assert_eq!(answer.expect("the gateway answers").status(), StatusCode::BAD_REQUEST);
            }
            assert_eq!(home.install().await?["partner_status"], 200);
            assert_eq!(refused_codes(stack).await?, before + 3);
            Ok(())
        };
        held(asked.await);
    });
}

/// How many refused codes are counted, by all sources in all windows: under a hash, as an address is personal.
async fn refused_codes(stack: &Stack) -> Result<u64, Failure> {
    let rows = rows_about(stack, "grant", "quota#source_").await?;
    assert!(!format!("{rows:?}").contains("127.0.0.1"));
    let taken = rows
        .iter()
        .filter_map(|row| row.get("taken")?.as_n().ok()?.parse::<u64>().ok());
    Ok(taken.sum())
}

/// What goes on while the client secret is rotated, and what of it went wrong.
struct Load<'a> {
    home: &'a Home<'a>,
    done: AtomicUsize,
    ended: AtomicBool,
    wrong: Mutex<Vec<Value>>,
}

impl Load<'_> {
    fn count(&self, answer: &Value, is_right: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if !is_right {
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.push(answer.clone());
        }
    }

    /// New users install the app, each with a code that is to be exchanged.
    async fn codes(&self) -> Result<(), Failure> {
        let ring = self.home.stack.ring();
        while !self.ended.load(Ordering::Relaxed) {
            let user = ring.order(Method::POST, "users", Some(&json!({}))).await?;
            let install = format!("users/{}/install", user["id"].as_str().unwrap_or_default());
            let installed = ring.order(Method::POST, &install, None).await?;
            self.count(&installed, installed["partner_status"] == 200);
        }
        Ok(())
    }

    /// One pair is renewed again and again.
    async fn pairs(&self) -> Result<(), Failure> {
        let grant = grant_of(self.home).await?;
        let mut generation = grant.tokens.expect("tokens").generation;
        while !self.ended.load(Ordering::Relaxed) {
            let asked = json!({ "grant": grant.id, "generation": generation });
            let renewed = self.home.stack.invoke("token-refresh", &asked).await?;
            self.count(&renewed, renewed == json!("fresh"));
            generation += 1;
        }
        Ok(())
    }

    async fn for_more(&self) {
        let until = self.done.load(Ordering::Relaxed) + 20;
        while self.done.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Both, then Ring goes over, then the new one: as the runbook has it.
    async fn rotate(&self, old: &str, new: &str) -> Result<(), Failure> {
        let stack = self.home.stack;
        self.for_more().await;
        write_client(stack, &json!({ "client_secret": new, "client_secret_previous": old })).await?;
        self.for_more().await;
        // Programs know the old one alone, from before, or both.
        at_ring_is(stack, new).await?;
        self.for_more().await;
        write_client(stack, &json!({ "client_secret": new })).await?;
        self.for_more().await;
        self.ended.store(true, Ordering::Relaxed);
        Ok(())
    }
}

async fn at_ring_is(stack: &Stack, secret: &str) -> Result<Value, Failure> {
    let change = json!({ "client_secret": secret });
    stack.ring().order(Method::PUT, "config", Some(&change)).await
}

async fn write_client(stack: &Stack, secrets: &Value) -> Result<(), Failure> {
    let known = stack.ring().order(Method::GET, "config", None).await?;
    let mut client = secrets.clone();
    client["client_id"] = known["client_id"].clone();
    let put = stack.aws().secrets.put_secret_value();
    let put = put
        .secret_id(stack.output("OAuthSecretId")?)
        .secret_string(client.to_string());
    put.send().await.expect("the secret is written");
    Ok(())
}

#[test]
fn while_the_client_secret_is_rotated_under_load_every_code_is_exchanged_and_every_pair_renewed() {
    alone_on_the_stack(async |stack| {
        let known = stack.ring().order(Method::GET, "config", None).await;
        let old = known.expect("its settings")["client_secret"].clone();
        let old = old.as_str().expect("a secret");
        let rotated = async {
            let home = Home::linked(stack, &json!(["doorbell"])).await?;
            let load = Load {
                home: &home,
                done: AtomicUsize::new(0),
                ended: AtomicBool::new(false),
                wrong: Mutex::default(),
            };
            tokio::try_join!(load.codes(), load.pairs(), load.rotate(old, "an-other+secret&more"))?;
            let wrong = load.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
            assert!(wrong.is_empty(), "{wrong:?}");
            Ok(())
        };
        let rotated = rotated.await;
        let at_ring = at_ring_is(stack, old).await.map(drop);
        let written = stack.write_secrets(stack.ring().signing_key(), None).await;
        held(rotated.and(at_ring).and(written));
    });
}
