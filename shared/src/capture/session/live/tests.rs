use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use ring_partner::oauth::AccessToken;
use ring_partner::whep::{LocationError, SessionUrl};

use super::*;
use crate::capture::session::Learned;

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=recvonly\r\n\
    a=rtpmap:102 H264/90000\r\na=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\n";

const ANSWER: &str =
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=sendonly\r\n";

const URL: &str = "https://api.amazonvision.com/s1";

/// All that sessions stand on, in memory, with what goes wrong on order.
#[derive(Clone, Default)]
struct House(Arc<Inside>);

#[derive(Default)]
struct Inside {
    now: AtomicI64,
    kept: Mutex<HashMap<String, Session>>,
    learned: Mutex<Learned>,
    reminded: Mutex<Vec<String>>,
    /// How many sessions Ring has open, whether or not it told.
    at_ring: Mutex<usize>,
    answers: Mutex<Vec<Answer>>,
    /// The calls of Ring, in order.
    asked: Mutex<Vec<&'static str>>,
    queue_fails: Mutex<bool>,
    keep_fails: Mutex<bool>,
    close_fails: Mutex<bool>,
}

/// What Ring does when it is asked for a session.
#[derive(Clone, Copy)]
enum Answer {
    Opens(&'static str),
    OpensSomewhere,
    Loses,
    Garbles,
    Refuses(&'static str),
}

impl House {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + self.0.now.load(Ordering::SeqCst)).unwrap()
    }

    fn later(&self, seconds: i64) {
        self.0.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn sessions(&self) -> LiveSessions<Self, Self, Self> {
        LiveSessions {
            closer: Closer {
                sessions: self.clone(),
                ring: self.clone(),
            },
            reminders: self.clone(),
            usual: Duration::from_secs(60),
        }
    }

    fn answers(&self, answer: Answer) {
        self.0.answers.lock().unwrap().push(answer);
    }

    async fn open(&self) -> Result<(Session, String), OpenFailure> {
        self.open_for(None).await
    }

    async fn open_for(&self, capture: Option<&MediumId>) -> Result<(Session, String), OpenFailure> {
        let (account, device) = (AccountId::new("a").unwrap(), DeviceId::new("d").unwrap());
        let grant = GrantId::new(1);
        let asked = Asked {
            account: &account,
            device: &device,
            grant: &grant,
            capture,
        };
        let id = format!("live_{}", self.0.asked.lock().unwrap().len());
        let offer = Offer::parse(OFFER).unwrap();
        self.sessions().open(id, asked, &offer, self, || self.now()).await
    }

    async fn close(&self, session: Session) -> Result<(), CloseFailure> {
        let grant = GrantId::new(1);
        self.sessions().closer.close(session, &grant, self, self.now()).await
    }

    /// What whoever comes by the message does.
    async fn remind_of(&self, id: &str) -> Result<(), CloseFailure> {
        let account = AccountId::new("a").unwrap();
        match self.get(&account, id).await.unwrap() {
            Some(session) => self.close(session).await,
            None => Ok(()),
        }
    }

    fn at_ring(&self) -> usize {
        *self.0.at_ring.lock().unwrap()
    }
}

impl Sessions for House {
    async fn learned(&self, _: &AccountId, _: &DeviceId) -> Result<Learned, StoreError> {
        Ok(*self.0.learned.lock().unwrap())
    }

    async fn take(&self, session: &Session, now: Timestamp) -> Result<Taken, StoreError> {
        let mut kept = self.0.kept.lock().unwrap();
        // A slot has one holder; what the same capture has open is followed.
        let is_followed = |other: &&Session| {
            session.capture.is_some() && other.capture == session.capture && other.state != State::Lost
        };
        if let Some(other) = kept.values().find(|other| other.blocks(now) && !is_followed(other)) {
            return Ok(Taken::No { until: other.until });
        }
        kept.insert(session.id.clone(), session.clone());
        Ok(Taken::Yes)
    }

    async fn keep(&self, session: &Session) -> Result<(), StoreError> {
        if std::mem::take(&mut *self.0.keep_fails.lock().unwrap()) {
            return Err(StoreError::Unavailable("throttled".into()));
        }
        let mut kept = self.0.kept.lock().unwrap();
        let place = kept.get_mut(&session.id).ok_or(StoreError::Conflict)?;
        *place = session.clone();
        Ok(())
    }

    async fn get(&self, _: &AccountId, id: &str) -> Result<Option<Session>, StoreError> {
        Ok(self.0.kept.lock().unwrap().get(id).cloned())
    }

    async fn of_account(&self, _: &AccountId) -> Result<Vec<Session>, StoreError> {
        Ok(self.0.kept.lock().unwrap().values().cloned().collect())
    }

