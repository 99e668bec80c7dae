//! One session's video: packets in, groups of pictures out, each of which can be stored and played for itself.
//!
//! A frame that lost a part is left out, and so is all that follows from it, until the next whole key frame, which is
//! asked for. A sender that neither repairs nor answers would lose nearly everything that way: when seconds were lost so,
//! damaged frames are kept, and counted. No I/O; time is passed in, as it passed since the session began.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::Codec;
use crate::frame::{Assembler, Frame, Item};
use crate::rtp::reorder::{self, Reorder, Step};
use crate::rtp::{CLOCK, Packet};
use crate::sets::{Configuration, Picture, Sets};

/// A key frame is asked for twice a second at most.
const BETWEEN_WISHES: Duration = Duration::from_millis(500);
/// A session begins with a key frame; it is asked for where it has not come by then.
const FIRST_WISH_AFTER: Duration = Duration::from_millis(300);
/// A time stamp that is this far from where the clock is begins anew.
const CLOCK_MAY_DIFFER: i64 = 5 * CLOCK.cast_signed();
/// The most of one group, where a camera sends key frames seldom.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// The most frames of one group.
const MOST_FRAMES: usize = 1_024;
/// How long a frame lasts where nothing tells.
const FRAME_LASTS: u64 = CLOCK / 15;

/// How patient a stream is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For a packet that is missing.
    pub repair: Duration,
    /// For whole key frames, in all of the session, before damaged frames are kept.
    pub patience: Duration,
    /// For the next key frame, before what there is is handed out.
    pub group: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            repair: Duration::from_millis(700),
            patience: Duration::from_secs(4),
            group: Duration::from_secs(4),
        }
    }
}

/// Frames that are stored together, in the order in which they are decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they are decoded with.
    pub configuration: Arc<Configuration>,
    /// The frames; never none.
    pub samples: Vec<Sample>,
    /// When the frame after them begins, in ticks of [`CLOCK`].
    pub ends: u64,
    /// When its first frame arrived.
    pub arrived: Duration,
}

/// A frame of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it is shown, in ticks of [`CLOCK`].
    pub time: u64,
    /// Whether decoding can begin at it.
    pub key: bool,
    /// Whether something is missing of it, or of what it follows from.
    pub damaged: bool,
    /// Its units.
    pub units: Vec<Bytes>,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of packets.
    pub packets: reorder::Counts,
    /// Payloads that made no sense.
    pub malformed: u64,
    /// Frames that were kept.
    pub kept: u64,
    /// Those of them that are damaged.
    pub damaged: u64,
    /// Frames that were left out, from the first that was kept on.
    pub dropped: u64,
}

/// Whether what comes follows from what was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// No key frame has come yet.
    Unbegun { since: Option<Duration> },
    /// It does.
    Whole,
    /// Something was lost.
    Broken { since: Duration },
}

/// A session's video.
#[derive(Debug)]
pub struct Stream {
    settings: Settings,
    reorder: Reorder,
    assembler: Assembler,
    sets: Sets,
    clock: Clock,
    chain: Chain,
    /// For how long it was broken before.
    was_broken: Duration,
    /// The sender does not repair: what is damaged is kept.
    tolerant: bool,
    open: Option<Group>,
    open_bytes: usize,
    groups: VecDeque<Group>,
    wished: Option<Duration>,
    counts: Counts,
    items: Vec<Item>,
}

impl Stream {
    /// A stream of this codec.
    #[must_use]
    pub fn new(codec: Codec, settings: Settings) -> Self {
        Self {
            settings,
            reorder: Reorder::new(settings.repair),
            assembler: Assembler::new(codec),
            sets: Sets::new(codec),
            clock: Clock::default(),
            chain: Chain::Unbegun { since: None },
            was_broken: Duration::ZERO,
            tolerant: false,
            open: None,
            open_bytes: 0,
            groups: VecDeque::new(),
            wished: None,
            counts: Counts::default(),
            items: Vec::new(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            packets: self.reorder.counts(),
            malformed: self.assembler.malformed(),
            ..self.counts
        }
    }

    /// Whether a key frame has come that can be decoded.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.counts.kept > 0
    }

