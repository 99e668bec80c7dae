//! A capture: sessions, one after the other, until it is over, and one recording of them all.
//!
//! A session that nears Ring's limit is followed by the next before it ends, where Ring lets two be open; the first steps
//! back when the second shows its first frame. Where Ring does not, the next is opened as soon as the first is closed. What
//! is recorded is stored by a task of its own, so that a slow store neither loses packets nor leaves a session open.

use std::collections::VecDeque;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use jiff::Timestamp;
use shared::edge::clock::signed;
use shared::world::Nature;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::ports::{NotOpened, Opened, Peer as _, Peers, Sessions, Sink, SinkError};
use crate::recording::Recording;
use crate::session::{Ended, Event, Patience, Why, receive};
use crate::stream::Group;

/// The next session is opened this long before the limit of the one at hand: time for an answer, ICE, DTLS and a key frame.
const AHEAD: Duration = Duration::from_secs(3);
/// Where only one session may be open, it is closed this long before its limit: a session that Ring ends is seen by its
/// silence alone, which takes longer.
const BEFORE_LIMIT: Duration = Duration::from_millis(300);
/// How long after a session that came to nothing the next is tried. It doubles each time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So many sessions in a row that show nothing end a capture.
const MOST_IN_VAIN: u32 = 4;
/// The most that waits for the store. More, and sessions are not listened to.
const MOST_WAITING: usize = 8;
/// A session is not begun for less than this.
const WORTH_A_SESSION: Duration = Duration::from_secs(2);
/// How often an object is tried to be stored.
const TRIES: usize = 6;

/// What a capture is to do, which may change while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Until when to record.
    pub until: Timestamp,
    /// Why to stop before that, if so.
    pub stop: Option<String>,
    /// This process is to end: another one goes on.
    pub hand_over: bool,
}

/// How a capture ended, for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// As asked for.
    Complete,
    /// Before that, for this reason.
    Stopped(String),
    /// Another process is to go on.
    HandedOver,
    /// No session showed anything, or none could be opened.
    Failed(&'static str),
}

/// What a capture is done with.
#[derive(Clone, Debug)]
pub struct Means<P, S, K, N> {
    /// Receiving ends.
    pub peers: P,
    /// Ring.
    pub sessions: S,
    /// The store.
    pub sink: K,
    /// Time.
    pub nature: N,
    /// How patient sessions are.
    pub patience: Patience,
}

impl<P: Peers, S: Sessions, K: Sink, N: Nature> Means<P, S, K, N> {
    /// Records until the order says otherwise. What is returned has everything stored that it describes.
    pub async fn record(
        &self,
        recording: Recording,
        orders: watch::Receiver<Order>,
    ) -> Result<(Recording, Over), SinkError> {
        let (writes, to_write) = mpsc::channel(MOST_WAITING);
        let (events, heard) = mpsc::channel(MOST_WAITING);
        let writer = tokio::spawn(write(self.sink.clone(), recording, to_write));
        let control = Control {
            means: self,
            orders,
            events,
            heard,
            current: None,
            next: None,
            held: VecDeque::new(),
            opening: None,
            closing: JoinSet::new(),
            pending: VecDeque::new(),
            numbers: 0,
            alone: false,
            in_vain: 0,
            again_at: Instant::now(),
            failed: None,
            over: None,
        };
        let over = control.run(writes).await;
        let recording = writer.await.map_err(|error| SinkError(error.into()))??;
        Ok((recording, over))
    }
}

/// Makes the films of a recording that is over.
pub async fn finish<K: Sink>(sink: &K, mut recording: Recording) -> Result<Recording, SinkError> {
    let reels = recording.finish().map_err(|error| SinkError(error.into()))?;
    let mut films = Vec::new();
    for reel in &reels {
        let join = || sink.join(reel);
        films.push(join.retry(waits()).await?);
    }
    recording.finished(films);
    put(sink, recording.manifest_object()).await?;
    Ok(recording)
}

