//! Sends a synthetic event as Ring would, each five minutes, and follows it to its record.
//!
//! The intake signs it with the key of now, and it goes through the public Webhook URL, so that everything on the way is tried: the
//! name, the gateway, the signature, the queue, the processor and the table. `canary_missed` is 1 where it has not arrived in time,
//! and 0 where it has; `canary_ms` is how long it took. `secret_age_ms` is how long ago each secret was written. It reads one row,
//! no secret, and writes nothing.

mod config;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

pub use config::Config;
use lambda_runtime::Error;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use shared::edge::function::{Function, FunctionError};
use shared::edge::metrics::Metrics;
use shared::edge::secret::SecretsManager;
use shared::edge::table::StoreError;
use shared::edge::{aws, clock};
use shared::event::EventId;
use shared::event::store::Events;
use shared::event::synthetic::{self, Ask, Signed};
use uuid::Uuid;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// Ring's own patience. Ring: Webhook Response Handling.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What wakes it; nothing in it matters.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Wake {}

/// Why an event that was sent is not recorded.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error("the intake does not sign it")]
    Unsigned(#[from] FunctionError),
    #[error("what the intake has signed is no synthetic event")]
    Another,
    #[error("the Webhook URL is out of reach")]
    Unreachable(#[source] reqwest::Error),
    #[error("the Webhook URL answers {0}")]
    Refused(StatusCode),
    #[error("the table of events can't be read")]
    Table(#[from] StoreError),
    #[error("it was taken, and is not recorded after half a minute")]
    NotRecorded,
}

/// The canary.
#[derive(Debug)]
pub struct Canary {
    intake: Function,
    secrets: [SecretsManager; 2],
    events: Events,
    http: Client,
    url: Url,
    metrics: Metrics,
}

impl Canary {
    /// A canary with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, Error> {
        let url: Url = config.webhook_url.parse()?;
        Ok(Self {
            intake: Function::new(aws, config.intake_function, ANSWERED_WITHIN),
            secrets: config.secret_ids.map(|id| SecretsManager::new(aws, id)),
            events: Events::new(aws, config.events_table),
            http: client(&url)?,
            url,
            metrics: Metrics::new(&config.metrics_namespace, SERVICE),
        })
    }

    /// Sends one event, and says what became of it.
    pub async fn handle(&self) -> Result<(), Error> {
        let since = Instant::now();
        match self.follow().await {
            Ok(id) => {
                let took = clock::signed(since.elapsed());
                self.metrics.count("canary_missed", 0);
                self.metrics.time("canary_ms", took);
                tracing::info!(
                    event.id = id.as_str(),
                    took_ms = took.as_millis() as u64,
                    "the canary's event is recorded"
                );
            }
            Err(missed) => {
                self.metrics.count("canary_missed", 1);
                tracing::error!(
                    error = &missed as &dyn std::error::Error,
                    "the canary's event is not recorded"
                );
            }
        }
        self.look_at_secrets().await;
        self.metrics.flush(clock::now());
        Ok(())
    }

    /// One whose age can't be told is not told of: whether it can be read, those say who read it.
    async fn look_at_secrets(&self) {
        for secret in &self.secrets {
            match secret.written_at().await {
                Ok(at) => self.metrics.time("secret_age_ms", clock::now().duration_since(at)),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "how old a secret is can't be told"
                ),
            }
        }
    }

    async fn follow(&self) -> Result<EventId, Missed> {
        let ask = Ask {
            sign_synthetic: Uuid::new_v4().to_string(),
        };
        let Signed { body, signature } = self.intake.call(&ask).await?;
        let id = synthetic::record_of(&body).ok_or(Missed::Another)?;
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json");
        let request = request.header("X-Signature", signature).body(body);
        let answer = request
            .send()
            .await
            .map_err(|error| Missed::Unreachable(error.without_url()))?;
        if answer.status() != StatusCode::OK {
            return Err(Missed::Refused(answer.status()));
        }
        if synthetic::is_recorded(&self.events, &id).await? {
            return Ok(id);
        }
        Err(Missed::NotRecorded)
    }
}

/// A client as Ring's: no redirect is followed. A name below `localhost` is this machine (RFC 6761), whatever a resolver knows.
fn client(url: &Url) -> Result<Client, reqwest::Error> {
    let client = Client::builder().redirect(Policy::none()).timeout(ANSWERED_WITHIN);
    match url.host_str() {
        Some(host) if host.ends_with(".localhost") => {
            client.resolve(host, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).build()
        }
        _ => client.build(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_a_name_below_localhost_is_this_machine() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new()
            .route("/ring/webhook", post(async || Redirect::temporary("/elsewhere")))
            .route("/elsewhere", post(async || "followed"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let url: Url = format!("http://a1.execute-api.localhost:{port}/ring/webhook")
            .parse()
            .unwrap();
        let answer = client(&url).unwrap().post(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    }
}