    /// Takes a packet, which arrived at `at`.
    pub fn packet(&mut self, packet: Packet, at: Duration) {
        if let Chain::Unbegun { since: since @ None } = &mut self.chain {
            *since = Some(at);
        }
        self.reorder.push(packet, at);
        self.tick(at);
    }

    /// Goes on with what is known at `at`.
    pub fn tick(&mut self, at: Duration) {
        while let Some(step) = self.reorder.step(at) {
            self.step(&step, at);
        }
    }

    /// Nothing more will come: hands out all that there is.
    pub fn finish(&mut self, at: Duration) {
        while let Some(step) = self.reorder.drain() {
            self.step(&step, at);
        }
        let mut items = std::mem::take(&mut self.items);
        self.assembler.close(&mut items);
        // A frame that was on its way is no loss.
        items.retain(|item| !matches!(item, Item::Frame(frame) if frame.damaged));
        for item in items.drain(..) {
            self.item(item, at);
        }
        let ends = self.clock.shown() + self.clock.lasts.unwrap_or(FRAME_LASTS);
        self.close(ends);
    }

    /// The next group.
    pub fn group(&mut self) -> Option<Group> {
        self.groups.pop_front()
    }

    /// Whether to ask the sender for a key frame now. It is taken to be asked when this says so.
    pub fn wishes_key_frame(&mut self, at: Duration) -> bool {
        let due = match self.chain {
            Chain::Whole | Chain::Unbegun { since: None } => false,
            Chain::Unbegun { since: Some(since) } => since + FIRST_WISH_AFTER <= at,
            Chain::Broken { .. } => true,
        };
        let wishes = due && self.wished.is_none_or(|wished| wished + BETWEEN_WISHES <= at);
        if wishes {
            self.wished = Some(at);
        }
        wishes
    }

    fn step(&mut self, step: &Step, at: Duration) {
        let mut items = std::mem::take(&mut self.items);
        match step {
            Step::Packet(packet, arrived) => self.assembler.packet(packet, *arrived, &mut items),
            Step::Lost(_) => self.assembler.gap(&mut items),
        }
        for item in items.drain(..) {
            self.item(item, at);
        }
        self.items = items;
    }

    fn item(&mut self, item: Item, at: Duration) {
        match item {
            Item::Gap => self.broken(at),
            Item::Frame(frame) => self.frame(frame, at),
        }
    }

    fn broken(&mut self, at: Duration) {
        if self.chain == Chain::Whole {
            self.chain = Chain::Broken { since: at };
        }
    }

    fn frame(&mut self, mut frame: Frame, at: Duration) {
        let picture = self.sets.strip(&mut frame);
        if picture == Picture::None {
            // Nothing of it is left, or it was none.
            self.counts.dropped += u64::from(frame.damaged && self.has_begun());
            return;
        }
        let time = self.clock.time(frame.timestamp, frame.arrived);
        if frame.damaged {
            self.broken(at);
        }
        let key = picture == Picture::Key;
        if key && !frame.damaged && self.sets.current().is_some() {
            if let Chain::Broken { since } = self.chain {
                self.was_broken += at.saturating_sub(since);
            }
            self.chain = Chain::Whole;
        }
        let whole = self.chain == Chain::Whole;
        if !whole && !self.keeps_damaged(key, at) {
            // What comes before the first key frame is none of the film: its start may have been lost for good.
            self.counts.dropped += u64::from(self.has_begun());
            return;
        }
        self.counts.kept += 1;
        self.counts.damaged += u64::from(!whole);
        let arrived = frame.arrived;
        self.add(
            Sample {
                time,
                key,
                damaged: !whole,
                units: frame.units,
            },
            arrived,
        );
    }

    /// Whether a frame is kept that can't be decoded faultlessly.
    fn keeps_damaged(&mut self, key: bool, at: Duration) -> bool {
        let since = match self.chain {
            Chain::Whole => return true,
            Chain::Unbegun { since } => since.unwrap_or(at),
            Chain::Broken { since } => since,
        };
        if self.sets.current().is_none() {
            return false;
        }
        self.tolerant |= self.was_broken + at.saturating_sub(since) >= self.settings.patience;
        // Ahead of any key frame there is nothing to see at all.
        self.tolerant && (key || self.has_begun())
    }

