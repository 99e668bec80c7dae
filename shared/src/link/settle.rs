//! Does what is to be done about a link, one thing after the other, and keeps after each that it is done. Whoever finds
//! the link later, after a crash too, goes on from there.

use ring_partner::error::{Decision, Endpoint};
use ring_partner::integrations::IntegrationStatus;

use super::ports::{Change, Effects as _, Integrations as _, Links as _};
use super::{Link, LinkStatus, Todo};
use crate::audit::Deed;
use crate::edge::bus::BusError;
use crate::edge::queue::QueueError;
use crate::edge::table::StoreError;
use crate::grant::access::{Access, AccessError, CallError, Refresh};
use crate::grant::ports::Grants as _;
use crate::grant::{EndReason, Grant};
use crate::world::{Nature, World};

/// Why something could not be done now. It stands in the link still, and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Ring did not do it, or there is no token to ask it with.
    #[error(transparent)]
    Ring(#[from] CallError),
    /// The table is out of reach, or somebody else is at this link.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus is out of reach.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The queue is out of reach.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// How often a link is read anew that somebody else changed.
const KEEP_TRIES: usize = 3;

/// Whether a user has set up everything with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetUp {
    /// They have.
    Completed,
    /// They still have something to do.
    Awaiting,
}

/// Settles links.
#[derive(Clone, Debug)]
pub struct Settler<W: World, R> {
    /// Time and chance.
    pub nature: W::Nature,
    /// The grants that open them.
    pub grants: W::Grants,
    /// The links.
    pub links: W::Links,
    /// What follows from them.
    pub effects: W::Effects,
    /// Ring.
    pub ring: W::Ring,
    /// The access tokens to ask it with.
    pub access: Access<W, R>,
}

impl<W: World, R: Refresh> Settler<W, R> {
    /// Does everything that is to be done, and returns the link as it is kept then. On an error the link is as it was
    /// after the last thing that was done.
    pub async fn settle(&self, mut link: Link) -> Result<Link, SettleError> {
        while let Some(todo) = link.todo.first().copied() {
            match self.one(&link, todo).await {
                Ok(()) => {
                    link = link.done(todo, self.nature.now());
                    self.keep(&link, todo).await?;
                }
                Err(SettleError::Ring(error)) if is_over(&error) => {
                    link = self.removed_at_ring(link).await?;
                }
                Err(error) => return Err(error),
            }
        }
        if link.status == LinkStatus::Unlinked {
            self.links.forget(&link).await?;
        }
        Ok(link)
    }

    async fn one(&self, link: &Link, todo: Todo) -> Result<(), SettleError> {
        let account = &link.account_id;
        match todo {
            Todo::Complete => Ok(self.complete(link).await?),
            Todo::ListDevices => {
                let asked_at = self.nature.now();
                let listed = self
                    .access
                    .call(&link.grant_id, asked_at, |token| async move {
                        self.ring.devices(&token).await
                    })
                    .await?;
                self.effects.keep_listing(account, listed, asked_at).await
            }
            Todo::ReleaseParked => self.effects.release_parked(account).await,
            Todo::AnnounceLinked => self.announce(link, "account_linked").await,
            Todo::AnnounceRelinkRequired => self.announce(link, "account_relink_required").await,
            Todo::AnnounceUnlinked => self.announce(link, "account_unlinked").await,
            Todo::ForgetDevices => self.effects.forget_devices(account).await,
        }
    }

    async fn complete(&self, link: &Link) -> Result<(), CallError> {
        self.tell_ring(link, link.account_identifier.as_deref(), &IntegrationStatus::Completed)
            .await
    }

    /// PATCH to this status. Ring may answer 400 where that is the status already: then a PATCH of the identifier alone tells
    /// it, and without one a listing tells of a completed integration that it is open to us.
    async fn tell_ring(
        &self,
        link: &Link,
        identifier: Option<&str>,
        wanted: &IntegrationStatus,
    ) -> Result<(), CallError> {
        let patch = |token| async move {
            let Err(error) = self
                .ring
                .update_integration(&token, identifier, Some(wanted.clone()))
                .await
            else {
                return Ok(());
            };
            if error.answer().is_none_or(|answer| answer.status != 400) {
                return Err(error);
            }
            let is_so = match identifier {
                Some(_) => self.ring.update_integration(&token, identifier, None).await?.status == *wanted,
                None if *wanted == IntegrationStatus::Completed => self.ring.devices(&token).await.is_ok(),
                None => false,
            };
            if is_so { Ok(()) } else { Err(error) }
        };
        self.access.call(&link.grant_id, self.nature.now(), patch).await
    }

