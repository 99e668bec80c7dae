//! What lies under `events/`: each sample is parsed as its function parses it, holds to the documentation, the template
//! and our own ids, and is answered as it should be by the function as it is deployed. Each event that we can publish
//! fits its schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lambda_events::event::sqs::SqsEvent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jsonschema::Validator;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use local::Stack;
use reqwest::Method;
use ring_partner::nonce::{self, LinkTime, Nonce};
use ring_partner::signature::{self, SignatureError, SigningKey};
use ring_partner::{AccountId, ClipRequest, DeviceId, EventKind, SnapshotRequest, Webhook};
use serde_json::{Value, json};
use shared::capture::{self, Ended};
use shared::edge::bus::Announcement;
use shared::event::{Delivery, EventId, LEAST_KEPT, Record};
use shared::grant::GrantId;
use shared::link::{CompleteLink, Confirmed, Link};
use shared::media::{CaptureRequest, Medium, MediumId, Progress, Request as MediumRequest};
use token_refresh::Wake;

use crate::intake::handed_over;
use crate::stack::on_the_stack;

/// Whose the samples are, and what they were signed with: in step with `events/make.py`.
const ACCOUNT: &str = "ava1.ring.account.XXXYYY";
const DEVICE: &str = "ava1.ring.device.XXXYYY";
const SIGNING_KEY: &str = "simulator-signing-key";
const MOTION_AT: i64 = 1_770_989_995_231;

/// Ring's webhooks, as its documentation has them.
const DOCUMENTED: [&str; 6] = [
    "motion_detected",
    "button_press",
    "device_added",
    "device_removed",
    "device_online",
    "device_offline",
];

/// How long a clip of ten seconds may take to be stored on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the checkout")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What lies in a folder, hidden things left out.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.retain(|path| !name_of(path).starts_with('.'));
    entries.sort();
    entries
}

/// A file's name without its ending.
fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// One sample: `webhook-intake/motion_detected`.
struct Sample {
    name: String,
    function: String,
    event: String,
}

