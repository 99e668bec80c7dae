//! The sessions that Ring holds to be open, and those that are over.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::film::Codec;
use super::habits::Habits;
use super::wire::Wire;
use crate::ring::lock;

/// How many sessions are remembered; of those that are over the oldest go first.
const KEPT: usize = 1_000;

/// All sessions, oldest first.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<Arc<Session>>>);

/// A session from its 201 on.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) device: String,
    pub(super) codec: Codec,
    pub(super) opened_at: Timestamp,
    /// When Ring ends it by itself.
    pub(super) ends_at: Timestamp,
    pub(super) habits: watch::Sender<Habits>,
    pub(super) wire: Arc<Wire>,
    pub(super) connected: AtomicBool,
    pub(super) frames: AtomicU64,
    pub(super) key_frames: AtomicU64,
    over: watch::Sender<Option<Over>>,
}

/// When a session ended, and what ended it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    at: Timestamp,
    by: &'static str,
}

impl Sessions {
    /// Opens a session, unless its device has as many as it may; none: no bound.
    pub(super) fn open(&self, session: Session, most: Option<usize>) -> Option<Arc<Session>> {
        let mut sessions = lock(&self.0);
        let of_device = |other: &&Arc<Session>| other.device == session.device && other.is_open();
        if most.is_some_and(|most| sessions.iter().filter(of_device).count() >= most) {
            return None;
        }
        if sessions.len() >= KEPT
            && let Some(oldest) = sessions.iter().position(|session| !session.is_open())
        {
            sessions.remove(oldest);
        }
        let session = Arc::new(session);
        sessions.push_back(Arc::clone(&session));
        Some(session)
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        lock(&self.0).iter().find(|session| session.id == id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.0).iter().cloned().collect()
    }

    /// How many are open.
    pub(crate) fn open_ones(&self) -> usize {
        lock(&self.0).iter().filter(|session| session.is_open()).count()
    }

    /// Ends those of a device.
    pub(crate) fn end_of_device(&self, device: &str, at: Timestamp, by: &'static str) {
        for session in self.all().iter().filter(|session| session.device == device) {
            session.end(at, by);
        }
    }

    /// Ends those of a user.
    pub(crate) fn end_of_user(&self, user: &str, at: Timestamp, by: &'static str) {
        for session in self.all().iter().filter(|session| session.user == user) {
            session.end(at, by);
        }
    }
}

impl Session {
    pub(super) fn new(
        id: String,
        (user, device): (String, String),
        codec: Codec,
        (opened_at, limit): (Timestamp, SignedDuration),
        habits: Habits,
        wire: Arc<Wire>,
    ) -> Self {
        Self {
            id,
            user,
            device,
            codec,
            opened_at,
            ends_at: opened_at.saturating_add(limit).unwrap_or(Timestamp::MAX),
            habits: watch::Sender::new(habits),
            wire,
            connected: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            key_frames: AtomicU64::new(0),
            over: watch::Sender::new(None),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.over.borrow().is_none()
    }

    /// Ends it; false: it was over before.
    pub(super) fn end(&self, at: Timestamp, by: &'static str) -> bool {
        self.over.send_if_modified(|over| {
            let first = over.is_none();
            if first {
                *over = Some(Over { at, by });
            }
            first
        })
    }

    /// Waits for its end, and tells when it was.
    pub(super) async fn ended(&self) -> Timestamp {
        let mut over = self.over.subscribe();
        let ended = over.wait_for(Option::is_some).await;
        ended.ok().and_then(|over| *over).map_or(self.ends_at, |over| over.at)
    }

    pub(super) fn view(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let over = *self.over.borrow();
        json!({
            "id": self.id,
            "user": self.user,
            "device": self.device,
            "codec": self.codec,
            "opened_at": self.opened_at.to_string(),
            "ends_at": self.ends_at.to_string(),
            "open": over.is_none(),
            "over": over.map(|over| json!({ "at": over.at.to_string(), "by": over.by })),
            "connected": self.connected.load(Ordering::Relaxed),
            "frames": count(&self.frames),
            "key_frames": count(&self.key_frames),
            "key_frames_asked": count(&self.wire.key_frames_asked),
            "packets": count(&self.wire.sent),
            "lost": count(&self.wire.lost),
            "retransmitted": count(&self.wire.retransmitted),
            "live": *self.habits.borrow(),
        })
    }
}
