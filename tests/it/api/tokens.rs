//! Who is not signed in here stays outside, on each route that the description names.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_sdk_cognitoidentityprovider::types::{ExplicitAuthFlowsType, TimeUnitsType, TokenValidityUnitsType};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::{Failure, Stack};
use serde_json::{Value, json};
use shared::edge::clock;

use super::{OVER, Operation, email};
use crate::traps::among_others;

/// What an ID token says.
pub(super) fn claims(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, which: usize) -> Value {
    let part = token.split('.').nth(which).expect("a part of a token");
    let part = URL_SAFE_NO_PAD.decode(part).expect("Base64");
    serde_json::from_slice(&part).expect("JSON")
}

fn written(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// The token's claims, signed with a key of our own that calls itself what the pool's does.
fn by_another_key(token: &str) -> String {
    let unsigned = written(&part(token, 0), &claims(token));
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        unsigned.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token of a client made for this, of a pool: what it is good for, and how long.
async fn of_a_client(stack: &Stack, pool: &str, seconds: Option<i32>) -> Result<String, Failure> {
    let users = &stack.aws().users;
    let mut client = users
        .create_user_pool_client()
        .user_pool_id(pool)
        .client_name("another")
        .explicit_auth_flows(ExplicitAuthFlowsType::AllowAdminUserPasswordAuth);
    if let Some(seconds) = seconds {
        let units = TokenValidityUnitsType::builder()
            .id_token(TimeUnitsType::Seconds)
            .build();
        client = client.id_token_validity(seconds).token_validity_units(units);
    }
    let client = client
        .send()
        .await
        .expect("a client")
        .user_pool_client
        .expect("a client");
    stack
        .sign_in_at(pool, client.client_id().expect("its id"), &email())
        .await
}

#[test]
fn a_token_that_is_not_for_here_opens_no_route() {
    among_others(async |stack| {
        let good = stack.sign_in(&email()).await?;
        let pool = stack.output("UserPoolId")?.to_owned();
        let another = stack.aws().users.create_user_pool().pool_name("another").send().await;
        let another = another
            .expect("a pool")
            .user_pool
            .and_then(|pool| pool.id)
            .expect("its id");
        let expired = of_a_client(stack, &pool, Some(1)).await?;
        tokio::time::sleep(OVER).await;
        let said = claims(&expired);
        let now = clock::now().as_second();
        let is_over = said["exp"].as_i64().is_some_and(|until| until < now);
        println!("a token of one second is over: {is_over}");
        let mut none = part(&good, 0);
        none["alg"] = json!("none");
        let mut other_user = claims(&good);
        other_user["sub"] = json!("another");
        let signature = good.rsplit('.').next().unwrap_or_default();
        let tokens = [
            ("expired", expired),
            ("for another audience", of_a_client(stack, &pool, None).await?),
            ("of another issuer", of_a_client(stack, &another, None).await?),
            ("unsigned", format!("{}.", written(&none, &claims(&good)))),
            (
                "unsigned, with a signature",
                format!("{}.{signature}", written(&none, &claims(&good))),
            ),
            ("of another key", by_another_key(&good)),
            (
                "of another user",
                format!("{}.{signature}", written(&part(&good, 0), &other_user)),
            ),
        ];
        for operation in Operation::all() {
            let route = operation.route(|_| "any".to_owned());
            let ask = async |token: &str| {
                let request = stack.request(operation.method.clone(), &route).bearer_auth(token);
                let answer = request.send().await.expect("an answer");
                let (status, headers) = (answer.status(), answer.headers().clone());
                operation.may_answer(status, &headers, &answer.text().await.expect("a body"));
                status.as_u16()
            };
            let with_a_good_one = ask(&good).await;
            assert_ne!(with_a_good_one, 401, "{}", operation.id);
            for (what, token) in &tokens {
                let status = ask(token).await;
                let expected = if operation.needs_a_user() { 401 } else { with_a_good_one };
                assert_eq!(status, expected, "{}: a token that is {what}", operation.id);
            }
        }
        assert!(is_over, "the expired token is expired: {said}");
        Ok(())
    });
}