impl Sample {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            function: name.split('/').next().unwrap_or_default().to_owned(),
            event: read(&root().join("events").join(format!("{name}.json"))),
        }
    }

    /// All that there are, whoever wrote them.
    fn all() -> Vec<Self> {
        let folders = entries(&root().join("events")).into_iter();
        let folders = folders.filter(|path| path.is_dir() && !path.ends_with("schemas"));
        let samples = folders.flat_map(|folder| entries(&folder)).map(|path| {
            assert!(
                path.extension().is_some_and(|ending| ending == "json"),
                "{} is no sample",
                path.display()
            );
            let folder = path.parent().map(name_of).unwrap_or_default();
            Self::named(&format!("{folder}/{}", name_of(&path)))
        });
        samples.collect()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.event).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn request(&self) -> Request {
        lambda_http::request::from_str(&self.event).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn batch(&self) -> SqsEvent {
        serde_json::from_str(&self.event).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

#[test]
fn every_sample_is_parsed_as_its_function_parses_it() {
    let functions: BTreeSet<String> = entries(&root().join("functions"))
        .iter()
        .map(|path| name_of(path))
        .filter(|name| name != local::RECORDER)
        .collect();
    let routes = routes();
    let mut sampled = BTreeSet::new();
    for sample in Sample::all() {
        let Sample { name, function, .. } = &sample;
        match function.as_str() {
            "token-exchange" | "account-link" | "partner-api" | "portal" => comes_through_a_route(&sample, &routes),
            "webhook-intake" => {
                comes_through_a_route(&sample, &routes);
                assert_eq!(
                    handed_over(&sample.event).body,
                    sample.request().body().to_vec(),
                    "{name}"
                );
            }
            "event-processor" | "media-fetch" => assert!(!sample.batch().records.is_empty(), "{name}"),
            "token-refresh" => {
                let wake = serde_json::from_str::<Wake>(&sample.event);
                assert!(wake.is_ok(), "{name}: {wake:?}");
            }
            "canary" => {
                let wake = serde_json::from_str::<canary::Wake>(&sample.event);
                assert!(wake.is_ok(), "{name}: {wake:?}");
            }
            _ => panic!("events/{name}: {function} is no function, or this test does not know what it takes"),
        }
        sampled.insert(function.clone());
    }
    assert_eq!(sampled, functions, "each function has samples");
}

/// Route -> the resource of its function, and whether one must be signed in.
fn routes() -> BTreeMap<String, (String, bool)> {
    let template = read(&root().join("template.yaml"));
    let blocks = template.split("Type: AWS::ApiGatewayV2::Route\n").skip(1);
    let routes = blocks.map(|block| {
        let value = |name: &str| {
            let line = block.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("a route has no {name}")).to_owned()
        };
        let target = value("Target: !Sub \"integrations/${");
        let function = target.split("Integration}").next().unwrap_or_default().to_owned();
        (value("RouteKey: "), (function, value("AuthorizationType: ") == "JWT"))
    });
    let routes: BTreeMap<_, _> = routes.collect();
    assert!(!routes.is_empty());
    routes
}

/// A request that the gateway would hand to this function, with a user exactly where it asks for one.
fn comes_through_a_route(sample: &Sample, routes: &BTreeMap<String, (String, bool)>) {
    let Sample { name, function, .. } = sample;
    let request = sample.request();
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
        panic!("{name} comes through no HTTP API");
    };
    let route = context.route_key.as_deref().unwrap_or_default();
    let (target, signed_in) = routes
        .get(route)
        .unwrap_or_else(|| panic!("{name}: the template has no route {route}"));
    assert_eq!(
        target.to_lowercase(),
        function.replace('-', ""),
        "{name}: where {route} leads"
    );
    let (method, pattern) = route.split_once(' ').unwrap_or_default();
    assert_eq!(request.method().as_str(), method, "{name}");
    let fixed = pattern.split('{').next().unwrap_or_default();
    assert!(
        request.uri().path().starts_with(fixed),
        "{name}: {} is not on {route}",
        request.uri()
    );
    let claims = context
        .authorizer
        .as_ref()
        .and_then(|authorizer| authorizer.jwt.as_ref())
        .map(|jwt| &jwt.claims);
    assert_eq!(
        claims.is_some(),
        *signed_in,
        "{name}: {route} asks for a user, or does not"
    );
    for claim in ["iss", "sub", "email"] {
        assert!(
            claims.is_none_or(|claims| claims.contains_key(claim)),
            "{name} has no claim {claim}"
        );
    }
}

