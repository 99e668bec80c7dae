//! The examples, each as it stands in `infra/examples`: deployed beside the stack, or run as its README says.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use local::outside::{Home, soon};
use local::{Failure, Stack, Tools};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use shared::edge::clock;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::traps::among_others;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/examples");

/// Whoever is told: a light, somebody's phone.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Value>>>);

impl Told {
    /// Listens; the URL to tell it by.
    async fn listening(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let hear = async |State(told): State<Told>, Json(body): Json<Value>| {
            told.0.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        };
        let routes = Router::new().route("/", post(hear)).with_state(self.clone());
        tokio::spawn(async { drop(axum::serve(listener, routes).await) });
        url
    }

    /// What it was told that holds these words.
    async fn hears(&self, words: &str) -> Result<Value, Failure> {
        soon(&format!("somebody is told of {words}"), async || {
            let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let found = told.iter().find(|body| body.to_string().contains(words));
            Ok(found.cloned().ok_or_else(|| format!("{told:?}")))
        })
        .await
    }
}

/// Runs a script with Node, as a user; what it prints.
async fn script(stack: &Stack, token: &str, arguments: &[&str]) -> String {
    let tools = Tools::typescript(stack.place())
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    let outputs = stack.outputs();
    let api = outputs.api_host.split('.').next().unwrap_or_default();
    let mut command = Command::new(tools.node);
    command
        .args(arguments)
        .current_dir(FOLDER)
        // By its path, as no resolver knows the emulator's hosts.
        .env(
            "API_URL",
            format!("{}/_aws/execute-api/{api}/$default/", outputs.api_url),
        )
        .env("ID_TOKEN", token);
    let output = command.output().await.expect("Node runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).replace(token, "<token>");
    assert!(output.status.success(), "{arguments:?}: {said}{wrong}");
    said
}

#[test]
fn motion_switches_a_light_on_is_logged_and_becomes_a_notification_with_a_picture() {
    among_others(async |stack| {
        let (light, phone) = (Told::default(), Told::default());
        let (light_url, phone_url) = (light.listening().await, phone.listening().await);
        let bus = stack.output("EventBusName")?;
        let bucket = stack.output("MediaBucketName")?;
        let parameters = [("EventBusName", bus), ("LightUrl", &light_url)];
        let template = "infra/examples/smart-home/template.yaml";
        stack.deploy_beside(template, "smart-home", &parameters).await?;
        let parameters = [
            ("EventBusName", bus),
            ("MediaBucketName", bucket),
            ("NotifyUrl", &phone_url),
        ];
        let template = "infra/examples/motion-recording/template.yaml";
        stack.deploy_beside(template, "motion-recording", &parameters).await?;

        let now = clock::now().as_millisecond();
        let footage = json!([{ "start": now - 60_000, "end": now + 3_600_000 }]);
        let name = format!("Porch {}", uuid::Uuid::new_v4().simple());
        let camera = json!({ "preset": "doorbell", "name": name, "footage": footage, "snapshots": [now - 5_000] });
        let home = Home::linked(stack, &json!([camera])).await?;
        let device = home.device_ids().await?.into_values().next().expect("a camera");
        let policy = std::fs::read(Path::new(FOLDER).join("motion-recording/policy.json")).expect("the policy");
        let mut policy: Value = serde_json::from_slice(&policy).expect("it is JSON");
        // Nobody waits here for fifteen seconds to be over.
        policy["duration"] = json!(1_000);
        let route = format!("/v1/devices/{device}/policy");
        let set = home.call(Method::PUT, &route, Some(&policy)).await?;
        assert_eq!(set.status, 200, "{set:?}");
        for subtype in ["animal", "human"] {
            let motion = json!({ "type": "motion_detected", "sub_type": subtype, "device": device, "wait": true });
            home.emit(&motion).await?;
        }

        let order = light.hears(&name).await?;
        assert_eq!(order["light"], "on", "{order}");
        let notification = phone.hears(&name).await?;
        assert_eq!(notification["title"], format!("A clip of {name}"), "{notification}");
        let time: jiff::Timestamp = notification["time"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .expect("a time");
        assert!(
            (time.as_millisecond() - now).abs() < 60_000,
            "of the motion: {notification}"
        );
        for (what, media_type) in [("picture", "image/jpeg"), ("clip", "video/mp4")] {
            let url = notification[what]
                .as_str()
                .unwrap_or_else(|| panic!("no {what}: {notification}"));
            let found = reqwest::get(url).await.expect("an answer");
            assert_eq!(
                (found.status().as_u16(), &found.headers()[CONTENT_TYPE]),
                (200, &media_type.parse().expect("a type"))
            );
        }
        let orders = light.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mine = orders.iter().filter(|order| order.to_string().contains(&name)).count();
        assert_eq!(mine, 1, "an animal leaves it dark: {orders:?}");

        soon("the event is in the log", async || {
            let logs = stack
                .aws()
                .logs
                .filter_log_events()
                .log_group_name("/aws/lambda/smart-home-log");
            let found = logs.send().await.expect("a log").events.unwrap_or_default();
            let logged = found.iter().filter_map(|line| line.message.as_deref());
            let mine: Vec<_> = logged.filter(|line| line.contains(&name)).map(str::to_owned).collect();
            // Both motions, and the clip.
            Ok(if mine.len() >= 3 {
                Ok(())
            } else {
                Err(format!("{mine:?}"))
            })
        })
        .await?;
        Ok(())
    });
}

#[test]
fn many_devices_get_a_policy_a_dashboard_shows_them_and_a_user_has_a_copy_and_an_end() {
    among_others(async |stack| {
        let cameras = json!([
            { "preset": "doorbell", "name": "Front Door" },
            { "preset": "privacy_camera", "name": "Garden" },
            { "preset": "doorbell", "name": "Attic", "online": false },
        ]);
        let home = Home::linked(stack, &cameras).await?;
        let (token, ids) = (&home.visitor.token, home.device_ids().await?);
        let policy_of = async |name: &str| -> Result<Value, Failure> {
            let found = home
                .call(Method::GET, &format!("/v1/devices/{}/policy", ids[name]), None)
                .await?;
            Ok(found.body)
        };
        let all = script(
            stack,
            token,
            &["many-devices/policies.mjs", "motion-recording/policy.json", "--all"],
        )
        .await;
        assert_eq!(all.lines().count(), 1, "one link: {all}");
        for name in ["Front Door", "Garden", "Attic"] {
            assert_eq!(policy_of(name).await?["duration"], 15_000, "{name}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let quiet = folder.path().join("quiet.json");
        std::fs::write(&quiet, r#"{ "on": {}, "notify": false }"#).expect("a policy");
        let quiet = quiet.to_str().expect("a path in UTF-8");
        let some = script(
            stack,
            token,
            &[
                "many-devices/policies.mjs",
                quiet,
                "--country",
                "DE",
                "--online",
                "true",
            ],
        )
        .await;
        assert!(some.contains("Garden") && some.lines().count() == 1, "{some}");
        let notify = [
            policy_of("Garden").await?["notify"].clone(),
            policy_of("Front Door").await?["notify"].clone(),
        ];
        assert_eq!(notify, [json!(false), json!(true)]);

        home.emit(
            &json!({ "type": "motion_detected", "sub_type": "human", "device": ids["Front Door"], "wait": true }),
        )
        .await?;
        home.events_settle().await?;
        let shown = soon("the dashboard shows the motion", async || {
            let shown = script(stack, token, &["dashboard/dashboard.mjs", "--once"]).await;
            Ok(if shown.contains("motion_detected (human)") {
                Ok(shown)
            } else {
                Err(shown)
            })
        })
        .await?;
        assert!(shown.starts_with("2 of 3 cameras online"), "{shown}");
        assert!(
            shown.contains("● Front Door: 1 motions in 24 h") && shown.contains("○ Attic: 0 motions"),
            "{shown}"
        );

        let report = script(stack, token, &["compliance/compliance.mjs", "report"]).await;
        assert!(report.contains("DE\tGarden\t2 privacy zones\tobscure"), "{report}");
        let archive = folder.path().join("everything.tar");
        let path = archive.to_str().expect("a path in UTF-8");
        script(stack, token, &["compliance/compliance.mjs", "export", path]).await;
        let bytes = std::fs::read(&archive).expect("an archive");
        assert!(
            bytes.windows(10).any(|some| some == b"Front Door"),
            "what is kept is in it"
        );
        let receipt = script(stack, token, &["compliance/compliance.mjs", "erase", "--yes"]).await;
        assert!(receipt.contains("rcp_"), "{receipt}");
        let links = home.call(Method::GET, "/v1/links", None).await?;
        assert_eq!(links.body["items"], json!([]));
        Ok(())
    });
}
