//! Secrets Manager, SQS and S3 as far as the intake calls them, on the loopback: they keep what they are told, refuse what
//! SQS refuses, and fail on order. What was asked of them is counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::edge::direct::Account;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    /// It does what it is asked.
    #[default]
    Well,
    /// It answers with a fault of its own.
    Fails,
    /// It takes the request and says nothing for ever.
    Hangs,
    /// It takes so many milliseconds.
    Slow(u64),
}

/// What there is, and what was asked.
#[derive(Default)]
pub(super) struct Kept {
    /// The secret's string.
    pub(super) secret: String,
    /// Secrets Manager.
    pub(super) secrets_are: Mood,
    /// SQS.
    pub(super) queues_are: Mood,
    /// S3.
    pub(super) bucket_is: Mood,
    /// Messages, in the order in which they came.
    pub(super) messages: Vec<Sent>,
    /// Objects by path.
    pub(super) objects: BTreeMap<String, Vec<u8>>,
    /// How often each operation was called.
    pub(super) calls: BTreeMap<String, u32>,
}

/// A message as SQS keeps it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The last part of the queue's URL.
    pub(super) queue: String,
    /// Its body.
    pub(super) body: String,
    /// `MessageGroupId`.
    pub(super) group: String,
    /// Its attributes.
    pub(super) attributes: BTreeMap<String, String>,
}

impl Sent {
    /// The bytes that were put in.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self.attributes.get("encoding").map(String::as_str) {
            None => self.body.clone().into_bytes(),
            Some("base64") => STANDARD.decode(self.body.trim()).expect("Base64"),
            Some(other) => panic!("an encoding that nobody knows: {other}"),
        }
    }
}

/// The three services, on one port. They end with this handle.
pub(super) struct Twin {
    kept: Arc<Mutex<Kept>>,
    url: String,
    server: JoinHandle<()>,
}

impl Twin {
    /// Serves a secret with these keys, the current one and the one before it.
    pub(super) async fn start(current: &str, previous: Option<&str>) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let routes = Router::new()
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&kept));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async { drop(axum::serve(listener, routes).await) });
        let twin = Self { kept, url, server };
        twin.keys(current, previous);
        twin
    }

    /// Writes the secret.
    pub(super) fn keys(&self, current: &str, previous: Option<&str>) {
        let secret = json!({ "hmac_signing_key": current, "hmac_signing_key_previous": previous });
        self.kept().secret = secret.to_string();
    }

    /// What there is.
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often an operation was called.
    pub(super) fn count(&self, operation: &str) -> u32 {
        self.kept().calls.get(operation).copied().unwrap_or_default()
    }

    /// The URL of a queue.
    pub(super) fn queue(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.url)
    }

    /// Who calls these services, and where they are.
    pub(super) fn account(&self) -> Account {
        let variables = [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Account::read(&HashMap::from(variables)).expect("an account")
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let operation = target.map_or_else(
        || method.to_string(),
        |target| target.rsplit('.').next().unwrap_or_default().to_owned(),
    );
    let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
    let mood = {
        let mut kept = lock();
        *kept.calls.entry(operation.clone()).or_default() += 1;
        match operation.as_str() {
            "GetSecretValue" => kept.secrets_are,
            "PUT" => kept.bucket_is,
            _ => kept.queues_are,
        }
    };
    match mood {
        Mood::Well => {}
        Mood::Fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Hangs => std::future::pending().await,
        Mood::Slow(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
    }
    let said = || serde_json::from_slice::<Value>(&body).expect("JSON");
    match operation.as_str() {
        "GetSecretValue" => Json(json!({ "SecretString": lock().secret })).into_response(),
        "SendMessage" => send(&mut lock(), &said()),
        "GetQueueAttributes" => Json(json!({ "Attributes": {} })).into_response(),
        "PUT" => {
            lock().objects.insert(uri.path().to_owned(), body.to_vec());
            StatusCode::OK.into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

/// `SendMessage`, with the two rules of SQS about what it takes: which characters, and how much.
fn send(kept: &mut Kept, said: &Value) -> Response {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes: BTreeMap<String, String> = said["MessageAttributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text(&value["StringValue"])))
        .collect();
    let sent = Sent {
        queue: text(&said["QueueUrl"])
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        body: text(&said["MessageBody"]),
        group: text(&said["MessageGroupId"]),
        attributes,
    };
    let refused = |name: &str| {
        let body = json!({ "__type": format!("com.amazonaws.sqs#{name}") });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    };
    let weight = |(name, value): (&String, &String)| name.len() + "String".len() + value.len();
    let size = sent.body.len() + sent.attributes.iter().map(weight).sum::<usize>();
    // SQS: SendMessage, MessageBody.
    let is_taken = |letter: char| {
        let code = u32::from(letter);
        matches!(code, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF)
    };
    if sent.body.is_empty() || size > 1024 * 1024 {
        return refused("InvalidParameterValue");
    }
    if !sent.body.chars().all(is_taken) {
        return refused("InvalidMessageContents");
    }
    kept.messages.push(sent);
    // SQS adds an MD5 of the body, which its client for Rust does not look at.
    Json(json!({ "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274" })).into_response()
}