    async fn over(&self, session: &Session, learned: Option<Learned>) -> Result<(), StoreError> {
        assert_eq!(session.state, State::Closed);
        if let Some(learned) = learned {
            *self.0.learned.lock().unwrap() = learned;
        }
        self.0.kept.lock().unwrap().remove(&session.id);
        Ok(())
    }
}

impl Live for House {
    async fn open(&self, _: &AccessToken, _: &DeviceId, _: &Offer) -> Result<ring_partner::whep::Session, OpenError> {
        self.0.asked.lock().unwrap().push("open");
        // Written down, and somebody will come, before Ring is asked.
        assert!(
            self.0
                .kept
                .lock()
                .unwrap()
                .values()
                .any(|kept| kept.state == State::Opening)
        );
        assert!(!self.0.reminded.lock().unwrap().is_empty());
        let unclear = || ring_partner::Error::Unclear(ring_partner::error::Unclear::TimedOut);
        let answer = self.0.answers.lock().unwrap().pop().unwrap_or(Answer::Opens(ANSWER));
        if !matches!(answer, Answer::Refuses(_)) {
            *self.0.at_ring.lock().unwrap() += 1;
        }
        let url = SessionUrl::kept(URL);
        match answer {
            Answer::Opens(answer) => Ok(ring_partner::whep::Session {
                location: url,
                answer: answer.to_owned(),
                request_id: None,
            }),
            Answer::OpensSomewhere => Ok(ring_partner::whep::Session {
                location: Err(LocationError::Missing),
                answer: ANSWER.to_owned(),
                request_id: None,
            }),
            Answer::Loses => Err(OpenError::MayBeOpen {
                location: None,
                source: unclear(),
            }),
            Answer::Garbles => Err(OpenError::MayBeOpen {
                location: url.ok(),
                source: unclear(),
            }),
            Answer::Refuses(why) => Err(OpenError::NotOpened(ring_partner::Error::NotSent(
                ring_partner::error::NotSent::Invalid(why),
            ))),
        }
    }

