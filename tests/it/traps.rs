//! Where Ring's documentation misleads or is silent, and what the stack as a whole does there. Each test carries the number
//! of its trap; what one crate alone decides is tested beside its code.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::outside::{Answer, Home, at_ring, rows_about, schedule_at, soon, statuses};
use local::{Failure, Stack};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use ring_partner::nonce::{self, LinkTime};
use ring_partner::signature::SigningKey;
use ring_partner::users::AccountId;
use serde_json::{Value, json};
use shared::edge::clock;

use crate::grants::{set, set_back};
use crate::stack::{alone_on_the_stack, on_the_stack};

pub(crate) type Held = Result<(), Failure>;

/// Has the stack to itself: a fault at the offline Ring strikes whoever comes. It leaves none behind, nor a client of ours
/// whose circuit is open still.
#[track_caller]
pub(crate) fn alone(test: impl AsyncFnOnce(&'static Stack) -> Held) {
    alone_on_the_stack(async |stack| {
        let held = test(stack).await;
        let cleared = stack.ring().order(Method::DELETE, "faults", None).await.map(|_| ());
        let recovered = soon("Ring is asked again", async || {
            Ok(Home::linked(stack, &json!([]))
                .await
                .map(|_| ())
                .map_err(|failure| failure.to_string()))
        });
        must_hold(stack, held.and(cleared).and(recovered.await)).await;
    });
}

#[track_caller]
pub(crate) fn among_others(test: impl AsyncFnOnce(&'static Stack) -> Held) {
    on_the_stack(async |stack| must_hold(stack, test(stack).await).await);
}

/// For tests that open live sessions: none that is open at its end, whoever opened it, is left to Ring's own limit, but where a
/// test has ordered such a limit, to see what follows from that.
#[track_caller]
pub(crate) fn leaving_none_open(test: impl AsyncFnOnce(&'static Stack) -> Held) {
    among_others(async |stack| {
        test(stack).await?;
        let open = stack.ring().order(Method::GET, "live?open=true", None).await?;
        for session in open["items"].as_array().into_iter().flatten() {
            let path = format!("live/{}", text(&session["id"]));
            // Others record still: a minute is the longest that any session is.
            let mut ended = json!(null);
            for _ in 0..700 {
                ended = stack.ring().order(Method::GET, &path, None).await?;
                if ended["open"] == false {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            let ordered = !ended["live"]["limit_ms"].is_null();
            assert!(
                ended["open"] == false && (ended["over"]["by"] != "limit" || ordered),
                "{ended}"
            );
        }
        Ok(())
    });
}

async fn must_hold(stack: &Stack, held: Held) {
    if let Err(failure) = held {
        let logs = stack
            .gather_logs()
            .await
            .map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let logs = logs.unwrap_or_default();
        let newest: Vec<_> = logs.lines().rev().take(12).collect();
        panic!("{failure}\nwhat the functions said last:\n{}", newest.join("\n"));
    }
}

pub(crate) async fn fault(stack: &Stack, fault: Value) -> Held {
    stack
        .ring()
        .order(Method::POST, "faults", Some(&fault))
        .await
        .map(|_| ())
}

/// What the offline Ring's journal has of an account.
async fn journal(home: &Home<'_>, filter: &str) -> Result<Vec<Value>, Failure> {
    let path = format!("journal?user={}&{filter}", home.account);
    let journal = home.stack.ring().order(Method::GET, &path, None).await?;
    Ok(journal["items"].as_array().cloned().unwrap_or_default())
}

/// The minute that comes `later` than now, by the schedule's time. It comes for all accounts of the stack: who calls this
/// is alone on it.
async fn minute(stack: &Stack, later: SignedDuration) -> Result<Value, Failure> {
    stack.invoke("token-refresh", &schedule_at(clock::now() + later)).await
}

pub(crate) fn is_problem(answer: &Answer, status: StatusCode, name: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.body["type"], format!("/problems/{name}"), "{answer:?}");
}

pub(crate) async fn only_device(home: &Home<'_>) -> Result<String, Failure> {
    let devices = home.device_ids().await?;
    assert_eq!(devices.len(), 1, "{devices:?}");
    Ok(devices.into_values().next().unwrap_or_default())
}

/// Ring's events of a device that the API shows, once the queue is empty.
pub(crate) async fn events(home: &Home<'_>, device: &str) -> Result<Vec<Value>, Failure> {
    home.events_settle().await?;
    home.events_of(device).await
}

/// The path of the Token Exchange URL, with the key in it.
fn token_route(stack: &Stack) -> Result<String, Failure> {
    let url = stack.output("TokenExchangeUrl")?;
    let path = url
        .split_once("/ring/")
        .map(|(_, path)| path)
        .expect("the URL has our path");
    Ok(format!("/ring/{path}"))
}

fn encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn trap_3_tokens_are_saved_although_users_me_fails_and_their_owner_is_learnt_later() {
    alone(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        fault(
            stack,
            json!({"path": "/v1/users/me", "count": null, "do": "answer", "status": 500}),
        )
        .await?;
        assert_eq!(home.install().await?["partner_status"], 200);
        let nonce = home.confirm().await?;
        let early = home.link_with(&nonce).await?;
        is_problem(&early, StatusCode::NOT_FOUND, "link-not-found");

        stack.ring().order(Method::DELETE, "faults", None).await?;
        minute(stack, SignedDuration::from_secs(120)).await?;
        assert_eq!(home.link_with(&nonce).await?.status, StatusCode::CREATED);
        Ok(())
    });
}

#[test]
fn trap_2_a_code_that_comes_again_is_exchanged_once_and_answered_alike() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        let path = format!("users/{}/install", home.account);
        let code = stack
            .ring()
            .order(Method::POST, &path, Some(&json!({"push": false})))
            .await?;
        let route = token_route(stack)?;
        let push = || async {
            stack
                .request(Method::POST, &route)
                .json(&json!({"code": code["code"]}))
                .send()
                .await
        };
        let answers = tokio::join!(push(), push(), push(), push(), push());
        for answer in [answers.0, answers.1, answers.2, answers.3, answers.4] {
            let answer = answer.expect("the gateway answers");
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.text().await.expect("a body"), "{}");
        }
        assert_eq!(journal(&home, "door=oauth").await?.len(), 1, "one exchange at Ring");
        assert_eq!(
            rows_about(stack, "grant", &home.account).await?.len(),
            2,
            "one grant and its slim row"
        );
        Ok(())
    });
}

