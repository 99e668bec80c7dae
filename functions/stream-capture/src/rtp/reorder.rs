//! Packets put in order. A gap is waited for, as its packets may be asked for again and come late; after that it is a loss.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Packet;

/// The most packets that wait behind a gap: seconds of video, whatever it is made of.
const MOST_PACKETS: usize = 2_048;
/// The most bytes that wait behind a gap.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// A jump of this many is no gap: the sender began anew, or the packet is not its.
const JUMP: i64 = 3_000;

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next packet, and when it arrived.
    Packet(Packet, Duration),
    /// This many packets will not come.
    Lost(u64),
}

/// What was counted on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came in time.
    pub received: u64,
    /// Those of them that came after a later one: reordered, or sent again.
    pub repaired: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// Packets that came twice, or after they were given up.
    pub late: u64,
    /// Packets from nowhere near the stream.
    pub stray: u64,
}

/// The buffer.
#[derive(Debug)]
pub struct Reorder {
    wait: Duration,
    /// The place that comes next.
    next: Option<u64>,
    /// The highest place that was seen.
    highest: u64,
    held: BTreeMap<u64, (Packet, Duration)>,
    held_bytes: usize,
    /// Where the stream goes on if the last stray packet was its.
    restart: Option<u16>,
    counts: Counts,
}

impl Reorder {
    /// A buffer that waits this long for a missing packet.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self {
            wait,
            next: None,
            // Room below, for what comes before the first.
            highest: 1 << 32,
            held: BTreeMap::new(),
            held_bytes: 0,
            restart: None,
            counts: Counts::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a packet that arrived at `at`.
    pub fn push(&mut self, packet: Packet, at: Duration) {
        let Some(place) = self.place(packet.sequence) else {
            self.counts.stray += 1;
            return;
        };
        let next = *self.next.get_or_insert(place);
        if place < next || self.held.contains_key(&place) {
            self.counts.late += 1;
            return;
        }
        self.counts.received += 1;
        self.counts.repaired += u64::from(place < self.highest);
        self.highest = self.highest.max(place);
        self.held_bytes += packet.payload.len();
        self.held.insert(place, (packet, at));
    }

    /// What comes next, if that is known at `at`.
    pub fn step(&mut self, at: Duration) -> Option<Step> {
        let next = self.next?;
        let first = self.held.first_entry()?;
        let place = *first.key();
        if place == next {
            let (packet, arrived) = first.remove();
            self.held_bytes -= packet.payload.len();
            self.next = Some(next + 1);
            return Some(Step::Packet(packet, arrived));
        }
        let (_, arrived) = first.get();
        let given_up = *arrived + self.wait <= at;
        (given_up || self.is_full()).then(|| self.lose(place - next, place))
    }

    /// What is left, when nothing more will come.
    pub fn drain(&mut self) -> Option<Step> {
        self.step(Duration::MAX)
    }

    fn lose(&mut self, lost: u64, next: u64) -> Step {
        self.counts.lost += lost;
        self.next = Some(next);
        Step::Lost(lost)
    }

    fn is_full(&self) -> bool {
        self.held.len() > MOST_PACKETS || self.held_bytes > MOST_BYTES
    }