    async fn close(&self, _: &AccessToken, session: &SessionUrl) -> Result<Ended, ring_partner::Error> {
        self.0.asked.lock().unwrap().push("close");
        assert_eq!(session.as_str(), URL);
        if *self.0.close_fails.lock().unwrap() {
            return Err(ring_partner::Error::Unclear(ring_partner::error::Unclear::TimedOut));
        }
        let mut open = self.0.at_ring.lock().unwrap();
        let ended = if *open > 0 { Ended::Now } else { Ended::Before };
        *open = open.saturating_sub(1);
        Ok(ended)
    }
}

impl Reminders for House {
    async fn remind(&self, session: &Session, _: Timestamp) -> Result<(), QueueError> {
        if *self.0.queue_fails.lock().unwrap() {
            return Err(QueueError("no queue".into()));
        }
        self.0.reminded.lock().unwrap().push(session.id.clone());
        Ok(())
    }
}

impl Bearer for House {
    async fn with<T, F>(
        &self,
        _: &GrantId,
        _: Timestamp,
        call: impl Fn(AccessToken) -> F + Send + Sync,
    ) -> Result<T, CallError>
    where
        T: Send,
        F: Future<Output = Result<T, ring_partner::Error>> + Send,
    {
        Ok(call(AccessToken::new("token").unwrap()).await?)
    }
}

#[tokio::test]
async fn a_session_is_written_down_before_ring_is_asked_and_gone_when_it_is_closed() {
    let house = House::default();
    let (session, answer) = house.open().await.unwrap();
    assert!(answer.contains("m=video 9"));
    assert!(matches!(house.open().await, Err(OpenFailure::Busy { until }) if until == session.until));
    house.close(session.clone()).await.unwrap();
    assert_eq!((house.at_ring(), house.0.kept.lock().unwrap().len()), (0, 0));
    // Again, and by the message.
    house.close(session).await.unwrap();
    house.remind_of("live_0").await.unwrap();
    assert_eq!(*house.0.asked.lock().unwrap(), ["open", "close"]);
    house.open().await.unwrap();
}

#[tokio::test]
async fn a_session_that_nobody_closed_is_closed_by_the_message() {
    let house = House::default();
    house.open().await.unwrap();
    house.later(65);
    house.remind_of("live_0").await.unwrap();
    assert_eq!((house.at_ring(), house.0.kept.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn trap_94_after_a_lost_answer_nothing_is_opened_before_the_limit() {
    let house = House::default();
    house.answers(Answer::Loses);
    assert!(matches!(house.open().await, Err(OpenFailure::Unavailable { .. })));
    assert_eq!(*house.0.asked.lock().unwrap(), ["open"], "it is not asked again");
    house.later(64);
    assert!(matches!(house.open().await, Err(OpenFailure::Busy { .. })));
    assert!(matches!(
        house.remind_of("live_0").await,
        Err(CloseFailure::EndsByItself { .. })
    ));
    house.later(1);
    house.remind_of("live_0").await.unwrap();
    assert!(house.0.kept.lock().unwrap().is_empty());
    house.open().await.unwrap();
}

#[tokio::test]
async fn trap_89_a_session_with_no_place_to_close_it_is_seen_and_waited_out() {
    let house = House::default();
    house.answers(Answer::OpensSomewhere);
    let (session, _) = house.open().await.unwrap();
    assert_eq!(session.state, State::Lost);
    assert!(matches!(
        house.close(session).await,
        Err(CloseFailure::EndsByItself { .. })
    ));
    assert_eq!(*house.0.asked.lock().unwrap(), ["open"]);
}

#[tokio::test]
async fn what_opened_a_session_and_can_not_be_used_is_closed_at_once() {
    for answer in [
        Answer::Garbles,
        Answer::Opens("v=0\r\n"),
        Answer::Opens("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=inactive\r\n"),
    ] {
        let house = House::default();
        house.answers(answer);
        assert!(matches!(house.open().await, Err(OpenFailure::Unavailable { .. })));
        assert_eq!((house.at_ring(), house.0.kept.lock().unwrap().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_session_whose_place_can_not_be_kept_is_closed_at_once() {
    let house = House::default();
    *house.0.keep_fails.lock().unwrap() = true;
    assert!(matches!(house.open().await, Err(OpenFailure::Store(_))));
    assert_eq!(house.at_ring(), 0);
    // Its device is kept until then all the same: the row says that it may be open.
    assert!(matches!(house.open().await, Err(OpenFailure::Busy { .. })));
}

#[tokio::test]
async fn what_surely_opened_nothing_frees_the_device() {
    let house = House::default();
    house.answers(Answer::Refuses("no"));
    assert!(house.open().await.is_err());
    *house.0.queue_fails.lock().unwrap() = true;
    assert!(matches!(house.open().await, Err(OpenFailure::Queue(_))));
    assert_eq!(
        *house.0.asked.lock().unwrap(),
        ["open"],
        "without the message Ring is not asked"
    );
    *house.0.queue_fails.lock().unwrap() = false;
    house.open().await.unwrap();
}

#[tokio::test]
async fn closing_goes_on_while_ring_is_out_of_reach_and_ends_some_time() {
    let house = House::default();
    let (session, _) = house.open().await.unwrap();
    *house.0.close_fails.lock().unwrap() = true;
    assert!(matches!(house.close(session).await, Err(CloseFailure::Ring(_))));
    house.later(65);
    assert!(house.remind_of("live_0").await.is_err());
    // Its device is free all the same.
    assert!(!house.0.kept.lock().unwrap()["live_0"].blocks(house.now()));
    house.later(600);
    house.remind_of("live_0").await.unwrap();
    assert!(house.0.kept.lock().unwrap().is_empty());
}

#[tokio::test]
async fn trap_93_closing_teaches_how_long_a_devices_sessions_last() {
    let house = House::default();
    for _ in 0..3 {
        let (session, _) = house.open().await.unwrap();
        house.later(45);
        *house.0.at_ring.lock().unwrap() = 0;
        house.close(session).await.unwrap();
    }
    let (session, _) = house.open().await.unwrap();
    assert_eq!(session.until, house.now() + signed(Duration::from_secs(35)));
}

#[tokio::test]
async fn a_capture_follows_its_own_session_and_nobody_elses() {
    let house = House::default();
    let (one, other) = (MediumId::from("med_1".to_owned()), MediumId::from("med_2".to_owned()));
    let (first, _) = house.open_for(Some(&one)).await.unwrap();
    for taken in [house.open_for(Some(&other)).await, house.open().await] {
        assert!(matches!(taken, Err(OpenFailure::Busy { .. })), "{taken:?}");
    }
    let (second, _) = house.open_for(Some(&one)).await.unwrap();
    assert_ne!(first.id, second.id);
    house.close(first).await.unwrap();
    assert!(
        matches!(house.open().await, Err(OpenFailure::Busy { .. })),
        "the second has it"
    );
    house.close(second).await.unwrap();
    house.open().await.unwrap();
}

#[tokio::test]
async fn trap_94_a_capture_whose_answer_was_lost_waits_as_a_viewer_does() {
    let house = House::default();
    let capture = MediumId::from("med_1".to_owned());
    house.answers(Answer::Loses);
    assert!(house.open_for(Some(&capture)).await.is_err());
    assert!(matches!(
        house.open_for(Some(&capture)).await,
        Err(OpenFailure::Busy { .. })
    ));
    house.later(65);
    house.remind_of("live_0").await.unwrap();
    house.open_for(Some(&capture)).await.unwrap();
}
