//! One live session, received: from the peer's answer to the last frame, whatever ends it. A peer that ends a session by
//! itself is seen by its silence; the transport's own word comes seconds later.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::codec::Codec;
use crate::ports::{Arrival, Peer};
use crate::stream::{self, Counts, Group, Stream};

/// How often time is looked at while nothing comes.
const TICK: Duration = Duration::from_millis(100);

/// How patient a session is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the first frame that can be decoded, from the answer on.
    pub first_frame: Duration,
    /// For the next packet.
    pub packet: Duration,
    /// For what is lost.
    pub stream: stream::Settings,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_frame: Duration::from_secs(10),
            packet: Duration::from_millis(1_500),
            stream: stream::Settings::default(),
        }
    }
}

/// What happens in a session.
#[derive(Debug)]
pub enum Event {
    /// The first frame is there that can be decoded.
    Begun,
    /// A group is whole.
    Group(Group),
    /// Nothing more will come.
    Ended(Ended),
}

/// How a session ended, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Why.
    pub why: Why,
    /// What became of packets and frames.
    pub counts: Counts,
    /// Packets that we were too slow for.
    pub overrun: u64,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// We were told to.
    Told,
    /// No frame came that can be decoded.
    NoFrame,
    /// Nothing came any more.
    Silence,
    /// The connection ended.
    Gone,
}

impl Why {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::NoFrame => "no_frame",
            Self::Silence => "silence",
            Self::Gone => "gone",
        }
    }
}

/// Receives a session, numbered `number` among those whose events go the same way, until it ends or is told to.
pub async fn receive<P: Peer>(
    mut peer: P,
    number: u32,
    patience: Patience,
    mut told: watch::Receiver<bool>,
    events: mpsc::Sender<(u32, Event)>,
) {
    let mut session = Session {
        number,
        patience,
        began: Instant::now(),
        last_packet: None,
        stream: None,
        foreign: 0,
        begun: false,
        events,
    };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let why = loop {
        tokio::select! {
            _ = told.wait_for(|told| *told) => break Why::Told,
            arrival = peer.next() => match arrival {
                Arrival::Packet(codec, packet) => session.packet(codec, packet),
                Arrival::Gone => break Why::Gone,
            },
            now = ticks.tick() => {
                if session.deadline() <= now {
                    break session.too_late();
                }
                session.tick();
            }
        }
        if session.wishes_key_frame() {
            peer.ask_key_frame().await;
        }
        session.hand_out().await;
    };
    session.finish(why, peer.overrun()).await;
    peer.close().await;
}

struct Session {
    number: u32,
    patience: Patience,
    began: Instant,
    last_packet: Option<Instant>,
    stream: Option<(Codec, Stream)>,
    /// Packets of another codec than the first.
    foreign: u64,
    begun: bool,
    events: mpsc::Sender<(u32, Event)>,
}

impl Session {
    fn packet(&mut self, codec: Codec, packet: crate::rtp::Packet) {
        let now = Instant::now();
        self.last_packet = Some(now);
        let at = now - self.began;
        match &mut self.stream {
            Some((of, stream)) if *of == codec => stream.packet(packet, at),
            // A peer may send what it negotiated, in turns; no device does. The session keeps to what came first.
            Some(_) => self.foreign += 1,
            stream @ None => {
                let (_, stream) = stream.insert((codec, Stream::new(codec, self.patience.stream)));
                stream.packet(packet, at);
            }
        }
    }

    fn tick(&mut self) {
        let at = Instant::now() - self.began;
        if let Some((_, stream)) = &mut self.stream {
            stream.tick(at);
        }
    }

    fn wishes_key_frame(&mut self) -> bool {
        let at = Instant::now() - self.began;
        self.stream
            .as_mut()
            .is_some_and(|(_, stream)| stream.wishes_key_frame(at))
    }

    /// When it is over unless something comes.
    fn deadline(&self) -> Instant {
        let first_frame = (!self.begun).then(|| self.began + self.patience.first_frame);
        let packet = self.last_packet.map(|last| last + self.patience.packet);
        match (first_frame, packet) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other).unwrap_or(self.began + self.patience.first_frame),
        }
    }

    fn too_late(&self) -> Why {
        if self.begun { Why::Silence } else { Why::NoFrame }
    }

    /// Hands out what is whole. Where nobody takes it, nothing more is received: what comes meanwhile waits in the peer's
    /// own queue, which is bounded.
    async fn hand_out(&mut self) {
        let begins = !self.begun && self.stream.as_ref().is_some_and(|(_, stream)| stream.has_begun());
        if begins {
            self.begun = true;
            self.tell(Event::Begun).await;
        }
        while let Some(group) = self.stream.as_mut().and_then(|(_, stream)| stream.group()) {
            self.tell(Event::Group(group)).await;
        }
    }

    async fn finish(mut self, why: Why, overrun: u64) {
        let at = Instant::now() - self.began;
        if let Some((_, stream)) = &mut self.stream {
            stream.finish(at);
        }
        self.hand_out().await;
        let mut counts = self
            .stream
            .as_ref()
            .map(|(_, stream)| stream.counts())
            .unwrap_or_default();
        counts.malformed += self.foreign;
        self.tell(Event::Ended(Ended { why, counts, overrun })).await;
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more: then nothing is wanted of it.
        let _told = self.events.send((self.number, event)).await;
    }
}
