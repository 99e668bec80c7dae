//! POSTs that may be sent again: a caller names a request by an `Idempotency-Key`, and whoever sends the same one again is
//! given the answer of the first. The key with another request is refused, as one of the two is a mistake. Kept is only what
//! went well, for a day; everything else may be tried anew under its key.

use std::time::Duration;

use aws_config::SdkConfig;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::clock::{self, signed};
use super::conditional::MOST_ANSWER_BYTES;
use super::gateway::SignedIn;
use super::key;
use super::problem::{Problem, ProblemType};
use super::table::{self, Key, StoreError, Table, number, row, text};

/// The header that names a request.
pub const NAME: HeaderName = HeaderName::from_static("idempotency-key");

const LONGEST_KEY: usize = 255;
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long a request is taken to be under way: a little longer than the gateway waits for its answer.
const UNDER_WAY_FOR: Duration = Duration::from_secs(35);
/// More than any body has that a POST takes: an offer of live video is the largest.
const MOST_REQUEST_BYTES: usize = 256 * 1024;
/// A larger answer is not kept, so that it fits into a row with room to spare; ours have a few kilobytes.
const MOST_KEPT_BYTES: usize = 128 * 1024;
/// What is kept of an answer's headers.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::CACHE_CONTROL];
/// The most keys of one user that are forgotten with them; what is left expires.
const MOST_KEYS: usize = 10_000;

/// The answers that were given, by user and key.
#[derive(Clone, Debug)]
pub struct Answers {
    table: Table,
}

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// Its user and its key, as the table has them.
    #[serde(skip_serializing)]
    sk: String,
    /// The request, as a hash.
    request: String,
    /// Until when it is taken to be under way, in epoch milliseconds.
    under_way_until: i64,
    answer: Option<Answer>,
    expires_at: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// What a request is to be answered with that came before, or what was sent under its key.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// The same as before.
    Again(Box<Answer>),
    /// Not yet: the first one is under way.
    Wait,
    /// Not at all: the key is another request's.
    Another,
}

impl Kept {
    fn verdict(self, request: &str) -> Verdict {
        match self.answer {
            _ if self.request != request => Verdict::Another,
            Some(answer) => Verdict::Again(Box::new(answer)),
            None => Verdict::Wait,
        }
    }
}

impl Answers {
    /// The answers in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// Forgets all answers that this user was given.
    pub async fn forget(&self, user: &str) -> Result<(), StoreError> {
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(partition(user)));
        let kept: Vec<Kept> = table::collect(query, MOST_KEYS).await?;
        let keys: Vec<_> = kept
            .into_iter()
            .map(|kept| Key::new(partition(user), kept.sk))
            .collect();
        try_join_all(keys.iter().map(|key| self.table.delete(key))).await?;
        Ok(())
    }

    /// Begins a request, unless it, or another under its key, was begun before.
    async fn begin(&self, place: &Key, request: &str, now: Timestamp) -> Result<Option<Verdict>, StoreError> {
        let begun = Kept {
            sk: place.sk.clone(),
            request: request.to_owned(),
            under_way_until: (now + signed(UNDER_WAY_FOR)).as_millisecond(),
            answer: None,
            expires_at: (now + signed(KEPT_FOR)).as_second(),
        };
        // One whose process died is begun anew. What has expired may stand there for a while.
        let put = self
            .table
            .put(row(place, &begun)?)
            .condition_expression(
                "attribute_not_exists(pk) OR expires_at < :second \
                 OR (attribute_not_exists(answer) AND under_way_until < :now)",
            )
            .expression_attribute_values(":second", number(now.as_second()))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        match put.send().await.map_err(StoreError::from) {
            Ok(_) => Ok(None),
            Err(StoreError::Conflict) => {
                let kept: Option<Kept> = self.table.get(place).await?;
                // It went in this moment, as it did not go well.
                Ok(Some(kept.map_or(Verdict::Wait, |kept| kept.verdict(request))))
            }
            Err(error) => Err(error),
        }
    }

    async fn keep(&self, place: &Key, answer: &Answer) -> Result<(), StoreError> {
        self.table
            .update(place)
            .update_expression("SET answer = :answer")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":answer", serde_dynamo::to_attribute_value(answer)?)
            .send()
            .await?;
        Ok(())
    }
}

fn partition(user: &str) -> String {
    format!("answers#{user}")
}

