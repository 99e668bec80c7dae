//! The exchange of a one-time code for a pair, and the pair's first step. The code lives for 60 s and is good once (Ring:
//! Token Lifecycle), so everything that saving the answer needs is in hand before it is spent, and the answer is saved
//! before anything else is asked of Ring.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::oauth::{
    AccessToken, AuthorizationCode, CodeVerifier, Credentials, RefreshToken, TokenError, TokenResponse,
};
use sha2::{Digest as _, Sha256};

use super::ports::{Client as _, CodeOutcome, Grants as _, Rescued, RescuedGrant, TokenEndpoint as _};
use super::rescue::Rescuer;
use super::source::Source;
use super::vault::{DataKey, Vault, VaultError};
use super::{Grant, GrantId, Illegal, REFRESH_TOKEN_LIFE, Tokens};
use crate::edge::clock::signed;
use crate::edge::quota::{Quota, Spent};
use crate::edge::secret::SecretError;
use crate::edge::table::StoreError;
use crate::world::{Nature, World};

/// How long a repeat of a code waits for the outcome of the first.
const WAIT_FOR_THE_FIRST: Duration = Duration::from_secs(5);
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(200);
/// How long a pair that Ring gave is tried to be saved, though the gateway waits for 30 s alone: a code that comes again then
/// finds its tokens saved.
const SAVE_WITHIN: Duration = Duration::from_secs(20);
/// With less than this left of the invocation a code is not spent any more: Ring's client may take 18 s, and the answer must be
/// saved.
const NEEDED_TO_ASK: Duration = Duration::from_secs(18 + 20);
/// How long it is tried when the pair waits safely in the rescue queue.
const SAVE_RESCUED_WITHIN: Duration = Duration::from_secs(4);
/// How long an answer waits for whose the grant is.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

/// Exchanges codes.
#[derive(Clone, Debug)]
pub struct Exchange<W: World> {
    /// Time and chance.
    pub nature: W::Nature,
    /// Where the grants go.
    pub grants: W::Grants,
    /// What seals their tokens.
    pub vault: Vault<W::Keys>,
    /// Ring.
    pub ring: W::Ring,
    /// Our id and secret there.
    pub client: W::Client,
    /// Where a pair goes that can't be saved.
    pub rescuer: Rescuer<W>,
    /// The epoch of the table: raised when it is restored from a backup.
    pub epoch: u64,
    /// How many codes that Ring refuses one source may bring.
    pub refusals: Quota<W::Counters>,
}

/// What somebody presents at the Token Exchange URL.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The code.
    pub code: AuthorizationCode,
    /// The proof that Ring's older two-way model has with it.
    pub verifier: Option<CodeVerifier>,
    /// Where it came from.
    pub source: Source,
}

/// A code that was exchanged, now or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// By this exchange, and it is known whose the grant is.
    Resolved(GrantId),
    /// By this exchange; whose the grant is Ring has not told yet.
    Unresolved(GrantId),
    /// By this exchange; the tokens are in the rescue queue, as the table is out of reach.
    Rescued(GrantId),
    /// Its first exchange saved the tokens.
    Before,
}

