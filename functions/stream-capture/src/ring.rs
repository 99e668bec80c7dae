//! Ring's side of a device's live sessions. Each is noted down before Ring is asked for it, so that whoever comes after this
//! process closes it; each counts in its device's budget, as it drains a battery.

use std::sync::Arc;
use std::time::Duration;

use ring_partner::devices::DeviceId;
use ring_partner::error::Decision;
use ring_partner::oauth::AccessToken;
use ring_partner::whep::{Offer, OpenError, Session, SessionUrl};
use ring_partner::{Error, Ring};
use shared::capture::note::store::Notes;
use shared::capture::note::{Left, Note};
use shared::edge::clock::{self, signed};
use shared::edge::function::Function;
use shared::edge::key;
use shared::edge::quota::Quota;
use shared::edge::table::{StoreError, Table};
use shared::grant::GrantId;
use shared::grant::access::{Access, AccessError, CallError};
use shared::media::MediumId;
use shared::world::Deployed;
use tokio::time::sleep;

use crate::ports::{NotOpened, Opened, Sessions};

/// After Ring's own limit a session is over, its own clock and the way there and back included.
const SURELY_OVER_AFTER: Duration = Duration::from_secs(15);
/// Another session is open: it is looked again after this.
const BUSY_FOR: Duration = Duration::from_secs(2);
/// How often closing is tried before it is left to whoever comes after, or to Ring's limit.
const CLOSE_TRIES: u32 = 4;

/// What all devices' sessions are opened with.
#[derive(Debug)]
pub struct Live {
    /// Ring.
    pub ring: Ring,
    /// Access tokens.
    pub access: Access<Deployed, Function>,
    /// What is noted down.
    pub notes: Notes,
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
    /// Of which device.
    pub device: DeviceId,
    /// For which capture.
    pub medium: MediumId,
    /// How long Ring lets one be.
    pub limit: Duration,
}

impl Sessions for OfDevice {
    type Session = Note;

    async fn open(&self, offer: &str) -> Result<Opened<Note>, NotOpened> {
        let offer = Offer::parse(offer).map_err(|_| NotOpened::Never("unusable_offer"))?;
        let budget = &self.live.budget;
        let place = budget.hold(self.device.as_str(), clock::now()).await;
        let place = place.map_err(|_| NotOpened::Never("battery_budget"))?;
        let opened = self.noted(&offer).await;
        match opened {
            Ok(_) => budget.use_up(place).await,
            Err(_) => budget.give_back(place).await,
        }
        opened
    }

    async fn close(&self, session: Note) {
        let Some(url) = session.url.as_deref().and_then(|url| SessionUrl::kept(url).ok()) else {
            return;
        };
        for tried in 0..CLOSE_TRIES {
            match self.closed(&url).await {
                Ok(()) => return self.forget(&session).await,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    tried,
                    "a live session can't be closed; it is tried again"
                ),
            }
            sleep(Duration::from_secs(1) * 2_u32.pow(tried)).await;
        }
        tracing::error!("a live session is left to Ring's own limit");
    }
}

impl OfDevice {
    /// Closes what another recorder of this capture has left, and says until when nothing may be opened.
    pub async fn close_left(&self) -> Result<(), StoreError> {
        for note in self.live.notes.of(&self.medium).await? {
            match note.left(clock::now()) {
                Left::Close(_) => self.close(note).await,
                Left::WaitUntil(until) => {
                    let left = until.duration_since(clock::now());
                    sleep(Duration::try_from(left).unwrap_or_default()).await;
                    self.forget(&note).await;
                }
                Left::Nothing => self.forget(&note).await,
            }
        }
        Ok(())
    }

