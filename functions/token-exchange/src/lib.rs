//! `POST /ring/token/{key}`: Ring's one-time code -> a sealed token pair, unclaimed.
//!
//! The code lives for 60 s and is good once (Ring: Token Lifecycle), so it is exchanged in the request, and the pair is
//! saved before anything else is asked of Ring. Everything that saving needs is in hand before the code is spent.
//!
//! | answer | when |
//! |---|---|
//! | 200 `{}` | the tokens are saved, now or when the code came before |
//! | 400 | there is no usable code, or Ring refuses it |
//! | 404 | the key in the path is not ours |
//! | 503 | Ring, the table or the key is out of reach |

mod code;
mod config;

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
pub use config::{Config, UrlKeys};
use jiff::Timestamp;
use lambda_http::{Request, RequestExt as _};
use ring_partner::Ring;
use ring_partner::oauth::{AccessToken, AuthorizationCode, Credentials, RefreshToken, TokenError, TokenResponse};
use sha2::{Digest as _, Sha256};
use shared::edge::clock::signed;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::secret::Secret;
use shared::edge::table::StoreError;
use shared::edge::{aws, clock, key};
use shared::grant::store::{CodeOutcome, Grants};
use shared::grant::vault::{DataKey, Vault};
use shared::grant::{Grant, GrantId, REFRESH_TOKEN_LIFE, Tokens};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

const CREDENTIALS_KEPT_FOR: Duration = Duration::from_secs(300);
/// How long a repeat of a code waits for the outcome of the first.
const WAIT_FOR_THE_FIRST: Duration = Duration::from_secs(5);
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(200);
/// How long a pair that Ring gave is tried to be saved. Everything before it takes 35 s at most, and the function's
/// time-out in the template is longer than both together, though the gateway waits for 30 s alone: a code that comes again
/// then finds its tokens saved.
const SAVE_WITHIN: Duration = Duration::from_secs(20);
/// How long an answer waits for whose the grant is.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

/// The token exchange.
#[derive(Debug)]
pub struct Exchange {
    keys: UrlKeys,
    ring: Ring,
    credentials: Secret<Credentials>,
    grants: Grants,
    vault: Vault,
}

/// What must be in hand before a code is spent.
struct Ready {
    id: GrantId,
    credentials: Credentials,
    access_key: DataKey<AccessToken>,
    refresh_key: DataKey<RefreshToken>,
}