/// A layer around routes of signed-in users: a POST with an `Idempotency-Key` is done once.
pub async fn repeatable(State(answers): State<Answers>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(NAME) {
        return next.run(request).await;
    }
    once(&answers, request, next)
        .await
        .unwrap_or_else(|problem| problem.into_response())
}

async fn once(answers: &Answers, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let user = SignedIn::from_request_parts(&mut parts, &()).await?;
    let Some(name) = idempotency_key(&parts.headers)? else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let body = axum::body::to_bytes(body, MOST_REQUEST_BYTES)
        .await
        .map_err(|_| Problem::new(ProblemType::PayloadTooLarge))?;
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .map_or(&[][..], HeaderValue::as_bytes);
    let place = Key::new(partition(&user.user_id), key::derived("key", &[&name]));
    let request = key::derived(
        "request",
        &[
            &parts.uri.to_string(),
            &hex::encode(Sha256::digest(kind)),
            &hex::encode(Sha256::digest(&body)),
        ],
    );
    match answers.begin(&place, &request, clock::now()).await {
        Ok(None) => {}
        Ok(Some(Verdict::Again(answer))) => return Ok(answered(*answer)),
        Ok(Some(Verdict::Wait)) => return Err(Problem::new(ProblemType::RequestUnderWay).retry_after(1)),
        Ok(Some(Verdict::Another)) => return Err(Problem::new(ProblemType::IdempotencyKeyReused)),
        Err(error) => return Err(unavailable(&error)),
    }
    let response = next.run(Request::from_parts(parts, body.into())).await;
    kept(answers, &place, response).await
}

/// Keeps an answer that went well. One that can't be kept is given all the same: what was asked for is done.
async fn kept(answers: &Answers, place: &Key, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MOST_ANSWER_BYTES).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "an answer has no body");
        Problem::new(ProblemType::Internal)
    })?;
    let text = std::str::from_utf8(&body)
        .ok()
        .filter(|text| text.len() <= MOST_KEPT_BYTES);
    let told = match text {
        Some(text) if parts.status.is_success() => {
            let header = |name: &HeaderName| {
                let value = parts.headers.get(name)?.to_str().ok()?;
                Some((name.as_str().to_owned(), value.to_owned()))
            };
            let answer = Answer {
                status: parts.status.as_u16(),
                headers: KEPT_HEADERS.iter().filter_map(header).collect(),
                body: text.to_owned(),
            };
            answers.keep(place, &answer).await
        }
        _ => answers.table.delete(place).await,
    };
    if let Err(error) = told {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "an answer is not kept under its Idempotency-Key"
        );
    }
    Ok(Response::from_parts(parts, body.into()))
}

fn answered(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, answer.body).into_response();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The caller's own name for a request, so that it can be sent again.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(NAME) else {
        return Ok(None);
    };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let wrong = || Problem::field("Idempotency-Key", "1 to 255 visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(wrong)
}

fn unavailable(error: &StoreError) -> Problem {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "whether a request was made before can't be known now"
    );
    Problem::new(ProblemType::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_answered_as_before_or_waits_and_another_request_under_the_key_is_refused() {
        let answer = Answer {
            status: 202,
            headers: vec![("location".to_owned(), "/v1/media/1".to_owned())],
            body: "{}".to_owned(),
        };
        let begun = Kept {
            sk: "key".to_owned(),
            request: "one".to_owned(),
            under_way_until: 0,
            answer: None,
            expires_at: 0,
        };
        let ended = Kept {
            answer: Some(answer.clone()),
            ..begun.clone()
        };
        assert_eq!(begun.clone().verdict("one"), Verdict::Wait);
        assert_eq!(ended.clone().verdict("one"), Verdict::Again(Box::new(answer)));
        for kept in [begun, ended] {
            assert_eq!(kept.verdict("other"), Verdict::Another);
        }
    }

    #[test]
    fn a_key_is_visible_ascii() {
        let key = |value: &[u8]| {
            let headers = HeaderMap::from_iter([(NAME, HeaderValue::from_bytes(value).unwrap())]);
            idempotency_key(&headers)
        };
        assert_eq!(key(b"a-1").ok().flatten().as_deref(), Some("a-1"));
        for wrong in [&b""[..], "ü".as_bytes(), &[b'a'; 256]] {
            assert!(key(wrong).is_err(), "{wrong:?}");
        }
    }
}