/// A session under way.
struct Running<S> {
    number: u32,
    session: Option<S>,
    /// Says that it is to end.
    tell: watch::Sender<bool>,
    /// When Ring ends it.
    limit_at: Instant,
    began_at: Timestamp,
    /// It was told to end, for this reason.
    why: Option<&'static str>,
    begun: bool,
}

/// A session that is open, with the receiving end of it, or why there is none.
type Made<P, S> = Result<(<P as Peers>::Peer, Opened<<S as Sessions>::Session>), NotOpened>;
/// One that is being opened.
type Opening<P, S> = JoinHandle<Made<P, S>>;

struct Control<'m, P: Peers, S: Sessions, K, N> {
    means: &'m Means<P, S, K, N>,
    orders: watch::Receiver<Order>,
    events: mpsc::Sender<(u32, Event)>,
    heard: mpsc::Receiver<(u32, Event)>,
    current: Option<Running<S::Session>>,
    /// One that is to follow the current one, and is open beside it.
    next: Option<Running<S::Session>>,
    /// What the next one has given already.
    held: VecDeque<Event>,
    opening: Option<Opening<P, S>>,
    closing: JoinSet<()>,
    pending: VecDeque<Write>,
    numbers: u32,
    /// Ring does not let two sessions be open.
    alone: bool,
    in_vain: u32,
    again_at: Instant,
    failed: Option<&'static str>,
    /// Once it is over, it is over.
    over: Option<Over>,
}

