//! What a capture needs of the world: the receiving end of a session, Ring's side of it, and a place to store what comes.
//! Deployed, these are WebRTC, Ring and S3; under test they are in memory.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use shared::capture::manifest::Film;

use crate::codec::Codec;
use crate::recording::{Object, Reel};
use crate::rtp::Packet;

/// What arrives from a peer.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A packet of video.
    Packet(Codec, Packet),
    /// The peer is gone, or never came.
    Gone,
}

/// Makes receiving ends of sessions.
pub trait Peers: Clone + Debug + Send + Sync + 'static {
    /// The receiving end of one session.
    type Peer: Peer;
    /// One, and the offer that its peer is to be sent.
    fn offer(&self) -> impl Future<Output = Result<(Self::Peer, String), PeerError>> + Send;
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[error("there is no connection for video")]
pub struct PeerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The receiving end of one session.
pub trait Peer: Send + 'static {
    /// Takes the peer's answer.
    fn answer(&mut self, answer: &str) -> impl Future<Output = Result<(), PeerError>> + Send;
    /// What arrives next. Nothing is lost when this is dropped before it is done.
    fn next(&mut self) -> impl Future<Output = Arrival> + Send;
    /// Asks for a key frame.
    fn ask_key_frame(&mut self) -> impl Future<Output = ()> + Send;
    /// How many packets were thrown away, as nobody took them in time.
    fn overrun(&self) -> u64;
    /// Ends the connection.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Live sessions of one device at Ring.
pub trait Sessions: Clone + Debug + Send + Sync + 'static {
    /// A session that is open, or may be.
    type Session: Debug + Send + 'static;
    /// Opens one.
    fn open(&self, offer: &str) -> impl Future<Output = Result<Opened<Self::Session>, NotOpened>> + Send;
    /// Closes one. What can't be closed now is closed by somebody else later: it was noted down before it was opened.
    fn close(&self, session: Self::Session) -> impl Future<Output = ()> + Send;
}

/// A session that is open.
#[derive(Debug)]
pub struct Opened<S> {
    /// Which one.
    pub session: S,
    /// Ring's answer to the offer.
    pub answer: String,
    /// How long Ring lets it be.
    pub limit: Duration,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// Another one is open, or may be. Not before this has passed.
    #[error("another live session is open, or may be")]
    Busy {
        /// When it may be tried again.
        after: Duration,
    },
    /// Not now: Ring can't be reached, or is busy itself.
    #[error("no live session can be opened now")]
    Unavailable,
    /// Never, for this reason: the device is offline or gone, its account unlinked, its budget spent.
    #[error("no live session can be opened: {0}")]
    Never(&'static str),
}

/// Where a capture is stored.
pub trait Sink: Clone + Debug + Send + Sync + 'static {
    /// Stores an object, in place of one that is there.
    fn put(&self, object: Object) -> impl Future<Output = Result<(), SinkError>> + Send;
    /// An object that was stored.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, SinkError>> + Send;
    /// Makes a film of objects that are stored.
    fn join(&self, reel: &Reel) -> impl Future<Output = Result<Film, SinkError>> + Send;
}

/// What was to be stored is not.
#[derive(Debug, thiserror::Error)]
#[error("the capture can't be stored")]
pub struct SinkError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
