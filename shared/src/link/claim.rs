//! From a nonce to a link: match it over the unclaimed grants, claim the one it fits, have Ring take it, and save the link
//! together with the grant's step. Ring: Nonce Validation and Account Linking.

use std::time::Duration;

use futures_util::future::join_all;
use ring_partner::nonce::{LinkTime, Matcher, Nonce, Staleness};
use ring_partner::signature::SigningKey;
use ring_partner::users::AccountId;

use super::ports::{Change, Integrations as _, Links as _, UsedNonce};
use super::{CompleteLink, Confirmed, Link, LinkStatus};
use crate::audit::Deed;
use crate::edge::clock::signed;
use crate::edge::table::StoreError;
use crate::grant::access::{Access, AccessError, CallError, Refresh};
use crate::grant::ports::{Grants as _, TokenEndpoint as _};
use crate::grant::vault::{Vault, VaultError};
use crate::grant::{CLAIM_FOR, Claim, EndReason, Grant, GrantId, Life, RESOLVE_WAITS};
use crate::world::{Nature, World};

/// More unclaimed grants than this are somebody's to look at: each nonce is matched over all of them.
const MANY_UNCLAIMED: usize = 10_000;
/// The most grants whose owner is not known yet that one attempt asks Ring about, and how long it waits for that.
const MOST_TO_RESOLVE: usize = 8;
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);
/// A pair that was renewed and whose owner Ring still does not tell is not renewed at each try, but only when it is older.
const RENEW_TO_RESOLVE_AFTER: Duration = Duration::from_secs(3600);

/// Who wants to link, and with what.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The signed-in user.
    pub user_id: String,
    /// What Ring's user will be shown of them.
    pub account_identifier: Option<String>,
    /// The nonce.
    pub nonce: Nonce,
    /// The time that came with it.
    pub time: LinkTime,
}

/// What a nonce fits.
#[derive(Clone, Debug)]
pub enum Match {
    /// An unclaimed grant, of this account.
    Waiting(GrantId, AccountId),
    /// A link that this user has already.
    Linked(Box<Link>),
}

