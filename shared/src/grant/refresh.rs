//! The renewal of a pair, fenced: the lease and both data keys are in hand before Ring is asked, the time left is checked
//! before sending, and Ring's answer is saved before anything else, under a condition on owner and generation; the table
//! out of reach, it goes into the rescue queue. Only `token-refresh` may open refresh tokens, so only it can walk this.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::oauth::{AccessToken, RefreshToken, TokenError, TokenResponse};

use super::access::{Refresh, RefreshOutcome, RefreshRequest};
use super::ports::{Client as _, Due, Grants as _, Rescued, RescuedPair, Tallies, Tally, TokenEndpoint as _};
use super::rescue::{HIDDEN_FOR, RescueError, Rescuer};
use super::vault::{DataKey, Vault, VaultError};
use super::{EndReason, Grant, GrantId, Lease, Life, REFRESH_TOKEN_LIFE, RelinkReason, Tokens, keep_young_at};
use crate::edge::clock::signed;
use crate::edge::secret::SecretError;
use crate::edge::table::StoreError;
use crate::edge::telemetry;
use crate::link::Link;
use crate::link::ports::{Change, Links as _};
use crate::world::{Nature, World};

/// How long one renewal holds a grant. Ring's client must answer or give up well inside it.
pub const LEASE_FOR: Duration = Duration::from_secs(30);
/// With less than this left of the lease, or of the invocation, Ring is not asked any more: there would be no time to save
/// the answer.
const NEEDED_TO_ASK: Duration = Duration::from_secs(18);
/// How long a caller waits for somebody else's renewal to be done.
const WAIT_FOR_ANOTHER: Duration = Duration::from_secs(6);
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(150);
/// A grant whose renewal failed for now is due again after this.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// For how long a pair that was refused is not counted again.
const COUNTED_FOR: Duration = Duration::from_secs(24 * 3600);
/// A grant that Ring refuses along with too many others is due again after this.
const REFUSED_WAITS_FOR: Duration = Duration::from_secs(600);

/// Renews pairs.
#[derive(Clone, Debug)]
pub struct Refresher<W: World> {
    /// Time and chance.
    pub nature: W::Nature,
    /// The grants.
    pub grants: W::Grants,
    /// The links that they open.
    pub links: W::Links,
    /// What opens and seals their tokens.
    pub vault: Vault<W::Keys>,
    /// Ring.
    pub ring: W::Ring,
    /// Our id and secret there.
    pub client: W::Client,
    /// Where a pair goes that can't be saved.
    pub rescuer: Rescuer<W>,
    /// The epoch of the table: raised when it is restored from a backup.
    pub epoch: u64,
    /// When too many refusals at once are our fault, and not theirs.
    pub brake: Brake,
    /// When this invocation is cut off.
    pub deadline: Timestamp,
}

/// When a number of refused pairs says that it is us: wrong credentials, a restored table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// Up to so many refused in one to two days are believed, whatever their share.
    pub least: u64,
    /// The share of refused among all, in percent, that is believed beyond that.
    pub percent: u64,
}

impl Brake {
    /// Whether these refusals are too many to be the users' own: in the last hours, or, where few grants come due in an hour,
    /// in the last days.
    #[must_use]
    pub fn holds(self, tallies: Tallies) -> bool {
        self.is_too_much(tallies.hours) || self.is_too_much(tallies.days)
    }

    fn is_too_much(self, tally: Tally) -> bool {
        let [refused, renewed, percent] = [tally.refused, tally.renewed, self.percent].map(u128::from);
        tally.refused > self.least && refused * 100 > percent * (refused + renewed)
    }
}

/// What came of one renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There is a pair of a later generation now; whether this renewal made it.
    Fresh(bool),
    /// Ring refuses the stored pair, and no other is on its way. It is for [`Refresher::judge`] to say what that means.
    Refused(RefusedPair),
    /// Its user has to link again.
    RelinkRequired,
    /// The grant is over.
    Ended,
}