#[test]
fn trap_4_a_code_of_the_older_model_is_exchanged_with_its_verifier() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        // RFC 7636, appendix B.
        let (verifier, challenge) = (
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        );
        let order = json!({"push": false, "code_challenge": challenge});
        let path = format!("users/{}/install", home.account);
        let code = stack.ring().order(Method::POST, &path, Some(&order)).await?;
        let body = json!({"code": code["code"], "code_verifier": verifier});
        let pushed = stack
            .request(Method::POST, &token_route(stack)?)
            .json(&body)
            .send()
            .await;
        assert_eq!(pushed.expect("the gateway answers").status(), StatusCode::OK);
        let linked = home.link_with(&home.confirm().await?).await?;
        assert_eq!(linked.status, StatusCode::CREATED, "{linked:?}");
        Ok(())
    });
}

#[test]
fn trap_14_many_refused_calls_at_once_make_one_refresh() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let revoke = json!({"user": home.account, "which": "access"});
        stack.ring().order(Method::POST, "tokens/revoke", Some(&revoke)).await?;
        let again = home.confirm().await?;
        let preview = || home.call(Method::POST, "/v1/links/preview", Some(&again));
        let answers = tokio::join!(preview(), preview(), preview(), preview());
        for answer in [answers.0?, answers.1?, answers.2?, answers.3?] {
            answer.must_be(StatusCode::OK, "each caller is served")?;
        }
        assert_eq!(journal(&home, "door=oauth&note=refresh_token").await?.len(), 1);
        assert_eq!(
            at_ring(stack, &home.account).await?["live_families"],
            1,
            "no spent token was presented"
        );
        Ok(())
    });
}

#[test]
fn trap_16_unlinking_deletes_both_tokens_and_hides_the_account() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let links = home.call(Method::GET, "/v1/links", None).await?;
        let link = links.body["items"][0]["id"].as_str().expect("a link").to_owned();
        let mut grants = rows_about(stack, "grant", &home.account).await?;
        grants.retain(|row| row.contains_key("tokens"));
        assert_eq!(grants.len(), 1, "{grants:?}");
        let grant = grants[0]["pk"].as_s().expect("a text");
        let gone = home.call(Method::DELETE, &format!("/v1/links/{link}"), None).await?;
        gone.must_be(StatusCode::NO_CONTENT, "the account is unlinked")?;

        assert!(rows_about(stack, "grant", &home.account).await?.is_empty());
        let mut kept = rows_about(stack, "grant", grant).await?;
        kept.retain(|row| row["pk"] == grants[0]["pk"]);
        assert_eq!(kept.len(), 1, "a tombstone: {kept:?}");
        assert!(!kept[0].contains_key("tokens"), "both tokens are deleted");
        assert!(kept[0].contains_key("expires_at"), "the tombstone goes in the end");
        let of_devices = rows_about(stack, "device", &home.account).await?;
        let ids_alone = ["pk", "sk", "device_ids"];
        assert!(
            of_devices
                .iter()
                .all(|row| row.keys().all(|name| ids_alone.contains(&name.as_str()))),
            "nothing but the ids by which their media are found: {of_devices:?}"
        );
        is_problem(
            &home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?,
            StatusCode::NOT_FOUND,
            "not-found",
        );
        let links = home.call(Method::GET, "/v1/links", None).await?;
        assert_eq!(links.body["items"], json!([]));
        is_problem(
            &home.call(Method::DELETE, &format!("/v1/links/{link}"), None).await?,
            StatusCode::NOT_FOUND,
            "not-found",
        );
        Ok(())
    });
}

#[test]
fn trap_20_linking_again_keeps_the_link_and_ends_the_older_grant() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let first = home.call(Method::GET, "/v1/links", None).await?.body["items"][0].clone();
        home.install().await?;
        let again = home.link_with(&home.confirm().await?).await?;
        let again = again.must_be(StatusCode::CREATED, "the account is linked anew")?;
        assert_eq!(again.body["id"], first["id"], "the same link");
        let rows = rows_about(stack, "grant", &home.account).await?;
        let with_tokens = rows.iter().filter(|row| row.contains_key("tokens")).count();
        assert_eq!(with_tokens, 1, "the older grant has ended: {rows:?}");
        assert_eq!(home.device_ids().await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_26_a_nonce_serves_its_user_again_and_nobody_else() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        home.install().await?;
        let nonce = home.confirm().await?;
        let first = home
            .link_with(&nonce)
            .await?
            .must_be(StatusCode::CREATED, "it links once")?;
        let again = home
            .link_with(&nonce)
            .await?
            .must_be(StatusCode::OK, "and then is linked")?;
        assert_eq!(first.body["id"], again.body["id"]);
        let other = Home::of_strangers(stack, &json!([])).await?;
        is_problem(&other.link_with(&nonce).await?, StatusCode::CONFLICT, "link-taken");
        is_problem(
            &other.call(Method::POST, "/v1/links/preview", Some(&nonce)).await?,
            StatusCode::CONFLICT,
            "link-taken",
        );
        Ok(())
    });
}