#[test]
fn the_samples_are_what_their_script_writes() {
    let check = Command::new("python3")
        .arg(root().join("events/make.py"))
        .arg("--check")
        .output();
    let check = check.expect("Python 3 is there");
    let said = String::from_utf8_lossy(&check.stdout) + String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

#[test]
fn rings_six_webhooks_are_of_their_kinds_and_signed_as_python_signs() {
    for kind in DOCUMENTED {
        let webhook = webhook(&Sample::named(&format!("webhook-intake/{kind}")));
        assert_eq!(webhook.kind.as_str(), kind);
        assert!(!matches!(webhook.kind, EventKind::Other(_)), "{kind} is known");
        assert_eq!(webhook.account_id, AccountId::new(ACCOUNT).ok(), "{kind}");
        assert_eq!(webhook.device_id, DeviceId::new(DEVICE).ok(), "{kind}");
        assert_eq!(webhook.oddities, [""; 0], "{kind}");
    }
}

#[test]
fn the_other_webhooks_are_as_they_are_named() {
    let other = |name: &str| webhook(&Sample::named(&format!("webhook-intake/{name}")));
    assert!(matches!(other("unknown_type").kind, EventKind::Other(_)));
    let old = other("version_1_0");
    assert_eq!((old.version.as_deref(), old.account_id), (Some("1.0"), None));
    let in_base64 = Sample::named("webhook-intake/in_base64");
    assert_eq!(in_base64.json()["isBase64Encoded"], true);
    assert_eq!(webhook(&in_base64).kind, EventKind::ButtonPress);
    let wrong = Sample::named("webhook-intake/wrong_signature").request();
    assert_eq!(verify(&wrong).err(), Some(SignatureError::Mismatch));
}

fn webhook(sample: &Sample) -> Webhook {
    let request = sample.request();
    let verified = verify(&request).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
    Webhook::parse(verified).unwrap_or_else(|error| panic!("{}: {error}", sample.name))
}

fn verify(request: &Request) -> Result<&[u8], SignatureError> {
    let key = SigningKey::new(SIGNING_KEY).expect("a key");
    let signatures = request
        .headers()
        .get_all("x-signature")
        .iter()
        .filter_map(|value| value.to_str().ok());
    signature::verify(&[key], request.body(), signatures).map(|verified| verified.body())
}

#[test]
fn ids_are_the_same_in_python() {
    let motion = Sample::named("webhook-intake/motion_detected");
    let event_id = EventId::of(&webhook(&motion), motion.request().body());
    let resume = Sample::named("event-processor/resume").batch();
    assert_eq!(resume.records[0].body.as_deref(), Some(event_id.as_str()));

    let clip: ClipRequest = serde_json::from_slice(Sample::named("partner-api/clip").request().body()).expect("a clip");
    let medium_id = MediumId::of(&account(), &device(), &MediumRequest::Clip(clip));
    let fetch = Sample::named("media-fetch/medium").batch();
    let body: Value = serde_json::from_str(fetch.records[0].body.as_deref().unwrap_or_default()).expect("JSON");
    assert_eq!(body, json!({ "medium_id": medium_id.as_str() }));
}

#[test]
fn every_sample_is_answered_as_it_should_be_by_the_function_as_it_is_deployed() {
    on_the_stack(async |stack| {
        let mut scene = Scene::set(stack).await;
        scene.codes().await;
        scene.link().await;
        scene.webhooks().await;
        scene.queues().await;
        scene.frontend().await;
        scene.pages().await;
        scene.unlink().await;
        let all: BTreeSet<_> = Sample::all().into_iter().map(|sample| sample.name).collect();
        assert_eq!(scene.shown, all, "each sample is shown to its function");
    });
}

/// A stack on which the samples' account exists at Ring, and what it alone knows in place of the samples' stand-ins.
struct Scene {
    stack: &'static Stack,
    stand_ins: BTreeMap<String, String>,
    shown: BTreeSet<String>,
}

impl Scene {
    async fn set(stack: &'static Stack) -> Self {
        let recorded = json!([{ "start": MOTION_AT - 10_000, "end": MOTION_AT + 10_000 }]);
        let device = json!({ "preset": "doorbell", "id": DEVICE, "footage": recorded });
        let user = json!({ "id": ACCOUNT, "devices": [device] });
        let url = stack.output("TokenExchangeUrl").expect("an output");
        let key = url.rsplit('/').next().unwrap_or_default().to_owned();
        let scene = Self {
            stack,
            stand_ins: BTreeMap::from([("sample-token-url-key".to_owned(), key)]),
            shown: BTreeSet::new(),
        };
        scene.ring("users", &user).await;
        scene
    }

    /// Three ways of one code, and what is no code.
    async fn codes(&mut self) {
        for name in ["code_as_json", "code_as_form", "code_in_query"] {
            let installed = self
                .ring(&format!("users/{ACCOUNT}/install"), &json!({ "push": false }))
                .await;
            self.stand_in("sample-one-time-code", &installed["code"]);
            self.says(&format!("token-exchange/{name}"), json!({ "status": 200, "body": {} }))
                .await;
        }
        // The same code again is the same exchange.
        self.says("token-exchange/code_in_query", json!({ "status": 200 }))
            .await;
        self.says("token-exchange/no_code", problem(400, "invalid-request"))
            .await;
        self.says("token-exchange/wrong_key", problem(404, "not-found")).await;
    }

    /// The samples' own nonce is of February 2026; one of this minute links.
    async fn link(&mut self) {
        self.says("account-link/preview", problem(410, "link-expired")).await;
        self.says("account-link/create", problem(410, "link-expired")).await;
        self.says(
            "account-link/create_with_unknown_field",
            problem(400, "invalid-request"),
        )
        .await;
        self.says("account-link/list", json!({ "status": 200, "body": { "items": [] } }))
            .await;

        let confirmed = self.ring(&format!("users/{ACCOUNT}/confirm"), &json!({})).await;
        let sample: Value =
            serde_json::from_slice(Sample::named("account-link/create").request().body()).expect("JSON");
        // Ring's key may be rotated by another test at this moment; the samples' own is good until the rotation after.
        self.stand_in(
            text(&sample["nonce"]),
            &json!(minted(text(&confirmed["time"])).as_str()),
        );
        self.stand_in(text(&sample["time"]), &confirmed["time"]);
        let preview = json!({ "ring_user": "J*** D**", "account_id": ACCOUNT });
        self.says("account-link/preview", json!({ "status": 200, "body": preview }))
            .await;
        let link = json!({ "status": "completed", "account_id": ACCOUNT });
        let created = self
            .says("account-link/create", json!({ "status": 201, "body": link }))
            .await;
        self.stand_in("lnk_sample", &created["body"]["id"]);
        self.says("account-link/create", json!({ "status": 200, "body": link }))
            .await;
        self.says("account-link/patch", json!({ "status": 200, "body": link }))
            .await;
        self.says(
            "account-link/list",
            json!({ "status": 200, "body": { "items": [link] } }),
        )
        .await;
    }

    async fn webhooks(&mut self) {
        for name in DOCUMENTED.iter().chain(&["unknown_type", "version_1_0", "in_base64"]) {
            self.says(&format!("webhook-intake/{name}"), json!({ "status": 200, "body": {} }))
                .await;
        }
        self.says("webhook-intake/wrong_signature", problem(401, "signature-invalid"))
            .await;
    }

    /// Poison is set aside, and no message of these batches stays in its queue.
    async fn queues(&mut self) {
        let taken = json!({ "batchItemFailures": [] });
        for name in ["plain", "in_base64", "mixed", "resume", "replay"] {
            self.says(&format!("event-processor/{name}"), taken.clone()).await;
        }
        self.says("media-fetch/sweep", taken.clone()).await;
        // No such session is open.
        self.says("media-fetch/close_session", taken).await;
        // Nothing of this stack was due in February 2026.
        let minute = json!({ "resolved": 0, "renewed": 0, "ended": 0, "settled": 0, "failed": 0 });
        self.says("token-refresh/schedule", minute).await;
        self.says("canary/schedule", Value::Null).await;
        self.says("token-refresh/one_grant", json!("ended")).await;
    }

    async fn frontend(&mut self) {
        // Its button was pressed; that it went offline in February is older than what Ring has told since.
        let device = json!({ "id": DEVICE, "name": "Front Door", "online": true, "doorbell": "yes" });
        self.says(
            "partner-api/devices",
            json!({ "status": 200, "body": { "items": [device], "next": null } }),
        )
        .await;
        self.says("partner-api/device", json!({ "status": 200, "body": device }))
            .await;
        self.says("partner-api/device_of_another", problem(404, "not-found"))
            .await;
        for list in ["device_events", "events"] {
            self.says(
                &format!("partner-api/{list}"),
                json!({ "status": 200, "body": { "next": null } }),
            )
            .await;
        }
        self.says("partner-api/unknown_route", problem(404, "not-found")).await;
        self.says("partner-api/wrong_method", problem(405, "method-not-allowed"))
            .await;

        let policy: Value =
            serde_json::from_slice(Sample::named("partner-api/set_policy").request().body()).expect("a policy");
        for name in ["set_policy", "policy", "set_policies"] {
            self.says(&format!("partner-api/{name}"), json!({ "status": 200, "body": policy }))
                .await;
        }
        self.says("partner-api/set_policy_too_long", problem(400, "invalid-request"))
            .await;
        // It is open until its account is unlinked.
        self.says("partner-api/live", json!({ "status": 201 })).await;
        self.says("partner-api/live", problem(409, "session-open")).await;
        self.says("partner-api/live_without_candidates", problem(422, "unusable-offer"))
            .await;
        self.says("partner-api/live_as_json", problem(415, "unsupported-media-type"))
            .await;
        self.says("partner-api/close_live", problem(404, "not-found")).await;
        // After the view: a device has one session, and the recorder would have taken it.
        self.says(
            "partner-api/capture",
            json!({ "status": 202, "body": { "kind": "capture", "device_id": DEVICE } }),
        )
        .await;

        let asked = self
            .says(
                "partner-api/clip",
                json!({ "status": 202, "body": { "kind": "clip", "device_id": DEVICE } }),
            )
            .await;
        self.stored().await;
        let medium = json!({ "id": asked["body"]["id"], "kind": "clip", "state": "stored" });
        self.says("partner-api/medium", json!({ "status": 200, "body": medium }))
            .await;
        self.says("media-fetch/medium", json!({ "batchItemFailures": [] }))
            .await;
        // The capture was asked for before the clip.
        self.says(
            "partner-api/device_media",
            json!({ "status": 200, "body": { "items": [medium, { "kind": "capture" }] } }),
        )
        .await;
        self.says("partner-api/delete_medium", json!({ "status": 204 })).await;
        self.says("partner-api/medium", problem(404, "not-found")).await;
        self.says(
            "partner-api/snapshot",
            json!({ "status": 202, "body": { "kind": "snapshot" } }),
        )
        .await;
        self.says("partner-api/snapshot_too_old", problem(400, "invalid-request"))
            .await;
    }

    async fn stored(&mut self) {
        let since = Instant::now();
        loop {
            let medium = self.says("partner-api/medium", json!({ "status": 200 })).await;
            match medium["body"]["state"].as_str() {
                Some("requested" | "fetching") if since.elapsed() < SOON => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Some("stored") => return,
                _ => panic!("the clip is not stored: {medium}"),
            }
        }
    }

    async fn pages(&mut self) {
        for name in ["link", "home", "asset"] {
            self.says(&format!("portal/{name}"), json!({ "status": 200 })).await;
        }
        self.says("portal/unknown_asset", problem(404, "not-found")).await;
    }

    async fn unlink(&mut self) {
        self.says("account-link/delete", json!({ "status": 204 })).await;
        self.says("account-link/delete", problem(404, "not-found")).await;
        self.says("account-link/list", json!({ "status": 200, "body": { "items": [] } }))
            .await;
    }

    async fn ring(&self, path: &str, order: &Value) -> Value {
        let carried_out = self.stack.ring().order(Method::POST, path, Some(order)).await;
        carried_out.unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn stand_in(&mut self, name: &str, real: &Value) {
        self.stand_ins.insert(name.to_owned(), text(real).to_owned());
    }

    /// Shows a sample to its function, as `cargo lambda invoke` does, and holds the answer to what must be in it.
    async fn says(&mut self, name: &str, expected: Value) -> Value {
        let sample = Sample::named(name);
        let answer = self.stack.invoke(&sample.function, &self.filled_in(&sample)).await;
        let answer = plain(answer.unwrap_or_else(|failure| panic!("{name}: {failure}")));
        assert!(
            holds(&answer, &expected),
            "{name}: {answer:#} does not hold {expected:#}"
        );
        self.shown.insert(sample.name);
        answer
    }

    /// The sample, with what this stack alone knows in place of its stand-ins, in an encoded body too.
    fn filled_in(&self, sample: &Sample) -> Value {
        let fill_in = |text: &str| {
            let stand_ins = self.stand_ins.iter();
            stand_ins.fold(text.to_owned(), |text, (name, real)| text.replace(name, real))
        };
        let mut event: Value = serde_json::from_str(&fill_in(&sample.event)).expect("still JSON");
        // A signed body is what was signed.
        if event["isBase64Encoded"] == true && event["headers"]["x-signature"].is_null() {
            let body = STANDARD.decode(text(&event["body"])).expect("Base64");
            event["body"] = json!(STANDARD.encode(fill_in(&String::from_utf8_lossy(&body))));
        }
        event
    }
}

fn minted(time: &str) -> Nonce {
    let time = LinkTime::parse(time).expect("a time");
    nonce::mint(&SigningKey::new(SIGNING_KEY).expect("a key"), &time, &account())
}

/// An answer for the gateway as the gateway would give it; any other as it is.
fn plain(answer: Value) -> Value {
    if answer["statusCode"].is_null() {
        return answer;
    }
    let body = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    let body: Value = body;
    json!({ "status": answer["statusCode"], "body": body })
}

fn problem(status: u16, name: &str) -> Value {
    json!({ "status": status, "body": { "type": format!("/problems/{name}"), "status": status } })
}

/// Whether all of `expected` is in `found`: each field of an object, each item of a list and no more.
fn holds(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(name, expected)| found.get(name).is_some_and(|found| holds(found, expected))),
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| holds(found, expected))
        }
        _ => found == expected,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn account() -> AccountId {
    AccountId::new(ACCOUNT).expect("an id")
}

