//! A proxy between the functions and the emulator. It counts the calls of AWS that pass, and does to some of them what AWS and
//! the network do now and then: they are throttled, fail, are late, never arrive, or take effect and their answer is lost; or
//! the process that called is killed.
//!
//! It speaks as much HTTP/1.1 as the SDK does. What befalls a call is said by whoever sets the [`Weather`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::processes;

/// The longest head of a request.
const HEAD_LIMIT: usize = 64 * 1024;
/// The longest body: a part of an upload.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The service says that there are too many calls, in the words that are its own.
    Throttled,
    /// The service fails with this status.
    Failed(u16),
    /// The bus takes the call and refuses the event in it.
    EntryRefused,
    /// It takes effect so much later.
    Late(Duration),
    /// The connection breaks before it arrives.
    NeverArrives,
    /// It takes effect, and the connection breaks before the answer.
    AnswerLost,
    /// The process is killed before it arrives.
    KilledBefore,
    /// It takes effect, and so much later the process is killed, which has the answer by then unless this is at once.
    KilledAfter(Duration),
}

/// One call of AWS.
#[derive(Debug)]
pub(super) struct Call {
    /// `DynamoDB`, `AmazonSQS`, `AWSEvents`, …; the first word of the path where a service speaks REST.
    pub(super) service: String,
    /// `PutItem`, `SendMessage`, …; the method where a service speaks REST.
    pub(super) operation: String,
    /// What is asked; null where it is no JSON.
    pub(super) body: Value,
    /// How long the emulator took for it.
    pub(super) took: Duration,
}

impl Call {
    /// `DynamoDB.PutItem`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.service, self.operation)
    }
}

/// Says what befalls each call. `dice` is a number below a million.
pub(super) type Weather = Box<dyn FnMut(&Call, &mut Dice) -> Option<Fault> + Send>;

/// Numbers out of a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// True so many times in a thousand.
    pub(super) fn in_thousand(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }

    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for index in (1..all.len()).rev() {
            let other = self.below(index as u64 + 1);
            all.swap(index, usize::try_from(other).unwrap_or(0));
        }
    }
}

/// The proxy; it ends with the runtime.
pub(super) struct Proxy {
    address: SocketAddr,
    inside: Arc<Inside>,
}

struct Inside {
    upstream: OnceLock<String>,
    http: reqwest::Client,
    weather: Mutex<(Weather, Dice)>,
    struck: Mutex<BTreeMap<String, u64>>,
    passed: Mutex<Option<Vec<Call>>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy in good weather, that leads nowhere yet.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(std::io::Error::other)?;
        let inside = Arc::new(Inside {
            upstream: OnceLock::new(),
            http,
            weather: Mutex::new((Box::new(|_, _| None), Dice(0))),
            struck: Mutex::default(),
            passed: Mutex::default(),
        });
        let serving = Arc::clone(&inside);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let inside = Arc::clone(&serving);
                // A connection that breaks is what this is for.
                tokio::spawn(async move { _ = inside.serve(stream, peer).await });
            }
        });
        Ok(Self { address, inside })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on calls go there.
    pub(super) fn leads_to(&self, upstream: &str) {
        self.inside.upstream.get_or_init(|| upstream.to_owned());
    }

    /// From now on this befalls calls.
    pub(super) fn weather(&self, seed: u64, weather: Weather) {
        *lock(&self.inside.weather) = (weather, Dice(seed));
    }

    /// From now on nothing does.
    pub(super) fn calm(&self) {
        self.weather(0, Box::new(|_, _| None));
    }

    /// What has struck since the last look, by fault.
    pub(super) fn struck(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *lock(&self.inside.struck))
    }

    /// From now on calls that succeed are written down.
    pub(super) fn record(&self) {
        *lock(&self.inside.passed) = Some(Vec::new());
    }

    /// What was written down.
    pub(super) fn recorded(&self) -> Vec<Call> {
        lock(&self.inside.passed).take().unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request as it came.
struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Inside {
    /// All calls of one connection; an error closes it.
    async fn serve(&self, mut stream: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some(request) = read(&mut stream, &mut buffer).await? {
            let mut call = call(&request);
            let fault = {
                let mut weather = lock(&self.weather);
                let (weather, dice) = &mut *weather;
                weather(&call, dice)
            };
            if let Some(fault) = fault {
                *lock(&self.struck).entry(family(fault).to_owned()).or_default() += 1;
            }
            match fault {
                Some(Fault::NeverArrives) => return Ok(()),
                Some(Fault::KilledBefore) => {
                    processes::kill_owner_of(peer).await;
                    return Ok(());
                }
                Some(Fault::Late(wait)) => sleep(wait).await,
                _ => {}
            }
            let forwarded = Instant::now();
            let answer = match fault {
                Some(Fault::Throttled) => throttled(&call),
                Some(Fault::Failed(status)) => failed(&call, status),
                Some(Fault::EntryRefused) => entry_refused(),
                _ => self.forward(request).await?,
            };
            call.took = forwarded.elapsed();
            if answer.status.is_success()
                && let Some(passed) = &mut *lock(&self.passed)
            {
                passed.push(call);
            }
            match fault {
                Some(Fault::AnswerLost) => return Ok(()),
                Some(Fault::KilledAfter(wait)) => {
                    if wait.is_zero() {
                        processes::kill_owner_of(peer).await;
                        return Ok(());
                    }
                    tokio::spawn(async move {
                        sleep(wait).await;
                        processes::kill_owner_of(peer).await;
                    });
                }
                _ => {}
            }
            write(&mut stream, &answer).await?;
        }
        Ok(())
    }

    async fn forward(&self, request: Request) -> std::io::Result<Answer> {
        let upstream = self
            .upstream
            .get()
            .ok_or_else(|| std::io::Error::other("it leads nowhere yet"))?;
        let Request {
            method,
            target,
            headers,
            body,
        } = request;
        let sent = self.http.request(method, format!("{upstream}{target}"));
        let answer = sent
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(std::io::Error::other)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(std::io::Error::other)?.to_vec();
        Ok(Answer { status, headers, body })
    }
}

/// The name of a kind of fault, for the count.
fn family(fault: Fault) -> &'static str {
    match fault {
        Fault::Throttled => "throttled",
        Fault::Failed(_) => "failed",
        Fault::EntryRefused => "entry refused",
        Fault::Late(_) => "late",
        Fault::NeverArrives => "never arrived",
        Fault::AnswerLost => "answer lost",
        Fault::KilledBefore => "killed before",
        Fault::KilledAfter(_) => "killed after",
    }
}