/// A link, and whether this attempt made it.
#[derive(Clone, Debug)]
pub enum Linked {
    /// This attempt made it.
    Now(Link),
    /// It was there before.
    Before(Link),
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// No grant waits for this nonce: its token may be on its way.
    #[error("no grant waits for this nonce")]
    NotFound,
    /// The nonce is too old, or Ring refuses it.
    #[error("the link request has expired")]
    Expired,
    /// Its time lies ahead of ours.
    #[error("the link request's time lies ahead")]
    Ahead,
    /// Another user has linked this account, or is linking it now.
    #[error("the Ring account is another user's")]
    Taken(AccountId),
    /// An earlier link of the account has ended, and nobody was told yet: that is to be settled first.
    #[error("the account's earlier link is not settled yet")]
    Unsettled(Box<Link>),
    /// Ring took the nonce or may have: it is looked into, and this user may ask again.
    #[error("Ring's answer is not known yet")]
    Unclear,
    /// Ring is out of reach.
    #[error("Ring is out of reach")]
    Ring(#[source] CallError),
    /// The table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is out of reach.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Makes links.
#[derive(Clone, Debug)]
pub struct Claims<W: World, R> {
    /// Time and chance.
    pub nature: W::Nature,
    /// The grants that wait.
    pub grants: W::Grants,
    /// The links.
    pub links: W::Links,
    /// What seals nonces.
    pub vault: Vault<W::Keys>,
    /// Ring.
    pub ring: W::Ring,
    /// The access tokens to ask it with.
    pub access: Access<W, R>,
    /// When Ring is told that a link is complete.
    pub complete: CompleteLink,
    /// How far ahead of our clock a link's time may lie (Ring's says: not at all).
    pub leeway: Duration,
}

impl<W: World, R: Refresh> Claims<W, R> {
    /// What this nonce fits: a link that it made before, an unclaimed grant (the newest first), a link that this user has.
    /// Claims nothing. Where it fits nothing, grants whose owner is not known yet are looked into.
    pub async fn matching(
        &self,
        user_id: &str,
        nonce: &Nonce,
        time: &LinkTime,
        keys: &[SigningKey],
    ) -> Result<Match, ClaimError> {
        match self.match_once(user_id, nonce, time, keys).await {
            Err(ClaimError::NotFound) if self.resolve_some().await? => {
                self.match_once(user_id, nonce, time, keys).await
            }
            found => found,
        }
    }

    async fn match_once(
        &self,
        user_id: &str,
        nonce: &Nonce,
        time: &LinkTime,
        keys: &[SigningKey],
    ) -> Result<Match, ClaimError> {
        if let Some(used) = self.links.used(nonce).await? {
            if used.user_id != user_id {
                return Err(ClaimError::Taken(used.account_id));
            }
            if let Some(link) = self.links.of_account(&used.account_id).await?
                && link.is_live()
                && link.user_id == user_id
            {
                return Ok(Match::Linked(Box::new(link)));
            }
        }
        self.fresh(time)?;
        let matchers: Vec<_> = keys.iter().map(|key| Matcher::new(key, time, nonce)).collect();
        let fits = |account: &AccountId| matchers.iter().any(|matcher| matcher.matches(account));
        let (unclaimed, own) = tokio::try_join!(self.grants.unclaimed(), self.links.of_user(user_id))?;
        if unclaimed.len() > MANY_UNCLAIMED {
            tracing::error!(
                alarm = "many_unclaimed",
                unclaimed_count = unclaimed.len(),
                "so many grants wait to be claimed that matching a nonce takes long"
            );
        }
        if let Some(waiting) = unclaimed.into_iter().find(|waiting| fits(&waiting.account_id)) {
            return Ok(Match::Waiting(waiting.grant_id, waiting.account_id));
        }
        match own
            .into_iter()
            .find(|link| fits(&link.account_id) && link.status != LinkStatus::RelinkRequired)
        {
            Some(link) => Ok(Match::Linked(Box::new(link))),
            None => Err(ClaimError::NotFound),
        }
    }

    /// Asks Ring whose the newest grants are that it has not told of yet, side by side; whether it is worth to match again.
    async fn resolve_some(&self) -> Result<bool, StoreError> {
        let newest = self.grants.resolving(MOST_TO_RESOLVE).await?;
        let asked = newest
            .iter()
            .map(async |id| self.resolve(id).await.is_ok_and(|resolved| resolved));
        match tokio::time::timeout(RESOLVE_WITHIN, join_all(asked)).await {
            Ok(resolved) => Ok(resolved.contains(&true)),
            // Some may be known by now.
            Err(_) => Ok(true),
        }
    }

    /// Asks Ring whose a grant is, unless that is known; whether it is known now by this.
    pub async fn resolve(&self, id: &GrantId) -> Result<bool, ClaimError> {
        let now = self.nature.now();
        let Some(grant) = self.grants.get(id).await? else {
            return Ok(false);
        };
        let Life::Resolving { attempts } = grant.life else {
            return Ok(false);
        };
        let at_once = (attempts as usize) < RESOLVE_WAITS.len();
        let renew_after = if at_once {
            Duration::ZERO
        } else {
            RENEW_TO_RESOLVE_AFTER
        };
        let me = |token| async move { self.ring.me(&token).await };
        let asked = self.access.call_renewing(id, now, renew_after, me).await;
        let (next, outcome) = match asked {
            Ok(user) => (grant.resolved(user.id, now), Ok(true)),
            Err(error) => (grant.still_resolving(), Err(ClaimError::Ring(error))),
        };
        if let Ok(next) = next {
            let due = next.due_at(now, self.nature.fraction());
            self.grants.advance(&next, due, now).await?;
        }
        outcome
    }

    /// Links the account that the nonce fits. When this returns a link, it is saved; what is still to be done stands in
    /// it.
    pub async fn link(&self, attempt: &Attempt, keys: &[SigningKey]) -> Result<Linked, ClaimError> {
        // Each grant that Ring no longer knows is ended, so this comes to an end; the bound is for a table that lies.
        for _ in 0..8 {
            let (grant_id, account_id) = match self
                .matching(&attempt.user_id, &attempt.nonce, &attempt.time, keys)
                .await?
            {
                Match::Linked(link) => return Ok(Linked::Before(*link)),
                Match::Waiting(grant_id, account_id) => (grant_id, account_id),
            };
            let existing = self.links.of_account(&account_id).await?;
            match &existing {
                Some(link) if !link.is_live() => return Err(ClaimError::Unsettled(Box::new(link.clone()))),
                Some(link) if link.user_id != attempt.user_id => return Err(ClaimError::Taken(account_id)),
                _ => {}
            }
            let Some(grant) = self.grants.get(&grant_id).await? else {
                continue;
            };
            if let Some(link) = &existing
                && self.is_outdated(&grant, link).await?
            {
                // Ring may be taking the nonce of whoever is claiming it now: it gives way when their time is up.
                if grant.is_claimed_at(self.nature.now()) {
                    return Ok(Linked::Before(link.clone()));
                }
                self.give_way(grant, link, true).await?;
                continue;
            }
            let Some((grant, again)) = self.claim(grant, &account_id, attempt).await? else {
                continue;
            };
            match self.confirm(grant, attempt, existing, again).await? {
                Some(link) => return Ok(Linked::Now(link)),
                None => continue,
            }
        }
        Err(ClaimError::NotFound)
    }

    /// Takes the grant for this user, and says whether an attempt before this one was left half-way. `None`: it is not to
    /// be had any more; match again.
    async fn claim(
        &self,
        grant: Grant,
        account: &AccountId,
        attempt: &Attempt,
    ) -> Result<Option<(Grant, bool)>, ClaimError> {
        let now = self.nature.now();
        let sealed = self.vault.data_key::<Nonce>(&grant.id).await?.seal(&attempt.nonce)?;
        let claim = Claim {
            user_id: attempt.user_id.clone(),
            account_identifier: attempt.account_identifier.clone(),
            nonce: sealed,
            time: attempt.time.raw().to_owned(),
            until: now + signed(CLAIM_FOR),
        };
        let claiming = match (&grant.life, grant.clone().claimed(claim, now)) {
            (_, Ok(claiming)) => claiming,
            (Life::Claiming { claim }, Err(_)) if claim.user_id == attempt.user_id => return Err(ClaimError::Unclear),
            (Life::Claiming { .. }, Err(_)) => return Err(ClaimError::Taken(account.clone())),
            (_, Err(_)) => return Ok(None),
        };
        match self.grants.advance(&claiming, claiming.due_at(now, 0.0), now).await {
            Ok(()) => Ok(Some((claiming, matches!(grant.life, Life::Claiming { .. })))),
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Has Ring take the nonce, and saves the link. `None`: Ring no longer knows this grant; match again.
    async fn confirm(
        &self,
        grant: Grant,
        attempt: &Attempt,
        existing: Option<Link>,
        again: bool,
    ) -> Result<Option<Link>, ClaimError> {
        // An attempt that was left half-way may have gone well at Ring, which may refuse the same nonce then.
        if again {
            match self.probe(&grant, attempt).await {
                Probe::Taken => return Ok(Some(self.save(grant, attempt, existing).await?)),
                Probe::NotTaken => {}
                Probe::NotToBeHad => return Ok(None),
                Probe::Unknown(error) => return Err(ClaimError::Ring(error)),
            }
        }
        // Sign-in and claim took their time: look once more, just before Ring does.
        if let Err(stale) = self.fresh(&attempt.time) {
            self.release(grant).await?;
            return Err(stale);
        }
        let identifier = attempt.account_identifier.as_deref();
        let answer = self.access.call(&grant.id, self.nature.now(), |token| async move {
            self.ring.confirm_link(&token, identifier, &attempt.nonce).await
        });
        match answer.await {
            Ok(_) => Ok(Some(self.save(grant, attempt, existing).await?)),
            Err(error) => match after_post(&error) {
                AfterPost::Refused => {
                    self.release(grant).await?;
                    Err(ClaimError::Expired)
                }
                AfterPost::Gone => {
                    self.end(grant, EndReason::RemovedAtRing).await?;
                    Ok(None)
                }
                AfterPost::NotToBeHad => Ok(None),
                AfterPost::Unclear if matches!(self.probe(&grant, attempt).await, Probe::Taken) => {
                    Ok(Some(self.save(grant, attempt, existing).await?))
                }
                // The claim stays: `token-refresh` looks again when its time is up, or this user does.
                AfterPost::Unclear => {
                    tracing::warn!(
                        grant.id = grant.id.as_str(),
                        error = &error as &dyn std::error::Error,
                        "it is not known whether Ring took the nonce"
                    );
                    Err(ClaimError::Unclear)
                }
                AfterPost::NotDone => {
                    self.release(grant).await?;
                    Err(ClaimError::Ring(error))
                }
            },
        }
    }

    /// Whether Ring has taken the nonce: then it takes a PATCH, and shows devices (Ring: App Integration, Side Effects).
    async fn probe(&self, grant: &Grant, attempt: &Attempt) -> Probe {
        let identifier = attempt.account_identifier.as_deref();
        let probe = self
            .access
            .call(&grant.id, self.nature.now(), |token| async move {
                // A PATCH has to change something: without an identifier the listing alone tells.
                if identifier.is_some() {
                    self.ring.update_integration(&token, identifier, None).await?;
                }
                self.ring.devices(&token).await
            })
            .await;
        match probe {
            Ok(_) => Probe::Taken,
            Err(CallError::Access(AccessError::Ended | AccessError::RelinkRequired)) => Probe::NotToBeHad,
            Err(CallError::Ring(error))
                if matches!(error.answer().map(|answer| answer.status), Some(400 | 403 | 404)) =>
            {
                Probe::NotTaken
            }
            // That Ring could not be asked says nothing about what it did before.
            Err(error) => Probe::Unknown(error),
        }
    }

    /// Saves the link, the grant's step, the used nonce, the entry of the audit trail, and the end of a grant that this one
    /// replaces: all or nothing. Ring has taken the nonce: what is not saved now is resumed when the claim's time is up.
    /// `existing` is a link of the same user.
    async fn save(&self, grant: Grant, attempt: &Attempt, existing: Option<Link>) -> Result<Link, ClaimError> {
        let now = self.nature.now();
        let account_id = grant.account_id.clone().ok_or(ClaimError::NotFound)?;
        let confirmed = Confirmed {
            user_id: attempt.user_id.clone(),
            account_id: account_id.clone(),
            grant_id: grant.id.clone(),
            account_identifier: attempt.account_identifier.clone(),
        };
        let link = match &existing {
            Some(old) => old.relinked(confirmed, self.complete, now),
            None => Link::confirmed(self.nature.id("lnk"), confirmed, self.complete, now),
        };
        let confirmed = grant.confirmed().map_err(|_| StoreError::Conflict)?;
        let due = confirmed.due_at(now, self.nature.fraction());
        let link_due = link.due_at(now, 0.0);
        let used = UsedNonce {
            user_id: attempt.user_id.clone(),
            account_id,
        };
        let mut changes = vec![
            Change::Grant(confirmed, due),
            match &existing {
                Some(_) => Change::Link(link.clone(), link_due),
                None => Change::NewLink(link.clone(), link_due),
            },
            Change::Give(link.clone()),
            Change::Use(attempt.nonce.clone(), used),
            Change::Audit(link.audit_entry(Deed::Linked, now)),
        ];
        if let Some(old) = existing.filter(|old| old.grant_id != link.grant_id)
            && let Some(replaced) = self.grants.get(&old.grant_id).await?
            && let Ok(ended) = replaced.ended(EndReason::Replaced)
        {
            // It works until now.
            changes.push(Change::Grant(ended, None));
        }
        self.links.commit(changes, now).await?;
        Ok(link)
    }

    async fn release(&self, grant: Grant) -> Result<(), StoreError> {
        let now = self.nature.now();
        let Ok(released) = grant.released(now) else {
            return Ok(());
        };
        let due = released.due_at(now, self.nature.fraction());
        self.grants.advance(&released, due, now).await
    }

    /// A grant is over, unless somebody else takes a step with it in this moment.
    async fn end(&self, grant: Grant, why: EndReason) -> Result<(), StoreError> {
        let Ok(ended) = grant.ended(why) else {
            return Ok(());
        };
        match self.grants.advance(&ended, None, self.nature.now()).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A grant that must not take the place of the one that the account's link stands on: it is over if it is the older one,
    /// or else waits again.
    async fn give_way(&self, grant: Grant, link: &Link, is_outdated: bool) -> Result<(), StoreError> {
        let now = self.nature.now();
        let is_claiming = matches!(grant.life, Life::Claiming { .. });
        let next = match is_outdated {
            true => grant.ended(EndReason::Replaced),
            false => grant.released(now),
        };
        let Ok(next) = next else {
            return Ok(());
        };
        let due = next.due_at(now, self.nature.fraction());
        let mut changes = vec![Change::Grant(next, due)];
        if is_claiming && let Some(link) = link.clone().claimed_again() {
            let due = link.due_at(now, 0.0);
            changes.push(Change::Link(link, due));
        }
        match self.links.commit(changes, now).await {
            // Somebody goes on with one of them: what is left is looked at again.
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the account's link stands on a grant that Ring issued after this one: this one must not take its place.
    async fn is_outdated(&self, grant: &Grant, link: &Link) -> Result<bool, StoreError> {
        if !link.is_live() || link.grant_id == grant.id {
            return Ok(false);
        }
        let standing = self.grants.get(&link.grant_id).await?;
        Ok(standing.is_some_and(|standing| {
            matches!(standing.life, Life::Confirmed | Life::Linked) && standing.issued_at > grant.issued_at
        }))
    }

    /// Ring's window: 0 to 600 s, both ends in (Ring: Nonce Technical Reference).
    fn fresh(&self, time: &LinkTime) -> Result<(), ClaimError> {
        let now = self.nature.now();
        match time.check(now, self.leeway) {
            Ok(()) => {
                if time.check(now, Duration::ZERO).is_err() {
                    tracing::warn!(
                        metric = "link_time_ahead",
                        "a link's time lies ahead of now, within the leeway"
                    );
                }
                Ok(())
            }
            Err(Staleness::Expired) => Err(ClaimError::Expired),
            Err(Staleness::Future) => Err(ClaimError::Ahead),
        }
    }

    /// A claim whose time is up: goes on where it stopped, with what it kept. What can't be saved any more is released.
    pub async fn resume(&self, grant: Grant) -> Result<Option<Link>, ClaimError> {
        let now = self.nature.now();
        let Life::Claiming { claim } = grant.life.clone() else {
            return Ok(None);
        };
        let (Ok(time), Some(account_id)) = (LinkTime::parse(&claim.time), grant.account_id.clone()) else {
            self.release(grant).await?;
            return Ok(None);
        };
        let attempt = Attempt {
            user_id: claim.user_id.clone(),
            account_identifier: claim.account_identifier.clone(),
            nonce: self.vault.open(&claim.nonce, &grant.id).await?,
            time,
        };
        let existing = self.links.of_account(&account_id).await?;
        // Others may have gone on meanwhile: what they have now is not taken from them.
        match &existing {
            Some(link) if !link.is_live() => return Err(ClaimError::Unsettled(Box::new(link.clone()))),
            Some(link) => {
                let is_outdated = self.is_outdated(&grant, link).await?;
                if is_outdated || link.user_id != attempt.user_id {
                    self.give_way(grant, link, is_outdated).await?;
                    return Ok(None);
                }
            }
            None => {}
        }
        let renewed = Claim {
            until: now + signed(CLAIM_FOR),
            ..claim
        };
        let Ok(claiming) = grant.claimed(renewed, now) else {
            return Ok(None);
        };
        self.grants.advance(&claiming, claiming.due_at(now, 0.0), now).await?;
        match self.confirm(claiming, &attempt, existing, true).await {
            Err(ClaimError::Expired) => Ok(None),
            other => other,
        }
    }
}

/// Whether Ring has taken a nonce whose answer nobody has.
enum Probe {
    /// It has.
    Taken,
    /// It has not.
    NotTaken,
    /// There is no token to ask with any more.
    NotToBeHad,
    /// Ring could not be asked.
    Unknown(CallError),
}

/// What a POST that was not answered with 200 means for its claim.
enum AfterPost {
    /// Ring refuses the nonce: nothing changed there.
    Refused,
    /// Ring no longer knows the integration.
    Gone,
    /// There is no token to ask with any more.
    NotToBeHad,
    /// Ring may have taken it.
    Unclear,
    /// Ring surely has not taken it.
    NotDone,
}

fn after_post(error: &CallError) -> AfterPost {
    let error = match error {
        CallError::Access(AccessError::Ended | AccessError::RelinkRequired) => return AfterPost::NotToBeHad,
        CallError::Access(_) => return AfterPost::NotDone,
        CallError::Ring(error) => error,
    };
    match error.answer().map(|answer| answer.status) {
        Some(400) => AfterPost::Refused,
        Some(404) => AfterPost::Gone,
        Some(500..) => AfterPost::Unclear,
        Some(_) => AfterPost::NotDone,
        None if matches!(error, ring_partner::Error::NotSent(_)) => AfterPost::NotDone,
        None => AfterPost::Unclear,
    }
}