fn device() -> DeviceId {
    DeviceId::new(DEVICE).expect("an id")
}

fn now() -> Timestamp {
    Timestamp::from_millisecond(MOTION_AT).expect("a time")
}

#[test]
fn every_event_that_we_publish_fits_its_schema_and_no_other_does() {
    let mut published: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for announcement in announcements() {
        let file = format!("{}.json", announcement.schema.replace('/', "."));
        let detail = serde_json::to_value(&announcement).expect("JSON");
        published.entry(file).or_default().push(detail);
    }
    let schemas = entries(&root().join("events/schemas"));
    let schemas = schemas.iter().filter_map(|path| path.file_name()?.to_str());
    assert!(
        schemas.eq(published.keys()),
        "each schema is of something that is published: {:?}",
        published.keys()
    );
    for (file, details) in &published {
        let schema = schema(file);
        for detail in details {
            if let Err(error) = schema.validate(detail) {
                panic!("{file}, at {:?}: {error} in {detail:#}", error.instance_path());
            }
            // A schema that lets anything through would say the same.
            for field in fields(detail) {
                let mut spoiled = detail.clone();
                spoiled[field] = json!([7]);
                assert!(!schema.is_valid(&spoiled), "{file} takes anything for {field}");
                let mut without = detail.clone();
                without.as_object_mut().expect("an object").remove(field);
                let always = details.iter().all(|detail| !detail[field].is_null());
                assert_eq!(
                    schema.is_valid(&without),
                    !always,
                    "{file}: whether {field} is required, and whether it is always there"
                );
            }
            let mut more = detail.clone();
            more["access_token"] = json!("hush");
            assert!(!schema.is_valid(&more), "{file} takes a field that it does not know");
        }
    }
}

