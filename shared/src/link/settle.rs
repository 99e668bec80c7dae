//! Does what is to be done about a link, one thing after the other, and keeps after each that it is done. Whoever finds
//! the link later, after a crash too, goes on from there.

use jiff::Timestamp;
use ring_partner::Ring;
use ring_partner::error::Decision;
use ring_partner::integrations::IntegrationStatus;

use super::store::Links;
use super::{Link, LinkStatus, Todo};
use crate::device::store::Devices;
use crate::edge::bus::{Bus, BusError};
use crate::edge::key;
use crate::edge::queue::{Queue, QueueError};
use crate::edge::table::StoreError;
use crate::event::resume_message;
use crate::event::store::Events;
use crate::grant::access::{Access, AccessError, CallError, Refresh};
use crate::grant::store::Grants;
use crate::grant::{EndReason, Grant};

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

/// Settles links.
#[derive(Clone, Debug)]
pub struct Settler<R> {
    /// The grants that open them.
    pub grants: Grants,
    /// The links.
    pub links: Links,
    /// Their devices.
    pub devices: Devices,
    /// Events that came before their link.
    pub events: Events,
    /// Where those go back to.
    pub events_queue: Queue,
    /// Who is told.
    pub bus: Bus,
    /// Ring.
    pub ring: Ring,
    /// The access tokens to ask it with.
    pub access: Access<R>,
}

impl<R: Refresh> Settler<R> {
    /// Does everything that is to be done, and returns the link as it is kept then. On an error the link is as it was
    /// after the last thing that was done.
    pub async fn settle(&self, mut link: Link, now: Timestamp) -> Result<Link, SettleError> {
        while let Some(todo) = link.todo.first().copied() {
            let completed = self.one(&link, todo, now).await;
            match completed {
                Ok(()) => {
                    link = link.done(todo, now);
                    self.keep(&link, todo, now).await?;
                }
                Err(SettleError::Ring(error)) if is_over(&error) => {
                    link = self.removed_at_ring(link, now).await?;
                }
                Err(error) => return Err(error),
            }
        }
        if link.status == LinkStatus::Unlinked {
            self.links.forget(&link).await?;
        }
        Ok(link)
    }

    async fn one(&self, link: &Link, todo: Todo, now: Timestamp) -> Result<(), SettleError> {
        match todo {
            Todo::Complete => self.complete(link, now).await?,
            Todo::ListDevices => {
                let listed = self
                    .access
                    .call(
                        &link.grant_id,
                        now,
                        |token| async move { self.ring.devices(&token).await },
                    )
                    .await?;
                self.devices.keep_listing(&link.account_id, listed, now).await?;
            }
            Todo::ReleaseParked => {
                let mut parked = self.events.parked(&link.account_id).await?;
                for known in self.devices.of_account(&link.account_id).await? {
                    parked.extend(self.events.parked_for_device(known.device_id.as_str()).await?);
                }
                for event_id in parked {
                    self.events_queue.send(resume_message(&event_id)).await?;
                }
            }
            Todo::AnnounceLinked => self.announce(link, "account_linked", now).await?,
            Todo::AnnounceRelinkRequired => self.announce(link, "account_relink_required", now).await?,
            Todo::AnnounceUnlinked => self.announce(link, "account_unlinked", now).await?,
            Todo::ForgetDevices => self.devices.forget_account(&link.account_id).await?,
        }
        Ok(())
    }

    /// PATCH to completed. Ring may answer 400 where it is completed already: then a PATCH of the identifier alone tells
    /// the status, and without one a listing tells that the integration is open to us.
    async fn complete(&self, link: &Link, now: Timestamp) -> Result<(), CallError> {
        let identifier = link.account_identifier.as_deref();
        let completed = Some(IntegrationStatus::Completed);
        let patch = |token| {
            let completed = completed.clone();
            async move {
                let Err(error) = self.ring.update_integration(&token, identifier, completed).await else {
                    return Ok(());
                };
                if error.answer().is_none_or(|answer| answer.status != 400) {
                    return Err(error);
                }
                let is_completed = match identifier {
                    Some(_) => {
                        self.ring.update_integration(&token, identifier, None).await?.status
                            == IntegrationStatus::Completed
                    }
                    None => self.ring.devices(&token).await.is_ok(),
                };
                if is_completed { Ok(()) } else { Err(error) }
            }
        };
        self.access.call(&link.grant_id, now, patch).await
    }

    async fn announce(&self, link: &Link, what: &str, now: Timestamp) -> Result<(), BusError> {
        self.bus.announce(&link.announcement(what, now)).await
    }

    /// Keeps a link of which one thing more is done.
    async fn keep(&self, link: &Link, done: Todo, now: Timestamp) -> Result<(), StoreError> {
        match done {
            Todo::Complete => self.completed(link, now).await,
            _ => self.links.save(link, link.due_at(now, key::fraction())).await,
        }
    }

    /// Keeps a link that Ring knows to be complete; its grant is linked in the same moment.
    pub async fn completed(&self, link: &Link, now: Timestamp) -> Result<(), StoreError> {
        let due = link.due_at(now, key::fraction());
        match self.grants.get(&link.grant_id).await?.map(Grant::linked) {
            Some(Ok(linked)) => {
                let with = vec![self.links.write(link, due)?];
                self.grants
                    .advance(&linked, linked.due_at(now, key::fraction()), now, with)
                    .await
            }
            // It was linked before.
            _ => self.links.save(link, due).await,
        }
    }

    /// Unlinks: both tokens go and the user loses it in one moment. What remains is settled then, or later by
    /// `token-refresh`.
    pub async fn unlink(&self, link: Link, why: EndReason, now: Timestamp) -> Result<(), StoreError> {
        let unlinked = self.mark_unlinked(link, why, now).await?;
        if let Err(error) = self.settle(unlinked, now).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an unlinked link is not settled yet"
            );
        }
        Ok(())
    }

    async fn removed_at_ring(&self, link: Link, now: Timestamp) -> Result<Link, StoreError> {
        tracing::warn!(
            link.id = link.id,
            "Ring no longer knows link {}; it is unlinked",
            link.id
        );
        self.mark_unlinked(link, EndReason::RemovedAtRing, now).await
    }

    async fn mark_unlinked(&self, link: Link, why: EndReason, now: Timestamp) -> Result<Link, StoreError> {
        if link.status == LinkStatus::Unlinked {
            return Ok(link);
        }
        let grant = self.grants.get(&link.grant_id).await?;
        let taken = self.links.take_from_user(&link);
        let unlinked = link.unlinked();
        let writes = vec![self.links.write(&unlinked, unlinked.due_at(now, 0.0))?, taken];
        match grant.map(|grant| grant.ended(why)) {
            Some(Ok(ended)) => self.grants.advance(&ended, None, now, writes).await?,
            _ => self.links.together(writes).await?,
        }
        Ok(unlinked)
    }
}

/// Ring no longer knows the integration, or its grant is gone: nothing more can be done for this link.
fn is_over(error: &CallError) -> bool {
    match error {
        CallError::Ring(error) => {
            error.decision() == Decision::Gone
                && error
                    .answer()
                    .is_some_and(|answer| answer.endpoint == ring_partner::error::Endpoint::Integrations)
        }
        CallError::Access(AccessError::Ended) => true,
        CallError::Access(_) => false,
    }
}
