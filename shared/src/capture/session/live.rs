//! Opens and closes live sessions. What may be open at Ring is written down before Ring is asked, and a message is on its way
//! that has it closed; whatever fails after that leaves a session that somebody closes, or that is waited out.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::error::Decision;
use ring_partner::users::AccountId;
use ring_partner::whep::{Ended, Offer, OpenError};

use super::ports::{Bearer, Live, Reminders, Sessions, Taken};
use super::{CLOSED_WITHIN, Session, State};
use crate::edge::clock::signed;
use crate::edge::queue::QueueError;
use crate::edge::table::StoreError;
use crate::grant::GrantId;
use crate::grant::access::{AccessError, CallError};
use crate::media::MediumId;

/// Closes live sessions.
#[derive(Clone, Debug)]
pub struct Closer<S, L> {
    /// Where they are kept.
    pub sessions: S,
    /// Ring.
    pub ring: L,
}

/// Opens live sessions, and closes them.
#[derive(Clone, Debug)]
pub struct LiveSessions<S, L, Q> {
    /// Who closes them.
    pub closer: Closer<S, L>,
    /// Who comes when nobody has closed one.
    pub reminders: Q,
    /// How long a session of a device lasts at the most of which nothing is known.
    pub usual: Duration,
}

/// Whose device is to be seen.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The device.
    pub device: &'a DeviceId,
    /// The grant that opens it.
    pub grant: &'a GrantId,
    /// The capture that it is to be recorded for; `None`: somebody watches it.
    pub capture: Option<&'a MediumId>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// The device has one, or may have one, until then at the latest.
    #[error("the device has a live session until {until}")]
    Busy {
        /// When it is free.
        until: Timestamp,
    },
    /// Ring says that the device has one, or as many as it may, of which nobody knows here.
    #[error("Ring holds another live session of the device to be open")]
    Elsewhere,
    /// Ring says that the device is offline.
    #[error("the device is offline")]
    Offline,
    /// Ring does not take the offer.
    #[error("Ring does not take the offer")]
    Refused(#[source] CallError),
    /// Ring does not know the device (any more).
    #[error("Ring does not know the device")]
    Gone,
    /// The grant does not cover it, or is over: the account has to be linked again.
    #[error("Ring does not allow it")]
    NotAllowed(#[source] CallError),
    /// Ring did not open one that can be seen. After `wait` it may.
    #[error("Ring is out of reach")]
    Unavailable {
        /// When to try again, at the earliest.
        wait: Duration,
    },
    /// The table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue is out of reach.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Why a session is not over yet.
#[derive(Debug, thiserror::Error)]
pub enum CloseFailure {
    /// Nobody knows where to close it. It ends by itself.
    #[error("the session ends by itself, at {until} at the latest")]
    EndsByItself {
        /// When.
        until: Timestamp,
    },
    /// Ring could not be asked. Try again.
    #[error(transparent)]
    Ring(#[from] CallError),
    /// The table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Sessions, L: Live, Q: Reminders> LiveSessions<S, L, Q> {
    /// Opens a session under the id `id`, and returns it with the viewer's answer. `clock` is asked again once Ring has
    /// answered, which takes its time.
    pub async fn open(
        &self,
        id: String,
        asked: Asked<'_>,
        offer: &Offer,
        tokens: &impl Bearer,
        clock: impl Fn() -> Timestamp + Send,
    ) -> Result<(Session, String), OpenFailure> {
        let now = clock();
        let learned = self.closer.sessions.learned(asked.account, asked.device).await?;
        let longest = learned.longest(self.usual);
        let opening = Session::opening(id, asked.account.clone(), asked.device.clone(), longest, now)
            .recorded_for(asked.capture.cloned());
        if let Taken::No { until } = self.closer.sessions.take(&opening, now).await? {
            return Err(OpenFailure::Busy { until });
        }
        if let Err(error) = self.reminders.remind(&opening, now).await {
            self.give_back(opening, now).await;
            return Err(error.into());
        }
        let answer = self.ask(asked, offer, tokens, now).await;
        let now = clock();
        match answer {
            Err(error) => {
                self.give_back(opening, now).await;
                Err(OpenFailure::of(error))
            }
            Ok(Err(OpenError::MayBeOpen {
                location: Some(location),
                ..
            })) => {
                if let Ok(open) = opening.opened(&location, longest, now) {
                    self.keep_and_close(open, asked.grant, tokens, now).await;
                }
                Err(unavailable())
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a live session may be open that nobody can close"
                );
                let wait = longest;
                if let Ok(lost) = opening.lost(longest, now) {
                    self.closer.keep_or_say(&lost).await;
                }
                Err(OpenFailure::Unavailable { wait })
            }
            Ok(Ok(opened)) => {
                let session = match &opened.location {
                    Ok(location) => opening.opened(location, longest, now),
                    Err(error) => {
                        tracing::warn!(
                            error = error as &dyn std::error::Error,
                            "a live session is open that nobody can close"
                        );
                        opening.lost(longest, now)
                    }
                };
                let Ok(session) = session else {
                    return Err(unavailable());
                };
                // Where to close it has to be kept before anybody looks at it.
                if let Err(error) = self.closer.sessions.keep(&session).await {
                    self.closer.close_unkept(session, asked.grant, tokens, now).await;
                    return Err(error.into());
                }
                match offer.answer(&opened.answer) {
                    Ok(answer) => Ok((session, answer)),
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "Ring's answer to an offer can't be used"
                        );
                        self.closer.close_or_say(session, asked.grant, tokens, now).await;
                        Err(unavailable())
                    }
                }
            }
        }
    }

    async fn ask(
        &self,
        asked: Asked<'_>,
        offer: &Offer,
        tokens: &impl Bearer,
        now: Timestamp,
    ) -> Result<Result<ring_partner::whep::Session, OpenError>, CallError> {
        let (ring, device, offer) = (self.closer.ring.clone(), asked.device.clone(), offer.clone());
        // Only what surely opened none may be asked again, with another token.
        let call = tokens.with(asked.grant, now, move |token| {
            let (ring, device, offer) = (ring.clone(), device.clone(), offer.clone());
            async move {
                match ring.open(&token, &device, &offer).await {
                    Err(OpenError::NotOpened(error)) => Err(error),
                    other => Ok(other),
                }
            }
        });
        call.await
    }

    /// Ring opened none: its device is free again, or the session's that it was to follow. If that can't be written, it is when
    /// its time is over.
    async fn give_back(&self, opening: Session, now: Timestamp) {
        let Ok(refused) = opening.refused() else { return };
        let sessions = &self.closer.sessions;
        let given_back = async {
            sessions.over(&refused, None).await?;
            if refused.capture.is_some() {
                let before = sessions.of_account(&refused.account_id).await?;
                let before = before.into_iter().find(|other| {
                    other.id != refused.id && other.capture == refused.capture && other.location().is_some()
                });
                if let Some(before) = before {
                    sessions.take(&before, now).await?;
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = given_back.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a device is kept from live sessions for a minute"
            );
        }
    }

    async fn keep_and_close(&self, open: Session, grant: &GrantId, tokens: &impl Bearer, now: Timestamp) {
        if self.closer.keep_or_say(&open).await {
            self.closer.close_or_say(open, grant, tokens, now).await;
        } else {
            self.closer.close_unkept(open, grant, tokens, now).await;
        }
    }
}

impl<S: Sessions, L: Live> Closer<S, L> {
    /// Closes a session. Done again, it is closed.
    pub async fn close(
        &self,
        session: Session,
        grant: &GrantId,
        tokens: &impl Bearer,
        now: Timestamp,
    ) -> Result<(), CloseFailure> {
        let Some(location) = session.location() else {
            return self.wait_out(session, now).await;
        };
        let Ok(closing) = session.closing() else { return Ok(()) };
        match self.sessions.keep(&closing).await {
            Ok(()) => {}
            // Somebody else has closed it.
            Err(StoreError::Conflict) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let ring = self.ring.clone();
        let asked = tokens.with(grant, now, move |token| {
            let (ring, location) = (ring.clone(), location.clone());
            async move { ring.close(&token, &location).await }
        });
        let learned = match asked.await {
            Ok(ended) => {
                let before = self.sessions.learned(&closing.account_id, &closing.of_device).await?;
                let lasted = Duration::try_from(now.duration_since(closing.since)).unwrap_or_default();
                let learned = before.seen(lasted, ended == Ended::Now);
                (learned != before).then_some(learned)
            }
            Err(error) if closing.is_past_help(&error, now) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a live session was not closed, and has ended by itself"
                );
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Ok(closed) = closing.closed() else { return Ok(()) };
        Ok(self.sessions.over(&closed, learned).await?)
    }

    /// Closes all sessions of an account, as far as that can be done.
    pub async fn close_all(
        &self,
        account: &AccountId,
        grant: &GrantId,
        tokens: &impl Bearer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for session in self.sessions.of_account(account).await? {
            if session.location().is_some() {
                self.close_or_say(session, grant, tokens, now).await;
            }
        }
        Ok(())
    }

    /// A session that ends by itself is over when its time is.
    pub async fn wait_out(&self, session: Session, now: Timestamp) -> Result<(), CloseFailure> {
        let until = session.until;
        match session.ended(now) {
            Ok(over) => Ok(self.sessions.over(&over, None).await?),
            Err(_) => Err(CloseFailure::EndsByItself { until }),
        }
    }

    async fn keep_or_say(&self, session: &Session) -> bool {
        let kept = self.sessions.keep(session).await;
        if let Err(error) = &kept {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "how far a live session has come can't be kept"
            );
        }
        kept.is_ok()
    }

    async fn close_or_say(&self, session: Session, grant: &GrantId, tokens: &impl Bearer, now: Timestamp) {
        if let Err(error) = self.close(session, grant, tokens, now).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a live session is closed later, when its time is over"
            );
        }
    }

    /// Closes a session that nobody else will ever know of. Its device is free when its time is over.
    async fn close_unkept(&self, session: Session, grant: &GrantId, tokens: &impl Bearer, now: Timestamp) {
        let Some(location) = session.location() else { return };
        let ring = self.ring.clone();
        let closed = tokens.with(grant, now, move |token| {
            let (ring, location) = (ring.clone(), location.clone());
            async move { ring.close(&token, &location).await }
        });
        if let Err(error) = closed.await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a live session is open until Ring ends it"
            );
        }
    }
}

