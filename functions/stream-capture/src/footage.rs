//! Footage for a clip that is asked for with a recording first (Ring: Recommended Workflow, Record Then Download): a live session
//! is held for as long as the clip is to be, by a receiver that keeps nothing of it, and closed; then that window is asked for.

use std::time::Duration;

use shared::capture;
use shared::device::Known;
use shared::edge::clock::{self, signed};
use shared::edge::table::StoreError;
use shared::link::Link;
use shared::media::{Medium, Progress, Window};
use shared::policy::Action;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout_at};

use crate::job::{Done, HELD_FOR, HOLD_EVERY, Recorder, Undone};
use crate::ports::{Arrival, NotOpened, Peer as _, Peers as _, Sessions as _};
use crate::session::Patience;

/// A session that could not be opened is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A session ends by itself at its limit; it is closed this long before, so that it is us who end it.
const BEFORE_LIMIT: Duration = Duration::from_millis(300);

/// What came of holding a session.
enum Held {
    /// It showed something, from then on for so long.
    For(Window),
    /// Not now: again after this.
    Later(Duration),
    /// Never, for this reason.
    Never(&'static str),
}

impl Recorder {
    /// Holds a session for a clip, and has the clip fetched.
    pub(crate) async fn footage(&self, mut medium: Medium, ending: watch::Receiver<bool>) -> Result<Done, Undone> {
        let link = self.links.of_account(&medium.account_id).await?.filter(Link::is_live);
        let Some(link) = link else {
            return self.no_footage(medium, None, "unlinked").await;
        };
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        let hindered = match &known {
            Some(known) if !known.is_present() => Some("device_removed"),
            Some(known) if known.is_told_offline() => Some("device_offline"),
            known if !self.shown(known.as_ref()).await?.takes(Action::Clip) => Some("privacy_zones"),
            _ => None,
        };
        if let Some(reason) = hindered {
            return self.no_footage(medium, Some(&link), reason).await;
        }
        let sessions = self.sessions(&medium, &link);
        sessions.close_left().await?;
        match self.held(&mut medium, &sessions, ending).await? {
            Held::For(window) => {
                medium.request = medium.request.within(window);
                medium.record_first = false;
                medium.progress = Progress::Requested;
                let now = clock::now();
                let fetch = medium.fetch_message().delay(medium.request.comes_after(now));
                // First the message: whoever gets it before the row is kept finds that somebody is at it.
                self.fetches.send(fetch).await?;
                tracing::info!(
                    medium.id = medium.id.as_str(),
                    footage.milliseconds = window.duration,
                    "a live session was held for a clip"
                );
                self.kept(&medium).await?;
                Ok(Done::Over)
            }
            Held::Later(after) => {
                let late = clock::now().duration_since(medium.requested_at) > signed(capture::BEGINS_WITHIN);
                if late {
                    return self.no_footage(medium, Some(&link), "too_late").await;
                }
                medium.progress = Progress::Requested;
                self.kept(&medium).await?;
                Ok(Done::Later(after))
            }
            Held::Never(reason) => self.no_footage(medium, Some(&link), reason).await,
        }
    }

    /// Opens a session, holds it, and closes it, whatever happens in it.
    async fn held(
        &self,
        medium: &mut Medium,
        sessions: &crate::ring::OfDevice,
        ending: watch::Receiver<bool>,
    ) -> Result<Held, Undone> {
        let Ok((mut peer, offer)) = self.peers.offer().await else {
            return Ok(Held::Later(AGAIN_AFTER));
        };
        let opened = match sessions.open(&offer).await {
            Ok(opened) => opened,
            Err(why) => {
                peer.close().await;
                return Ok(match why {
                    NotOpened::Busy { after } => Held::Later(after),
                    NotOpened::Unavailable => Held::Later(AGAIN_AFTER),
                    NotOpened::Never(reason) => Held::Never(reason),
                });
            }
        };
        let ends_at = Instant::now() + opened.limit.saturating_sub(BEFORE_LIMIT);
        let held = match peer.answer(&opened.answer).await {
            Ok(()) => self.watched(medium, &mut peer, ends_at, ending).await,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Ring's answer to an offer can't be used"
                );
                Ok(None)
            }
        };
        sessions.close(opened.session).await;
        peer.close().await;
        Ok(match held? {
            Some(window) => Held::For(window),
            None => Held::Never("no_video"),
        })
    }

    /// Receives until the clip's length was shown, or nothing more comes: from when on something was shown, and for how long.
    async fn watched(
        &self,
        medium: &mut Medium,
        peer: &mut crate::receiver::Receiver,
        ends_at: Instant,
        mut ending: watch::Receiver<bool>,
    ) -> Result<Option<Window>, StoreError> {
        let patience = Patience::default();
        let asked = medium.request.window(medium.requested_at).duration;
        let wanted = Duration::from_millis(asked.unsigned_abs());
        let (mut first, mut silent_at) = (None, Instant::now() + patience.first_frame);
        let mut holds = interval(HOLD_EVERY);
        loop {
            let until = first
                .map_or(silent_at, |(at, _): (Instant, i64)| silent_at.min(at + wanted))
                .min(ends_at);
            let arrival = tokio::select! {
                arrival = timeout_at(until, peer.next()) => arrival,
                _told = async { ending.wait_for(|ending| *ending).await.is_ok() } => break,
                _ = holds.tick() => {
                    self.media.hold(medium, clock::now() + signed(HELD_FOR)).await?;
                    continue;
                }
            };
            match arrival {
                Ok(Arrival::Packet(..)) => {
                    let now = Instant::now();
                    first.get_or_insert((now, clock::now().as_millisecond()));
                    silent_at = now + patience.packet;
                }
                Ok(Arrival::Gone) | Err(_) => break,
            }
        }
        Ok(first.map(|(at, timestamp)| Window {
            timestamp,
            duration: i64::try_from(at.elapsed().as_millis()).unwrap_or(asked).clamp(1, asked),
        }))
    }

    /// There will be no such clip.
    async fn no_footage(&self, mut medium: Medium, link: Option<&Link>, reason: &str) -> Result<Done, Undone> {
        tracing::warn!(
            medium.id = medium.id.as_str(),
            reason,
            "no live session was held for a clip"
        );
        medium.progress = Progress::Failed {
            reason: reason.to_owned(),
            announced: false,
        };
        self.kept(&medium).await?;
        if let Some(link) = link {
            let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
            let name = known.and_then(|known: Known| known.name);
            if let Some(announcement) = medium.announcement(&link.user_id, name, clock::now()) {
                self.bus.announce(&announcement).await?;
            }
        }
        medium.progress = Progress::Failed {
            reason: reason.to_owned(),
            announced: true,
        };
        self.kept(&medium).await?;
        Ok(Done::Over)
    }

    /// Keeps a medium, unless it was deleted meanwhile.
    async fn kept(&self, medium: &Medium) -> Result<(), StoreError> {
        match self.media.keep(medium).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
