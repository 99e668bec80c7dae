//! The queue of events as SQS is one: it hands out at least once, in any order, hides what it has handed out for a while, counts
//! how often it did, and sets aside what it did too often. Beside it, quarantine.

use std::time::Duration;

use jiff::Timestamp;
use shared::device::Gone;
use shared::edge::clock::signed;
use shared::event::EventId;

/// The most messages that are handed out at once.
pub const BATCH: usize = 10;

/// What a message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A webhook's body, as it came.
    Body(Vec<u8>),
    /// That a recorded event is to be looked at again.
    Resume(EventId),
    /// That it is to be published again.
    Replay(EventId),
    /// That a listing does not show a device any more.
    Gone(Gone),
}

/// What those are told who fetch and record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// To fetch this medium.
    Fetch(String),
    /// To record this capture.
    Record(String),
    /// To close the live sessions of this device.
    CloseLive(String),
    /// To purge what has come due.
    Sweep,
}

/// A message as it is handed out.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same each time it is handed out.
    pub id: String,
    /// What it holds.
    pub content: Content,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// How often it was handed out, this time included.
    pub received: u32,
    /// Another each time it is handed out.
    pub receipt: u64,
    visible_at: Timestamp,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// After so many times a message is set aside.
    pub most_received: u32,
    /// How long a message is hidden that was handed out.
    pub hidden_for: Duration,
    /// One of so many messages that are handed out is seen by somebody else too.
    pub twice_in: u64,
    /// What was handed out too often.
    pub dead: Vec<Message>,
    /// What makes no sense, and why.
    pub quarantine: Vec<(Content, &'static str)>,
    /// What those were told who fetch and record.
    pub jobs: Vec<Job>,
    /// The most often that a message was handed out.
    pub most_seen: u32,
    messages: Vec<Message>,
    count: u64,
}

impl Default for Queue {
    /// About as the template has it, whose own numbers stand where a test is about them.
    fn default() -> Self {
        Self {
            most_received: 20,
            hidden_for: Duration::from_secs(360),
            twice_in: 50,
            dead: Vec::new(),
            quarantine: Vec::new(),
            jobs: Vec::new(),
            most_seen: 0,
            messages: Vec::new(),
            count: 0,
        }
    }
}

impl Queue {
    /// How many messages there are, hidden ones among them.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.messages.len()
    }

    /// Puts a message in, to be seen at once.
    pub fn send(&mut self, content: Content, now: Timestamp) {
        self.count += 1;
        self.messages.push(Message {
            id: format!("message-{}", self.count),
            content,
            sent_at: now,
            received: 0,
            receipt: 0,
            visible_at: now,
        });
    }

    /// Some of what can be seen, in no order.
    pub fn receive(&mut self, now: Timestamp, mut random: u128) -> Vec<Message> {
        let mut below = |bound: usize| {
            let number = random % bound.max(1) as u128;
            random = (random / bound.max(1) as u128) ^ random.rotate_left(31);
            usize::try_from(number).unwrap_or(0)
        };
        let mut received = Vec::new();
        while received.len() < BATCH {
            let visible: Vec<_> = (0..self.messages.len())
                .filter(|at| self.messages[*at].visible_at <= now)
                .collect();
            if visible.is_empty() {
                break;
            }
            let at = visible[below(visible.len())];
            if self.messages[at].received >= self.most_received {
                self.dead.push(self.messages.swap_remove(at));
                continue;
            }
            self.count += 1;
            let is_seen_twice = below(usize::try_from(self.twice_in).unwrap_or(usize::MAX)) == 1;
            let message = &mut self.messages[at];
            message.received += 1;
            message.receipt = self.count;
            // The copy that another server has is handed out a little later.
            let hidden = if is_seen_twice {
                Duration::from_millis(700)
            } else {
                self.hidden_for
            };
            message.visible_at = now + signed(hidden);
            self.most_seen = self.most_seen.max(message.received);
            received.push(message.clone());
        }
        received
    }

    /// A message that was handed out is not seen before `wait` has passed. One that was handed out again is somebody else's.
    pub(crate) fn put_off(&mut self, receipt: u64, wait: Duration, now: Timestamp) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.receipt == receipt) {
            message.visible_at = now + signed(wait);
        }
    }

    /// What was dealt with is forgotten, unless it was handed out again meanwhile.
    pub fn delete(&mut self, receipt: u64) {
        self.messages.retain(|message| message.receipt != receipt);
    }
}
