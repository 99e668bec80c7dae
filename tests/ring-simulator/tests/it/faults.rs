//! Faults on order, one test for each kind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{World, pair, read};

async fn order(world: &World, fault: Value) -> String {
    let taken = world.control("POST", "/faults", fault).await.expect(201);
    taken.json["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_answer_on_order_comes_with_its_status_headers_and_body_and_no_work_is_done() {
    let world = World::with_devices(json!([])).await;
    let (_, refresh) = world.tokens().await;
    let fault = json!({
        "method": "POST", "path": "/oauth/token", "do": "answer", "status": 502, "body": {"message": "bad gateway"},
        "headers": {"Retry-After": "7"},
    });
    let id = order(&world, fault).await;
    let struck = world.refresh(&refresh).await.expect(502);
    assert_eq!(struck.json, json!({"message": "bad gateway"}));
    assert_eq!(struck.header("retry-after"), "7");
    world.refresh(&refresh).await.expect(200); // the fault is used up, and the token was not spent
    let entries = world.journal("door=oauth&status=502").await;
    assert_eq!(entries[0]["fault"], id);
}

#[tokio::test]
async fn a_fault_may_skip_requests_and_strike_several_and_be_taken_back() {
    let world = World::with_devices(json!([])).await;
    let (access, _) = world.tokens().await;
    let me = async || world.api("GET", "/v1/users/me", &access, Value::Null).await.status;
    order(
        &world,
        json!({"path": "/v1/users/*", "skip": 1, "count": 2, "do": "answer", "status": 503}),
    )
    .await;
    assert_eq!([me().await, me().await, me().await, me().await], [200, 503, 503, 200]);
    let id = order(
        &world,
        json!({"path": "*", "door": "api", "count": null, "do": "answer"}),
    )
    .await;
    assert_eq!([me().await, me().await, me().await], [500, 500, 500]);
    world
        .control("DELETE", &format!("/faults/{id}"), Value::Null)
        .await
        .expect(200);
    assert_eq!(me().await, 200);
    world
        .control("DELETE", &format!("/faults/{id}"), Value::Null)
        .await
        .expect(404);
    order(&world, json!({"path": "*", "do": "answer", "error": "DEVICE_OFFLINE"})).await;
    assert_eq!(
        world.control("DELETE", "/faults", Value::Null).await.expect(200).json,
        json!({"removed": 1})
    );
    assert_eq!(me().await, 200);
}

#[tokio::test]
async fn a_delay_comes_before_the_work_or_before_the_answer() {
    let world = World::with_devices(json!([])).await;
    let impatient = |token: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", crate::world::CLIENT),
            ("client_secret", crate::world::SECRET),
        ];
        world
            .http
            .post(world.ring.oauth_url())
            .form(&form)
            .timeout(Duration::from_millis(150))
            .send()
    };
    let (_, first) = world.tokens().await;
    order(&world, json!({"path": "/oauth/token", "do": "delay", "delay_ms": 400})).await;
    assert!(impatient(&first).await.expect_err("too late").is_timeout());
    let (_, second) = pair(&world.refresh(&first).await.expect(200)); // who hung up early has spent nothing

    order(
        &world,
        json!({"path": "/oauth/token", "do": "delay_answer", "delay_ms": 400}),
    )
    .await;
    assert!(impatient(&second).await.expect_err("too late").is_timeout());
    assert_eq!(world.refresh(&second).await.expect(400).json["error"], "invalid_grant"); // the work was done

    let (_, third) = world.tokens().await;
    order(&world, json!({"path": "/oauth/token", "do": "delay", "delay_ms": 300})).await;
    let begun = Instant::now();
    world.refresh(&third).await.expect(200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let hung_up = world
        .journal("door=oauth")
        .await
        .into_iter()
        .filter(|entry| entry["status"].is_null())
        .count();
    assert_eq!(hung_up, 2, "a request whose caller hung up is in the journal");
}

#[tokio::test]
async fn a_cut_connection_gives_no_byte_and_does_no_work() {
    let world = World::with_devices(json!([])).await;
    let (_, refresh) = world.tokens().await;
    order(&world, json!({"path": "/oauth/token", "do": "cut"})).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
    let error = world
        .http
        .post(world.ring.oauth_url())
        .form(&form)
        .send()
        .await
        .expect_err("no answer");
    assert!(!error.is_timeout() && error.status().is_none(), "{error}");
    world.refresh(&refresh).await.expect(200);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_work_done() {
    let world = World::with_devices(json!([])).await;
    let (_, refresh) = world.tokens().await;
    order(&world, json!({"path": "/oauth/token", "do": "lose_answer"})).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*refresh),
        ("client_id", crate::world::CLIENT),
        ("client_secret", crate::world::SECRET),
    ];
    world
        .http
        .post(world.ring.oauth_url())
        .form(&form)
        .send()
        .await
        .expect_err("no answer");
    let entry = world.journal("door=oauth").await.pop().expect("an entry");
    assert_eq!((&entry["status"], &entry["user"]), (&Value::Null, &json!(world.user)));
    assert_eq!(world.refresh(&refresh).await.expect(400).json["error"], "invalid_grant");
}

#[tokio::test]
async fn a_dripped_body_comes_whole_but_slowly() {
    let world = World::with_devices(json!([])).await;
    let (access, _) = world.tokens().await;
    order(
        &world,
        json!({"path": "/v1/users/me", "do": "drip", "bytes": 40, "delay_ms": 50}),
    )
    .await;
    let begun = Instant::now();
    let me = world.api("GET", "/v1/users/me", &access, Value::Null).await.expect(200);
    assert_eq!(me.json["data"]["id"], world.user);
    let pauses = u32::try_from(me.bytes.len() / 40).expect("a small body");
    assert!(begun.elapsed() >= Duration::from_millis(50) * pauses);
}

#[tokio::test]
async fn a_truncated_body_breaks_off_after_its_head() {
    let world = World::with_devices(json!([])).await;
    let (access, _) = world.tokens().await;
    order(&world, json!({"path": "/v1/users/me", "do": "truncate", "bytes": 10})).await;
    let url = format!("{}/v1/users/me", world.ring.api_url());
    let mut answer = world.http.get(url).bearer_auth(&access).send().await.expect("a head");
    assert_eq!(answer.status(), 200);
    let mut got = 0;
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => got += piece.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && got == 10, "{got} bytes, broken: {broken}");
}

#[tokio::test]
async fn an_order_that_makes_no_sense_says_what_to_do() {
    let world = World::with_devices(json!([])).await;
    let check = async |order: Value, word: &str| {
        let refused = world.control("POST", "/faults", order).await.expect(400);
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert!(
            refused.json["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(word)),
            "{}",
            refused.json
        );
    };
    check(json!({"path": "*"}), "do").await;
    check(json!({"path": "*", "do": "explode"}), "lose_answer").await;
    check(json!({"path": "*", "do": "delay"}), "delay_ms").await;
    check(json!({"path": "*", "do": "cut", "colour": 1}), "colour").await;
    let raw = read(
        world
            .http
            .post(format!("{}/_sim/faults", world.ring.control_url()))
            .body("{"),
    )
    .await;
    raw.expect(400);
}