#[test]
fn trap_29_who_is_sent_to_link_sees_whose_account_it_is_before_anything_is_claimed() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        home.install().await?;
        let nonce = home.confirm().await?;
        let seen = home.call(Method::POST, "/v1/links/preview", Some(&nonce)).await?;
        let seen = seen.must_be(StatusCode::OK, "the account is shown")?;
        let name = text(&seen.body["ring_user"]);
        assert!(name.contains('*') && !name.contains('@'), "masked: {name}");
        assert_eq!(seen.body["account_id"], json!(home.account));
        let integrations = journal(&home, "path=/v1/accounts/me/app-integrations").await?;
        assert!(integrations.is_empty(), "Ring is told nothing yet");
        let links = home.call(Method::GET, "/v1/links", None).await?;
        assert_eq!(links.body["items"], json!([]));
        assert_eq!(home.link_with(&nonce).await?.status, StatusCode::CREATED);
        Ok(())
    });
}

#[test]
fn trap_30_an_account_of_another_user_is_refused_and_stays_theirs() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        home.install().await?;
        let nonce = home.confirm().await?;
        let other = Home::of_strangers(stack, &json!([])).await?;
        is_problem(&other.link_with(&nonce).await?, StatusCode::CONFLICT, "link-taken");
        assert_eq!(home.device_ids().await?.len(), 1);
        assert!(other.device_ids().await?.is_empty());
        Ok(())
    });
}

#[test]
fn trap_28_a_redirect_that_comes_before_its_token_is_told_to_come_again() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        // Ring's order of the two is not documented: here the nonce is there before the code has come.
        let path = format!("users/{}/install", home.account);
        let code = stack
            .ring()
            .order(Method::POST, &path, Some(&json!({"push": false})))
            .await?;
        let nonce = home.confirm().await?;
        let early = home.link_with(&nonce).await?;
        is_problem(&early, StatusCode::NOT_FOUND, "link-not-found");
        assert_eq!(early.headers[RETRY_AFTER], "2");

        let route = format!(
            "{}?code={}",
            token_route(stack)?,
            code["code"].as_str().unwrap_or_default()
        );
        let pushed = stack
            .request(Method::POST, &route)
            .send()
            .await
            .expect("the gateway answers");
        assert_eq!(pushed.status(), StatusCode::OK);
        assert_eq!(home.link_with(&nonce).await?.status, StatusCode::CREATED);
        Ok(())
    });
}

#[test]
fn trap_35_a_patch_that_fails_is_retried_until_the_link_is_complete() {
    alone(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        home.install().await?;
        let integrations = "/v1/accounts/me/app-integrations";
        let broken = json!({"method": "PATCH", "path": integrations, "count": null, "do": "answer", "status": 503});
        fault(stack, broken).await?;
        let made = home.link_with(&home.confirm().await?).await?;
        let made = made.must_be(StatusCode::ACCEPTED, "the link is confirmed, and not complete")?;
        assert_eq!(made.body["status"], "confirming");

        stack.ring().order(Method::DELETE, "faults", None).await?;
        // The client's circuit at this endpoint closes by itself.
        let completed = soon("the link is completed", async || {
            minute(stack, SignedDuration::from_secs(600)).await?;
            let links = home.call(Method::GET, "/v1/links", None).await?.body["items"].clone();
            Ok(if links[0]["status"] == "completed" {
                Ok(())
            } else {
                Err(links.to_string())
            })
        });
        completed.await?;
        assert_eq!(
            at_ring(stack, &home.account).await?["integration"]["status"],
            "completed"
        );
        assert_eq!(home.device_ids().await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_36_a_nonce_whose_answer_was_lost_is_looked_into_and_not_sent_again() {
    alone(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        home.install().await?;
        let integrations = "/v1/accounts/me/app-integrations";
        fault(
            stack,
            json!({"method": "POST", "path": integrations, "do": "lose_answer"}),
        )
        .await?;
        let made = home.link_with(&home.confirm().await?).await?;
        made.must_be(
            StatusCode::CREATED,
            "a PATCH and a listing have shown that Ring took it",
        )?;
        assert_eq!(
            journal(&home, &format!("method=POST&path={integrations}")).await?.len(),
            1
        );
        assert_eq!(
            at_ring(stack, &home.account).await?["integration"]["status"],
            "completed"
        );
        Ok(())
    });
}

#[test]
fn trap_36_a_claim_that_was_left_half_way_is_resumed_when_its_time_is_up() {
    alone(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        home.install().await?;
        let integrations = "/v1/accounts/me/app-integrations";
        fault(
            stack,
            json!({"method": "POST", "path": integrations, "do": "lose_answer"}),
        )
        .await?;
        let broken = json!({"method": "PATCH", "path": integrations, "count": null, "do": "answer", "status": 500});
        fault(stack, broken).await?;
        let nonce = home.confirm().await?;
        is_problem(
            &home.link_with(&nonce).await?,
            StatusCode::SERVICE_UNAVAILABLE,
            "ring-unavailable",
        );
        is_problem(
            &home.link_with(&nonce).await?,
            StatusCode::SERVICE_UNAVAILABLE,
            "ring-unavailable",
        );
        stack.ring().order(Method::DELETE, "faults", None).await?;

        // The claim's time runs out.
        let rows = rows_about(stack, "grant", "claiming").await?;
        let mine = rows
            .iter()
            .find(|row| format!("{row:?}").contains(&home.account))
            .expect("a claim");
        let back = stack
            .aws()
            .tables
            .update_item()
            .table_name(&stack.outputs().tables["grant"]);
        let back = back.key("pk", mine["pk"].clone()).key("sk", mine["sk"].clone());
        let back = back.update_expression("SET #life.#claim.#until = :long_ago");
        let back = back
            .expression_attribute_names("#life", "life")
            .expression_attribute_names("#claim", "claim");
        let back = back.expression_attribute_names("#until", "until");
        let back = back.expression_attribute_values(":long_ago", AttributeValue::S("1970-01-01T00:00:00Z".to_owned()));
        back.send().await.expect("the claim's time is up");
        // The client's circuit at this endpoint closes by itself.
        soon("the link is completed", async || {
            minute(stack, SignedDuration::from_secs(400)).await?;
            let links = home.call(Method::GET, "/v1/links", None).await?.body["items"].clone();
            Ok(if links[0]["status"] == "completed" {
                Ok(())
            } else {
                Err(links.to_string())
            })
        })
        .await?;
        let posts = journal(&home, &format!("method=POST&path={integrations}")).await?;
        assert_eq!(posts.len(), 1, "the nonce is not sent again");
        Ok(())
    });
}

#[test]
fn trap_44_and_52_an_unknown_type_is_recorded_as_it_came() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let unknown = json!({"type": "package_delivered", "device": device, "id": "not_a_pattern", "wait": true});
        assert_eq!(statuses(&home.emit(&unknown).await?), [200]);
        let events = events(&home, &device).await?;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["type"], "package_delivered");
        Ok(())
    });
}