    /// Completes a link, or has it wait for its user again, with what Ring's user is to be shown; at Ring first.
    pub async fn set_status(
        &self,
        mut link: Link,
        status: SetUp,
        identifier: Option<String>,
    ) -> Result<Link, SettleError> {
        let (at_ring, with_us) = match status {
            SetUp::Completed => (IntegrationStatus::Completed, LinkStatus::Completed),
            SetUp::Awaiting => (IntegrationStatus::Awaiting, LinkStatus::Awaiting),
        };
        self.tell_ring(&link, identifier.as_deref(), &at_ring).await?;
        // Ring knows: somebody who settles the link in this moment is no reason not to keep it.
        for _ in 0..KEEP_TRIES {
            let changed = link.clone().set(with_us, identifier.clone());
            let kept = match status {
                SetUp::Completed => self.completed(&changed).await,
                SetUp::Awaiting => self.keep_changed(&changed).await,
            };
            match kept {
                Ok(()) => return Ok(changed),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
            let stands = self.links.of_account(&link.account_id).await?;
            link = stands
                .filter(|stands| stands.id == link.id && stands.is_live())
                .ok_or(StoreError::Conflict)?;
        }
        Err(StoreError::Conflict.into())
    }

    async fn announce(&self, link: &Link, what: &str) -> Result<(), SettleError> {
        self.effects.announce(&link.announcement(what, self.nature.now())).await
    }

    /// Keeps a link of which one thing more is done.
    async fn keep(&self, link: &Link, done: Todo) -> Result<(), StoreError> {
        match done {
            Todo::Complete => self.completed(link).await,
            _ => self.keep_changed(link).await,
        }
    }

    /// Keeps a changed link, from the version before it.
    pub async fn keep_changed(&self, link: &Link) -> Result<(), StoreError> {
        let now = self.nature.now();
        let due = link.due_at(now, self.nature.fraction());
        self.links.save(link.clone(), due, now).await
    }

    /// Keeps a link that Ring knows to be complete; its grant is linked in the same moment.
    pub async fn completed(&self, link: &Link) -> Result<(), StoreError> {
        let now = self.nature.now();
        let Some(Ok(linked)) = self.grants.get(&link.grant_id).await?.map(Grant::linked) else {
            // It was linked before.
            return self.keep_changed(link).await;
        };
        let due = linked.due_at(now, self.nature.fraction());
        let link_due = link.due_at(now, self.nature.fraction());
        let changes = vec![Change::Grant(linked, due), Change::Link(link.clone(), link_due)];
        self.links.commit(changes, now).await
    }

    /// Unlinks: live sessions are closed, then both tokens go and the user loses it in one moment. What remains is settled then, or later by
    /// `token-refresh`.
    pub async fn unlink(&self, link: Link, why: EndReason) -> Result<(), StoreError> {
        // While there is a token to do it with. Those that stay open end by themselves within a minute.
        let now = self.nature.now();
        if let Err(error) = self.effects.close_sessions(&link, &self.access, now).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "live sessions of a link are not closed before it is unlinked"
            );
        }
        let unlinked = self.mark_unlinked(link, why).await?;
        if let Err(error) = self.settle(unlinked).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an unlinked link is not settled yet"
            );
        }
        Ok(())
    }

    async fn removed_at_ring(&self, link: Link) -> Result<Link, StoreError> {
        tracing::warn!(
            link.id = link.id,
            "Ring no longer knows link {}; it is unlinked",
            link.id
        );
        self.mark_unlinked(link, EndReason::RemovedAtRing).await
    }

    async fn mark_unlinked(&self, link: Link, why: EndReason) -> Result<Link, StoreError> {
        if link.status == LinkStatus::Unlinked {
            return Ok(link);
        }
        let now = self.nature.now();
        let grant = self.grants.get(&link.grant_id).await?;
        let unlinked = link.clone().unlinked();
        let due = unlinked.due_at(now, 0.0);
        let deed = match why {
            EndReason::Unlinked => Deed::Unlinked,
            _ => Deed::RemovedAtRing,
        };
        let mut changes = vec![
            Change::Link(unlinked.clone(), due),
            Change::Audit(link.audit_entry(deed, now)),
            Change::Take(link),
        ];
        if let Some(Ok(ended)) = grant.map(|grant| grant.ended(why)) {
            changes.push(Change::Grant(ended, None));
        }
        self.links.commit(changes, now).await?;
        Ok(unlinked)
    }
}

/// Whether a link is over: Ring no longer knows the integration, or whose token it is, or the grant is gone. A 404 of
/// anything else (a device, say) tells nothing of the link.
#[must_use]
pub fn is_over(error: &CallError) -> bool {
    match error {
        CallError::Ring(error) => {
            error.decision() == Decision::Gone
                && error
                    .answer()
                    .is_some_and(|answer| matches!(answer.endpoint, Endpoint::Integrations | Endpoint::Users))
        }
        CallError::Access(AccessError::Ended) => true,
        CallError::Access(_) => false,
    }
}