    /// A sequence number's place in a row that does not wrap (RFC 3550, A.1).
    fn place(&mut self, sequence: u16) -> Option<u64> {
        if self.next.is_none() {
            self.highest = self.highest & !0xffff | u64::from(sequence);
            return Some(self.highest);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the last 16 bits are meant")]
        let from = self.highest as u16;
        #[expect(clippy::cast_possible_wrap, reason = "the distance is signed")]
        let distance = i64::from(sequence.wrapping_sub(from) as i16);
        if distance.abs() < JUMP {
            self.restart = None;
            return self.highest.checked_add_signed(distance);
        }
        if self.restart.replace(sequence.wrapping_add(1)) != Some(sequence) {
            return None;
        }
        // Two in a row: the sender began anew. A gap of its own shows that nothing is known of what lies between.
        self.restart = None;
        let anew = (self.highest | 0xffff) + 1;
        let place = anew + u64::from(sequence);
        Some(if place > self.highest + 1 {
            place
        } else {
            place + 0x1_0000
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_millis(600);

    fn packet(sequence: u16) -> Packet {
        Packet {
            sequence,
            timestamp: 0,
            marker: false,
            payload: Bytes::from_static(&[1]),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn steps(reorder: &mut Reorder, at: Duration) -> Vec<Result<u16, u64>> {
        std::iter::from_fn(|| reorder.step(at))
            .map(|step| match step {
                Step::Packet(packet, _) => Ok(packet.sequence),
                Step::Lost(lost) => Err(lost),
            })
            .collect()
    }

    #[test]
    fn a_packet_that_comes_late_is_a_repair_and_not_a_loss() {
        let mut reorder = Reorder::new(WAIT);
        reorder.push(packet(65_535), ms(0));
        reorder.push(packet(1), ms(10));
        assert_eq!(steps(&mut reorder, ms(20)), [Ok(65_535)]);
        reorder.push(packet(0), ms(500));
        assert_eq!(steps(&mut reorder, ms(500)), [Ok(0), Ok(1)]);
        let counts = reorder.counts();
        assert_eq!((counts.received, counts.repaired, counts.lost), (3, 1, 0));
    }

    #[test]
    fn a_gap_is_waited_for_and_then_a_loss() {
        let mut reorder = Reorder::new(WAIT);
        reorder.push(packet(1), ms(0));
        reorder.push(packet(4), ms(100));
        assert_eq!(steps(&mut reorder, ms(699)), [Ok(1)]);
        assert_eq!(steps(&mut reorder, ms(700)), [Err(2), Ok(4)]);
        reorder.push(packet(2), ms(701));
        assert_eq!(steps(&mut reorder, ms(2_000)), []);
        let counts = reorder.counts();
        assert_eq!((counts.lost, counts.late), (2, 1));
    }

    #[test]
    fn a_stray_packet_is_left_out_and_a_sender_that_begins_anew_is_followed() {
        let mut reorder = Reorder::new(WAIT);
        reorder.push(packet(10), ms(0));
        reorder.push(packet(40_000), ms(1));
        reorder.push(packet(11), ms(2));
        assert_eq!(steps(&mut reorder, ms(5_000)), [Ok(10), Ok(11)]);
        for sequence in 30_000..30_003 {
            reorder.push(packet(sequence), ms(6_000));
        }
        let steps = steps(&mut reorder, ms(7_000));
        assert!(matches!(steps[..], [Err(_), Ok(30_001), Ok(30_002)]), "{steps:?}");
        assert_eq!(reorder.counts().stray, 2);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut reorder = Reorder::new(Duration::from_secs(3_600));
        reorder.push(packet(0), ms(0));
        for sequence in 2..60_000 {
            reorder.push(packet(sequence), ms(0));
            while reorder.step(ms(0)).is_some() {}
        }
        assert!(reorder.held.len() <= MOST_PACKETS + 1);
        assert_eq!(reorder.counts().lost, 1);
    }

    proptest! {
        #[test]
        fn any_order_within_the_wait_comes_out_in_order(
            start in any::<u16>(),
            shuffled in Just((0_u16..200).collect::<Vec<_>>()).prop_shuffle(),
            twice in proptest::collection::vec(0_usize..200, 0..20),
        ) {
            let mut reorder = Reorder::new(WAIT);
            reorder.push(packet(start), ms(0));
            let again = twice.iter().map(|index| shuffled[*index]);
            for offset in shuffled.iter().copied().chain(again) {
                reorder.push(packet(start.wrapping_add(1).wrapping_add(offset)), ms(1));
            }
            let expected: Vec<_> = (0..=200).map(|offset| Ok(start.wrapping_add(offset))).collect();
            prop_assert_eq!(steps(&mut reorder, ms(2)), expected);
            prop_assert_eq!(reorder.counts().late, twice.len() as u64);
        }

        #[test]
        fn nothing_is_handed_out_twice_or_out_of_order_whatever_comes(
            sequences in proptest::collection::vec(any::<u16>(), 0..300),
        ) {
            let mut reorder = Reorder::new(WAIT);
            let mut out = 0_u64;
            for (index, sequence) in sequences.iter().enumerate() {
                reorder.push(packet(*sequence), ms(index as u64 * 50));
                out += steps(&mut reorder, ms(index as u64 * 50)).iter().filter(|step| step.is_ok()).count() as u64;
            }
            while let Some(step) = reorder.drain() {
                out += u64::from(matches!(step, Step::Packet(..)));
            }
            let counts = reorder.counts();
            prop_assert_eq!(out, counts.received);
            prop_assert_eq!(counts.received + counts.late + counts.stray, sequences.len() as u64);
        }
    }
}
