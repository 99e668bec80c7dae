//! Ring and S3 on the loopback, on threads of their own: a clip that comes at a rate, and a bucket that looks at each byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bench::Failure;
use futures_util::stream;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};

/// What comes at once.
const CHUNK: usize = 64 * 1024;
/// The clip is this again and again. Where a part begins in it follows from the parts before.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let bytes = (0..16 * CHUNK).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    bytes.collect::<Vec<u8>>().into()
});

/// Both servers, on one port.
pub(crate) struct Servers {
    address: SocketAddr,
    clip: Clip,
    stored: Arc<Mutex<Stored>>,
    /// It ends with this.
    runtime: Option<Runtime>,
}

/// The clip.
#[derive(Clone, Copy)]
struct Clip {
    bytes: u64,
    /// Megabits a second.
    rate: Option<u64>,
}

#[derive(Default)]
struct Stored {
    /// The parts that came, by number.
    parts: BTreeMap<u32, Bytes>,
    completed: bool,
}

#[derive(Clone)]
struct Shared {
    clip: Clip,
    stored: Arc<Mutex<Stored>>,
}

impl Servers {
    /// Servers of a clip of so many bytes.
    pub(crate) fn start(bytes: u64, rate: Option<u64>) -> Result<Self, Failure> {
        let (clip, stored) = (Clip { bytes, rate }, Arc::new(Mutex::new(Stored::default())));
        let shared = Shared {
            clip,
            stored: Arc::clone(&stored),
        };
        let routes = Router::new()
            .route("/v1/devices/{device}/media/video/download", post(clip_comes))
            .route("/clip", get(clip_comes))
            .route("/media/clip.mp4", any(bucket))
            .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
            .with_state(shared);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes).await
        });
        Ok(Self {
            address,
            clip,
            stored,
            runtime: Some(runtime),
        })
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds that the bucket has the whole clip, and nothing else.
    pub(crate) fn has_it_all(&self) -> Result<(), Failure> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if !stored.completed {
            return Err("no object was completed".into());
        }
        let mut at = 0;
        for part in stored.parts.values() {
            let mut rest = &part[..];
            while !rest.is_empty() {
                let from = usize::try_from(at % PATTERN.len() as u64)?;
                let length = rest.len().min(PATTERN.len() - from);
                if rest[..length] != PATTERN[from..from + length] {
                    return Err(format!("what is stored differs from the clip at {at}").into());
                }
                (rest, at) = (&rest[length..], at + length as u64);
            }
        }
        if at == self.clip.bytes {
            Ok(())
        } else {
            Err(format!("{at} bytes are stored of {}", self.clip.bytes).into())
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Nobody talks to it any more, and whoever drops this can't wait.
            runtime.shutdown_background();
        }
    }
}

/// The clip, at its rate.
async fn clip_comes(State(Shared { clip, .. }): State<Shared>) -> Response {
    let begun = Instant::now();
    let body = stream::unfold(0_u64, move |sent| async move {
        let left = usize::try_from(clip.bytes - sent).unwrap_or(usize::MAX).min(CHUNK);
        if left == 0 {
            return None;
        }
        if let Some(rate) = clip.rate {
            // Megabits a second are bits a microsecond.
            sleep_until(begun + Duration::from_micros(sent * 8 / rate)).await;
        }
        let from = usize::try_from(sent % PATTERN.len() as u64).unwrap_or_default();
        Some((
            Ok::<_, std::io::Error>(PATTERN.slice(from..from + left)),
            sent + left as u64,
        ))
    });
    let headers = [
        (header::CONTENT_TYPE, "video/mp4".to_owned()),
        (header::CONTENT_LENGTH, clip.bytes.to_string()),
    ];
    (headers, Body::from_stream(body)).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    part_number: Option<u32>,
    upload_id: Option<String>,
}

/// S3 as far as an upload needs it (Amazon S3 API: PutObject, CreateMultipartUpload, UploadPart, CompleteMultipartUpload).
async fn bucket(
    State(Shared { stored, .. }): State<Shared>,
    method: Method,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.contains_key("x-amz-decoded-content-length") {
        return (StatusCode::NOT_IMPLEMENTED, "no chunked uploads").into_response();
    }
    let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
    let xml = |name: &str, inner: &str| {
        let text = format!(r#"<?xml version="1.0"?><{name}><Bucket>media</Bucket><Key>clip.mp4</Key>{inner}</{name}>"#);
        ([(header::CONTENT_TYPE, "application/xml")], text).into_response()
    };
    match (method, asked.part_number, asked.upload_id) {
        (Method::PUT, number, _) => {
            stored.completed |= number.is_none();
            stored.parts.insert(number.unwrap_or(1), body);
            [(header::ETAG, "\"bench\"")].into_response()
        }
        (Method::POST, None, None) => xml("InitiateMultipartUploadResult", "<UploadId>bench</UploadId>"),
        (Method::POST, None, Some(_)) => {
            stored.completed = true;
            xml("CompleteMultipartUploadResult", "<ETag>\"bench\"</ETag>")
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}
