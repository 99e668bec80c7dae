//! A world in memory: devices that send films, a Ring that lets sessions be for a while, a store that can be slow. Time is
//! Tokio's, which a test moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use shared::capture::manifest::{Film as Joined, Manifest};
use shared::edge::clock::signed;
use shared::world::Nature;
use tokio::time::{Instant, sleep, sleep_until};

use super::{FRAME, Film};
use crate::capture::Means;
use crate::ports::{Arrival, NotOpened, Opened, Peer, PeerError, Peers, Sessions, Sink, SinkError};
use crate::recording::{Object, Reel};
use crate::rtp::Packet;
use crate::session::Patience;

/// How a device and its Ring behave.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// What the device sends, from its first frame on, in each session.
    pub(crate) film: Film,
    /// How long Ring lets a session be.
    pub(crate) limit: Duration,
    /// How many sessions may be open at once.
    pub(crate) at_once: usize,
    /// How long Ring takes to open one.
    pub(crate) opens_in: Duration,
    /// The device sends nothing more after this.
    pub(crate) falls_silent_after: Duration,
    /// The first so many sessions send nothing.
    pub(crate) silent_sessions: u32,
    /// The first so many answers can't be used.
    pub(crate) useless_answers: u32,
    /// Why no session is opened.
    pub(crate) refuses: Option<NotOpened>,
    /// How long the store takes for an object.
    pub(crate) stores_in: Duration,
    /// The store takes nothing any more after so many objects.
    pub(crate) store_fails_after: usize,
}

/// All of it, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    habits: Habits,
    began: Instant,
    sessions: BTreeMap<u32, Instant>,
    opened: u32,
    most_at_once: usize,
    objects: BTreeMap<String, Bytes>,
    puts: usize,
}

impl World {
    pub(crate) fn new(film: Film) -> Self {
        let habits = Habits {
            film,
            limit: Duration::from_secs(30),
            at_once: 2,
            opens_in: Duration::from_millis(200),
            falls_silent_after: Duration::MAX,
            silent_sessions: 0,
            useless_answers: 0,
            refuses: None,
            stores_in: Duration::from_millis(20),
            store_fails_after: usize::MAX,
        };
        Self(Arc::new(Mutex::new(State {
            habits,
            began: Instant::now(),
            sessions: BTreeMap::new(),
            opened: 0,
            most_at_once: 0,
            objects: BTreeMap::new(),
            puts: 0,
        })))
    }

    pub(crate) fn with(self, change: impl FnOnce(&mut Habits)) -> Self {
        change(&mut self.state().habits);
        self
    }

    pub(crate) fn means(&self) -> Means<Self, Self, Self, Self> {
        Means {
            peers: self.clone(),
            sessions: self.clone(),
            sink: self.clone(),
            nature: self.clone(),
            patience: Patience::default(),
        }
    }

    /// Sessions that nobody has closed; those that Ring ended count too.
    pub(crate) fn open(&self) -> usize {
        self.state().sessions.len()
    }

    pub(crate) fn opened(&self) -> u32 {
        self.state().opened
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).cloned()
    }

    pub(crate) fn manifest(&self, key: &str) -> Manifest {
        serde_json::from_slice(&self.object(key).expect("a manifest")).expect("it can be read")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Nature for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_770_000_000).unwrap() + signed(self.state().began.elapsed())
    }

    fn random(&self) -> u128 {
        0
    }
}

/// The receiving end of a session with a device in memory.
pub(crate) struct Line {
    world: World,
    session: Option<u32>,
    began: Instant,
    packets: Vec<Packet>,
    next: usize,
}

impl Peers for World {
    type Peer = Line;

    async fn offer(&self) -> Result<(Line, String), PeerError> {
        let packets = self.state().habits.film.packets(0, 0);
        let line = Line {
            world: self.clone(),
            session: None,
            began: Instant::now(),
            packets,
            next: 0,
        };
        Ok((line, "offer".to_owned()))
    }
}

impl Peer for Line {
    async fn answer(&mut self, answer: &str) -> Result<(), PeerError> {
        let session: u32 = answer.parse().expect("the twin's own answer");
        self.session = Some(session);
        self.began = Instant::now();
        let useless = session <= self.world.state().habits.useless_answers;
        if useless {
            Err(PeerError("useless".into()))
        } else {
            Ok(())
        }
    }

    async fn next(&mut self) -> Arrival {
        let Some(packet) = self.packets.get(self.next).cloned() else {
            return std::future::pending().await;
        };
        let due = self.began + Duration::from_micros(66_667) * (packet.timestamp / FRAME);
        sleep_until(due).await;
        let sends = {
            let state = self.world.state();
            let session = self.session.unwrap_or_default();
            let open = state
                .sessions
                .get(&session)
                .is_some_and(|opened| opened.elapsed() < state.habits.limit);
            open && session > state.habits.silent_sessions && self.began.elapsed() < state.habits.falls_silent_after
        };
        if !sends {
            return std::future::pending().await;
        }
        self.next += 1;
        Arrival::Packet(self.world.state().habits.film.codec, packet)
    }

    async fn ask_key_frame(&mut self) {}

    fn overrun(&self) -> u64 {
        0
    }

    async fn close(self) {}
}

impl Sessions for World {
    type Session = u32;

    async fn open(&self, _offer: &str) -> Result<Opened<u32>, NotOpened> {
        let opens_in = self.state().habits.opens_in;
        sleep(opens_in).await;
        let mut state = self.state();
        if let Some(refused) = state.habits.refuses.clone() {
            return Err(refused);
        }
        let limit = state.habits.limit;
        let open = state
            .sessions
            .values()
            .filter(|opened| opened.elapsed() < limit)
            .count();
        if open >= state.habits.at_once {
            return Err(NotOpened::Busy {
                after: Duration::from_secs(1),
            });
        }
        state.opened += 1;
        state.most_at_once = state.most_at_once.max(open + 1);
        let session = state.opened;
        state.sessions.insert(session, Instant::now());
        Ok(Opened {
            session,
            answer: session.to_string(),
            limit,
        })
    }

    async fn close(&self, session: u32) {
        sleep(Duration::from_millis(50)).await;
        self.state().sessions.remove(&session);
    }
}

impl Sink for World {
    async fn put(&self, object: Object) -> Result<(), SinkError> {
        let stores_in = self.state().habits.stores_in;
        sleep(stores_in).await;
        let mut state = self.state();
        if state.puts >= state.habits.store_fails_after {
            return Err(SinkError("the store is gone".into()));
        }
        state.puts += 1;
        state.objects.insert(object.key, object.body);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, SinkError> {
        Ok(self.object(key))
    }

    async fn join(&self, reel: &Reel) -> Result<Joined, SinkError> {
        let mut film = reel.start.to_vec();
        for key in &reel.fragments {
            film.extend_from_slice(&self.object(key).ok_or_else(|| SinkError("it is not there".into()))?);
        }
        let bytes = film.len() as u64;
        self.state().objects.insert(reel.key.clone(), film.into());
        Ok(Joined {
            key: reel.key.clone(),
            bytes,
            sha256: "-".to_owned(),
        })
    }
}
