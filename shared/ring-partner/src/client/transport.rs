//! One exchange with Ring, and the repetition of those that may be repeated: within the budget, through the circuit, by
//! the time-outs, with bounded bodies.

use std::num::NonZeroU32;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use reqwest::redirect;
use tokio::time::{sleep, timeout, timeout_at};
use url::Url;

use super::addresses::{NotPublic, PublicAddresses};
use super::breaker::Breaker;
use super::budget::Budget;
use super::redirects::{NamedHost, Policy};
use super::settings::{Settings, SettingsError};
use crate::error::{ApiError, DEFAULT_WAIT, Endpoint, NotSent, RedirectRefused, Unclear, text_header};
use crate::{AccessToken, Decision, Error};

/// The most that is read of an answer with an error status.
const ERROR_BODY: usize = 64 * 1024;

/// The longest wait for it.
const ERROR_WAIT: Duration = Duration::from_secs(2);

/// The window of Ring's limit. Ring: Rate Limiting, "100 requests per second".
const WINDOW: Duration = Duration::from_secs(1);

/// What is asked of Ring.
#[derive(Clone)]
pub(super) struct Call<'c> {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) bearer: Option<&'c AccessToken>,
    /// The content type and the bytes.
    pub(super) body: Option<(&'static str, Bytes)>,
    /// What an error must not quote, besides the bearer.
    pub(super) secrets: Vec<&'c str>,
}

impl<'c> Call<'c> {
    pub(super) fn new(endpoint: Endpoint, method: Method, url: Url, bearer: &'c AccessToken) -> Self {
        Self {
            endpoint,
            method,
            url,
            bearer: Some(bearer),
            body: None,
            secrets: Vec::new(),
        }
    }

    pub(super) fn json(mut self, body: &impl serde::Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Error::NotSent(NotSent::Invalid("its body can't be written as JSON")))?;
        self.body = Some(("application/json", body.into()));
        Ok(self)
    }
}