#[test]
fn trap_45_a_body_of_the_old_form_finds_its_account_by_the_device() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let old = json!({"type": "motion_detected", "device": device, "version": "1.0", "wait": true});
        assert_eq!(statuses(&home.emit(&old).await?), [200]);
        assert_eq!(events(&home, &device).await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_51_a_replay_under_another_request_id_does_nothing() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let press = |request: &str| {
            json!({"type": "button_press", "device": device, "id": format!("{device}_1"), "request_id": request,
                   "timestamp": clock::now().as_millisecond(), "wait": true})
        };
        assert_eq!(statuses(&home.emit(&press("one")).await?), [200]);
        assert_eq!(events(&home, &device).await?.len(), 1);

        // What the first did is undone behind its back: a replay that took effect would do it again.
        let row = stack
            .aws()
            .tables
            .update_item()
            .table_name(&stack.outputs().tables["device"]);
        let row = row.key("pk", AttributeValue::S(format!("account#{}", home.account)));
        let row = row.key("sk", AttributeValue::S(format!("device#{device}")));
        row.update_expression("REMOVE doorbell")
            .send()
            .await
            .expect("the device is set back");
        assert_eq!(statuses(&home.emit(&press("two")).await?), [200]);
        assert_eq!(events(&home, &device).await?.len(), 1);
        let device = home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
        assert_eq!(device.body["doorbell"], "unknown", "the replay did nothing");
        Ok(())
    });
}

#[test]
fn trap_53_an_id_with_a_percent_sign_is_the_same_id_everywhere() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["odd_id"])).await?;
        let device = only_device(&home).await?;
        assert!(device.contains('%'), "{device}");
        let route = format!("/v1/devices/{}", encoded(&device));
        let found = home
            .call(Method::GET, &route, None)
            .await?
            .must_be(StatusCode::OK, "the device is found")?;
        assert_eq!(found.body["id"], device.as_str());
        let motion = json!({"type": "motion_detected", "device": device, "wait": true});
        assert_eq!(statuses(&home.emit(&motion).await?), [200]);
        assert_eq!(events(&home, &encoded(&device)).await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_60_and_87_events_tell_a_devices_state_and_the_newest_wins_in_any_order() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let now = clock::now().as_millisecond();
        // The listing was a moment ago: what is told counts when it is later than that.
        let tell = async |kind: &str, after_seconds: i64| {
            let event = json!({"type": kind, "device": device, "timestamp": now + after_seconds * 1000,
                               "effects": false, "wait": true});
            assert_eq!(statuses(&home.emit(&event).await?), [200], "{kind}");
            home.events_settle().await
        };
        let online = async || Ok::<_, Failure>(home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?);

        tell("device_offline", 20).await?;
        assert_eq!(online().await?.body["online"], false);
        tell("device_online", 10).await?;
        assert_eq!(
            online().await?.body["online"],
            false,
            "what was told later happened earlier"
        );
        tell("device_online", 30).await?;
        assert_eq!(online().await?.body["online"], true);

        tell("device_removed", 50).await?;
        assert_eq!(online().await?.status, StatusCode::NOT_FOUND);
        tell("device_added", 60).await?;
        tell("device_removed", 55).await?;
        assert_eq!(
            online().await?.status,
            StatusCode::OK,
            "a late removal does not undo a newer addition"
        );
        Ok(())
    });
}

#[test]
fn trap_63_an_account_without_devices_stays_linked_and_is_listed_anew_daily() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!([])).await?;
        let listed_at = async || {
            let rows = rows_about(stack, "link", &home.account).await?;
            let listed = rows
                .iter()
                .find_map(|row| row.get("listed_at")?.as_s().ok()?.parse::<Timestamp>().ok());
            Ok::<_, Failure>(listed.expect("a complete link was listed"))
        };
        let (before, listings) = (listed_at().await?, journal(&home, "path=/v1/devices").await?.len());
        minute(stack, SignedDuration::from_hours(30)).await?;
        assert!(listed_at().await? > before, "that it was listed anew is kept");
        assert_eq!(journal(&home, "path=/v1/devices").await?.len(), listings + 1);
        let links = home.call(Method::GET, "/v1/links", None).await?;
        assert_eq!(links.body["items"][0]["status"], "completed");
        Ok(())
    });
}

