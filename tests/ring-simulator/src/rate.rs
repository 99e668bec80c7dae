//! Ring's rate limit: so many requests a second for each client id, over all of the API's endpoints (Ring: "API Reference,
//! Rate Limiting"). The window is a second of real time, as the partner's own pace is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};

use crate::error::ApiError;
use crate::ring::{Ring, lock};

const WINDOW: Duration = Duration::from_secs(1);

/// The windows of the client ids that were seen.
#[derive(Default)]
pub(crate) struct Limiter(Mutex<HashMap<String, Window>>);

struct Window {
    began: Instant,
    used: u32,
}

/// What a request finds: how many more may come in this window, or how long to wait.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Granted { remaining: u32 },
    Refused { retry_after: u64 },
}

impl Limiter {
    fn take(&self, client: &str, limit: u32, now: Instant) -> Turn {
        let mut windows = lock(&self.0);
        let window = windows
            .entry(client.to_owned())
            .or_insert(Window { began: now, used: 0 });
        if now.duration_since(window.began) >= WINDOW {
            *window = Window { began: now, used: 0 };
        }
        if window.used >= limit {
            return Turn::Refused { retry_after: 1 }; // whole seconds, and a window is one
        }
        window.used += 1;
        Turn::Granted {
            remaining: limit - window.used,
        }
    }
}

/// Counts a request, and says on each answer what is left.
pub(crate) async fn limit(State(ring): State<Arc<Ring>>, request: Request, next: Next) -> Response {
    let limit = ring.settings().rate_per_second;
    if limit == 0 {
        return next.run(request).await;
    }
    let client = ring.client_of(request.headers());
    let (mut answer, remaining) = match ring.limiter.take(&client, limit, Instant::now()) {
        Turn::Granted { remaining } => (next.run(request).await, remaining),
        Turn::Refused { retry_after } => {
            let mut answer = ApiError::rate_limited(retry_after).into_response();
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
            (answer, 0)
        }
    };
    announce(answer.headers_mut(), limit, remaining);
    answer
}

fn announce(headers: &mut HeaderMap, limit: u32, remaining: u32) {
    headers.insert("x-ratelimit-limit", HeaderValue::from(limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(remaining));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_second_and_each_client_has_its_own() {
        let limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(limiter.take("a", 2, start), Turn::Granted { remaining: 1 });
        assert_eq!(limiter.take("a", 2, start), Turn::Granted { remaining: 0 });
        assert_eq!(
            limiter.take("a", 2, start + Duration::from_millis(999)),
            Turn::Refused { retry_after: 1 }
        );
        assert_eq!(limiter.take("b", 2, start), Turn::Granted { remaining: 1 });
        assert_eq!(limiter.take("a", 2, start + WINDOW), Turn::Granted { remaining: 1 });
    }
}