pub(super) struct Transport {
    pub(super) settings: Settings,
    pub(super) policy: Policy,
    budget: Budget,
    breakers: [Mutex<Breaker>; Endpoint::ALL.len()],
    /// Keeps connections open between requests.
    pooled: reqwest::Client,
    /// Makes a connection for each request. On one that was kept open, and that Ring has closed meanwhile (a Lambda
    /// function sleeps between its invocations), a request may fail in a way that leaves open whether it was received;
    /// what must not be done twice goes this way. Made when it is first needed, as root certificates take time to read.
    fresh: OnceLock<reqwest::Client>,
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let breaker = || Mutex::new(Breaker::new(settings.circuit_failures, settings.circuit_cool_down));
        let per_second = NonZeroU32::new(settings.budget_per_second).ok_or(SettingsError::Zero("budget_per_second"))?;
        let shared_by = NonZeroU32::new(settings.budget_shared_by).ok_or(SettingsError::Zero("budget_shared_by"))?;
        let pooled = http_client(&settings)
            .build()
            .map_err(|error| SettingsError::Http(Box::new(error)))?;
        Ok(Self {
            policy: Policy::new(&settings.api_url, &settings.bearer_hosts, &settings.media_hosts),
            budget: Budget::new(per_second, shared_by, settings.longest_wait),
            breakers: Endpoint::ALL.map(|_| breaker()),
            pooled,
            fresh: OnceLock::new(),
            settings,
        })
    }

    /// See [`Budget::take_lowest`].
    pub(super) fn take_lowest_left(&self) -> Option<u32> {
        self.budget.take_lowest()
    }

    /// A path of Ring's API. Its ids are already percent-encoded.
    pub(super) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.settings.api_url.clone();
        url.set_path(&format!("{}{path}", self.settings.api_url.path().trim_end_matches('/')));
        url
    }

    /// Makes a request that may be made again: up to `attempts` times, while trying again makes sense.
    pub(super) async fn repeat(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let Settings {
            attempts,
            first_wait,
            longest_wait,
            ..
        } = self.settings;
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(first_wait)
            .with_max_delay(longest_wait)
            .with_max_times(attempts - 1)
            .with_jitter()
            .build();
        loop {
            let error = match self.exchange(&self.pooled, call).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let named = error.answer().and_then(|answer| answer.retry_after);
            let wait = match waits.next() {
                Some(wait) if may_pass(&error) => named.unwrap_or(wait.min(longest_wait)),
                _ => return Err(error),
            };
            if wait > longest_wait {
                return Err(error);
            }
            tracing::debug!(endpoint = ?call.endpoint, wait_ms = wait.as_millis(), %error, "Ring is asked again");
            sleep(wait).await;
        }
    }

    /// Makes a request that must not be made again, on a connection of its own.
    pub(super) async fn once(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        self.exchange(self.fresh()?, call).await
    }

    /// Sends a request whose answer's body is not read here: what media comes by.
    pub(super) async fn open(&self, call: &Call<'_>) -> Result<reqwest::Response, Error> {
        self.head(&self.pooled, call, Instant::now() + self.settings.timeout)
            .await
    }

    /// The same for a request that must not be made again, on a connection of its own.
    pub(super) async fn open_once(&self, call: &Call<'_>, deadline: Instant) -> Result<reqwest::Response, Error> {
        self.head(self.fresh()?, call, deadline).await
    }

    async fn head(
        &self,
        client: &reqwest::Client,
        call: &Call<'_>,
        deadline: Instant,
    ) -> Result<reqwest::Response, Error> {
        self.guarded(call, async {
            let answer = timeout_at(deadline.into(), self.send(client, call))
                .await
                .map_err(|_| timed_out())??;
            if answer.status().is_client_error() || answer.status().is_server_error() {
                return Err(self.error(call, answer).await);
            }
            Ok(answer)
        })
        .await
    }

    fn fresh(&self) -> Result<&reqwest::Client, Error> {
        if let Some(client) = self.fresh.get() {
            return Ok(client);
        }
        let client = http_client(&self.settings)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| Error::NotSent(NotSent::Unreachable(Box::new(error))))?;
        Ok(self.fresh.get_or_init(|| client))
    }

    /// The error in an answer that is of no use.
    pub(super) async fn error(&self, call: &Call<'_>, mut answer: reqwest::Response) -> Error {
        let (status, headers) = (answer.status(), answer.headers().clone());
        // As much as comes in time: without it there is still the status, which must not be lost over a slow body.
        let mut body = BytesMut::new();
        let _ = timeout(ERROR_WAIT, async {
            while let Ok(Some(bytes)) = answer.chunk().await {
                body.extend_from_slice(&bytes[..bytes.len().min(ERROR_BODY - body.len())]);
                if body.len() == ERROR_BODY {
                    break;
                }
            }
        })
        .await;
        let mut secrets = call.secrets.clone();
        secrets.extend(call.bearer.map(AccessToken::expose));
        let redirected = self.is_redirected(call);
        Error::Api(Box::new(ApiError::read(
            call.endpoint,
            redirected,
            status,
            &headers,
            &body,
            &secrets,
        )))
    }

    async fn exchange(&self, client: &reqwest::Client, call: &Call<'_>) -> Result<Bytes, Error> {
        self.guarded(call, async {
            let deadline = Instant::now() + self.settings.timeout;
            let answer = timeout_at(deadline.into(), self.send(client, call))
                .await
                .map_err(|_| timed_out())??;
            if !answer.status().is_success() {
                return Err(self.error(call, answer).await);
            }
            whole_by(deadline, answer, self.settings.body_limit).await
        })
        .await
    }

    /// Asks the budget and the circuit first, and tells them afterwards.
    async fn guarded<T>(&self, call: &Call<'_>, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.budget.take().await.map_err(Error::NotSent)?;
        let breaker = || {
            self.breakers[call.endpoint as usize]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        breaker()
            .admit(Instant::now())
            .map_err(|wait| Error::NotSent(NotSent::CircuitOpen(wait)))?;
        let result = request.await;
        let now = Instant::now();
        if breaker().record(now, !result.as_ref().is_err_and(is_outage)) {
            tracing::warn!(endpoint = ?call.endpoint, "Ring keeps failing: its circuit is open");
        }
        if let Err(Error::Api(answer)) = &result
            && answer.status == StatusCode::TOO_MANY_REQUESTS
            && !answer.redirected
        {
            self.budget.pause(now, answer.retry_after.unwrap_or(DEFAULT_WAIT));
        }
        result
    }

    async fn send(&self, client: &reqwest::Client, call: &Call<'_>) -> Result<reqwest::Response, Error> {
        let mut request = client.request(call.method.clone(), call.url.clone());
        if let Some(bearer) = call.bearer {
            request = request.bearer_auth(bearer.expose());
        }
        if let Some((content_type, body)) = &call.body {
            request = request.header(header::CONTENT_TYPE, *content_type).body(body.clone());
        }
        let answer = request.send().await.map_err(|error| failure(error, &call.url))?;
        let left = text_header(answer.headers(), "x-ratelimit-remaining").and_then(|left| left.parse().ok());
        if let Some(left) = left
            && !self.is_redirected(call)
        {
            self.budget.left(left);
            // Ring's window is a second: what would be refused now is not in the next one.
            if left == 0 {
                self.budget.pause(Instant::now(), WINDOW);
            }
        }
        Ok(answer)
    }

    /// Whether a redirect has led away from Ring's API. What is said there is not said by Ring.
    fn is_redirected(&self, call: &Call<'_>) -> bool {
        call.endpoint == Endpoint::Media && !self.policy.is_api(&call.url)
    }
}