#[test]
fn trap_66_an_added_device_is_fetched_with_all_its_parts_by_its_accounts_token() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!([])).await?;
        let path = format!("users/{}/devices", home.account);
        let added = stack
            .ring()
            .order(
                Method::POST,
                &path,
                Some(&json!({"preset": "hevc_camera", "announce": true})),
            )
            .await?;
        let device = added["id"].as_str().expect("an id").to_owned();
        let found = soon("the device is in the API", async || {
            let found = home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
            let whole = found.status == StatusCode::OK && found.body["capabilities"].is_object();
            Ok(if whole {
                Ok(found.body)
            } else {
                Err(format!("{found:?}"))
            })
        });
        let found = found.await?;
        assert_eq!(found["capabilities"]["video"]["codecs"], json!(["hevc"]));
        assert!(
            found["location"].is_object() && found["configurations"].is_object(),
            "{found}"
        );
        Ok(())
    });
}

#[test]
fn trap_68_motion_with_motion_detection_off_is_recorded() {
    among_others(async |stack| {
        let off = json!({"preset": "doorbell", "configurations": {"motion_detection": {"enabled": "off"}}});
        let home = Home::linked(stack, &json!([off])).await?;
        let device = only_device(&home).await?;
        home.emit(&json!({"type": "motion_detected", "device": device, "wait": true}))
            .await?;
        assert_eq!(events(&home, &device).await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_17_events_that_came_before_their_link_are_parked_and_take_effect_with_it() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        let user = stack
            .ring()
            .order(Method::GET, &format!("users/{}", home.account), None)
            .await?;
        let device = user["devices"][0]["id"].as_str().expect("a device").to_owned();
        for version in ["1.1", "1.0"] {
            let motion = json!({"type": "motion_detected", "device": device, "version": version, "wait": true,
                                "id": format!("{device}_{version}")});
            assert_eq!(statuses(&home.emit(&motion).await?), [200], "version {version}");
        }
        home.events_settle().await?;
        home.install().await?;
        home.link_with(&home.confirm().await?)
            .await?
            .must_be(StatusCode::CREATED, "the account is linked")?;
        soon("both parked events are in the API", async || {
            let events = home.events_of(&device).await?;
            Ok(if events.len() == 2 {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            })
        })
        .await
    });
}

#[test]
fn trap_82_a_doorbell_is_known_by_its_button() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let route = format!("/v1/devices/{device}");
        assert_eq!(home.call(Method::GET, &route, None).await?.body["doorbell"], "unknown");
        home.emit(&json!({"type": "button_press", "device": device, "wait": true}))
            .await?;
        home.events_settle().await?;
        assert_eq!(home.call(Method::GET, &route, None).await?.body["doorbell"], "yes");
        Ok(())
    });
}

#[test]
fn trap_49_and_58_a_burst_of_webhooks_is_answered_200_each_and_recorded_once_each() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let now = clock::now().as_millisecond();
        for number in 0..10 {
            let motion = json!({"type": "motion_detected", "device": device, "id": format!("{device}_{number}"),
                                "timestamp": now + number, "copies": 2, "wait": true});
            assert_eq!(statuses(&home.emit(&motion).await?), [200, 200]);
        }
        let found = events(&home, &device).await?;
        assert_eq!(found.len(), 10);
        let time = |event: &Value| {
            event["occurred_at"]
                .as_str()
                .and_then(|time| time.parse::<Timestamp>().ok())
        };
        let newest_first = found.is_sorted_by(|later, earlier| time(later) >= time(earlier));
        assert!(newest_first, "{found:?}");

        let route = |query: &str| format!("/v1/devices/{device}/events?limit=4{query}");
        let mut seen = Vec::new();
        let mut page = home.call(Method::GET, &route(""), None).await?.body;
        loop {
            let items = page["items"].as_array().cloned().unwrap_or_default();
            seen.extend(items.iter().map(|event| event["event_id"].clone()));
            let Some(next) = page["next"].as_str().map(str::to_owned) else {
                break;
            };
            page = home
                .call(Method::GET, &route(&format!("&cursor={next}")), None)
                .await?
                .body;
        }
        let all: Vec<_> = found.iter().map(|event| event["event_id"].clone()).collect();
        assert_eq!(
            seen, all,
            "the pages are the list, with nothing twice and nothing left out"
        );
        Ok(())
    });
}

/// Asks for a medium and waits until it is over, however it ends.
pub(crate) async fn over(home: &Home<'_>, device: &str, what: &str, order: &Value) -> Result<Value, Failure> {
    let asked = home
        .call(Method::POST, &format!("/v1/devices/{device}/{what}"), Some(order))
        .await?;
    let asked = asked.must_be(StatusCode::ACCEPTED, "a medium that was asked for is on its way")?;
    let route = format!("/v1/media/{}", asked.text("id")?);
    soon("the medium is over", async || {
        let medium = home.call(Method::GET, &route, None).await?.body;
        let over = matches!(medium["state"].as_str(), Some("stored" | "failed" | "no_media"));
        Ok(if over { Ok(medium) } else { Err(medium.to_string()) })
    })
    .await
}

/// What a presigned URL leads to.
async fn got(url: &str) -> Vec<u8> {
    let answer = reqwest::get(url).await.expect("the bucket answers");
    answer.bytes().await.expect("the whole object comes").to_vec()
}

#[test]
fn trap_98_and_106_a_window_without_footage_is_no_media_and_may_be_asked_for_anew() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let long_ago = clock::now().as_millisecond() - 3_600_000;
        let window = json!({"timestamp": long_ago, "duration": 5_000});
        let medium = over(&home, &device, "clips", &window).await?;
        assert_eq!(
            (&medium["state"], &medium["reason"]),
            (&json!("no_media"), &json!("TIMESTAMP_NOT_FOUND"))
        );

        let footage = json!({"footage": [{"start": long_ago - 1_000, "end": long_ago + 60_000}]});
        let path = format!("users/{}/devices/{device}", home.account);
        stack.ring().order(Method::PATCH, &path, Some(&footage)).await?;
        let anew = over(&home, &device, "clips", &window).await?;
        assert_eq!(anew["id"], medium["id"], "the same request is the same medium");
        assert_eq!(anew["state"], "stored");
        Ok(())
    });
}

