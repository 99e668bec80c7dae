//! The renewal of a pair, fenced: the lease and both data keys are in hand before Ring is asked, the time left is checked
//! before sending, and Ring's answer is saved before anything else, under a condition on owner and generation. Only
//! `token-refresh` may open refresh tokens, so only it can walk this.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::Ring;
use ring_partner::oauth::{AccessToken, RefreshToken, TokenError, TokenResponse};

use super::access::{Refresh, RefreshOutcome, RefreshRequest};
use super::store::Grants;
use super::vault::{DataKey, Vault, VaultError};
use super::{EndReason, Grant, GrantId, Lease, Life, REFRESH_TOKEN_LIFE, Tokens, keep_young_at};
use crate::edge::clock::signed;
use crate::edge::secret::{Secret, SecretError};
use crate::edge::table::{StoreError, Write};
use crate::edge::{clock, key};
use crate::link::store::Links;

/// How long one renewal holds a grant. Ring's client must answer or give up well inside it.
pub const LEASE_FOR: Duration = Duration::from_secs(30);
/// With less than this left of the lease, Ring is not asked any more: there would be no time to save the answer.
const NEEDED_TO_ASK: Duration = Duration::from_secs(18);
/// How long a caller waits for somebody else's renewal to be done.
const WAIT_FOR_ANOTHER: Duration = Duration::from_secs(6);
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(150);
/// A grant whose renewal failed for now is due again after this.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The client's id and secret at Ring.
pub type OAuthSecret = Secret<ring_partner::oauth::Credentials>;

/// Renews pairs.
#[derive(Clone, Debug)]
pub struct Refresher {
    grants: Grants,
    links: Links,
    vault: Vault,
    ring: Ring,
    secret: Arc<OAuthSecret>,
}

/// Why a renewal did not come to an end. The pair is as it was, and is tried again later.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("Ring's token endpoint gave no pair")]
    Ring(#[from] TokenError),
    #[error("the lease has too little time left")]
    Late,
}

impl Refresh for Refresher {
    async fn refresh(&self, request: &RefreshRequest) -> RefreshOutcome {
        match self.renew(&request.grant, request.generation).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(
                    grant.id = request.grant.as_str(),
                    error = &error as &dyn std::error::Error,
                    "the pair of grant {} is not renewed; it is tried again",
                    request.grant,
                );
                RefreshOutcome::Unavailable
            }
        }
    }
}

impl Refresher {
    /// Renews with the client's secret `secret` at `ring`.
    #[must_use]
    pub fn new(grants: Grants, links: Links, vault: Vault, ring: Ring, secret: Arc<OAuthSecret>) -> Self {
        Self {
            grants,
            links,
            vault,
            ring,
            secret,
        }
    }