impl Exchange {
    /// An exchange with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        Ok(Self {
            ring: config.ring.client()?,
            credentials: Secret::new(aws, config.oauth_secret_id, CREDENTIALS_KEPT_FOR),
            grants: Grants::new(aws, config.grants_table),
            vault: Vault::new(aws, config.token_key_id),
            keys: config.url_keys,
        })
    }

    /// Reads the credentials ahead of the first code.
    pub async fn warm(&self) {
        if let Err(error) = self.credentials.get(clock::now()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the client's credentials are not at hand yet"
            );
        }
    }

    /// Answers one code.
    pub async fn answer(&self, request: Request) -> Result<Response, std::convert::Infallible> {
        let parameters = request.path_parameters_ref();
        let key = parameters
            .and_then(|parameters| parameters.first("key"))
            .unwrap_or_default();
        if !self.keys.hold(key) {
            return Ok(Problem::new(ProblemType::NotFound).into_response());
        }
        let exchanged = match code::of(&request) {
            Ok(code) => self.exchange(&code).await,
            Err(problem) => Err(problem),
        };
        Ok(match exchanged {
            Ok(()) => axum::Json(serde_json::json!({})).into_response(),
            Err(problem) => problem.into_response(),
        })
    }

    async fn exchange(&self, code: &AuthorizationCode) -> Result<(), Problem> {
        let hash = hex::encode(Sha256::digest(code.expose()));
        let ready = self.ready().await?;
        match self.grants.take_code(&hash, &ready.id, clock::now()).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return self.outcome_of_the_first(&hash).await,
            Err(error) => return Err(unavailable(&error)),
        }
        let answer = match self.ring.exchange_code(&ready.credentials, code).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.not_exchanged(&hash, &error).await),
        };
        let now = clock::now();
        let grant = self.save(ready, &answer, &hash, now).await?;
        // The tokens are saved: that Ring is slow to tell whose they are is no reason to fail.
        let resolved = tokio::time::timeout(RESOLVE_WITHIN, self.resolve(grant, &answer.access_token, now));
        if resolved.await.is_err() {
            tracing::warn!("a grant is saved; Ring has not told in time whose it is");
        }
        Ok(())
    }

    async fn ready(&self) -> Result<Ready, Problem> {
        let id = GrantId::random();
        let (credentials, access_key, refresh_key) = tokio::join!(
            self.credentials.get(clock::now()),
            self.vault.data_key(&id),
            self.vault.data_key(&id)
        );
        let credentials = credentials.map_err(|error| unavailable(&error))?;
        let access_key = access_key.map_err(|error| unavailable(&error))?;
        let refresh_key = refresh_key.map_err(|error| unavailable(&error))?;
        Ok(Ready {
            id,
            credentials,
            access_key,
            refresh_key,
        })
    }

    /// A code that came before: its first exchange tells the answer.
    async fn outcome_of_the_first(&self, hash: &str) -> Result<(), Problem> {
        let give_up_at = clock::now() + signed(WAIT_FOR_THE_FIRST);
        loop {
            match self.grants.code(hash).await.map_err(|error| unavailable(&error))? {
                Some(CodeOutcome::Exchanged) => return Ok(()),
                Some(CodeOutcome::Refused) => return Err(refused()),
                Some(CodeOutcome::Exchanging) if clock::now() < give_up_at => {
                    tokio::time::sleep(LOOK_AGAIN_EVERY).await;
                }
                Some(CodeOutcome::Exchanging) | None => return Err(Problem::new(ProblemType::RingUnavailable)),
            }
        }
    }

    /// No tokens came. A code that Ring surely has not spent may be presented again.
    async fn not_exchanged(&self, hash: &str, error: &TokenError) -> Problem {
        let (kept, problem) = match error {
            TokenError::InvalidGrant | TokenError::Rejected { .. } => (self.grants.refuse_code(hash).await, refused()),
            TokenError::InvalidClient
            | TokenError::NotSent(_)
            | TokenError::Unavailable {
                status: 408 | 429 | 503,
                ..
            } => (
                self.grants.give_back_code(hash).await,
                Problem::new(ProblemType::RingUnavailable),
            ),
            // It may be spent, and the answer is lost: nobody presents it again.
            TokenError::Unavailable { .. } | TokenError::Unclear(_) => {
                (Ok(()), Problem::new(ProblemType::RingUnavailable))
            }
        };
        let alarm = matches!(error, TokenError::InvalidClient).then_some("invalid_client");
        tracing::error!(
            alarm,
            error = error as &dyn std::error::Error,
            "a code is not exchanged"
        );
        if let Err(error) = kept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the outcome of a code is not kept"
            );
        }
        problem
    }

    /// Saves the pair, again and again: nobody else has it.
    async fn save(&self, ready: Ready, answer: &TokenResponse, hash: &str, now: Timestamp) -> Result<Grant, Problem> {
        let Some(refresh_token) = &answer.refresh_token else {
            tracing::error!("Ring's answer to a code has no refresh token");
            return Err(Problem::new(ProblemType::RingUnavailable));
        };
        let tokens = Tokens {
            generation: 1,
            access: ready
                .access_key
                .seal(&answer.access_token)
                .map_err(|error| unavailable(&error))?,
            access_expires_at: now + signed(answer.expires_in),
            refresh: ready
                .refresh_key
                .seal(refresh_token)
                .map_err(|error| unavailable(&error))?,
            refresh_expires_at: now + signed(REFRESH_TOKEN_LIFE),
            scope: answer.scope.clone(),
            issued_at: now,
        };
        let grant = Grant::issued(ready.id, tokens, now);
        let due = grant.due_at(now, key::fraction()).unwrap_or(now);
        let mut wait = Duration::from_millis(50);
        loop {
            match self.grants.save_issued(&grant, hash, due).await {
                Ok(()) => return Ok(grant),
                // Nobody else has this id: it is our own earlier try, whose answer was lost.
                Err(StoreError::Conflict) => return Ok(grant),
                Err(error) if clock::now() + signed(wait) > now + signed(SAVE_WITHIN) => {
                    tracing::error!(
                        alarm = "issued_pair_not_saved",
                        grant.id = grant.id.as_str(),
                        "a new pair is lost"
                    );
                    return Err(unavailable(&error));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a new pair is not saved yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    /// Learns whose the grant is. When that fails now, `token-refresh` goes on with it.
    async fn resolve(&self, grant: Grant, token: &AccessToken, now: Timestamp) {
        let id = grant.id.clone();
        let resolved = async {
            let user = self.ring.me(token).await?;
            let unclaimed = grant.resolved(user.id, now)?;
            let due = unclaimed.due_at(now, key::fraction());
            self.grants.advance(&unclaimed, due, now, Vec::new()).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        match resolved.await {
            Ok(()) => tracing::info!(grant.id = id.as_str(), "grant {id} is saved and waits to be linked"),
            Err(error) => tracing::warn!(
                grant.id = id.as_str(),
                error = &*error as &dyn std::error::Error,
                "grant {id} is saved; whose it is is not known yet"
            ),
        }
    }
}

fn refused() -> Problem {
    Problem::field("/code", "Ring does not take this code")
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "a code can't be exchanged now");
    Problem::new(ProblemType::Unavailable)
}