    fn add(&mut self, sample: Sample, arrived: Duration) {
        let Some(configuration) = self.sets.current().cloned() else {
            return;
        };
        let bytes: usize = sample.units.iter().map(|unit| unit.len() + 4).sum();
        let ends_here = self.open.as_ref().is_some_and(|open| {
            let lasts = sample.time.saturating_sub(open.samples[0].time);
            sample.key
                || open.configuration != configuration
                || lasts >= ticks(self.settings.group)
                || self.open_bytes + bytes > MOST_BYTES
                || open.samples.len() >= MOST_FRAMES
        });
        if ends_here {
            self.close(sample.time);
        }
        self.open_bytes += bytes;
        match &mut self.open {
            Some(open) => open.samples.push(sample),
            None => {
                self.open = Some(Group {
                    configuration,
                    ends: sample.time,
                    samples: vec![sample],
                    arrived,
                });
            }
        }
    }

    fn close(&mut self, ends: u64) {
        self.open_bytes = 0;
        if let Some(mut group) = self.open.take() {
            let shown = group.samples.iter().map(|sample| sample.time).max().unwrap_or(ends);
            group.ends = ends.max(shown + 1);
            self.groups.push_back(group);
        }
    }
}

/// A stream's clock: time stamps as ticks since a little before its first frame, whatever the sender's clock does.
#[derive(Debug, Default)]
struct Clock {
    /// The last frame's time stamp, arrival and ticks.
    last: Option<(u64, Duration, u64)>,
    /// How long the last frame but one was shown.
    lasts: Option<u64>,
}

impl Clock {
    /// Room below, for frames that are shown before the first.
    const FIRST: u64 = 10 * CLOCK;

    fn shown(&self) -> u64 {
        self.last.map_or(Self::FIRST, |(_, _, time)| time)
    }

    fn time(&mut self, timestamp: u64, arrived: Duration) -> u64 {
        let time = match self.last {
            None => Self::FIRST,
            Some((last, last_arrived, shown)) => {
                let told = timestamp.wrapping_sub(last).cast_signed();
                let passed = ticks(arrived).wrapping_sub(ticks(last_arrived)).cast_signed();
                let by = if (told - passed).abs() > CLOCK_MAY_DIFFER {
                    passed.max(1)
                } else {
                    told
                };
                self.lasts = u64::try_from(by)
                    .ok()
                    .filter(|by| (1..=CLOCK).contains(by))
                    .or(self.lasts);
                shown.saturating_add_signed(by)
            }
        };
        self.last = Some((timestamp, arrived, time));
        time
    }
}

