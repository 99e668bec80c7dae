//! What live sessions stand on, in their own words: where they are kept, Ring, what reminds us of one that nobody closed, and
//! the tokens to ask Ring with.

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::oauth::AccessToken;
use ring_partner::users::AccountId;
use ring_partner::whep::{Ended, Offer, OpenError, SessionUrl};

use super::{Learned, Session};
use crate::edge::queue::{Queue, QueueError};
use crate::edge::table::StoreError;
use crate::grant::GrantId;
use crate::grant::access::{Access, CallError, Refresh};
use crate::world::World;

/// Whether a device was free for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was, and has this one now.
    Yes,
    /// It has another one, until then at the latest.
    No {
        /// When it is free.
        until: Timestamp,
    },
}

/// Where sessions are kept. A device has one at a time.
pub trait Sessions: Send + Sync {
    /// What is known of a device's sessions.
    fn learned(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Learned, StoreError>> + Send;

    /// Takes the device for a session that is about to be opened, and keeps that. A session of a capture follows another one of
    /// the same, while that is open.
    fn take(&self, session: &Session, now: Timestamp) -> impl Future<Output = Result<Taken, StoreError>> + Send;

    /// Keeps how far a session has come. `Err(Conflict)`: it is over, somebody else has closed it.
    fn keep(&self, session: &Session) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// One session that is not over.
    fn get(&self, account: &AccountId, id: &str) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// The sessions of an account that are not over.
    fn of_account(&self, account: &AccountId) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;

    /// Forgets a session that is over, and frees its device; what it has taught is kept.
    fn over(&self, session: &Session, learned: Option<Learned>) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Ring's side of a session. Ring: Live Video.
pub trait Live: Clone + Send + Sync + 'static {
    /// Asks for a session, once.
    fn open(
        &self,
        token: &AccessToken,
        device: &DeviceId,
        offer: &Offer,
    ) -> impl Future<Output = Result<ring_partner::whep::Session, OpenError>> + Send;

    /// Closes one.
    fn close(
        &self,
        token: &AccessToken,
        session: &SessionUrl,
    ) -> impl Future<Output = Result<Ended, ring_partner::Error>> + Send;
}

impl Live for ring_partner::Ring {
    async fn open(
        &self,
        token: &AccessToken,
        device: &DeviceId,
        offer: &Offer,
    ) -> Result<ring_partner::whep::Session, OpenError> {
        self.open_live(token, device, offer).await
    }

    async fn close(&self, token: &AccessToken, session: &SessionUrl) -> Result<Ended, ring_partner::Error> {
        self.end_live(token, session).await
    }
}

/// What has a session closed that nobody has closed when its time is over.
pub trait Reminders: Send + Sync {
    /// From when this returns `Ok`, somebody will come.
    fn remind(&self, session: &Session, now: Timestamp) -> impl Future<Output = Result<(), QueueError>> + Send;
}

/// The queue of media, whose worker calls Ring.
impl Reminders for Queue {
    async fn remind(&self, session: &Session, now: Timestamp) -> Result<(), QueueError> {
        self.send(session.close_message(now)).await
    }
}

/// Access tokens to call Ring with.
pub trait Bearer: Send + Sync {
    /// Calls Ring under a grant; once more, with another token, where it was the token that Ring refused.
    fn with<T, F>(
        &self,
        grant: &GrantId,
        now: Timestamp,
        call: impl Fn(AccessToken) -> F + Send + Sync,
    ) -> impl Future<Output = Result<T, CallError>> + Send
    where
        T: Send,
        F: Future<Output = Result<T, ring_partner::Error>> + Send;
}

impl<W: World, R: Refresh> Bearer for Access<W, R> {
    async fn with<T, F>(
        &self,
        grant: &GrantId,
        now: Timestamp,
        call: impl Fn(AccessToken) -> F + Send + Sync,
    ) -> Result<T, CallError>
    where
        T: Send,
        F: Future<Output = Result<T, ring_partner::Error>> + Send,
    {
        self.call(grant, now, call).await
    }
}
