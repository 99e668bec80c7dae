//! The decoder's configuration, from the parameter sets that come with the pictures: what a session description says of
//! it is not believed, as peers describe one thing and send another.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{Codec, Kind, Set};
use crate::frame::Frame;

/// The most sets of a kind. H.264 knows 32 and 256; no camera has more than a few.
const MOST: usize = 16;
/// The most bytes of one set.
const MOST_BYTES: usize = 4_096;

/// What a decoder has to know ahead of the first picture. Two that are equal decode the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The codec.
    pub codec: Codec,
    /// The sets, each once, by kind and in the order in which they came.
    pub sets: Vec<(Set, Bytes)>,
}

impl Configuration {
    /// The sets of a kind.
    #[must_use]
    pub fn of(&self, kind: Set) -> Vec<Vec<u8>> {
        let sets = self.sets.iter().filter(|(of, _)| *of == kind);
        sets.map(|(_, set)| set.to_vec()).collect()
    }

    fn is_complete(&self) -> bool {
        let needed: &[Set] = match self.codec {
            Codec::Avc => &[Set::Sps, Set::Pps],
            Codec::Hevc => &[Set::Vps, Set::Sps, Set::Pps],
        };
        needed
            .iter()
            .all(|needed| self.sets.iter().any(|(kind, _)| kind == needed))
    }
}

/// Watches a stream's parameter sets.
#[derive(Debug)]
pub struct Sets {
    codec: Codec,
    /// What came since the last picture.
    pending: Vec<(Set, Bytes)>,
    current: Option<Arc<Configuration>>,
}

impl Sets {
    /// Sets of this codec.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            pending: Vec::new(),
            current: None,
        }
    }

    /// What pictures that come now are decoded with.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Configuration>> {
        self.current.as_ref()
    }

    /// Takes the sets out of a frame, and what means nothing in a file. Says whether a picture is left, and whether
    /// decoding can begin at it.
    pub fn strip(&mut self, frame: &mut Frame) -> Picture {
        let mut picture = Picture::None;
        let mut units = std::mem::take(&mut frame.units);
        units.retain(|unit| match self.codec.kind(unit) {
            Kind::Picture { key, .. } => {
                if picture == Picture::None {
                    picture = if key { Picture::Key } else { Picture::Follows };
                }
                true
            }
            Kind::Aside => true,
            Kind::Set(kind) => {
                self.keep(kind, unit);
                false
            }
            Kind::Nothing => false,
        });
        frame.units = units;
        if picture != Picture::None {
            self.settle();
        }
        picture
    }

    fn keep(&mut self, kind: Set, set: &Bytes) {
        let of_kind = self.pending.iter().filter(|(of, _)| *of == kind).count();
        let known = self.pending.iter().any(|(of, other)| *of == kind && other == set);
        if !known && of_kind < MOST && set.len() <= MOST_BYTES {
            // A copy: the set outlives the packet, which is much larger.
            self.pending.push((kind, Bytes::copy_from_slice(set)));
        }
    }

    /// What has come counts from the picture on that it came with.
    fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let current = self.current.as_ref().map_or(&[][..], |current| &current.sets[..]);
        if pending.iter().all(|set| current.contains(set)) {
            return;
        }
        // Sets of a kind that did not come anew stay as they were.
        let stays = |kind| !pending.iter().any(|(of, _)| *of == kind);
        let kept: Vec<_> = current.iter().filter(|(kind, _)| stays(*kind)).cloned().collect();
        pending.extend(kept);
        pending.sort_by_key(|(kind, _)| *kind);
        let configuration = Configuration {
            codec: self.codec,
            sets: pending,
        };
        if configuration.is_complete() {
            self.current = Some(Arc::new(configuration));
        } else {
            // Its other sets are still to come.
            self.pending = configuration.sets;
        }
    }
}

/// What of a picture a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// None: sets alone, for instance.
    None,
    /// One at which decoding can begin.
    Key,
    /// One that follows from others.
    Follows,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    fn frame(units: &[Bytes]) -> Frame {
        Frame {
            timestamp: 0,
            arrived: Duration::ZERO,
            units: units.to_vec(),
            damaged: false,
        }
    }

    fn picture(codec: Codec) -> Bytes {
        testing::unit(codec, 20)
    }

    #[test]
    fn sets_make_the_configuration_once_and_leave_the_frame() {
        for codec in [Codec::Avc, Codec::Hevc] {
            let mut sets = Sets::new(codec);
            let mut units = [testing::sets(codec), testing::sets(codec)].concat();
            units.push(picture(codec));
            let mut first = frame(&units);
            assert_eq!(sets.strip(&mut first), Picture::Follows);
            assert_eq!(first.units, [picture(codec)]);
            let configuration = sets.current().unwrap().clone();
            assert_eq!(configuration.sets.len(), testing::sets(codec).len());
            sets.strip(&mut frame(&units));
            assert!(
                Arc::ptr_eq(&configuration, sets.current().unwrap()),
                "repeated sets are no change"
            );
        }
    }

    #[test]
    fn a_changed_set_is_another_configuration_from_its_picture_on() {
        let mut sets = Sets::new(Codec::Avc);
        sets.strip(&mut frame(
            &[testing::sets(Codec::Avc), vec![picture(Codec::Avc)]].concat(),
        ));
        let before = sets.current().unwrap().clone();
        assert_eq!(sets.strip(&mut frame(&testing::smaller_sets())), Picture::None);
        assert_eq!(sets.current(), Some(&before), "no picture came yet");
        sets.strip(&mut frame(&[picture(Codec::Avc)]));
        let after = sets.current().unwrap();
        assert_eq!(after.of(Set::Sps), [testing::smaller_sets()[0].to_vec()]);
        assert_eq!(after.of(Set::Pps).len(), 1);
    }

    #[test]
    fn there_is_no_configuration_before_all_kinds_of_sets_have_come() {
        let mut sets = Sets::new(Codec::Hevc);
        for set in testing::sets(Codec::Hevc) {
            assert!(sets.current().is_none());
            sets.strip(&mut frame(&[set, picture(Codec::Hevc)]));
        }
        assert!(sets.current().is_some());
    }

    #[test]
    fn a_flood_of_sets_is_bounded() {
        let mut sets = Sets::new(Codec::Avc);
        let flood: Vec<_> = (0..5_000_u16)
            .map(|n| Bytes::from([&[0x67, 1], &n.to_be_bytes()[..]].concat()))
            .collect();
        sets.strip(&mut frame(&flood));
        assert!(sets.pending.len() <= MOST);
    }
}
