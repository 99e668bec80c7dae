//! Lambda's Runtime API, for one program: it polls for an event, and tells its answer
//! (AWS Lambda: Using the Lambda runtime API for custom runtimes).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bench::Failure;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A program that says nothing for so long has failed.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// Lambda's own limit of a function behind the API gateway is no shorter.
const DEADLINE: Duration = Duration::from_secs(30);

/// The Runtime API of one program; it ends with this handle.
pub(crate) struct Lambda {
    address: SocketAddr,
    said: mpsc::Receiver<Said>,
    server: JoinHandle<()>,
}

/// The program waits for an event.
pub(crate) struct Poll {
    /// Since when.
    pub(crate) at: Instant,
    event: oneshot::Sender<Bytes>,
}

/// What the program made of an event.
pub(crate) struct Answer {
    /// When it told.
    pub(crate) at: Instant,
    /// The time since the event was handed out.
    pub(crate) took: Duration,
    /// The status of the HTTP answer in it.
    pub(crate) status: u64,
}

impl Lambda {
    /// Serves on a free port.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (tell, said) = mpsc::channel(4);
        let program = Told {
            tell,
            handed: Arc::default(),
        };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .fallback(failed)
            .with_state(program);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let server = tokio::spawn(async { drop(axum::serve(listener, routes).await) });
        Ok(Self { address, said, server })
    }

    /// Where it is: host and port.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until the program polls.
    pub(crate) async fn polled(&mut self) -> Result<Poll, Failure> {
        match self.next_said().await? {
            Said::Polled(poll) => Ok(poll),
            Said::Answered(_) => Err("it answered twice".into()),
            Said::Failed(what) => Err(what.into()),
        }
    }

    /// Hands it an event, and waits for the answer.
    pub(crate) async fn hand(&mut self, poll: Poll, event: Bytes) -> Result<Answer, Failure> {
        poll.event.send(event).map_err(|_| "it has gone")?;
        match self.next_said().await? {
            Said::Answered(answer) => Ok(answer),
            Said::Polled(_) => Err("it polled again without an answer".into()),
            Said::Failed(what) => Err(what.into()),
        }
    }

    async fn next_said(&mut self) -> Result<Said, Failure> {
        let said = tokio::time::timeout(SILENT_FOR, self.said.recv()).await;
        let said = said.map_err(|_| format!("it has said nothing for {} s", SILENT_FOR.as_secs()))?;
        said.ok_or_else(|| "the Runtime API has ended".into())
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

enum Said {
    Polled(Poll),
    Answered(Answer),
    Failed(String),
}

#[derive(Clone)]
struct Told {
    tell: mpsc::Sender<Said>,
    /// When the event under way was handed out.
    handed: Arc<Mutex<Option<Instant>>>,
}

impl Told {
    async fn say(&self, said: Said) -> StatusCode {
        match self.tell.send(said).await {
            Ok(()) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::GONE,
        }
    }

    fn handed(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn next(State(told): State<Told>) -> Response {
    let (event, handed) = oneshot::channel();
    let at = Instant::now();
    told.say(Said::Polled(Poll { at, event })).await;
    let Ok(event) = handed.await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = (SystemTime::now() + DEADLINE)
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let headers = [
        ("content-type", "application/json".to_owned()),
        (
            "lambda-runtime-aws-request-id",
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        ),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:webhook-intake".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
    ];
    *told.handed() = Some(Instant::now());
    (headers, event).into_response()
}

async fn response(State(told): State<Told>, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let Some(handed) = told.handed().take() else {
        return told
            .say(Said::Failed("it answered what it was not asked".to_owned()))
            .await;
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let status = body["statusCode"].as_u64().unwrap_or_default();
    let took = at - handed;
    told.say(Said::Answered(Answer { at, took, status })).await
}

/// `init/error`, `invocation/{id}/error`, and whatever else it asks for.
async fn failed(State(told): State<Told>, OriginalUri(uri): OriginalUri, body: String) -> StatusCode {
    told.say(Said::Failed(format!("it said {} {body}", uri.path()))).await
}