/// Reads one request; none where the connection ends between two.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(std::io::Error::other("the head of a request is too long"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let wrong = || std::io::Error::other("this is not the HTTP that is known here");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Err(wrong());
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(wrong());
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    if length > BODY_LIMIT {
        return Err(wrong());
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(wrong());
        }
    }
    let body = buffer.drain(..length).collect();
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONNECTION);
    let target = target.to_owned();
    Ok(Some(Request {
        method,
        target,
        headers,
        body,
    }))
}

async fn write(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name) {
            continue;
        }
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", answer.body.len()).as_bytes());
    bytes.extend_from_slice(&answer.body);
    stream.write_all(&bytes).await
}

fn call(request: &Request) -> Call {
    let named = request
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    let (service, operation) = match named.and_then(|target| target.split_once('.')) {
        // `DynamoDB_20120810.PutItem`
        Some((service, operation)) => (service.split('_').next().unwrap_or(service), operation),
        None => {
            let word = request.target.trim_start_matches('/').split(['/', '?']).next();
            (word.unwrap_or_default(), request.method.as_str())
        }
    };
    Call {
        service: service.to_owned(),
        operation: operation.to_owned(),
        body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
        took: Duration::ZERO,
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    Answer {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers,
        body: body.to_string().into_bytes(),
    }
}

/// Too many calls, in each service's own words.
fn throttled(call: &Call) -> Answer {
    let kind = match call.service.as_str() {
        "DynamoDB" if call.operation.len().is_multiple_of(2) => "com.amazonaws.dynamodb.v20120810#ThrottlingException",
        "DynamoDB" => "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "AmazonSQS" => "com.amazonaws.sqs#RequestThrottled",
        _ => "ThrottlingException",
    };
    answer(400, &json!({ "__type": kind, "message": "Rate exceeded" }))
}

fn failed(call: &Call, status: u16) -> Answer {
    let kind = match (call.service.as_str(), status) {
        ("DynamoDB", 500) => "com.amazonaws.dynamodb.v20120810#InternalServerError",
        (_, 503) => "ServiceUnavailable",
        _ => "InternalFailure",
    };
    answer(
        status,
        &json!({ "__type": kind, "message": "We encountered an internal error" }),
    )
}

fn entry_refused() -> Answer {
    let entry = json!({ "ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded" });
    answer(200, &json!({ "FailedEntryCount": 1, "Entries": [entry] }))
}