fn http_client(settings: &Settings) -> reqwest::ClientBuilder {
    let hosts = settings
        .bearer_hosts
        .iter()
        .chain(&settings.media_hosts)
        .filter_map(|entry| NamedHost::parse(entry));
    let own = [&settings.api_url, &settings.oauth_url]
        .into_iter()
        .filter_map(Url::host_str)
        .map(str::to_owned);
    reqwest::Client::builder()
        .user_agent(concat!("ring-partner/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        // A proxy would resolve names itself, past the guard; and the environment is for programs to read.
        .no_proxy()
        .dns_resolver(PublicAddresses::except(
            hosts.map(|named| named.host().to_owned()).chain(own),
        ))
        .connect_timeout(settings.connect_timeout)
}

/// Reads a whole body within its bounds.
pub(super) async fn whole_by(deadline: Instant, answer: reqwest::Response, limit: usize) -> Result<Bytes, Error> {
    timeout_at(deadline.into(), whole(answer, limit))
        .await
        .map_err(|_| timed_out())?
}

async fn whole(mut answer: reqwest::Response, limit: usize) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(bytes) = answer.chunk().await.map_err(|error| Error::Unclear(broken(error)))? {
        if bytes.len() > limit - body.len() {
            return Err(Error::TooLarge { limit: limit as u64 });
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body.freeze())
}

/// Whether the same request may go well in a while. What the budget and the circuit hold back has waited enough.
fn may_pass(error: &Error) -> bool {
    matches!(error.decision(), Decision::RetryAfter(_))
        && !matches!(error, Error::NotSent(NotSent::CircuitOpen(_) | NotSent::BudgetSpent(_)))
}

/// Whether this says that a part of Ring is down. A device that is offline says nothing about Ring.
fn is_outage(error: &Error) -> bool {
    match error {
        Error::Api(answer) => matches!(answer.status, 408 | 500..) && !answer.is_offline(),
        Error::NotSent(NotSent::Unreachable(_)) | Error::Unclear(_) => true,
        _ => false,
    }
}

fn timed_out() -> Error {
    Error::Unclear(Unclear::TimedOut)
}

/// Sorts a failed request by what is known of it. The URL is taken out of the error: its query may be a key.
fn failure(error: reqwest::Error, url: &Url) -> Error {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if cause.is::<NotPublic>() {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Error::Redirect(RedirectRefused::NotPublic { host });
        }
        source = cause.source();
    }
    if error.is_connect() || error.is_builder() {
        Error::NotSent(NotSent::Unreachable(Box::new(error.without_url())))
    } else {
        Error::Unclear(broken(error))
    }
}

pub(crate) fn broken(error: reqwest::Error) -> Unclear {
    if error.is_timeout() {
        Unclear::TimedOut
    } else {
        Unclear::Broken(Box::new(error.without_url()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn trap_101_a_name_that_resolves_to_this_host_is_not_connected_to() {
        let url = |text: &str| Url::parse(text).unwrap();
        let settings = Settings::new(
            url("https://api.amazonvision.com"),
            url("https://oauth.ring.com/oauth/token"),
        );
        let target = url("http://localhost:9/?token=s3cret");
        let ask = async |settings: &Settings| {
            let client = http_client(settings).build().unwrap();
            failure(client.get(target.clone()).send().await.unwrap_err(), &target)
        };
        let refused = ask(&settings).await;
        let host = "localhost".to_owned();
        assert!(matches!(refused, Error::Redirect(RedirectRefused::NotPublic { host: named }) if named == host));
        // Named, it is connected to; nobody listens there.
        let unreachable = ask(&Settings {
            media_hosts: vec![host],
            ..settings
        })
        .await;
        assert!(
            matches!(unreachable, Error::NotSent(NotSent::Unreachable(_))),
            "{unreachable:?}"
        );
        assert!(!format!("{unreachable:?}").contains("s3cret"));
    }

    #[test]
    fn an_id_that_is_percent_encoded_stays_so_in_a_url() {
        let url = |text: &str| Url::parse(text).unwrap();
        for base in [
            "https://ring.test",
            "https://ring.test/",
            "https://ring.test/base",
            "https://ring.test/base/",
        ] {
            let transport = Transport::new(Settings::new(url(base), url("https://oauth.test"))).unwrap();
            let endpoint = transport.endpoint("/v1/devices/a%2Fb%3Fc");
            assert_eq!(
                endpoint.as_str(),
                format!("{}/v1/devices/a%2Fb%3Fc", base.trim_end_matches('/'))
            );
        }
    }
}
