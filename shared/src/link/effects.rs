//! What follows from a link, as it is deployed: an entry in the audit trail, devices in their table, parked events back in their queue, the bus told.

use jiff::Timestamp;
use ring_partner::Ring;
use ring_partner::devices::Device;
use ring_partner::users::AccountId;

use super::Link;
use super::ports::Effects;
use super::settle::SettleError;
use crate::audit::Entry;
use crate::audit::store::Audit;
use crate::capture::session::live::Closer;
use crate::capture::session::ports::Bearer;
use crate::capture::session::store::SessionTable;
use crate::device::store::Devices;
use crate::edge::bus::{Announcement, Bus};
use crate::edge::queue::Queue;
use crate::event::silence::Watch;
use crate::event::store::Events;
use crate::event::{gone_message, resume_message};

/// Where it goes.
#[derive(Clone, Debug)]
pub struct Downstream {
    /// The audit trail.
    pub audit: Audit,
    /// The devices of linked accounts.
    pub devices: Devices,
    /// Their live sessions.
    pub live: Closer<SessionTable, Ring>,
    /// Events that came before their link.
    pub events: Events,
    /// Where those go back to.
    pub events_queue: Queue,
    /// Who is told.
    pub bus: Bus,
    /// Who looks whether an account is quiet when its devices are listed; only who lists them daily has one.
    pub watch: Option<Watch>,
}

impl Effects for Downstream {
    async fn audit(&self, entry: &Entry) -> Result<(), SettleError> {
        Ok(self.audit.keep(entry).await?)
    }

    async fn keep_listing(
        &self,
        account: &AccountId,
        devices: Vec<Device>,
        asked_at: Timestamp,
    ) -> Result<(), SettleError> {
        for gone in self.devices.keep_listing(account, devices, asked_at).await? {
            self.events_queue.send(gone_message(&gone)).await?;
        }
        if let Some(watch) = &self.watch {
            let devices = self.devices.of_account(account).await?;
            watch.account(account, &devices, asked_at).await;
        }
        Ok(())
    }

    async fn close_sessions(&self, link: &Link, tokens: &impl Bearer, now: Timestamp) -> Result<(), SettleError> {
        let closed = self.live.close_all(&link.account_id, &link.grant_id, tokens, now);
        Ok(closed.await?)
    }

    async fn forget_devices(&self, account: &AccountId) -> Result<(), SettleError> {
        self.live.sessions.forget_account(account).await?;
        Ok(self.devices.forget_account(account).await?)
    }

    async fn release_parked(&self, account: &AccountId) -> Result<(), SettleError> {
        let mut parked = self.events.parked(account).await?;
        for known in self.devices.of_account(account).await? {
            parked.extend(self.events.parked_for_device(known.device_id.as_str()).await?);
        }
        for event_id in parked {
            self.events_queue.send(resume_message(&event_id)).await?;
        }
        Ok(())
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), SettleError> {
        Ok(self.bus.announce(announcement).await?)
    }
}