/// Why a code is not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Ring does not take it.
    #[error("Ring does not take this code")]
    Refused,
    /// Its first exchange has come to no end, or never will.
    #[error("the code is being exchanged, or was by a process that died")]
    Pending,
    /// Its source has brought too many codes that Ring refused.
    #[error("the source of a code has brought too many that Ring refused")]
    TooMany(#[from] Spent),
    /// There would be no time to save an answer.
    #[error("too little time is left to ask Ring")]
    Late,
    /// Ring gave no pair.
    #[error("Ring gave no pair for a code")]
    Ring(#[source] TokenError),
    /// Ring gave an access token alone, which can't be kept alive.
    #[error("Ring's answer has no refresh token")]
    NoRefreshToken,
    /// The table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is out of reach.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The client's id and secret are.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Why it is not known yet whose a grant is.
#[derive(Debug, thiserror::Error)]
enum Unresolved {
    #[error(transparent)]
    Ring(#[from] ring_partner::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Illegal(#[from] Illegal),
    #[error("Ring has not told in time")]
    TimedOut,
}

/// Where a new pair is.
enum Saved {
    Stored(Box<Grant>),
    Rescued(GrantId),
}

/// What must be in hand before a code is spent.
struct Ready {
    id: GrantId,
    credentials: Credentials,
    access_key: DataKey<AccessToken>,
    refresh_key: DataKey<RefreshToken>,
}

impl<W: World> Exchange<W> {
    /// Exchanges a code, once, however often it comes, in an invocation that is cut off at `deadline`.
    pub async fn exchange(&self, presented: &Presented, deadline: Timestamp) -> Result<Exchanged, ExchangeError> {
        let place = self.refusals.hold(presented.source.as_str(), self.nature.now()).await?;
        let exchanged = self.exchange_within(presented, deadline).await;
        match exchanged {
            Err(ExchangeError::Refused) => self.refusals.use_up(place).await,
            _ => self.refusals.give_back(place).await,
        }
        exchanged
    }

    async fn exchange_within(&self, presented: &Presented, deadline: Timestamp) -> Result<Exchanged, ExchangeError> {
        let Presented { code, verifier, .. } = presented;
        let hash = hex::encode(Sha256::digest(code.expose()));
        let mut ready = self.ready().await?;
        match self.grants.take_code(&hash, &ready.id, self.nature.now()).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return self.outcome_of_the_first(&hash).await,
            Err(error) => return Err(error.into()),
        }
        let mut refused = Vec::new();
        let answer = loop {
            if deadline.duration_since(self.nature.now()) < signed(NEEDED_TO_ASK) {
                self.kept(self.grants.give_back_code(&hash, &ready.id).await);
                return Err(ExchangeError::Late);
            }
            let asked = self.ring.exchange_code(&ready.credentials, code, verifier.as_ref());
            let error = match asked.await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            // Our client secret may have been changed since it was read. A code is not spent by what Ring refuses so.
            if let TokenError::InvalidClient = error {
                refused.push(ready.credentials.clone());
                if let Some(other) = self.client.other_than(&refused, self.nature.now()).await {
                    ready.credentials = other;
                    continue;
                }
            }
            return Err(self.not_exchanged(&hash, &ready.id, error).await);
        };
        let now = self.nature.now();
        let grant = match self.save(ready, &answer, &hash, now).await? {
            Saved::Stored(grant) => *grant,
            Saved::Rescued(id) => return Ok(Exchanged::Rescued(id)),
        };
        let id = grant.id.clone();
        // The tokens are saved: that Ring is slow to tell whose they are is no reason to fail.
        let resolved = tokio::time::timeout(RESOLVE_WITHIN, self.resolve(grant, &answer.access_token, now));
        match resolved.await.unwrap_or(Err(Unresolved::TimedOut)) {
            Ok(()) => {
                tracing::info!(grant.id = id.as_str(), "grant {id} is saved and waits to be linked");
                Ok(Exchanged::Resolved(id))
            }
            Err(error) => {
                tracing::warn!(
                    grant.id = id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "grant {id} is saved; whose it is is not known yet"
                );
                Ok(Exchanged::Unresolved(id))
            }
        }
    }

    async fn ready(&self) -> Result<Ready, ExchangeError> {
        let id = GrantId::new(self.nature.random());
        let (credentials, access_key, refresh_key) = tokio::join!(
            self.client.credentials(self.nature.now()),
            self.vault.data_key(&id),
            self.vault.data_key(&id)
        );
        Ok(Ready {
            id,
            credentials: credentials?,
            access_key: access_key?,
            refresh_key: refresh_key?,
        })
    }

    /// A code that came before: its first exchange tells the answer.
    async fn outcome_of_the_first(&self, hash: &str) -> Result<Exchanged, ExchangeError> {
        let give_up_at = self.nature.now() + signed(WAIT_FOR_THE_FIRST);
        loop {
            match self.grants.code(hash).await? {
                Some(CodeOutcome::Exchanged) => return Ok(Exchanged::Before),
                Some(CodeOutcome::Refused) => return Err(ExchangeError::Refused),
                Some(CodeOutcome::Exchanging) if self.nature.now() < give_up_at => {
                    tokio::time::sleep(LOOK_AGAIN_EVERY).await;
                }
                Some(CodeOutcome::Exchanging) | None => return Err(ExchangeError::Pending),
            }
        }
    }

    /// No tokens came. A code that Ring has not spent, as far as its answer tells, may be presented again.
    async fn not_exchanged(&self, hash: &str, id: &GrantId, error: TokenError) -> ExchangeError {
        let (kept, outcome) = match error {
            TokenError::InvalidGrant | TokenError::Rejected { .. } => {
                (self.grants.refuse_code(hash, id).await, ExchangeError::Refused)
            }
            TokenError::InvalidClient
            | TokenError::NotSent(_)
            | TokenError::Unavailable {
                status: 408 | 429 | 503,
                ..
            } => (self.grants.give_back_code(hash, id).await, ExchangeError::Ring(error)),
            // It may be spent, and the answer is lost: nobody presents it again.
            TokenError::Unavailable { .. } | TokenError::Unclear(_) => (Ok(()), ExchangeError::Ring(error)),
        };
        self.kept(kept);
        outcome
    }

    /// Whoever brings the code again is told to come later, if its outcome is not kept.
    fn kept(&self, kept: Result<(), StoreError>) {
        if let Err(error) = kept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the outcome of a code is not kept"
            );
        }
    }

    /// Saves the pair, again and again: nobody else has it.
    async fn save(
        &self,
        ready: Ready,
        answer: &TokenResponse,
        hash: &str,
        now: Timestamp,
    ) -> Result<Saved, ExchangeError> {
        let refresh_token = answer.refresh_token.as_ref().ok_or(ExchangeError::NoRefreshToken)?;
        let tokens = Tokens {
            generation: 1,
            access: ready.access_key.seal(&answer.access_token)?,
            access_expires_at: now + signed(answer.expires_in),
            refresh: ready.refresh_key.seal(refresh_token)?,
            refresh_expires_at: now + signed(REFRESH_TOKEN_LIFE),
            scope: answer.scope.clone(),
            issued_at: now,
            epoch: self.epoch,
        };
        let grant = Grant::issued(ready.id, tokens, now);
        let due = grant.due_at(now, self.nature.fraction()).unwrap_or(now);
        let mut is_rescued = false;
        let mut wait = Duration::from_millis(50);
        loop {
            let error = match self.grants.save_issued(&grant, hash, due).await {
                Ok(()) => return Ok(Saved::Stored(Box::new(grant))),
                // Nobody else has this id: it is our own earlier try whose answer was lost, or the rescued one.
                Err(StoreError::Conflict) => return Ok(Saved::Stored(Box::new(grant))),
                Err(error) => error,
            };
            tracing::warn!(error = &error as &dyn std::error::Error, "a new pair is not saved yet");
            is_rescued = is_rescued || self.rescue(&grant, hash, due).await;
            let within = if is_rescued { SAVE_RESCUED_WITHIN } else { SAVE_WITHIN };
            if self.nature.now() + signed(wait) < now + signed(within) {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            } else if is_rescued {
                return Ok(Saved::Rescued(grant.id));
            } else {
                tracing::error!(
                    alarm = "issued_pair_not_saved",
                    grant.id = grant.id.as_str(),
                    "a new pair is lost"
                );
                return Err(error.into());
            }
        }
    }

    async fn rescue(&self, grant: &Grant, code: &str, due: Timestamp) -> bool {
        let rescued = Rescued::Issued(Box::new(RescuedGrant {
            grant: grant.clone(),
            code: code.to_owned(),
            due,
        }));
        self.rescuer.keep(&rescued).await
    }

    /// Learns whose the grant is. When that fails now, `token-refresh` goes on with it.
    async fn resolve(&self, grant: Grant, token: &AccessToken, now: Timestamp) -> Result<(), Unresolved> {
        let user = self.ring.me(token).await?;
        let unclaimed = grant.resolved(user.id, now)?;
        let due = unclaimed.due_at(now, self.nature.fraction());
        self.grants.advance(&unclaimed, due, now).await?;
        Ok(())
    }
}
