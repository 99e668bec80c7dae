//! Units joined from their pieces, with a bound on the size of one.

use bytes::{Bytes, BytesMut};

use super::{Malformed, Piece, h264, h265};
use crate::codec::Codec;

/// The most of one unit: a key frame of 4K video has about a megabyte.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Joins the units of one stream.
#[derive(Debug)]
pub struct Units {
    codec: Codec,
    /// One whose end has not come yet.
    open: Option<BytesMut>,
    pieces: Vec<Piece>,
}

/// Whether all of a payload went into units.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All of it.
    Whole,
    /// Something of it, or of what it follows, is missing.
    Damaged,
}

impl Units {
    /// Units of this codec.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            open: None,
            pieces: Vec::new(),
        }
    }

    /// Takes the next payload; units that it completes go to `units`.
    pub fn take(&mut self, payload: &Bytes, units: &mut Vec<Bytes>) -> Taken {
        let mut pieces = std::mem::take(&mut self.pieces);
        let taken = match self.codec {
            Codec::Avc => h264::take(payload, &mut pieces),
            Codec::Hevc => h265::take(payload, &mut pieces),
        };
        let mut whole = taken.is_ok();
        for piece in pieces.drain(..) {
            whole &= self.piece(piece, units).is_ok();
        }
        self.pieces = pieces;
        if whole { Taken::Whole } else { Taken::Damaged }
    }

    /// What comes next does not follow what came. A unit whose end is missing is handed out as far as it came: whether it
    /// is of use is for others to say.
    pub fn cut(&mut self, units: &mut Vec<Bytes>) -> Taken {
        match self.open.take() {
            Some(open) => {
                units.push(open.freeze());
                Taken::Damaged
            }
            None => Taken::Whole,
        }
    }

    fn piece(&mut self, piece: Piece, units: &mut Vec<Bytes>) -> Result<(), Malformed> {
        match piece {
            Piece::Whole(unit) => {
                let cut = self.cut(units);
                units.push(unit);
                intact(cut)
            }
            Piece::First(header, data) => {
                let cut = self.cut(units);
                let mut open = BytesMut::with_capacity(data.len() * 4);
                open.extend_from_slice(header.bytes());
                open.extend_from_slice(&data);
                self.open = Some(open);
                intact(cut)
            }
            Piece::Middle(data) => self.extend(&data),
            Piece::Last(data) => {
                self.extend(&data)?;
                units.extend(self.open.take().map(BytesMut::freeze));
                Ok(())
            }
        }
    }

    fn extend(&mut self, data: &[u8]) -> Result<(), Malformed> {
        let open = self
            .open
            .as_mut()
            .ok_or(Malformed("a fragment of a unit whose start is missing"))?;
        if open.len() + data.len() > MOST_BYTES {
            self.open = None;
            return Err(Malformed("a unit is too large"));
        }
        open.extend_from_slice(data);
        Ok(())
    }
}

fn intact(taken: Taken) -> Result<(), Malformed> {
    match taken {
        Taken::Whole => Ok(()),
        Taken::Damaged => Err(Malformed("a unit's end is missing")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{payloads, unit};

    fn joined(codec: Codec, payloads: &[Bytes]) -> (Vec<Bytes>, bool) {
        let (mut units, mut out) = (Units::new(codec), Vec::new());
        let mut whole = true;
        for payload in payloads {
            whole &= units.take(payload, &mut out) == Taken::Whole;
        }
        (out, whole)
    }

    proptest! {
        #[test]
        fn what_was_taken_apart_is_joined_again(
            hevc in any::<bool>(),
            sizes in proptest::collection::vec(3_usize..5_000, 1..12),
            most in 20_usize..1_200,
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let sent: Vec<_> = sizes.iter().map(|size| unit(codec, *size)).collect();
            let (joined, whole) = joined(codec, &payloads(codec, &sent, most));
            prop_assert!(whole);
            prop_assert_eq!(joined, sent);
        }

        #[test]
        fn a_lost_payload_is_noticed_or_was_whole_units(
            hevc in any::<bool>(),
            size in 2_000_usize..5_000,
            lost in 0_usize..6,
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let sent = [unit(codec, size), unit(codec, 30)];
            let mut payloads = payloads(codec, &sent, 500);
            payloads.remove(lost % (payloads.len() - 1));
            let (_, whole) = joined(codec, &payloads);
            // One in the middle can't be seen here: the sequence numbers tell.
            let edge = lost % payloads.len() == 0 || lost % payloads.len() == payloads.len() - 1;
            prop_assert!(!(whole && edge));
        }

        #[test]
        fn nothing_that_comes_makes_it_fall_or_grow(
            hevc in any::<bool>(),
            all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let all: Vec<_> = all.into_iter().map(Bytes::from).collect();
            let sent: usize = all.iter().map(Bytes::len).sum();
            let (units, _) = joined(codec, &all);
            prop_assert!(units.iter().map(Bytes::len).sum::<usize>() <= sent);
        }
    }

    #[test]
    fn a_unit_without_end_is_bounded() {
        let mut units = Units::new(Codec::Avc);
        let mut out = Vec::new();
        let data = vec![1; 1_000];
        let first = [&[0x7c, 0x85], &data[..]].concat();
        let middle = [&[0x7c, 0x05], &data[..]].concat();
        assert_eq!(units.take(&first.into(), &mut out), Taken::Whole);
        let middle = Bytes::from(middle);
        let damaged = (0..5_000)
            .filter(|_| units.take(&middle, &mut out) == Taken::Damaged)
            .count();
        assert!(damaged > 500, "{damaged}");
        assert!(units.open.is_none());
        assert!(out.is_empty());
    }
}