    async fn noted(&self, offer: &Offer) -> Result<Opened<Note>, NotOpened> {
        let ends_at = clock::now() + signed(self.limit + SURELY_OVER_AFTER);
        let mut note = Note {
            medium_id: self.medium.clone(),
            name: key::random("live"),
            url: None,
            ends_at: ends_at.as_millisecond(),
        };
        self.keep(&note).await?;
        match self.asked(offer).await {
            Ok(session) => {
                match session.location {
                    Ok(url) => note.url = Some(url.as_str().to_owned()),
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a live session can't be closed; it ends by Ring's own limit"
                    ),
                }
                // What can't be noted down now is closed by this process, or by Ring's limit.
                let _kept = self.keep(&note).await;
                Ok(Opened {
                    session: note,
                    answer: session.answer,
                    limit: self.limit,
                })
            }
            Err(Asked::NotOpened(why)) => {
                self.forget(&note).await;
                Err(why)
            }
            Err(Asked::MayBeOpen(Some(url))) => {
                note.url = Some(url.as_str().to_owned());
                self.close(note).await;
                Err(NotOpened::Unavailable)
            }
            // The note stays, and nothing else is opened before the limit.
            Err(Asked::MayBeOpen(None)) => Err(NotOpened::Busy {
                after: self.limit + SURELY_OVER_AFTER,
            }),
        }
    }

    /// Asks Ring, once more where the token was the reason.
    async fn asked(&self, offer: &Offer) -> Result<Session, Asked> {
        let live = &self.live;
        let (ring, device, offer) = (live.ring.clone(), self.device.clone(), offer.clone());
        let open = move |token: AccessToken| {
            let (ring, device, offer) = (ring.clone(), device.clone(), offer.clone());
            async move {
                match ring.open_live(&token, &device, &offer).await {
                    Ok(session) => Ok(Ok(session)),
                    Err(OpenError::NotOpened(error)) => Err(error),
                    Err(OpenError::MayBeOpen { location, source }) => {
                        tracing::warn!(error = &source as &dyn std::error::Error, "a live session may be open");
                        Ok(Err(location))
                    }
                }
            }
        };
        let opened = live.access.call(&self.grant, clock::now(), open);
        match opened.await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(location)) => Err(Asked::MayBeOpen(location)),
            Err(CallError::Access(error)) => Err(Asked::NotOpened(no_token(&error))),
            Err(CallError::Ring(error)) => Err(Asked::NotOpened(refused(&error))),
        }
    }

    async fn closed(&self, url: &SessionUrl) -> Result<(), CallError> {
        let (ring, url) = (self.live.ring.clone(), url.clone());
        let close = move |token: AccessToken| {
            let (ring, url) = (ring.clone(), url.clone());
            async move { ring.close_live(&token, &url).await }
        };
        self.live.access.call(&self.grant, clock::now(), close).await
    }

    async fn keep(&self, note: &Note) -> Result<(), NotOpened> {
        self.live.notes.keep(note).await.map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a live session can't be noted down"
            );
            NotOpened::Unavailable
        })
    }

    async fn forget(&self, note: &Note) {
        if let Err(error) = self.live.notes.forget(note).await {
            // Whoever reads it closes a session that is closed already.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a note of a live session is left"
            );
        }
    }
}

/// Why there is no session.
enum Asked {
    NotOpened(NotOpened),
    MayBeOpen(Option<SessionUrl>),
}

fn no_token(error: &AccessError) -> NotOpened {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "there is no access token to open a session with"
    );
    match error {
        AccessError::RelinkRequired => NotOpened::Never("relink_required"),
        AccessError::Ended => NotOpened::Never("unlinked"),
        _ => NotOpened::Unavailable,
    }
}

/// What a refusal of Ring's means.
fn refused(error: &Error) -> NotOpened {
    tracing::warn!(error = error as &dyn std::error::Error, "Ring opens no live session");
    match (error.answer().map(|answer| answer.status), error.decision()) {
        (Some(409), _) => NotOpened::Busy { after: BUSY_FOR },
        (_, Decision::Offline) => NotOpened::Never("device_offline"),
        (_, Decision::OutOfScope) => NotOpened::Never("scope_missing"),
        (_, Decision::Gone) => NotOpened::Never("device_gone"),
        (_, Decision::GiveUp | Decision::NoMedia) => NotOpened::Never("refused"),
        _ => NotOpened::Unavailable,
    }
}
