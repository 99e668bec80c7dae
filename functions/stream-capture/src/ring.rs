//! Ring's side of a device's live sessions, by the ledger that viewers' sessions are in, too: each is written down, and a message
//! is on its way that has it closed, before Ring is asked for it. Each counts in its device's budget, as it drains a battery.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::Ring;
use ring_partner::devices::DeviceId;
use ring_partner::error::Decision;
use ring_partner::users::AccountId;
use ring_partner::whep::Offer;
use shared::capture::session::Session;
use shared::capture::session::live::{Asked, CloseFailure, LiveSessions, OpenFailure};
use shared::capture::session::ports::Sessions as _;
use shared::capture::session::store::SessionTable;
use shared::edge::clock;
use shared::edge::function::Function;
use shared::edge::key;
use shared::edge::queue::Queue;
use shared::edge::quota::Quota;
use shared::edge::table::{StoreError, Table};
use shared::grant::GrantId;
use shared::grant::access::{Access, AccessError, CallError};
use shared::media::MediumId;
use shared::world::Deployed;
use tokio::time::sleep;

use crate::ports::{NotOpened, Opened, Sessions};

/// Ring holds another session to be open: it is looked again after this.
const BUSY_FOR: Duration = Duration::from_secs(2);
/// How often closing is tried before it is left to the message that comes when a session's time is over.
const CLOSE_TRIES: u32 = 4;

/// What all devices' sessions are opened with.
#[derive(Debug)]
pub struct Live {
    /// The ledger, and Ring.
    pub sessions: LiveSessions<SessionTable, Ring, Queue>,
    /// Access tokens.
    pub access: Access<Deployed, Function>,
    /// How many sessions a device may have in a day.
    pub budget: Quota<Table>,
}

/// The live sessions of one device, for one capture.
#[derive(Clone, Debug)]
pub struct OfDevice {
    /// What they are opened with.
    pub live: Arc<Live>,
    /// Under which grant.
    pub grant: GrantId,
    /// Of whose device.
    pub account: AccountId,
    /// Of which device.
    pub device: DeviceId,
    /// For which capture.
    pub medium: MediumId,
    /// How long one may be at the most, whatever is known of the device.
    pub limit: Option<Duration>,
}

impl Sessions for OfDevice {
    type Session = Session;

    async fn open(&self, offer: &str) -> Result<Opened<Session>, NotOpened> {
        let offer = Offer::parse(offer).map_err(|_| NotOpened::Never("unusable_offer"))?;
        let budget = &self.live.budget;
        let place = budget.hold(self.device.as_str(), clock::now()).await;
        let place = place.map_err(|_| NotOpened::Never("battery_budget"))?;
        let asked = Asked {
            account: &self.account,
            device: &self.device,
            grant: &self.grant,
            capture: Some(&self.medium),
        };
        let id = key::random("live");
        let opened = self
            .live
            .sessions
            .open(id, asked, &offer, &self.live.access, clock::now);
        match opened.await {
            Ok((session, answer)) => {
                budget.use_up(place).await;
                let lasts = session.lasts();
                tracing::info!(
                    session.id = session.id,
                    medium.id = self.medium.as_str(),
                    "a live session is recorded"
                );
                Ok(Opened {
                    limit: self.limit.map_or(lasts, |limit| limit.min(lasts)),
                    session,
                    answer,
                })
            }
            Err(failure) => {
                budget.give_back(place).await;
                tracing::warn!(
                    medium.id = self.medium.as_str(),
                    error = &failure as &dyn std::error::Error,
                    "there is no live session to record"
                );
                Err(not_opened(&failure, clock::now()))
            }
        }
    }

    async fn close(&self, session: Session) {
        for tried in 0..CLOSE_TRIES {
            let closer = &self.live.sessions.closer;
            match closer
                .close(session.clone(), &self.grant, &self.live.access, clock::now())
                .await
            {
                // What nobody can close ends by itself, and the message comes for it.
                Ok(()) | Err(CloseFailure::EndsByItself { .. }) => return,
                Err(error) => tracing::warn!(
                    session.id = session.id,
                    error = &error as &dyn std::error::Error,
                    tried,
                    "a live session can't be closed; it is tried again"
                ),
            }
            sleep(Duration::from_secs(1) * 2_u32.pow(tried)).await;
        }
        tracing::error!(
            session.id = session.id,
            "a live session is closed later, when its time is over"
        );
    }
}

impl OfDevice {
    /// Closes what another recorder of this capture has left, and waits out what nobody can close.
    pub async fn close_left(&self) -> Result<(), StoreError> {
        let closer = &self.live.sessions.closer;
        let left = closer.sessions.of_account(&self.account).await?;
        for session in left
            .into_iter()
            .filter(|left| left.capture.as_ref() == Some(&self.medium))
        {
            tracing::info!(session.id = session.id, "a recorder has left a live session");
            if session.location().is_none() {
                let left = session.until.duration_since(clock::now());
                sleep(Duration::try_from(left).unwrap_or_default()).await;
            }
            self.close(session).await;
        }
        Ok(())
    }
}

/// What it means for a capture that there is no session.
fn not_opened(failure: &OpenFailure, now: Timestamp) -> NotOpened {
    match failure {
        OpenFailure::Busy { until } => NotOpened::Busy {
            after: Duration::try_from(until.duration_since(now))
                .unwrap_or_default()
                .max(BUSY_FOR),
        },
        OpenFailure::Elsewhere => NotOpened::Busy { after: BUSY_FOR },
        OpenFailure::Offline => NotOpened::Never("device_offline"),
        OpenFailure::Gone => NotOpened::Never("device_gone"),
        OpenFailure::Refused(_) => NotOpened::Never("refused"),
        OpenFailure::NotAllowed(CallError::Access(AccessError::RelinkRequired)) => NotOpened::Never("relink_required"),
        OpenFailure::NotAllowed(CallError::Access(AccessError::Ended)) => NotOpened::Never("unlinked"),
        OpenFailure::NotAllowed(CallError::Ring(error)) if error.decision() == Decision::OutOfScope => {
            NotOpened::Never("scope_missing")
        }
        OpenFailure::NotAllowed(_)
        | OpenFailure::Unavailable { .. }
        | OpenFailure::Store(_)
        | OpenFailure::Queue(_) => NotOpened::Unavailable,
    }
}