/// A pair that Ring refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPair {
    /// Whose.
    pub grant: GrantId,
    /// Which.
    pub generation: u64,
    /// Whether it was refused before, and is counted.
    pub is_counted: bool,
}

/// Why a renewal did not come to an end. The pair is as it was, and is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// The table is out of reach, or somebody else was there first.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is out of reach.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The client's id and secret are.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The rescue queue is, or what waits there can't be brought home.
    #[error(transparent)]
    Rescue(#[from] RescueError),
    /// Ring gave no pair.
    #[error("Ring's token endpoint gave no pair")]
    Ring(#[from] TokenError),
    /// There would be no time to save an answer.
    #[error("too little time is left to ask Ring")]
    Late,
}

/// The keys that a new pair is sealed with.
type PairKeys = (DataKey<AccessToken>, DataKey<RefreshToken>);

impl<W: World> Refresh for Refresher<W> {
    async fn refresh(&self, request: &RefreshRequest) -> RefreshOutcome {
        match self.renew(&request.grant, request.generation).await {
            Ok(Renewal::Fresh(_)) => RefreshOutcome::Fresh,
            Ok(Renewal::Refused(pair)) => {
                // It is decided with the others, in the next minute; one that is held already keeps its time.
                if !pair.is_counted {
                    self.told(self.grants.put_off(&pair.grant, self.nature.now()).await);
                }
                RefreshOutcome::Refused
            }
            Ok(Renewal::RelinkRequired) => RefreshOutcome::RelinkRequired,
            Ok(Renewal::Ended) => RefreshOutcome::Ended,
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

impl<W: World> Refresher<W> {
    /// The same refresher in an invocation that is cut off at `deadline`.
    #[must_use]
    pub fn until(&self, deadline: Timestamp) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Renews a pair, unless it is of a later generation than this already.
    pub async fn renew(&self, id: &GrantId, generation: u64) -> Result<Renewal, Undone> {
        let owner = self.nature.id("own");
        let give_up_at = self.nature.now() + signed(WAIT_FOR_ANOTHER);
        let mut looked = false;
        loop {
            let now = self.nature.now();
            let Some(grant) = self.grants.get(id).await? else {
                return Ok(Renewal::Ended);
            };
            if let Life::RelinkRequired { .. } = grant.life {
                return Ok(Renewal::RelinkRequired);
            }
            let Some(tokens) = &grant.tokens else {
                return Ok(Renewal::Ended);
            };
            if tokens.generation > generation {
                return Ok(Renewal::Fresh(false));
            }
            if tokens.epoch < self.epoch {
                return self.restored(grant).await;
            }
            // A lease that ran out is one whose holder vanished, maybe with Ring's answer on its way to the rescue queue.
            if !looked && grant.lease.as_ref().is_some_and(|lease| lease.until <= now) {
                tracing::error!(
                    alarm = "lease_ran_out",
                    grant.id = id.as_str(),
                    "a lease ran out; its holder is gone"
                );
                self.look_for_rescued().await?;
                looked = true;
                continue;
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

    /// Brings home what waits, also what somebody else had in hand at the first look.
    async fn look_for_rescued(&self) -> Result<(), RescueError> {
        self.rescuer.bring_home().await?;
        tokio::time::sleep(HIDDEN_FOR + Duration::from_secs(1)).await;
        self.rescuer.bring_home().await?;
        Ok(())
    }

    async fn under_lease(&self, grant: &Grant, tokens: &Tokens, lease: &Lease) -> Result<Renewal, Undone> {
        match self.ask(grant, tokens, lease).await {
            Ok((answer, keys)) => self.save(grant, tokens, lease, answer, keys).await,
            Err(Undone::Ring(TokenError::InvalidGrant)) => self.refused(grant, tokens, lease).await,
            Err(error) => {
                if let Undone::Ring(TokenError::InvalidClient) = &error {
                    // Our credentials are wrong, for every grant alike: no grant is marked.
                    tracing::error!(alarm = "invalid_client", "Ring refuses our client id or secret");
                }
                self.give_back(grant, lease, Some(TRY_AGAIN_AFTER)).await;
                Err(error)
            }
        }
    }

    /// Everything up to Ring's answer. Whatever is needed to save that answer is in hand before Ring is asked.
    async fn ask(&self, grant: &Grant, tokens: &Tokens, lease: &Lease) -> Result<(TokenResponse, PairKeys), Undone> {
        let (access_key, refresh_key, refresh_token, credentials) = tokio::join!(
            self.vault.data_key::<AccessToken>(&grant.id),
            self.vault.data_key::<RefreshToken>(&grant.id),
            self.vault.open(&tokens.refresh, &grant.id),
            self.client.credentials(self.nature.now()),
        );
        let (keys, refresh_token, mut credentials) = ((access_key?, refresh_key?), refresh_token?, credentials?);
        let mut refused = Vec::new();
        loop {
            let left = lease.until.min(self.deadline).duration_since(self.nature.now());
            if left < signed(NEEDED_TO_ASK) {
                return Err(Undone::Late);
            }
            let error = match self.ring.refresh(&credentials, &refresh_token).await {
                Ok(answer) => return Ok((answer, keys)),
                Err(error) => error,
            };
            // Our client secret may have been changed since it was read. A token is not spent by what Ring refuses so.
            if let TokenError::InvalidClient = error {
                refused.push(credentials);
                if let Some(other) = self.client.other_than(&refused, self.nature.now()).await {
                    credentials = other;
                    continue;
                }
            }
            return Err(error.into());
        }
    }

    /// Saves Ring's answer, again and again until the lease runs out: until then nobody else may ask Ring. At the first
    /// failure it goes into the rescue queue too, as nobody knows how long this process lives.
    async fn save(
        &self,
        grant: &Grant,
        before: &Tokens,
        lease: &Lease,
        answer: TokenResponse,
        (access_key, refresh_key): PairKeys,
    ) -> Result<Renewal, Undone> {
        let now = self.nature.now();
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
            epoch: self.epoch,
        };
        // A grant that is being resolved or claimed is due for that, and keeps its time.
        let due = matches!(grant.life, Life::Unclaimed { .. } | Life::Confirmed | Life::Linked).then(|| Due {
            at: keep_young_at(now, self.nature.fraction()),
            life_version: grant.life_version,
        });
        let pair = RescuedPair {
            grant: grant.id.clone(),
            tokens,
            due,
        };
        let tokens = &pair.tokens;
        let mut is_rescued = false;
        let mut wait = Duration::from_millis(50);
        loop {
            match self.grants.renew(&grant.id, &lease.owner, tokens, due).await {
                Ok(()) => {
                    if telemetry::tells_of(grant.id.as_str()) {
                        tracing::info!(
                            grant.id = grant.id.as_str(),
                            token.generation = tokens.generation,
                            "a pair is renewed"
                        );
                    }
                    return Ok(Renewal::Fresh(true));
                }
                Err(StoreError::Conflict) => return self.fenced_off(&pair).await,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a renewed pair is not saved yet"
                    );
                    is_rescued = is_rescued || self.rescue(&pair).await;
                    if self.nature.now() + signed(wait) >= lease.until.min(self.deadline) {
                        let alarm = if is_rescued {
                            "renewed_pair_rescued"
                        } else {
                            "renewed_pair_not_saved"
                        };
                        tracing::error!(
                            alarm,
                            grant.id = grant.id.as_str(),
                            error = &error as &dyn std::error::Error,
                            "the table did not take a renewed pair"
                        );
                        return Err(error.into());
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    async fn rescue(&self, pair: &RescuedPair) -> bool {
        self.rescuer.keep(&Rescued::Renewed(Box::new(pair.clone()))).await
    }

    /// The row is not as it was when it was leased: our own write whose answer was lost, or the rescued pair, or an end that
    /// came meanwhile.
    async fn fenced_off(&self, renewed: &RescuedPair) -> Result<Renewal, Undone> {
        let id = &renewed.grant;
        let stored = self.grants.get(id).await?.and_then(|grant| grant.tokens);
        match stored {
            None => Ok(Renewal::Ended),
            Some(stored) if stored.access == renewed.tokens.access => Ok(Renewal::Fresh(true)),
            Some(stored) => {
                // Whoever has the lease now: if the stored pair is still the one that this succeeds, it goes home.
                let alarm = match stored.generation < renewed.tokens.generation && self.rescue(renewed).await {
                    true => "renewed_pair_rescued",
                    false => "renewed_pair_not_saved",
                };
                tracing::error!(
                    alarm,
                    grant.id = id.as_str(),
                    token.generation = stored.generation,
                    "a renewed pair of grant {id} came too late to be saved"
                );
                Err(StoreError::Conflict.into())
            }
        }
    }

    /// Ring refuses the token that was stored when we read it. Only if it is stored still, and none waits in the rescue
    /// queue to succeed it, is the pair refused.
    async fn refused(&self, grant: &Grant, tokens: &Tokens, lease: &Lease) -> Result<Renewal, Undone> {
        self.rescuer.bring_home().await?;
        let stored = self.grants.get(&grant.id).await?;
        let stored = stored.and_then(|grant| Some((grant.tokens?, grant.refused_at)));
        match stored {
            None => Ok(Renewal::Ended),
            Some((stored, _)) if stored.generation != tokens.generation => Ok(Renewal::Fresh(false)),
            Some((_, refused_at)) => {
                self.give_back(grant, lease, None).await;
                Ok(Renewal::Refused(RefusedPair {
                    grant: grant.id.clone(),
                    generation: tokens.generation,
                    is_counted: self.is_counted(refused_at),
                }))
            }
        }
    }

    /// Whether a pair that was refused then is counted still: one that is tried again and again is one refusal a day.
    pub fn is_counted(&self, refused_at: Option<Timestamp>) -> bool {
        refused_at.is_some_and(|at| self.nature.now().duration_since(at) < signed(COUNTED_FOR))
    }

    /// Decides what becomes of the pairs that Ring refused in one go, in which so many others were renewed: their users have
    /// to link again, unless they are too many to be the users' own doing. Then nobody is marked, and somebody is called.
    /// Returns how many are marked.
    pub async fn judge(&self, refused: Vec<RefusedPair>, renewed: u64) -> Result<usize, StoreError> {
        let now = self.nature.now();
        let add = Tally {
            renewed,
            refused: refused.iter().filter(|pair| !pair.is_counted).count() as u64,
        };
        if add == Tally::default() && refused.is_empty() {
            return Ok(0);
        }
        let tallies = self.grants.tally(add, now).await?;
        if refused.is_empty() {
            return Ok(0);
        }
        if self.brake.holds(tallies) {
            tracing::error!(
                alarm = "too_many_refused",
                refused_count = tallies.days.refused,
                renewed_count = tallies.days.renewed,
                "Ring refuses too many pairs to believe it: no grant is marked, all tokens are kept"
            );
            for pair in refused {
                let due = now + signed(REFUSED_WAITS_FOR);
                self.told(match pair.is_counted {
                    true => self.grants.put_off(&pair.grant, due).await,
                    false => self.grants.hold(&pair.grant, due, now).await,
                });
            }
            return Ok(0);
        }
        let mut marked = 0;
        for pair in refused {
            let Some(grant) = self.grants.get(&pair.grant).await? else {
                continue;
            };
            let is_stored = grant
                .tokens
                .as_ref()
                .is_some_and(|stored| stored.generation == pair.generation);
            if is_stored && self.mark(grant, RelinkReason::RefreshTokenRefused).await? {
                marked += 1;
            }
        }
        Ok(marked)
    }

    /// A pair of an earlier epoch came out of a backup, and may be spent: Ring is not shown it, as it could take that for
    /// theft and revoke what its user has since.
    async fn restored(&self, grant: Grant) -> Result<Renewal, Undone> {
        self.mark(grant, RelinkReason::Restored).await?;
        Ok(Renewal::RelinkRequired)
    }

    /// The user of this grant has to link again; its link says so in the same moment, and they are told when it is settled.
    /// `false`: the grant is not as it was.
    async fn mark(&self, grant: Grant, why: RelinkReason) -> Result<bool, StoreError> {
        let now = self.nature.now();
        let is_claiming = matches!(grant.life, Life::Claiming { .. });
        let Ok(refused) = grant.refused(why) else {
            return Ok(false);
        };
        let link = self.link_of(&refused).await?;
        let stands_on_it = link.as_ref().is_some_and(|link| link.grant_id == refused.id);
        let (due, changed) = match link {
            Some(link) if stands_on_it => (None, Some(link.relink_required())),
            // Nobody has it: its tokens go with its retention.
            Some(link) if is_claiming => (Some(refused.given_up_at()), link.claimed_again()),
            _ => (Some(refused.given_up_at()), None),
        };
        let mut changes = vec![Change::Grant(refused.clone(), due)];
        changes.extend(changed.map(|link| {
            let due = link.due_at(now, 0.0);
            Change::Link(link, due)
        }));
        match self.links.commit(changes, now).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Ok(false),
            Err(error) => return Err(error),
        }
        tracing::error!(
            alarm = "relink_required",
            grant.id = refused.id.as_str(),
            why = ?why,
            "the user of grant {} has to link again",
            refused.id,
        );
        Ok(true)
    }

    /// The live link of a grant's account, whichever grant it stands on.
    async fn link_of(&self, grant: &Grant) -> Result<Option<Link>, StoreError> {
        let Some(account) = &grant.account_id else {
            return Ok(None);
        };
        let link = self.links.of_account(account).await?;
        Ok(link.filter(Link::is_live))
    }

    /// A refused grant that was not put off is tried when it comes due by itself.
    fn told(&self, put_off: Result<(), StoreError>) {
        if let Err(error) = put_off {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a refused grant is not put off"
            );
        }
    }

    async fn give_back(&self, grant: &Grant, lease: &Lease, wait: Option<Duration>) {
        let due = wait.map(|wait| Due {
            at: self.nature.now() + signed(wait),
            life_version: grant.life_version,
        });
        if let Err(error) = self.grants.give_back(&grant.id, &lease.owner, due).await {
            // It runs out by itself.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a lease could not be given back"
            );
        }
    }

    /// A grant that nobody claimed within its retention ends here; one that a link stands on does not.
    pub async fn give_up(&self, grant: Grant) -> Result<(), StoreError> {
        let link = self.link_of(&grant).await?;
        if link.is_some_and(|link| link.grant_id == grant.id) {
            return Ok(());
        }
        match grant.ended(EndReason::NeverClaimed) {
            Ok(ended) => self.grants.advance(&ended, None, self.nature.now()).await,
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_refusals_are_believed_and_too_large_a_share_of_many_is_not() {
        let brake = Brake { least: 5, percent: 20 };
        let nothing = Tally::default();
        let holds = |refused, renewed| {
            let tally = Tally { renewed, refused };
            let of_hours = Tallies {
                hours: tally,
                days: nothing,
            };
            let of_days = Tallies {
                hours: nothing,
                days: tally,
            };
            assert_eq!(brake.holds(of_hours), brake.holds(of_days));
            brake.holds(of_hours)
        };
        assert!(!holds(1, 0) && !holds(5, 0));
        assert!(holds(6, 0) && holds(6, 23));
        assert!(!holds(6, 24), "a fifth");
        assert!(!holds(100, 10_000) && holds(u64::MAX, 0));
    }
}
