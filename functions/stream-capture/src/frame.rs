//! Frames, assembled from packets in order: all units with one time stamp, up to the marker.

use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Codec, Kind};
use crate::rtp::Packet;
use crate::rtp::units::{Taken, Units};

/// The most of one frame: more than any camera's, and a bound on what a malicious peer can have us hold.
const MOST_BYTES: usize = 6 * 1024 * 1024;

/// A frame: one picture, with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its time by the stream's clock, in a row that does not wrap.
    pub timestamp: u64,
    /// When its first packet arrived.
    pub arrived: Duration,
    /// Its units, in order.
    pub units: Vec<Bytes>,
    /// Whether something of it is missing.
    pub damaged: bool,
}

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A frame.
    Frame(Frame),
    /// Packets are missing, of frames that were to come or of one that is in the making.
    Gap,
}

/// Assembles the frames of one stream.
#[derive(Debug)]
pub struct Assembler {
    codec: Codec,
    units: Units,
    open: Option<Frame>,
    open_bytes: usize,
    /// The start of the next frame may be missing.
    headless: bool,
    /// The last time stamp, in a row that does not wrap.
    last: Option<u64>,
    /// Payloads that made no sense.
    malformed: u64,
}

impl Assembler {
    /// Frames of this codec.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            units: Units::new(codec),
            open: None,
            open_bytes: 0,
            headless: false,
            last: None,
            malformed: 0,
        }
    }

    /// How many payloads made no sense.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Takes the next packet in order.
    pub fn packet(&mut self, packet: &Packet, arrived: Duration, out: &mut Vec<Item>) {
        if packet.payload.is_empty() {
            return;
        }
        let timestamp = self.unwrapped(packet.timestamp);
        if self.open.as_ref().is_some_and(|open| open.timestamp != timestamp) {
            self.close(out);
        }
        let open = self.open.get_or_insert_with(|| Frame {
            timestamp,
            arrived,
            units: Vec::new(),
            damaged: false,
        });
        self.open_bytes += packet.payload.len();
        if self.open_bytes > MOST_BYTES {
            open.damaged = true;
        } else if self.units.take(&packet.payload, &mut open.units) == Taken::Damaged {
            open.damaged = true;
            self.malformed += 1;
        }
        if packet.marker {
            self.close(out);
        }
    }

    /// Packets are missing here.
    pub fn gap(&mut self, out: &mut Vec<Item>) {
        out.push(Item::Gap);
        match &mut self.open {
            Some(open) => {
                open.damaged = true;
                let _its_end_is_missing = self.units.cut(&mut open.units);
            }
            None => self.headless = true,
        }
    }

    /// Nothing more will come: what is in the making ends here.
    pub fn close(&mut self, out: &mut Vec<Item>) {
        let Some(mut frame) = self.open.take() else { return };
        self.open_bytes = 0;
        frame.damaged |= self.units.cut(&mut frame.units) == Taken::Damaged;
        let headless = std::mem::take(&mut self.headless);
        // A gap within a frame may have taken the head of the next as well; that can't be told from its own packets.
        frame.damaged |= headless && !self.begins(&frame);
        self.headless = frame.damaged;
        out.push(Item::Frame(frame));
    }

    /// Whether the start of the picture is there.
    fn begins(&self, frame: &Frame) -> bool {
        let mut kinds = frame.units.iter().map(|unit| self.codec.kind(unit));
        let picture = kinds.find(|kind| matches!(kind, Kind::Picture { .. }));
        matches!(picture, None | Some(Kind::Picture { first: true, .. }))
    }

    fn unwrapped(&mut self, timestamp: u32) -> u64 {
        // Room below, for frames that are shown before the first.
        let last = self.last.unwrap_or(1 << 40 | u64::from(timestamp));
        #[expect(clippy::cast_possible_truncation, reason = "the last 32 bits are meant")]
        let from = last as u32;
        #[expect(clippy::cast_possible_wrap, reason = "the distance is signed")]
        let distance = i64::from(timestamp.wrapping_sub(from) as i32);
        let timestamp = last.saturating_add_signed(distance);
        self.last = Some(timestamp);
        timestamp
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, Film};

    fn frames(items: Vec<Item>) -> Vec<Frame> {
        let frame = |item| match item {
            Item::Frame(frame) => Some(frame),
            Item::Gap => None,
        };
        items.into_iter().filter_map(frame).collect()
    }

    fn assembled(codec: Codec, packets: &[Packet], lost: &[usize]) -> Vec<Item> {
        let (mut assembler, mut out) = (Assembler::new(codec), Vec::new());
        for (index, packet) in packets.iter().enumerate() {
            if lost.contains(&index) {
                assembler.gap(&mut out);
            } else {
                assembler.packet(packet, Duration::ZERO, &mut out);
            }
        }
        assembler.close(&mut out);
        out
    }

    #[test]
    fn a_frame_is_what_has_one_time_stamp_with_a_marker_or_without() {
        for codec in [Codec::Avc, Codec::Hevc] {
            let mut packets = Film::new(codec, 5).packets(0, u32::MAX - 3_000);
            let with = frames(assembled(codec, &packets, &[]));
            for packet in &mut packets {
                packet.marker = false;
            }
            let without = frames(assembled(codec, &packets, &[]));
            assert_eq!(with.len(), 5);
            assert_eq!(with, without);
            assert!(with.iter().all(|frame| !frame.damaged));
            let times: Vec<_> = with.windows(2).map(|two| two[1].timestamp - two[0].timestamp).collect();
            assert_eq!(times, [6_000; 4], "across the wrap");
        }
    }

    #[test]
    fn a_frame_that_lost_its_start_its_middle_or_its_end_is_damaged_and_its_neighbours_are_not() {
        for codec in [Codec::Avc, Codec::Hevc] {
            let film = Film::new(codec, 3);
            let packets = film.packets(0, 0);
            let second: Vec<_> = (0..packets.len())
                .filter(|index| packets[*index].timestamp == 6_000)
                .collect();
            assert!(second.len() >= 3, "{}", second.len());
            for lost in [second[0], second[1], *second.last().unwrap()] {
                let damaged: Vec<_> = frames(assembled(codec, &packets, &[lost]))
                    .iter()
                    .map(|frame| frame.damaged)
                    .collect();
                assert_eq!(damaged, [false, true, false], "{codec:?}, without {lost} of {second:?}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_lost_whole_leaves_a_gap_between_whole_frames() {
        let packets = Film::new(Codec::Avc, 3).packets(0, 0);
        let lost: Vec<_> = (0..packets.len())
            .filter(|index| packets[*index].timestamp == 6_000)
            .collect();
        let items = assembled(Codec::Avc, &packets, &lost);
        assert!(items.contains(&Item::Gap));
        let frames = frames(items);
        assert_eq!(frames.len(), 2);
        assert!(frames.iter().all(|frame| !frame.damaged));
    }

    proptest! {
        #[test]
        fn whatever_is_lost_a_frame_that_is_not_damaged_is_as_it_was_sent(
            hevc in any::<bool>(),
            lost in proptest::collection::vec(0_usize..60, 0..12),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let film = Film::new(codec, 8);
            let packets = film.packets(100, 0);
            for frame in frames(assembled(codec, &packets, &lost)) {
                let sent = &film.frames[usize::try_from((frame.timestamp - (1 << 40)) / 6_000).unwrap()];
                // Its sets may have been lost without a trace; its picture is the last unit.
                prop_assert!(frame.damaged || frame.units.last() == sent.last());
            }
        }

        #[test]
        fn nothing_that_comes_makes_it_fall(
            hevc in any::<bool>(),
            all in proptest::collection::vec(
                (any::<u32>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let packets = all.into_iter().map(|(timestamp, marker, payload)| Packet {
                sequence: 0, timestamp, marker, payload: payload.into(),
            });
            let _items = assembled(codec, &packets.collect::<Vec<_>>(), &[3, 7]);
        }
    }

    #[test]
    fn a_frame_without_end_is_bounded() {
        let (mut assembler, mut out) = (Assembler::new(Codec::Avc), Vec::new());
        let payload = testing::unit(Codec::Avc, 1_200);
        for _ in 0..20_000 {
            let packet = Packet {
                sequence: 0,
                timestamp: 0,
                marker: false,
                payload: payload.clone(),
            };
            assembler.packet(&packet, Duration::ZERO, &mut out);
        }
        assembler.close(&mut out);
        let frames = frames(out);
        assert!(frames[0].damaged);
        assert!(frames[0].units.iter().map(Bytes::len).sum::<usize>() <= MOST_BYTES);
    }
}