impl<P: Peers, S: Sessions, K: Sink, N: Nature> Control<'_, P, S, K, N> {
    async fn run(mut self, writes: mpsc::Sender<Write>) -> Over {
        loop {
            let over = self.over.take().or_else(|| self.is_over());
            self.over.clone_from(&over);
            match &over {
                Some(over) => self.end_all(over),
                None => self.keep_going(),
            }
            let nothing_left = self.current.is_none() && self.next.is_none() && self.opening.is_none();
            if let Some(over) = over
                && nothing_left
                && self.pending.is_empty()
            {
                while self.closing.join_next().await.is_some() {}
                return over;
            }
            let wake_at = self.wake_at();
            tokio::select! {
                Some((number, event)) = self.heard.recv(), if self.pending.len() < MOST_WAITING => self.hear(number, event),
                opened = opened::<P, S>(&mut self.opening) => self.opened(opened),
                permit = writes.reserve(), if !self.pending.is_empty() => match permit {
                    Ok(permit) => if let Some(write) = self.pending.pop_front() { permit.send(write) },
                    // The store failed for good, and its task tells why.
                    Err(_) => { self.failed = Some("store"); self.pending.clear(); }
                },
                changed = self.orders.changed() => if changed.is_err() { self.failed = Some("nobody asks for it any more"); },
                Some(_) = self.closing.join_next() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Whether it is over.
    fn is_over(&self) -> Option<Over> {
        if let Some(failed) = self.failed {
            return Some(Over::Failed(failed));
        }
        let order = self.orders.borrow();
        if let Some(stop) = &order.stop {
            return Some(Over::Stopped(stop.clone()));
        }
        if self.means.nature.now() >= order.until {
            return Some(Over::Complete);
        }
        order.hand_over.then_some(Over::HandedOver)
    }

    fn end_all(&mut self, over: &Over) {
        let why = match over {
            Over::Complete => "complete",
            Over::Stopped(_) => "stopped",
            Over::HandedOver => "handed_over",
            Over::Failed(_) => "failed",
        };
        for running in [&mut self.current, &mut self.next].into_iter().flatten() {
            end(running, why, &self.means.sessions, &mut self.closing);
        }
    }

    /// Opens what is to be opened, and closes what nears its limit.
    fn keep_going(&mut self) {
        let now = Instant::now();
        let left = self.left();
        match &mut self.current {
            None if self.opening.is_none() && self.next.is_none() && now >= self.again_at => self.open(),
            Some(current) if self.alone && current.limit_at <= now + BEFORE_LIMIT => {
                end(current, "limit", &self.means.sessions, &mut self.closing);
            }
            Some(current) => {
                let near = current.limit_at <= now + AHEAD && current.why.is_none();
                let beyond = current.limit_at + WORTH_A_SESSION < now + left;
                if near
                    && beyond
                    && !self.alone
                    && self.opening.is_none()
                    && self.next.is_none()
                    && now >= self.again_at
                {
                    self.open();
                }
            }
            None => {}
        }
    }

    /// How long it still goes on.
    fn left(&self) -> Duration {
        let left = self.orders.borrow().until.duration_since(self.means.nature.now());
        Duration::try_from(left).unwrap_or_default()
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let mut at = now + self.left().min(Duration::from_secs(3_600));
        if let Some(current) = &self.current {
            let before = if self.alone { BEFORE_LIMIT } else { AHEAD };
            at = at.min(current.limit_at.checked_sub(before).unwrap_or(now).max(self.again_at));
        } else {
            at = at.min(self.again_at);
        }
        // What is due now is done already: what is left of it is waited for by other means.
        at.max(now + Duration::from_millis(20))
    }

    fn open(&mut self) {
        let (peers, sessions) = (self.means.peers.clone(), self.means.sessions.clone());
        self.opening = Some(tokio::spawn(async move { open(&peers, &sessions).await }));
    }

    fn opened(&mut self, opened: Option<Made<P, S>>) {
        self.opening = None;
        match opened {
            Some(Ok((peer, opened))) => {
                let (tell, told) = watch::channel(false);
                self.numbers += 1;
                let running = Running {
                    number: self.numbers,
                    session: Some(opened.session),
                    tell,
                    limit_at: Instant::now() + opened.limit,
                    began_at: self.means.nature.now(),
                    why: None,
                    begun: false,
                };
                tokio::spawn(receive(
                    peer,
                    running.number,
                    self.means.patience,
                    told,
                    self.events.clone(),
                ));
                if self.current.is_some() {
                    self.next = Some(running);
                } else {
                    self.begin(running);
                }
            }
            Some(Err(NotOpened::Busy { .. })) if self.current.is_some() => self.alone = true,
            Some(Err(NotOpened::Busy { after })) => self.again_at = Instant::now() + after,
            Some(Err(NotOpened::Never(why))) => self.failed = Some(why),
            Some(Err(NotOpened::Unavailable)) | None => self.came_to_nothing("ring_unavailable"),
        }
    }

    fn begin(&mut self, running: Running<S::Session>) {
        self.pending.push_back(Write::Begin(running.began_at));
        self.current = Some(running);
    }

    fn came_to_nothing(&mut self, why: &'static str) {
        self.in_vain += 1;
        if self.in_vain >= MOST_IN_VAIN {
            self.failed = Some(why);
        }
        self.again_at = Instant::now() + AGAIN_AFTER * 2_u32.pow(self.in_vain.min(6) - 1);
    }

    fn hear(&mut self, number: u32, event: Event) {
        if matches!(event, Event::Begun) {
            self.in_vain = 0;
        }
        if self.next.as_ref().is_some_and(|next| next.number == number) {
            self.hear_next(event);
        } else if self.current.as_ref().is_some_and(|current| current.number == number) {
            self.hear_current(event);
        }
    }

    fn hear_next(&mut self, event: Event) {
        match event {
            Event::Begun => {
                if let Some(next) = &mut self.next {
                    next.begun = true;
                }
                if let Some(current) = &mut self.current {
                    end(current, "followed", &self.means.sessions, &mut self.closing);
                }
            }
            Event::Ended(_) if self.held.is_empty() => {
                // It came to nothing; the current one goes on.
                if let Some(mut next) = self.next.take() {
                    end(&mut next, "", &self.means.sessions, &mut self.closing);
                }
                self.came_to_nothing("no_video");
            }
            event => self.held.push_back(event),
        }
    }

    fn hear_current(&mut self, event: Event) {
        let Some(current) = &mut self.current else { return };
        match event {
            Event::Begun => current.begun = true,
            Event::Group(group) => self.pending.push_back(Write::Group(group, current.began_at)),
            Event::Ended(ended) => {
                let begun = current.begun;
                end(current, "", &self.means.sessions, &mut self.closing);
                let why = current.why.filter(|why| !why.is_empty()).unwrap_or(self.why_of(&ended));
                self.pending.push_back(Write::End(ended, why));
                self.current = None;
                self.follow(begun);
            }
        }
    }

    /// What follows a session that has ended.
    fn follow(&mut self, it_had_begun: bool) {
        if let Some(next) = self.next.take() {
            self.begin(next);
            for event in std::mem::take(&mut self.held) {
                self.hear_current(event);
            }
        } else if !it_had_begun {
            self.came_to_nothing("no_video");
        }
    }

    /// Near its limit, silence is how a session ends.
    fn why_of(&self, ended: &Ended) -> &'static str {
        let near = self
            .current
            .as_ref()
            .is_some_and(|current| current.limit_at <= Instant::now() + self.means.patience.packet);
        match ended.why {
            Why::Silence | Why::Gone if near => "limit",
            why => why.as_str(),
        }
    }
}

/// Has a session end: it is told so, and closed at Ring, once.
fn end<S: Sessions>(running: &mut Running<S::Session>, why: &'static str, sessions: &S, closing: &mut JoinSet<()>) {
    running.why = running.why.or(Some(why));
    running.tell.send_replace(true);
    if let Some(session) = running.session.take() {
        let sessions = sessions.clone();
        closing.spawn(async move { sessions.close(session).await });
    }
}

/// A session that is open, with its peer's answer taken. Whatever was opened and can't be used is closed.
async fn open<P: Peers, S: Sessions>(peers: &P, sessions: &S) -> Made<P, S> {
    let (mut peer, offer) = peers.offer().await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "no offer could be made");
        NotOpened::Unavailable
    })?;
    let opened = match sessions.open(&offer).await {
        Ok(opened) => opened,
        Err(not_opened) => {
            peer.close().await;
            return Err(not_opened);
        }
    };
    if let Err(error) = peer.answer(&opened.answer).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Ring's answer leads to no video"
        );
        sessions.close(opened.session).await;
        peer.close().await;
        return Err(NotOpened::Unavailable);
    }
    Ok((peer, opened))
}