fn fields(object: &Value) -> impl Iterator<Item = &String> {
    object.as_object().into_iter().flat_map(|object| object.keys())
}

/// The schema of this file.
pub(crate) fn schema(file: &str) -> Validator {
    let schema = read(&root().join("events/schemas").join(file));
    let schema: Value = serde_json::from_str(&schema).unwrap_or_else(|error| panic!("{file}: {error}"));
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema);
    validator.unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All that the code can publish: each kind, with all of its fields and with the least.
fn announcements() -> Vec<Announcement> {
    let named = || [Some("Front Door".to_owned()), None];
    let mut all = Vec::new();
    for sample in Sample::all() {
        if sample.function == "webhook-intake" && sample.name != "webhook-intake/wrong_signature" {
            let record = recorded(&webhook(&sample), sample.request().body());
            let with_a_policy = Record {
                notify: Some(true),
                ..record.clone()
            };
            for record in [record, with_a_policy] {
                all.extend(named().map(|name| record.announcement(&account(), "usr_1", name)));
            }
        }
    }
    let bare = br#"{"data":{"type":"app_integration_removed"}}"#;
    let bare = recorded(&Webhook::parse(bare).expect("a webhook"), bare);
    all.push(bare.announcement(&account(), "usr_1", None));

    let confirmed = Confirmed {
        user_id: "usr_1".to_owned(),
        account_id: account(),
        grant_id: GrantId::new(7),
        account_identifier: None,
    };
    let link = Link::confirmed("lnk_1".to_owned(), confirmed, CompleteLink::AtOnce, now());
    all.extend(link_announcements().iter().map(|what| link.announcement(what, now())));

    let clip = json!({ "timestamp": MOTION_AT, "duration": 10_000 });
    let clip: ClipRequest = serde_json::from_value(clip).expect("a clip");
    let snapshot = json!({ "type": "at_timestamp", "timestamp": MOTION_AT });
    let snapshot: SnapshotRequest = serde_json::from_value(snapshot).expect("a snapshot");
    let capture = CaptureRequest {
        duration: 30_000,
        audio: false,
    };
    let capture = MediumRequest::Capture(capture);
    for request in [
        MediumRequest::Clip(clip),
        MediumRequest::Snapshot(snapshot),
        capture.clone(),
    ] {
        for (progress, event_id) in [(0, None), (1, Some("evt_1")), (2, None)] {
            let mut medium = Medium::requested(account(), device(), request.clone(), now());
            medium.progress = over(progress);
            medium.event_id = event_id.map(str::to_owned);
            medium.notify = event_id.map(|_| false);
            all.extend(named().map(|name| medium.announcement("usr_1", name, now()).expect("it is over")));
        }
    }
    let ended = Ended {
        recorded: 12_000,
        reason: "device_offline".to_owned(),
    };
    for (progress, event_id) in [(0, None), (2, Some("evt_1"))] {
        let mut medium = Medium::requested(account(), device(), capture.clone(), now());
        medium.progress = over(progress);
        medium.event_id = event_id.map(str::to_owned);
        medium.notify = event_id.map(|_| true);
        all.extend(named().map(|name| capture::finished(&medium, "usr_1", name, &ended, now())));
    }
    all
}

fn recorded(webhook: &Webhook, body: &[u8]) -> Record {
    let delivery = Delivery {
        message: "m-1".to_owned(),
        received_at: now(),
    };
    Record::of(webhook, body, &delivery, LEAST_KEPT, now())
}

/// The words that links are announced under, as the code that settles links has them.
fn link_announcements() -> BTreeSet<String> {
    let source = read(&root().join("shared/src/link/settle.rs"));
    let words = source.split('"').filter(|word| word.starts_with("account_"));
    words.map(str::to_owned).collect()
}

/// The three ends of a medium.
fn over(which: usize) -> Progress {
    let object = json!({
        "key": "media/acc/dev/med.mp4", "content_type": "video/mp4", "bytes": 1, "sha256": "00".repeat(32),
        "partial": false, "stale": true,
    });
    let object = serde_json::from_value(object).expect("an object");
    let reason = "MEDIA_NOT_FOUND".to_owned();
    let announced = false;
    match which {
        0 => Progress::Stored { object, announced },
        1 => Progress::NoMedia { reason, announced },
        _ => Progress::Failed { reason, announced },
    }
}
