//! The use of a grant: a program that calls Ring reads the access token; when it is stale, or Ring refuses it, the pair is
//! renewed (by whoever may open refresh tokens) and the call is tried once more.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::error::Decision;
use ring_partner::oauth::AccessToken;
use serde::{Deserialize, Serialize};

use super::ports::Grants as _;
use super::usage::Usage;
use super::vault::{Vault, VaultError};
use super::{GrantId, Life, RESOLVE_WAITS};
use crate::edge::clock::signed;
use crate::edge::function::Function;
use crate::edge::queue::Message;
use crate::edge::table::StoreError;
use crate::world::World;

/// A request to renew one grant's pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefreshRequest {
    /// Which one.
    pub grant: GrantId,
    /// The generation that did not serve. A pair of a later one needs no renewal.
    pub generation: u64,
}

/// A request to ask Ring whose a new grant is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// Which one.
    pub resolve: GrantId,
}

impl ResolveRequest {
    /// The request as it goes into its queue.
    #[must_use]
    pub fn message(&self) -> Message {
        let body = serde_json::json!({ "resolve": self.resolve }).to_string();
        Message::new(body).delay(RESOLVE_WAITS[0])
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshOutcome {
    /// There is a pair of a later generation now.
    Fresh,
    /// Ring refuses the refresh token. Whether that ends it is decided by what becomes of the others.
    Refused,
    /// Its user has to link again.
    RelinkRequired,
    /// The grant is over.
    Ended,
    /// It could not be done now.
    Unavailable,
}

/// Renews pairs: `token-refresh`, or whoever asks it to.
pub trait Refresh: Send + Sync {
    /// Renews the pair, unless it is of a later generation already.
    fn refresh(&self, request: &RefreshRequest) -> impl Future<Output = RefreshOutcome> + Send;
}

impl Refresh for Function {
    async fn refresh(&self, request: &RefreshRequest) -> RefreshOutcome {
        self.call(request).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the token could not be renewed"
            );
            RefreshOutcome::Unavailable
        })
    }
}

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Its user has to link again.
    #[error("the Ring account has to be linked again")]
    RelinkRequired,
    /// There is no such grant any more.
    #[error("the grant has ended")]
    Ended,
    /// Ring refuses to renew it. Whether that ends the grant is decided elsewhere.
    #[error("Ring refuses to renew the access token")]
    Refused,
    /// It can't be renewed just now.
    #[error("the access token can't be renewed just now")]
    Refresh,
    /// The table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is out of reach.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Why a call to Ring under a grant did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no access token to call with.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Ring's own answer.
    #[error(transparent)]
    Ring(#[from] ring_partner::Error),
}

/// An access token that serves, and the generation of its pair.
#[derive(Debug)]
pub struct Usable {
    /// The token.
    pub token: AccessToken,
    /// Its pair's generation.
    pub generation: u64,
    /// When its pair was issued.
    pub issued_at: Timestamp,
}

/// Access tokens of grants, renewed when they must be.
#[derive(Clone, Debug)]
pub struct Access<W: World, R> {
    grants: W::Grants,
    vault: Vault<W::Keys>,
    refresh: R,
    usage: Usage,
}

impl<W: World, R: Refresh> Access<W, R> {
    /// Access to the grants in `grants`, sealed in `vault`, renewed by `refresh`.
    pub fn new(grants: W::Grants, vault: Vault<W::Keys>, refresh: R) -> Self {
        Self {
            grants,
            vault,
            refresh,
            usage: Usage::default(),
        }
    }

    /// An access token with at least 300 s left.
    pub async fn token(&self, id: &GrantId, now: Timestamp) -> Result<Usable, AccessError> {
        self.newer_than(id, 0, now).await
    }

    /// Calls Ring under the grant. A 401 (and at users/me a 403) renews the token and calls once more; a 403 elsewhere is
    /// a matter of scope, and never renews.
    pub async fn call<T, F>(
        &self,
        id: &GrantId,
        now: Timestamp,
        call: impl Fn(AccessToken) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, ring_partner::Error>>,
    {
        self.call_renewing(id, now, Duration::ZERO, call).await
    }

    /// The same, where a pair younger than `least_age` is not renewed because Ring refuses it.
    pub async fn call_renewing<T, F>(
        &self,
        id: &GrantId,
        now: Timestamp,
        least_age: Duration,
        call: impl Fn(AccessToken) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, ring_partner::Error>>,
    {
        let first = self.token(id, now).await?;
        let is_old = now.duration_since(first.issued_at) >= signed(least_age);
        match call(first.token).await {
            Err(error) if is_old && error.decision() == Decision::Refresh => {
                let second = self.newer_than(id, first.generation, now).await?;
                Ok(call(second.token).await?)
            }
            other => Ok(other?),
        }
    }

    /// A token of a generation above `generation` that is not stale, renewing at most once.
    async fn newer_than(&self, id: &GrantId, generation: u64, now: Timestamp) -> Result<Usable, AccessError> {
        let mut renewed = false;
        loop {
            let grant = self.grants.get(id).await?.ok_or(AccessError::Ended)?;
            if let Life::RelinkRequired { .. } = grant.life {
                return Err(AccessError::RelinkRequired);
            }
            let tokens = grant.tokens.ok_or(AccessError::Ended)?;
            if tokens.generation > generation && !tokens.is_stale(now) {
                let token = self.vault.open(&tokens.access, id).await?;
                self.usage.one_more(id, now);
                return Ok(Usable {
                    token,
                    generation: tokens.generation,
                    issued_at: tokens.issued_at,
                });
            }
            if renewed {
                return Err(AccessError::Refresh);
            }
            renewed = true;
            let request = RefreshRequest {
                grant: id.clone(),
                generation: tokens.generation,
            };
            match self.refresh.refresh(&request).await {
                RefreshOutcome::Fresh => {}
                RefreshOutcome::RelinkRequired => return Err(AccessError::RelinkRequired),
                RefreshOutcome::Ended => return Err(AccessError::Ended),
                RefreshOutcome::Refused => return Err(AccessError::Refused),
                RefreshOutcome::Unavailable => return Err(AccessError::Refresh),
            }
        }
    }
}