#[test]
fn trap_104_and_105_a_part_is_stored_as_a_part_with_its_true_window() {
    among_others(async |stack| {
        let start = clock::now().as_millisecond() - 600_000;
        let footage = json!([{"start": start + 2_000, "end": start + 5_000}]);
        let home = Home::linked(stack, &json!([{"preset": "doorbell", "footage": footage}])).await?;
        let device = only_device(&home).await?;
        let medium = over(
            &home,
            &device,
            "clips",
            &json!({"timestamp": start, "duration": 10_000}),
        )
        .await?;
        assert_eq!(medium["state"], "stored", "{medium}");
        assert_eq!(medium["partial"], true);
        assert_eq!(medium["requested"], json!({"timestamp": start, "duration": 10_000}));
        assert_eq!(medium["actual"], json!({"timestamp": start + 2_000, "duration": 3_000}));

        let stranger = Home::of_strangers(stack, &json!([])).await?;
        let route = format!("/v1/media/{}", text(&medium["id"]));
        for method in [Method::GET, Method::DELETE] {
            is_problem(
                &stranger.call(method, &route, None).await?,
                StatusCode::NOT_FOUND,
                "not-found",
            );
        }
        let theirs = home.call(Method::DELETE, &route, None).await?;
        theirs.must_be(StatusCode::NO_CONTENT, "its own user may delete it")?;
        is_problem(
            &home.call(Method::GET, &route, None).await?,
            StatusCode::NOT_FOUND,
            "not-found",
        );
        Ok(())
    });
}

#[test]
fn trap_99_a_clip_behind_a_redirect_is_fetched_by_the_same_post() {
    among_others(async |stack| {
        let now = clock::now().as_millisecond();
        let door = json!({"preset": "doorbell", "clip_redirects": 2, "footage": [{"start": now - 60_000, "end": now}]});
        let home = Home::linked(stack, &json!([door])).await?;
        let device = only_device(&home).await?;
        let medium = over(
            &home,
            &device,
            "clips",
            &json!({"timestamp": now - 50_000, "duration": 5_000}),
        )
        .await?;
        assert_eq!(medium["state"], "stored", "{medium}");
        // What the file says of itself, and Ring's still of its first moment.
        assert_eq!(
            (&medium["codec"], &medium["origin"]),
            (&json!("avc"), &json!("recording"))
        );
        assert!(
            medium["resolution"]["width"].as_u64() > medium["resolution"]["height"].as_u64(),
            "{medium}"
        );
        let thumbnail = got(text(&medium["thumbnail"])).await;
        assert_eq!(image::guess_format(&thumbnail).ok(), Some(image::ImageFormat::Jpeg));
        Ok(())
    });
}

#[test]
fn trap_120_a_device_with_privacy_zones_gives_masked_stills_and_nothing_that_moves() {
    among_others(async |stack| {
        let now = clock::now().as_millisecond();
        let camera = json!({"preset": "privacy_camera", "snapshots": [now - 60_000]});
        let home = Home::linked(stack, &json!([camera])).await?;
        let device = only_device(&home).await?;
        let clip = json!({"timestamp": now - 60_000, "duration": 5_000});
        for (what, order) in [("clips", clip), ("captures", json!({"duration": 5_000}))] {
            let refused = home
                .call(Method::POST, &format!("/v1/devices/{device}/{what}"), Some(&order))
                .await?;
            is_problem(&refused, StatusCode::FORBIDDEN, "privacy-zones");
        }
        assert!(journal(&home, "path=*/media/*").await?.is_empty(), "Ring is not asked");

        for format in ["jpeg", "png"] {
            let order = json!({"type": "at_timestamp", "timestamp": now - 60_000, "image_options": {"format": format}});
            let still = over(&home, &device, "snapshots", &order).await?;
            assert_eq!(
                (text(&still["state"]), text(&still["privacy_zones"])),
                ("stored", "obscured"),
                "{still}"
            );
            assert_eq!(still["resolution"], json!({"width": 640, "height": 360}));
            let file = got(text(&still["url"])).await;
            let file = image::load_from_memory(&file).expect("it is a picture").into_rgb8();
            // The left quarter is one of its zones.
            let light = |x, y| file.get_pixel(x, y).0.into_iter().max().unwrap_or_default();
            assert!((0..360).all(|y| light(0, y) < 12 && light(80, y) < 12 && light(159, y) < 12));
            assert!((0..360).any(|y| light(400, y) > 40), "the rest is there");
        }
        Ok(())
    });
}

#[test]
fn trap_13_a_scope_that_leaves_something_out_is_no_reason_to_refresh() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        let path = format!("users/{}/install", home.account);
        let scope = json!({"scope": "devices:read configurations:read"});
        stack.ring().order(Method::POST, &path, Some(&scope)).await?;
        home.link_with(&home.confirm().await?)
            .await?
            .must_be(StatusCode::CREATED, "the account is linked")?;
        let device = only_device(&home).await?;
        let now = clock::now().as_millisecond();
        let medium = over(
            &home,
            &device,
            "clips",
            &json!({"timestamp": now - 60_000, "duration": 5_000}),
        )
        .await?;
        assert_eq!(medium["state"], "failed", "{medium}");
        assert!(journal(&home, "door=oauth&note=refresh_token").await?.is_empty());
        Ok(())
    });
}