impl Session {
    /// Whether it is over though Ring could not be asked: its time is, and there is no token any more, or Ring was asked for
    /// long enough.
    fn is_past_help(&self, error: &CallError, now: Timestamp) -> bool {
        let no_token = matches!(
            error,
            CallError::Access(AccessError::Ended | AccessError::RelinkRequired | AccessError::Refused)
        );
        let late = if no_token { Duration::ZERO } else { CLOSED_WITHIN };
        self.state != State::Closed && now >= self.until + signed(late)
    }
}

impl OpenFailure {
    /// What a refusal that surely opened nothing means.
    fn of(error: CallError) -> Self {
        match &error {
            CallError::Access(AccessError::RelinkRequired | AccessError::Ended | AccessError::Refused) => {
                Self::NotAllowed(error)
            }
            CallError::Access(_) => unavailable(),
            CallError::Ring(ring) => match ring.decision() {
                Decision::Offline => Self::Offline,
                Decision::Gone => Self::Gone,
                Decision::Refresh | Decision::OutOfScope => Self::NotAllowed(error),
                Decision::RetryAfter(wait) => Self::Unavailable { wait },
                // Ring has a bound of its own on open sessions, and no documented word for it.
                Decision::GiveUp if ring.answer().is_some_and(|answer| answer.status == 409) => Self::Elsewhere,
                Decision::GiveUp if ring.answer().is_some() => Self::Refused(error),
                Decision::GiveUp | Decision::NoMedia | Decision::NotReady => unavailable(),
            },
        }
    }
}

fn unavailable() -> OpenFailure {
    OpenFailure::Unavailable {
        wait: ring_partner::error::DEFAULT_WAIT,
    }
}

#[cfg(test)]
mod tests;