/// A duration in ticks of [`CLOCK`].
#[must_use]
pub fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros() * u128::from(CLOCK) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, FRAME, Film};

    const BETWEEN: Duration = Duration::from_micros(66_667);

    /// Sends a film at its own pace, without the packets that `lost` names, and says when a key frame was asked for.
    fn sent(stream: &mut Stream, packets: &[Packet], lost: impl Fn(usize) -> bool) -> (Vec<Group>, Vec<Duration>) {
        let mut wishes = Vec::new();
        let mut at = Duration::ZERO;
        for (index, packet) in packets.iter().enumerate() {
            at = BETWEEN * (packet.timestamp.wrapping_sub(packets[0].timestamp) / FRAME);
            if !lost(index) {
                stream.packet(packet.clone(), at);
            }
            if stream.wishes_key_frame(at) {
                wishes.push(at);
            }
        }
        stream.finish(at);
        (std::iter::from_fn(|| stream.group()).collect(), wishes)
    }

    fn frames(groups: &[Group]) -> Vec<&Sample> {
        groups.iter().flat_map(|group| &group.samples).collect()
    }

    #[test]
    fn a_film_that_comes_whole_is_its_groups() {
        for codec in [Codec::Avc, Codec::Hevc] {
            let film = Film::new(codec, 10);
            let mut stream = Stream::new(codec, Settings::default());
            let (groups, wishes) = sent(&mut stream, &film.packets(65_530, u32::MAX - 9_000), |_| false);
            assert_eq!(
                groups.iter().map(|group| group.samples.len()).collect::<Vec<_>>(),
                [4, 4, 2]
            );
            assert!(groups.iter().all(|group| group.samples[0].key && !group.samples[1].key));
            assert!(wishes.is_empty());
            let times: Vec<_> = frames(&groups)
                .windows(2)
                .map(|two| two[1].time - two[0].time)
                .collect();
            assert_eq!(times, [6_000; 9]);
            assert_eq!(groups[0].ends, groups[1].samples[0].time);
            assert_eq!(groups[2].ends, groups[2].samples[1].time + 6_000);
            let counts = stream.counts();
            assert_eq!((counts.kept, counts.damaged, counts.dropped), (10, 0, 0));
        }
    }

    #[test]
    fn what_follows_from_a_lost_frame_is_left_out_until_the_next_key_frame_which_is_asked_for_twice_a_second() {
        let film = Film::of(Codec::Avc, 60, 30, &testing::sets(Codec::Avc));
        let packets = film.packets(0, 0);
        let lost = packets.iter().position(|packet| packet.timestamp == 5 * FRAME).unwrap();
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        let (groups, wishes) = sent(&mut stream, &packets, |index| index == lost);
        let kept: Vec<_> = frames(&groups)
            .iter()
            .map(|sample| (sample.time - 900_000) / 6_000)
            .collect();
        assert_eq!(kept, (0..5).chain(30..60).collect::<Vec<_>>());
        assert!(frames(&groups).iter().all(|sample| !sample.damaged));
        let counts = stream.counts();
        assert_eq!((counts.dropped, counts.damaged, counts.packets.lost), (25, 0, 1));
        assert!(!wishes.is_empty());
        assert!(
            wishes.windows(2).all(|two| two[1] - two[0] >= BETWEEN_WISHES),
            "{wishes:?}"
        );
    }

    #[test]
    fn a_sender_that_repairs_nothing_is_kept_damaged_after_some_patience() {
        let film = Film::of(Codec::Hevc, 300, 30, &testing::sets(Codec::Hevc));
        let packets = film.packets(0, 0);
        let mut stream = Stream::new(Codec::Hevc, Settings::default());
        // Something of each key frame but the first is lost.
        let lost = |index: usize| {
            packets[index].timestamp > 0 && packets[index].timestamp.is_multiple_of(30 * FRAME) && packets[index].marker
        };
        let (groups, wishes) = sent(&mut stream, &packets, lost);
        let counts = stream.counts();
        assert_eq!(counts.kept + counts.dropped, 300);
        assert!(counts.dropped <= 75, "{counts:?}");
        assert!(counts.damaged >= 180, "{counts:?}");
        assert_eq!(
            frames(&groups).iter().filter(|sample| sample.damaged).count() as u64,
            counts.damaged
        );
        assert!(wishes.len() > 5);
    }

    #[test]
    fn key_frames_that_come_whole_now_and_then_do_not_renew_the_patience() {
        let film = Film::of(Codec::Avc, 300, 30, &testing::sets(Codec::Avc));
        let packets = film.packets(0, 0);
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        // Of each two seconds the start is there, and something is lost right after it.
        let lost = |index: usize| packets[index].timestamp % (30 * FRAME) == 2 * FRAME && packets[index].marker;
        sent(&mut stream, &packets, lost);
        let counts = stream.counts();
        assert!(counts.dropped <= 110 && counts.damaged >= 150, "{counts:?}");
    }

    #[test]
    fn a_session_that_does_not_begin_with_a_key_frame_asks_for_one_and_keeps_nothing_before_it() {
        let film = Film::of(Codec::Avc, 40, 20, &testing::sets(Codec::Avc));
        let packets = film.packets(0, 0);
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        let (groups, wishes) = sent(&mut stream, &packets, |index| packets[index].timestamp < 4 * FRAME);
        assert_eq!(frames(&groups).len(), 20);
        assert!(groups[0].samples[0].key);
        assert!(wishes.len() >= 2);
    }

    #[test]
    fn other_sets_begin_another_group_with_another_configuration() {
        let mut packets = Film::new(Codec::Avc, 4).packets(0, 0);
        let after = Film::of(Codec::Avc, 4, 4, &testing::smaller_sets());
        packets.extend(after.packets(u16::try_from(packets.len()).unwrap(), 4 * FRAME));
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        let (groups, _) = sent(&mut stream, &packets, |_| false);
        assert_eq!(groups.len(), 2);
        assert_ne!(groups[0].configuration, groups[1].configuration);
    }

    #[test]
    fn other_sets_begin_another_group_where_their_key_frame_was_lost_too() {
        let mut packets = Film::of(Codec::Avc, 150, 30, &testing::sets(Codec::Avc)).packets(0, 0);
        let others = packets.len();
        let after = Film::of(Codec::Avc, 10, 30, &testing::smaller_sets());
        packets.extend(after.packets(u16::try_from(others).unwrap(), 150 * FRAME));
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        // Something of each key frame but the first, so that damaged frames are kept; of the last one, all but its sets.
        let lost = |index: usize| {
            let of_key_frame = packets[index].timestamp > 0 && packets[index].timestamp.is_multiple_of(30 * FRAME);
            of_key_frame && (packets[index].marker || index > others)
        };
        let (groups, _) = sent(&mut stream, &packets, lost);
        let begins = groups
            .windows(2)
            .find(|two| two[0].configuration != two[1].configuration);
        let since = &begins.unwrap()[1].samples[0];
        assert!(since.damaged && since.time - 900_000 >= 150 * 6_000, "{since:?}");
    }

    #[test]
    fn a_camera_that_sends_key_frames_seldom_is_cut_into_groups_all_the_same() {
        let film = Film::of(Codec::Avc, 150, 1_000, &testing::sets(Codec::Avc));
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        let (groups, _) = sent(&mut stream, &film.packets(0, 0), |_| false);
        assert_eq!(
            groups.iter().map(|group| group.samples.len()).collect::<Vec<_>>(),
            [60, 60, 30]
        );
        assert!(
            groups
                .iter()
                .all(|group| group.samples.iter().all(|sample| !sample.damaged))
        );
    }

    #[test]
    fn a_clock_that_jumps_goes_on_as_time_passed() {
        let mut packets = Film::new(Codec::Avc, 4).packets(0, 0);
        let after = Film::new(Codec::Avc, 4).packets(u16::try_from(packets.len()).unwrap(), 0);
        packets.extend(after.into_iter().map(|packet| Packet {
            timestamp: packet.timestamp + 3_000_000_000,
            ..packet
        }));
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        for (index, packet) in packets.iter().enumerate() {
            stream.packet(packet.clone(), Duration::from_millis(20 * index as u64));
        }
        stream.finish(Duration::from_secs(2));
        let groups: Vec<_> = std::iter::from_fn(|| stream.group()).collect();
        let times: Vec<_> = frames(&groups).iter().map(|sample| sample.time).collect();
        assert_eq!(times.len(), 8);
        assert!(
            times.windows(2).all(|two| two[0] < two[1] && two[1] - two[0] < CLOCK),
            "{times:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_lost_what_is_not_called_damaged_follows_from_what_was_kept(
            hevc in any::<bool>(),
            lost in proptest::collection::btree_set(1_usize..250, 0..20),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let film = Film::of(codec, 60, 10, &testing::sets(codec));
            let mut stream = Stream::new(codec, Settings::default());
            let packets = film.packets(0, 0);
            // The first frame is the clock's start.
            let lost = |index: usize| packets[index].timestamp > 0 && lost.contains(&index);
            let (groups, _) = sent(&mut stream, &packets, lost);
            let mut follows: Option<u64> = None;
            for sample in frames(&groups) {
                let index = (sample.time - 900_000) / 6_000;
                if !sample.damaged {
                    let units = &film.frames[usize::try_from(index).unwrap()];
                    prop_assert!(sample.units.last() == units.last());
                    prop_assert!(sample.key || follows == Some(index), "{} follows from {:?}", index, follows);
                }
                follows = Some(index + 1);
            }
        }

        #[test]
        fn nothing_that_comes_makes_it_fall(
            hevc in any::<bool>(),
            all in proptest::collection::vec(
                (any::<u16>(), any::<u32>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..30)), 0..120),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let mut stream = Stream::new(codec, Settings::default());
            for (index, (sequence, timestamp, marker, payload)) in all.into_iter().enumerate() {
                let packet = Packet { sequence, timestamp, marker, payload: payload.into() };
                stream.packet(packet, Duration::from_millis(30 * index as u64));
            }
            stream.finish(Duration::from_secs(60));
        }
    }
}
