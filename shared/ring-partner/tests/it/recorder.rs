//! A server that records what it is asked, and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use ring_partner::{AccessToken, Ring, Settings};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// The path with its query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The port that it came from: one connection has one.
    pub(crate) from: u16,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) struct Recorder {
    pub(crate) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

impl Recorder {
    /// Answers by the number of the request, from 0, and by what it is. `None` is never an answer.
    pub(crate) async fn new(answer: impl Fn(usize, &Asked) -> Option<Response> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (asked.clone(), Arc::new(answer));
        let router = Router::new().fallback(move |ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request| {
            let (record, answer) = (record.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let asked = Asked {
                    method: parts.method,
                    path: parts.uri.to_string(),
                    headers: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                    from: from.port(),
                };
                let number = {
                    let mut record = record.lock().unwrap();
                    record.push(asked.clone());
                    record.len() - 1
                };
                match answer(number, &asked) {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        });
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { url, asked, server }
    }

    /// Gives one answer after the other, and the last one again and again.
    pub(crate) async fn answering<const N: usize>(answers: [fn() -> Response; N]) -> Self {
        Self::new(move |number, _| Some(answers[number.min(N - 1)]())).await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// `host:port`, as the settings name hosts.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.url.port().unwrap())
    }

    /// Settings for a client of this server, with waits that tests can wait for.
    pub(crate) fn settings(&self) -> Settings {
        settings(&self.url)
    }

    pub(crate) fn ring(&self) -> Ring {
        Ring::new(self.settings()).unwrap()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A server that takes a request and closes the connection without a word. Tells how many it took.
pub(crate) async fn cutting() -> (Url, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let taken = Arc::new(Mutex::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if connection.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                *count.lock().unwrap() += 1;
            }
        }
    });
    (url, taken)
}

/// Where nobody listens.
pub(crate) async fn nobody() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

pub(crate) fn settings(url: &Url) -> Settings {
    Settings {
        budget_per_second: 1000,
        timeout: Duration::from_secs(5),
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(200),
        ..Settings::new(url.clone(), url.join("/oauth/token").unwrap())
    }
}

pub(crate) const TOKEN: &str = "s3cret.access-token";

pub(crate) fn token() -> AccessToken {
    AccessToken::new(TOKEN).unwrap()
}

pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        response
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

pub(crate) fn json(status: u16, body: &Value) -> Response {
    answer(status, &[("content-type", "application/json")], body.to_string())
}

/// An error in Ring's first form.
pub(crate) fn error(status: u16, title: &str) -> Response {
    json(
        status,
        &serde_json::json!({"errors": [{"status": status.to_string(), "title": title}]}),
    )
}

/// All that an error says, its sources included.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text += &format!("; {error}");
        next = error.source();
    }
    text
}