#[test]
fn trap_9_and_10_a_refused_refresh_token_asks_for_a_new_link_and_the_old_link_takes_it() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let revoke = json!({"user": home.account, "which": "all"});
        stack.ring().order(Method::POST, "tokens/revoke", Some(&revoke)).await?;
        minute(stack, SignedDuration::from_hours(30)).await?;
        let link = home.call(Method::GET, "/v1/links", None).await?.body["items"][0].clone();
        assert_eq!(link["status"], "relink_required");
        let devices = home.call(Method::GET, "/v1/devices", None).await?;
        assert_eq!(
            devices.body["items"][0]["ring"], "degraded",
            "the last known state, and that it is that"
        );

        home.install().await?;
        let again = home
            .link_with(&home.confirm().await?)
            .await?
            .must_be(StatusCode::CREATED, "it is linked anew")?;
        assert_eq!(
            (&again.body["id"], &again.body["status"]),
            (&link["id"], &json!("completed"))
        );
        Ok(())
    });
}

#[test]
fn trap_11_a_wrong_client_secret_marks_no_grant() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let refused = json!({"path": "/oauth/token", "count": null, "do": "answer", "status": 401,
                             "body": {"error": "invalid_client"}});
        fault(stack, refused).await?;
        minute(stack, SignedDuration::from_hours(30)).await?;
        let link = home.call(Method::GET, "/v1/links", None).await?.body["items"][0].clone();
        assert_eq!(link["status"], "completed");
        stack.ring().order(Method::DELETE, "faults", None).await?;
        // The circuit at the token endpoint closes by itself.
        soon("the pair is renewed once the secret is right", async || {
            minute(stack, SignedDuration::from_hours(30)).await?;
            let rotations = at_ring(stack, &home.account).await?["families"][0]["rotations"].clone();
            Ok(if rotations == 1 {
                Ok(())
            } else {
                Err(rotations.to_string())
            })
        })
        .await
    });
}

#[test]
fn trap_42_only_a_signature_that_no_key_verifies_is_refused() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        for (key, expected) in [("wrong", 401), ("none", 401), ("current", 200)] {
            let event = json!({"type": "button_press", "device": device, "key": key, "wait": true});
            assert_eq!(statuses(&home.emit(&event).await?), [expected], "{key}");
        }
        assert_eq!(events(&home, &device).await?.len(), 1);
        Ok(())
    });
}

#[test]
fn trap_8_each_grant_that_is_due_is_renewed_once_however_often_the_minute_comes() {
    alone(async |stack| {
        let (one, other) = (
            Home::linked(stack, &json!([])).await?,
            Home::linked(stack, &json!([])).await?,
        );
        for home in [&one, &other] {
            // A day has passed for this grant.
            for row in rows_about(stack, "grant", &home.account).await? {
                let due = stack
                    .aws()
                    .tables
                    .update_item()
                    .table_name(&stack.outputs().tables["grant"]);
                let due = due.key("pk", row["pk"].clone()).key("sk", row["sk"].clone());
                let due = due.update_expression("SET due_at = :long_ago");
                let due = due.expression_attribute_values(":long_ago", AttributeValue::N("1".to_owned()));
                due.send().await.expect("the grant is due");
            }
        }
        // The schedule delivers at least once.
        let (first, second) = tokio::join!(minute(stack, SignedDuration::ZERO), minute(stack, SignedDuration::ZERO));
        first.and(second)?;
        for home in [one, other] {
            let state = at_ring(stack, &home.account).await?;
            assert_eq!(state["live_families"], 1, "no spent token was presented: {state}");
            assert_eq!(journal(&home, "door=oauth&note=refresh_token").await?.len(), 1);
        }
        Ok(())
    });
}

#[test]
fn trap_25_a_nonce_is_good_for_600_seconds_and_not_from_the_future() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        home.install().await?;
        let config = stack.ring().order(Method::GET, "config", None).await?;
        let key = SigningKey::new(config["signing_key"].as_str().unwrap_or_default()).expect("a key");
        let account = AccountId::new(home.account.clone()).expect("an account");
        let nonce_of = |seconds_ago: i64| {
            let time = clock::now().as_millisecond() - seconds_ago * 1000;
            let time = LinkTime::parse(&time.to_string()).expect("a time");
            json!({ "nonce": nonce::mint(&key, &time, &account).as_str(), "time": time.raw() })
        };
        is_problem(&home.link_with(&nonce_of(605)).await?, StatusCode::GONE, "link-expired");
        is_problem(
            &home.link_with(&nonce_of(-30)).await?,
            StatusCode::BAD_REQUEST,
            "link-time-invalid",
        );
        assert!(
            journal(&home, "path=/v1/accounts/me/app-integrations")
                .await?
                .is_empty(),
            "Ring is not asked"
        );
        let fresh = home.confirm().await?;
        assert_eq!(home.link_with(&fresh).await?.status, StatusCode::CREATED);
        Ok(())
    });
}

#[test]
fn trap_27_33_and_34_the_right_grant_of_many_is_matched_at_once_and_devices_are_asked_for_after_the_post() {
    among_others(async |stack| {
        for _ in 0..5 {
            Home::of_strangers(stack, &json!([])).await?.install().await?;
        }
        let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        home.install().await?;
        assert_eq!(
            home.link_with(&home.confirm().await?).await?.status,
            StatusCode::CREATED
        );
        let mut calls = journal(&home, "door=api").await?;
        calls.sort_by_key(|call| call["seq"].as_i64());
        let calls: Vec<_> = calls
            .iter()
            .map(|call| format!("{} {}", text(&call["method"]), text(&call["path"])))
            .collect();
        assert_eq!(
            calls,
            [
                "GET /v1/users/me",
                "POST /v1/accounts/me/app-integrations",
                "PATCH /v1/accounts/me/app-integrations",
                "GET /v1/devices",
            ]
        );
        Ok(())
    });
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn trap_37_a_grant_that_ring_no_longer_knows_is_not_linked() {
    alone(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        home.install().await?;
        let integrations = "/v1/accounts/me/app-integrations";
        fault(
            stack,
            json!({"method": "POST", "path": integrations, "do": "answer", "status": 404}),
        )
        .await?;
        is_problem(
            &home.link_with(&home.confirm().await?).await?,
            StatusCode::NOT_FOUND,
            "link-not-found",
        );
        let rows = rows_about(stack, "grant", &home.account).await?;
        assert!(
            rows.iter().all(|row| !row.contains_key("tokens")),
            "its tokens are deleted: {rows:?}"
        );
        Ok(())
    });
}