/// What became of the session that is being opened; never, where none is.
async fn opened<P: Peers, S: Sessions>(opening: &mut Option<Opening<P, S>>) -> Option<Made<P, S>> {
    match opening {
        Some(opening) => opening.await.ok(),
        None => std::future::pending().await,
    }
}

/// What is to be written, in order.
enum Write {
    Begin(Timestamp),
    Group(Group, Timestamp),
    End(Ended, &'static str),
}

/// Writes what comes, until nothing more does.
async fn write<K: Sink>(
    sink: K,
    mut recording: Recording,
    mut writes: mpsc::Receiver<Write>,
) -> Result<Recording, SinkError> {
    while let Some(next) = writes.recv().await {
        match next {
            Write::Begin(at) => recording.begin_part(at),
            Write::Group(group, began_at) => match recording.take(&group, began_at) {
                Ok(objects) => {
                    for object in objects {
                        put(&sink, object).await?;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a group of pictures is left out"
                    );
                    continue;
                }
            },
            Write::End(ended, why) => {
                recording.count(ended.counts, ended.overrun);
                recording.end_part(why);
            }
        }
        // Last, so that it describes nothing that is not there.
        put(&sink, recording.manifest_object()).await?;
    }
    Ok(recording)
}

async fn put<K: Sink>(sink: &K, object: crate::recording::Object) -> Result<(), SinkError> {
    let put = || sink.put(object.clone());
    let again = |error: &SinkError, wait: Duration| {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            wait_ms = wait.as_millis(),
            "the store is tried again"
        );
    };
    put.retry(waits()).notify(again).await
}

fn waits() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(TRIES)
        .with_jitter()
}