    async fn renew(&self, id: &GrantId, generation: u64) -> Result<RefreshOutcome, Undone> {
        let owner = key::random("own");
        let give_up_at = clock::now() + signed(WAIT_FOR_ANOTHER);
        loop {
            let now = clock::now();
            let Some(grant) = self.grants.get(id).await? else {
                return Ok(RefreshOutcome::Ended);
            };
            if let Life::RelinkRequired { .. } = grant.life {
                return Ok(RefreshOutcome::RelinkRequired);
            }
            let Some(tokens) = &grant.tokens else {
                return Ok(RefreshOutcome::Ended);
            };
            if tokens.generation > generation {
                return Ok(RefreshOutcome::Fresh);
            }
            let lease = Lease {
                owner: owner.clone(),
                until: now + signed(LEASE_FOR),
            };
            match self.grants.lease(id, tokens.generation, &lease, now).await {
                Ok(()) => return self.under_lease(&grant, tokens, &lease).await,
                // Somebody else is at it: their pair will do.
                Err(StoreError::Conflict) if now < give_up_at => tokio::time::sleep(LOOK_AGAIN_EVERY).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn under_lease(&self, grant: &Grant, tokens: &Tokens, lease: &Lease) -> Result<RefreshOutcome, Undone> {
        let asked = self.ask(grant, tokens, lease).await;
        match asked {
            Ok((answer, keys)) => self.save(grant, tokens, lease, answer, keys).await,
            Err(Undone::Ring(TokenError::InvalidGrant)) => self.refused(grant, tokens, lease).await,
            Err(error) => {
                if let Undone::Ring(TokenError::InvalidClient) = &error {
                    // Our credentials are wrong, for every grant alike: no grant is marked.
                    tracing::error!(alarm = "invalid_client", "Ring refuses our client id or secret");
                }
                self.give_back(grant, lease, Some(clock::now() + signed(TRY_AGAIN_AFTER)))
                    .await;
                Err(error)
            }
        }
    }

    /// Everything up to Ring's answer. Whatever is needed to save that answer is in hand before Ring is asked.
    async fn ask(
        &self,
        grant: &Grant,
        tokens: &Tokens,
        lease: &Lease,
    ) -> Result<(TokenResponse, (DataKey<AccessToken>, DataKey<RefreshToken>)), Undone> {
        let (access_key, refresh_key, refresh_token, credentials) = tokio::join!(
            self.vault.data_key::<AccessToken>(&grant.id),
            self.vault.data_key::<RefreshToken>(&grant.id),
            self.vault.open(&tokens.refresh, &grant.id),
            self.secret.get(clock::now()),
        );
        let (keys, refresh_token, credentials) = ((access_key?, refresh_key?), refresh_token?, credentials?);
        if lease.until.duration_since(clock::now()) < signed(NEEDED_TO_ASK) {
            return Err(Undone::Late);
        }
        let answer = self.ring.refresh(&credentials, &refresh_token).await?;
        Ok((answer, keys))
    }

    /// Saves Ring's answer, again and again until the lease runs out: until then nobody else may ask Ring.
    async fn save(
        &self,
        grant: &Grant,
        before: &Tokens,
        lease: &Lease,
        answer: TokenResponse,
        (access_key, refresh_key): (DataKey<AccessToken>, DataKey<RefreshToken>),
    ) -> Result<RefreshOutcome, Undone> {
        let now = clock::now();
        let (refresh, refresh_expires_at) = match &answer.refresh_token {
            Some(token) => (refresh_key.seal(token)?, now + signed(REFRESH_TOKEN_LIFE)),
            None => (before.refresh.clone(), before.refresh_expires_at),
        };
        let tokens = Tokens {
            generation: before.generation + 1,
            access: access_key.seal(&answer.access_token)?,
            access_expires_at: now + signed(answer.expires_in),
            refresh,
            refresh_expires_at,
            scope: answer.scope.or_else(|| before.scope.clone()),
            issued_at: now,
        };
        // A grant that is being resolved or claimed is due for that, and keeps its time.
        let due = matches!(grant.life, Life::Unclaimed { .. } | Life::Confirmed | Life::Linked)
            .then(|| keep_young_at(now, key::fraction()));
        let mut wait = Duration::from_millis(50);
        loop {
            match self.grants.renew(&grant.id, &lease.owner, &tokens, due).await {
                Ok(()) => {
                    tracing::info!(
                        grant.id = grant.id.as_str(),
                        token.generation = tokens.generation,
                        "a pair is renewed"
                    );
                    return Ok(RefreshOutcome::Fresh);
                }
                Err(StoreError::Unavailable(cause)) if clock::now() + signed(wait) < lease.until => {
                    tracing::warn!(
                        error = &*cause as &dyn std::error::Error,
                        "a renewed pair is not saved yet"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
                Err(StoreError::Conflict) => return self.fenced_off(&grant.id, &tokens).await,
                Err(error) => {
                    tracing::error!(
                        alarm = "renewed_pair_not_saved",
                        grant.id = grant.id.as_str(),
                        error = &error as &dyn std::error::Error,
                        "a renewed pair could not be saved"
                    );
                    return Err(error.into());
                }
            }
        }
    }

    /// The row is not as it was when it was leased: our own write whose answer was lost, or an end that came meanwhile.
    async fn fenced_off(&self, id: &GrantId, renewed: &Tokens) -> Result<RefreshOutcome, Undone> {
        let stored = self.grants.get(id).await?.and_then(|grant| grant.tokens);
        match stored {
            Some(stored) if stored.access == renewed.access => Ok(RefreshOutcome::Fresh),
            None => Ok(RefreshOutcome::Ended),
            Some(stored) => {
                tracing::error!(
                    alarm = "renewed_pair_not_saved",
                    grant.id = id.as_str(),
                    token.generation = stored.generation,
                    "a renewed pair of grant {id} came too late to be saved"
                );
                Err(StoreError::Conflict.into())
            }
        }
    }

    /// Ring refuses the token that was stored when we read it. Only if it is stored still is the grant refused.
    async fn refused(&self, grant: &Grant, tokens: &Tokens, lease: &Lease) -> Result<RefreshOutcome, Undone> {
        let now = clock::now();
        let Some(read_again) = self.grants.get(&grant.id).await? else {
            return Ok(RefreshOutcome::Ended);
        };
        if read_again
            .tokens
            .as_ref()
            .is_none_or(|stored| stored.generation != tokens.generation)
        {
            return Ok(RefreshOutcome::Fresh);
        }
        if let Ok(refused) = read_again.refused() {
            let with = self.relink_required(&refused, now).await?;
            self.grants
                .advance(&refused, refused.due_at(now, 0.0), now, with)
                .await?;
            tracing::error!(
                alarm = "relink_required",
                grant.id = grant.id.as_str(),
                "Ring refuses the refresh token of grant {}; it is {} now",
                grant.id,
                refused.life.name(),
            );
        }
        self.give_back(grant, lease, None).await;
        Ok(RefreshOutcome::RelinkRequired)
    }

    /// The link of a refused grant says so in the same moment; its user is told when it is settled.
    async fn relink_required(&self, refused: &Grant, now: Timestamp) -> Result<Vec<Write>, StoreError> {
        let Some(account) = &refused.account_id else {
            return Ok(Vec::new());
        };
        match self.links.of_account(account).await? {
            Some(link) if link.grant_id == refused.id && link.is_live() => {
                let link = link.relink_required();
                Ok(vec![self.links.write(&link, link.due_at(now, 0.0))?])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn give_back(&self, grant: &Grant, lease: &Lease, due: Option<Timestamp>) {
        if let Err(error) = self.grants.give_back(&grant.id, &lease.owner, due).await {
            // It runs out by itself.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a lease could not be given back"
            );
        }
    }

    /// A grant that nobody claimed within its retention ends here.
    pub async fn give_up(&self, grant: Grant, now: Timestamp) -> Result<(), StoreError> {
        match grant.ended(EndReason::NeverClaimed) {
            Ok(ended) => self.grants.advance(&ended, None, now, Vec::new()).await,
            Err(_) => Ok(()),
        }
    }
}
