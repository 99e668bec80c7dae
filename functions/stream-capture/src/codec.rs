//! The two codecs that Ring's devices have, as far as a recorder must know them: which units are pictures, which are the
//! decoder's configuration, and which are neither.

use serde::{Deserialize, Serialize};

/// A codec, by the names that Ring has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
}

/// What a unit is to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of a picture.
    Picture {
        /// Whether decoding can begin at it.
        key: bool,
        /// Whether it is the first part.
        first: bool,
    },
    /// Something of the decoder's configuration.
    Set(Set),
    /// What goes with a picture and stays with it.
    Aside,
    /// What means nothing in a file.
    Nothing,
}

/// A kind of parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// Of the video; H.265 alone.
    Vps,
    /// Of a sequence.
    Sps,
    /// Of pictures.
    Pps,
}

impl Codec {
    /// What a unit is. One that is cut short in its header is nothing.
    #[must_use]
    pub fn kind(self, unit: &[u8]) -> Kind {
        match self {
            Self::Avc => avc(unit),
            Self::Hevc => hevc(unit),
        }
    }
}

/// H.264, 7.4.1. The first slice of a picture begins with `first_mb_in_slice` 0, which is one set bit. Slices in partitions (2 to 4)
/// are of a profile that no offer of ours has.
fn avc(unit: &[u8]) -> Kind {
    let &[header, after, ..] = unit else {
        return Kind::Nothing;
    };
    let first = after & 0x80 != 0;
    match header & 0x1f {
        5 => Kind::Picture { key: true, first },
        1 => Kind::Picture { key: false, first },
        7 => Kind::Set(Set::Sps),
        8 => Kind::Set(Set::Pps),
        6 => Kind::Aside,
        _ => Kind::Nothing,
    }
}

/// H.265, 7.4.2.2. The first bit behind the header of a slice is `first_slice_segment_in_pic_flag`. The types in between are reserved:
/// a decoder drops them.
fn hevc(unit: &[u8]) -> Kind {
    let &[header, _, after, ..] = unit else {
        return Kind::Nothing;
    };
    let first = after & 0x80 != 0;
    match header >> 1 & 0x3f {
        16..=21 => Kind::Picture { key: true, first },
        0..=9 => Kind::Picture { key: false, first },
        32 => Kind::Set(Set::Vps),
        33 => Kind::Set(Set::Sps),
        34 => Kind::Set(Set::Pps),
        39 | 40 => Kind::Aside,
        _ => Kind::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_told_by_its_header() {
        fn check(codec: Codec, unit: &[u8], kind: Kind) {
            assert_eq!(codec.kind(unit), kind, "{codec:?} {unit:02x?}");
        }
        let picture = |key, first| Kind::Picture { key, first };
        check(Codec::Avc, &[0x65, 0x88], picture(true, true));
        check(Codec::Avc, &[0x65, 0x40], picture(true, false));
        check(Codec::Avc, &[0x41, 0x9a], picture(false, true));
        check(Codec::Avc, &[0x67, 0x42], Kind::Set(Set::Sps));
        check(Codec::Avc, &[0x68, 0xce], Kind::Set(Set::Pps));
        check(Codec::Avc, &[0x06, 0x05], Kind::Aside);
        check(Codec::Avc, &[0x09, 0xf0], Kind::Nothing);
        check(Codec::Avc, &[0x65], Kind::Nothing);
        check(Codec::Avc, &[0x62, 0x88], Kind::Nothing);
        check(Codec::Hevc, &[0x18, 1, 0xaf], Kind::Nothing);
        check(Codec::Hevc, &[0x2c, 1, 0xaf], Kind::Nothing);
        check(Codec::Hevc, &[0x26, 1, 0xaf], picture(true, true));
        check(Codec::Hevc, &[0x2a, 1, 0x2f], picture(true, false));
        check(Codec::Hevc, &[0x02, 1, 0xd0], picture(false, true));
        check(Codec::Hevc, &[0x40, 1, 0x0c], Kind::Set(Set::Vps));
        check(Codec::Hevc, &[0x42, 1, 1], Kind::Set(Set::Sps));
        check(Codec::Hevc, &[0x44, 1, 0xc1], Kind::Set(Set::Pps));
        check(Codec::Hevc, &[0x4e, 1, 5], Kind::Aside);
        check(Codec::Hevc, &[0x46, 1, 0x10], Kind::Nothing);
        check(Codec::Hevc, &[], Kind::Nothing);
    }
}