/// An order to record for this long.
#[must_use]
pub fn order(now: Timestamp, duration: Duration) -> Order {
    Order {
        until: now + signed(duration),
        stop: None,
        hand_over: false,
    }
}

#[cfg(test)]
mod tests {
    use shared::capture::manifest::{Manifest, Missing, manifest_key};

    use super::*;
    use crate::codec::Codec;
    use crate::testing::Film;
    use crate::testing::twin::World;

    const KEY: &str = "media/a/d/med_1.mp4";

    /// A device whose film lasts a minute and a half, with a key frame every two seconds.
    fn world() -> World {
        World::new(Film::of(Codec::Avc, 1_400, 30, &crate::testing::sets(Codec::Avc)))
    }

    fn recording() -> Recording {
        Recording::new(Manifest::new("med_1"), KEY).unwrap()
    }

    fn manifest(world: &World) -> Manifest {
        world.manifest(&manifest_key(KEY))
    }

    /// Records for so many seconds, and makes the film.
    async fn recorded(world: &World, seconds: u64) -> (Manifest, Over) {
        let means = world.means();
        let (_order, orders) = watch::channel(order(world.now(), Duration::from_secs(seconds)));
        let (recording, over) = means.record(recording(), orders).await.unwrap();
        let recording = finish(world, recording).await.unwrap();
        assert_eq!(world.open(), 0, "every session is closed");
        assert_eq!(
            *recording.manifest(),
            manifest(world),
            "what is stored is what was recorded"
        );
        for key in recording.manifest().keys() {
            assert!(world.object(key).is_some(), "{key} is there");
        }
        (recording.manifest().clone(), over)
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_capture_is_one_session_and_one_film() {
        let world = world();
        let (manifest, over) = recorded(&world, 10).await;
        assert_eq!((over, world.opened()), (Over::Complete, 1));
        assert!(
            (9_500..=10_000).contains(&manifest.window().unwrap().duration),
            "{:?}",
            manifest.window()
        );
        assert_eq!(manifest.gaps, []);
        assert_eq!(manifest.parts[0].ended.as_deref(), Some("complete"));
        assert_eq!(manifest.films.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn trap_92_a_long_capture_is_a_chain_of_sessions_each_begun_before_the_limit_of_the_one_before() {
        let world = world();
        let (manifest, over) = recorded(&world, 80).await;
        assert_eq!((over, world.opened(), world.most_at_once()), (Over::Complete, 3, 2));
        assert!(manifest.window().unwrap().duration > 79_000, "{:?}", manifest.window());
        assert!(manifest.missing() <= 300, "{:?}", manifest.gaps);
        let ends: Vec<_> = manifest.parts.iter().filter_map(|part| part.ended.as_deref()).collect();
        assert_eq!(ends, ["followed", "followed", "complete"]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_ring_lets_one_session_be_open_the_next_follows_at_once() {
        let world = world().with(|habits| habits.at_once = 1);
        let (manifest, _) = recorded(&world, 80).await;
        assert_eq!((world.opened(), world.most_at_once()), (3, 1));
        assert_eq!(manifest.gaps.len(), 2);
        assert!(
            manifest
                .gaps
                .iter()
                .all(|gap| gap.why == Missing::BetweenSessions && gap.window.duration <= 400),
            "{:?}",
            manifest.gaps
        );
        let ends: Vec<_> = manifest.parts.iter().filter_map(|part| part.ended.as_deref()).collect();
        assert_eq!(ends, ["limit", "limit", "complete"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_falls_silent_is_asked_again_and_the_gap_is_told() {
        let world = world().with(|habits| habits.falls_silent_after = Duration::from_secs(5));
        let (manifest, over) = recorded(&world, 12).await;
        assert_eq!((over, world.opened()), (Over::Complete, 2));
        assert_eq!(manifest.parts[0].ended.as_deref(), Some("silence"));
        assert_eq!(manifest.gaps.len(), 1);
        assert!(
            (1_500..2_200).contains(&manifest.gaps[0].window.duration),
            "{:?}",
            manifest.gaps
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_connects_and_shows_nothing_is_given_up_with_every_session_closed() {
        let world = world().with(|habits| habits.silent_sessions = u32::MAX);
        let (manifest, over) = recorded(&world, 300).await;
        assert_eq!(over, Over::Failed("no_video"));
        assert_eq!(world.opened(), MOST_IN_VAIN);
        assert_eq!(manifest.window(), None);
        assert!(manifest.films.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_session_that_shows_nothing_is_no_end() {
        let world = world().with(|habits| habits.silent_sessions = 1);
        let (manifest, over) = recorded(&world, 30).await;
        assert_eq!(over, Over::Complete);
        assert_eq!(manifest.parts[0].ended.as_deref(), Some("no_frame"));
        assert!(manifest.window().unwrap().duration > 15_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_leads_to_no_video_closes_its_session_at_once() {
        let world = world().with(|habits| habits.useless_answers = 1);
        let (manifest, over) = recorded(&world, 10).await;
        assert_eq!((over, world.opened()), (Over::Complete, 2));
        assert!(manifest.window().unwrap().duration > 7_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ring_refuses_for_good_is_not_asked_again() {
        let world = world().with(|habits| habits.refuses = Some(NotOpened::Never("device_offline")));
        let before = Instant::now();
        let (_, over) = recorded(&world, 60).await;
        assert_eq!(over, Over::Failed("device_offline"));
        assert!(before.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_changes_is_followed() {
        let world = world();
        let means = world.means();
        let (change, orders) = watch::channel(order(world.now(), Duration::from_secs(5)));
        let began = world.now();
        let changes = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            change.send_modify(|order| order.until = began + signed(Duration::from_secs(20)));
            tokio::time::sleep(Duration::from_secs(9)).await;
            change.send_modify(|order| order.stop = Some("device_offline".to_owned()));
        };
        let (recorded, ()) = tokio::join!(means.record(recording(), orders), changes);
        let (recording, over) = recorded.unwrap();
        assert_eq!(over, Over::Stopped("device_offline".to_owned()));
        assert_eq!(world.open(), 0);
        let window = recording.manifest().window().unwrap();
        assert!((11_000..12_100).contains(&window.duration), "{window:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_to_end_closes_its_sessions_and_another_goes_on() {
        let world = world();
        let means = world.means();
        let all = order(world.now(), Duration::from_secs(20));
        let (change, orders) = watch::channel(all.clone());
        let hand_over = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            change.send_modify(|order| order.hand_over = true);
        };
        let (recorded, ()) = tokio::join!(means.record(recording(), orders), hand_over);
        assert_eq!(recorded.unwrap().1, Over::HandedOver);
        assert_eq!(world.open(), 0);

        let (_change, orders) = watch::channel(all);
        let stored = Recording::new(manifest(&world), KEY).unwrap();
        let (recording, over) = means.record(stored, orders).await.unwrap();
        let recording = finish(&world, recording).await.unwrap();
        assert_eq!(over, Over::Complete);
        let manifest = recording.manifest();
        assert_eq!(manifest.parts.len(), 2);
        assert!(manifest.window().unwrap().duration > 19_000);
        assert_eq!(manifest.inits.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_holds_nothing_up_and_loses_nothing() {
        let world = world().with(|habits| habits.stores_in = Duration::from_millis(900));
        let (manifest, over) = recorded(&world, 20).await;
        assert_eq!(over, Over::Complete);
        assert_eq!(
            manifest.parts.iter().map(|part| part.counts.packets_lost).sum::<u64>(),
            0
        );
        assert!(manifest.window().unwrap().duration > 19_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_for_good_ends_it_with_every_session_closed() {
        let world = world().with(|habits| habits.store_fails_after = 4);
        let means = world.means();
        let (_order, orders) = watch::channel(order(world.now(), Duration::from_secs(60)));
        assert!(means.record(recording(), orders).await.is_err());
        assert_eq!(world.open(), 0);
    }
}
