//! A simulator, a client for it, and a partner's endpoint. Answers are read as JSON, and null where they are none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use reqwest::Client;
use ring_simulator::{Config, Simulator};
use serde_json::{Value, json};

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) json: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{} {:?}",
            self.json,
            String::from_utf8_lossy(&self.bytes)
        );
        self
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().expect("a text")
    }

    /// The title of a JSON:API error, or the code of a media error.
    pub(crate) fn error(&self) -> &str {
        let error = &self.json["errors"][0];
        error["code"].as_str().or(error["title"].as_str()).unwrap_or_default()
    }
}

/// A running simulator with a frozen clock and one user.
pub(crate) struct World {
    pub(crate) ring: Simulator,
    pub(crate) http: Client,
    pub(crate) user: String,
}

pub(crate) const CLIENT: &str = "ring-simulator-client";
pub(crate) const SECRET: &str = "secret/with+signs=&a%sign";

impl World {
    /// One user with these devices; the clock stands still.
    pub(crate) async fn with_devices(devices: Value) -> Self {
        let ring = Simulator::start(Config::default()).await.expect("free ports");
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        let mut world = Self {
            ring,
            http,
            user: String::new(),
        };
        world
            .control("PUT", "/clock", json!({"now": "2026-02-14T12:00:00Z", "frozen": true}))
            .await
            .expect(200);
        let user = world
            .control("POST", "/users", json!({"devices": devices}))
            .await
            .expect(201);
        world.user = user.json["id"].as_str().expect("an id").to_owned();
        world
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        let url = format!("{}/_sim{path}", self.ring.control_url());
        let request = self.http.request(method.parse().expect("a method"), url);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        read(request.body(body)).await
    }

    /// The user's own path in the control API.
    pub(crate) async fn of_user(&self, method: &str, path: &str, body: Value) -> Answer {
        self.control(method, &format!("/users/{}{path}", self.user), body).await
    }

    pub(crate) async fn advance(&self, seconds: f64) {
        self.control("POST", "/clock", json!({"advance_seconds": seconds}))
            .await
            .expect(200);
    }

    pub(crate) async fn now_ms(&self) -> i64 {
        let now = self.control("GET", "/clock", Value::Null).await.json["now"]
            .as_str()
            .expect("a time")
            .to_owned();
        now.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond()
    }

    pub(crate) async fn api(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let url = format!("{}{path}", self.ring.api_url());
        let mut request = self
            .http
            .request(method.parse().expect("a method"), url)
            .bearer_auth(token);
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        read(request).await
    }

    pub(crate) async fn token_form(&self, form: &[(&str, &str)]) -> Answer {
        read(self.http.post(self.ring.oauth_url()).form(form)).await
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Answer {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ];
        self.token_form(&form).await
    }

    pub(crate) async fn exchange(&self, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ];
        self.token_form(&form).await
    }

    pub(crate) async fn code(&self) -> String {
        let answer = self
            .of_user("POST", "/install", json!({"push": false}))
            .await
            .expect(200);
        answer.json["code"].as_str().expect("a code").to_owned()
    }

    /// Access and refresh token of a fresh install.
    pub(crate) async fn tokens(&self) -> (String, String) {
        let code = self.code().await;
        let answer = self.exchange(&code).await.expect(200);
        pair(&answer)
    }

    /// The access token of a link that is completed.
    pub(crate) async fn linked(&self) -> String {
        let (access, _) = self.tokens().await;
        let nonce = self.of_user("POST", "/confirm", Value::Null).await.expect(200).json["nonce"].clone();
        let path = "/v1/accounts/me/app-integrations";
        self.api("POST", path, &access, json!({"nonce": nonce}))
            .await
            .expect(200);
        self.api("PATCH", path, &access, json!({"status": "completed"}))
            .await
            .expect(200);
        access
    }

    /// The id of the user's device at this place.
    pub(crate) async fn device(&self, place: usize) -> String {
        let user = self.of_user("GET", "", Value::Null).await.expect(200);
        user.json["devices"][place]["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn journal(&self, query: &str) -> Vec<Value> {
        let answer = self
            .control("GET", &format!("/journal?{query}"), Value::Null)
            .await
            .expect(200);
        answer.json["items"].as_array().expect("a list").clone()
    }

    /// A partner whose webhook URL this simulator knows.
    pub(crate) async fn partner(&self) -> Partner {
        let partner = Partner::start().await;
        let url = format!("{}/ring/webhook", partner.url);
        self.control("PUT", "/config", json!({"webhook_url": url}))
            .await
            .expect(200);
        partner
    }
}

pub(crate) fn pair(answer: &Answer) -> (String, String) {
    let token = |name: &str| answer.json[name].as_str().expect("a token").to_owned();
    (token("access_token"), token("refresh_token"))
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let bytes = answer.bytes().await.expect("a whole body");
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer {
        status,
        headers,
        bytes,
        json,
    }
}

/// A path segment, percent-encoded.
pub(crate) fn segment(raw: &str) -> String {
    raw.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// What a partner was sent.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A partner's endpoint: it writes down what comes, and answers with the next of its statuses; with 200 when it has none.
pub(crate) struct Partner {
    pub(crate) url: String,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    pushed: Mutex<Vec<Pushed>>,
    statuses: Mutex<VecDeque<u16>>,
    slowness: Mutex<Duration>,
}

impl Partner {
    async fn start() -> Self {
        let desk = Arc::new(Desk::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(take).with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, desk }
    }

    pub(crate) fn answers(&self, statuses: &[u16]) {
        self.desk.statuses.lock().expect("whole").extend(statuses);
    }

    pub(crate) fn is_slow(&self, by: Duration) {
        *self.desk.slowness.lock().expect("whole") = by;
    }

    pub(crate) fn pushed(&self) -> Vec<Pushed> {
        self.desk.pushed.lock().expect("whole").clone()
    }
}

async fn take(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a whole body");
    let pushed = Pushed {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body,
    };
    desk.pushed.lock().expect("whole").push(pushed);
    let slowness = *desk.slowness.lock().expect("whole");
    tokio::time::sleep(slowness).await;
    let status = desk.statuses.lock().expect("whole").pop_front().unwrap_or(200);
    StatusCode::from_u16(status).expect("a status").into_response()
}