#[test]
fn trap_38_a_refused_nonce_releases_the_claim() {
    alone(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        home.install().await?;
        let nonce = home.confirm().await?;
        let refused = json!({"errors": [{"status": "400", "title": "Invalid Nonce"}]});
        let path = "/v1/accounts/me/app-integrations";
        fault(
            stack,
            json!({"method": "POST", "path": path, "do": "answer", "status": 400, "body": refused}),
        )
        .await?;
        is_problem(&home.link_with(&nonce).await?, StatusCode::GONE, "link-expired");
        assert_eq!(
            home.link_with(&nonce).await?.status,
            StatusCode::CREATED,
            "the grant is still there"
        );
        Ok(())
    });
}

#[test]
fn trap_39_nothing_of_the_older_models_own_oauth_server_is_served() {
    among_others(async |stack| {
        let home = Home::of_strangers(stack, &json!([])).await?;
        for route in ["/v1/integrations/ring", "/oauth/token", "/oauth/authorize"] {
            let answer = home.call(Method::GET, route, None).await?;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{route}");
        }
        Ok(())
    });
}

#[test]
fn trap_40_there_is_an_app_homepage_url_to_register() {
    among_others(async |stack| {
        for output in ["TokenExchangeUrl", "WebhookUrl", "AccountLinkUrl", "AppHomepageUrl"] {
            let url = reqwest::Url::parse(stack.output(output)?).expect("a URL");
            assert!(
                ["http", "https"].contains(&url.scheme()) && url.host().is_some(),
                "{output}"
            );
        }
        Ok(())
    });
}

#[test]
fn trap_41_of_a_ring_user_the_account_is_kept_and_nothing_personal() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let user = stack
            .ring()
            .order(Method::GET, &format!("users/{}", home.account), None)
            .await?;
        for personal in [
            text(&user["email"]),
            text(&user["phone_number"]),
            home.visitor.email.as_str(),
        ] {
            assert!(personal.len() > 5, "{user}");
            for noun in ["grant", "link", "event", "device", "media"] {
                assert!(rows_about(stack, noun, personal).await?.is_empty(), "{noun}");
            }
        }
        Ok(())
    });
}

#[test]
fn trap_49_an_event_that_was_killed_half_way_is_resumed_by_its_repeat() {
    among_others(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let press = json!({"type": "button_press", "device": device, "id": format!("{device}_1"),
                           "timestamp": clock::now().as_millisecond(), "wait": true});
        home.emit(&press).await?;
        let event = text(&events(&home, &device).await?[0]["event_id"]).to_owned();

        // As a crash between the marker and its effects leaves it: no row in the history, and the device as it was.
        let tables = &stack.outputs().tables;
        let row = |table: &str, pk: &str, sk: &str| {
            let update = stack.aws().tables.update_item().table_name(table);
            update
                .key("pk", AttributeValue::S(pk.to_owned()))
                .key("sk", AttributeValue::S(sk.to_owned()))
        };
        let rows = rows_about(stack, "event", &event).await?;
        let past = rows.iter().find(|row| row.contains_key("ledger")).expect("it is done");
        let undone = stack.aws().tables.delete_item().table_name(&tables["event"]);
        let undone = undone.key("pk", past["pk"].clone()).key("sk", past["sk"].clone());
        undone.send().await.expect("its row is deleted");
        let long_ago = row(&tables["event"], &event, "event").update_expression("SET recorded_at = :long_ago");
        let long_ago =
            long_ago.expression_attribute_values(":long_ago", AttributeValue::S("2026-02-13T13:39:57Z".to_owned()));
        long_ago.send().await.expect("nobody is at it any more");
        let forgotten = row(
            &tables["device"],
            &format!("account#{}", home.account),
            &format!("device#{device}"),
        );
        forgotten
            .update_expression("REMOVE doorbell")
            .send()
            .await
            .expect("the device is set back");
        assert!(home.events_of(&device).await?.is_empty(), "it is not done");

        home.emit(&press).await?;
        assert_eq!(events(&home, &device).await?.len(), 1);
        let device = home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
        assert_eq!(device.body["doorbell"], "yes", "the effect has come");
        Ok(())
    });
}

#[test]
fn trap_59_no_path_of_rings_is_redirected() {
    among_others(async |stack| {
        for route in ["/ring/webhook/", "/ring/token", "/ring/webhooks"] {
            let answer = stack
                .request(Method::POST, route)
                .body("{}")
                .send()
                .await
                .expect("the gateway answers");
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{route}");
        }
        Ok(())
    });
}

#[test]
fn trap_43_and_70_a_queue_out_of_reach_is_503_and_rings_retry_brings_the_event() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let wrong = format!("{}-that-is-not", stack.outputs().queues["events"]);
        let right = set(stack, "webhook-intake", &[("EVENTS_QUEUE_URL", &wrong)]).await;
        let sent = home
            .emit(&json!({"type": "button_press", "device": device, "wait": true}))
            .await;
        set_back(stack, "webhook-intake", &right).await;
        let sent = sent?;
        assert_eq!(statuses(&sent), [503], "{sent}");
        soon("Ring's retry has brought the event", async || {
            let events = home.events_of(&device).await?;
            Ok(if events.len() == 1 {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            })
        })
        .await
    });
}
