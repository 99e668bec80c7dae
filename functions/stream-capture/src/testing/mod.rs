//! What tests send: units of the shape that cameras' have, taken apart into packets as cameras do.

use bytes::Bytes;

use crate::codec::Codec;
use crate::rtp::Packet;

pub(crate) mod twin;

/// The ticks of a frame: 15 a second.
pub(crate) const FRAME: u32 = 6_000;

/// The parameter sets that x264 and x265 make for 640 by 360.
pub(crate) fn sets(codec: Codec) -> Vec<Bytes> {
    match codec {
        Codec::Avc => vec![
            Bytes::from_static(&[
                0x67, 0x42, 0xc0, 0x16, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
                0x00, 0x03, 0x00, 0x1e, 0x8f, 0x16, 0x2e, 0x48,
            ]),
            Bytes::from_static(&[0x68, 0xcb, 0x8c, 0xb2]),
        ],
        Codec::Hevc => vec![
            Bytes::from_static(&[
                0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
                0x00, 0x03, 0x00, 0x3f, 0x92, 0x80, 0x90,
            ]),
            Bytes::from_static(&[
                0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
                0x3f, 0xa0, 0x05, 0x02, 0x01, 0x69, 0x65, 0x92, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03,
                0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x1e, 0x10,
            ]),
            Bytes::from_static(&[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40]),
        ],
    }
}

/// Those of x264 for 320 by 180.
pub(crate) fn smaller_sets() -> Vec<Bytes> {
    vec![
        Bytes::from_static(&[
            0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
            0x03, 0x01, 0xe8, 0xf1, 0x42, 0xa4, 0x80,
        ]),
        sets(Codec::Avc)[1].clone(),
    ]
}

/// The first slice of a picture that others follow from, of this size.
pub(crate) fn unit(codec: Codec, size: usize) -> Bytes {
    slice(codec, false, size, 7)
}

fn slice(codec: Codec, key: bool, size: usize, seed: usize) -> Bytes {
    let mut bytes: Vec<u8> = match (codec, key) {
        (Codec::Avc, true) => vec![0x65, 0x88],
        (Codec::Avc, false) => vec![0x41, 0x9a],
        (Codec::Hevc, true) => vec![0x28, 0x01, 0xaf],
        (Codec::Hevc, false) => vec![0x02, 0x01, 0xd0],
    };
    bytes.extend((bytes.len()..size).map(|index| u8::try_from((index * 31 + seed * 7) % 251).unwrap()));
    bytes.into()
}

/// Units as payloads of at most `most` bytes: small ones together, large ones in fragments.
pub(crate) fn payloads(codec: Codec, units: &[Bytes], most: usize) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    let mut small: Vec<&Bytes> = Vec::new();
    for unit in units {
        let together: usize = small.iter().map(|unit| unit.len() + 2).sum();
        if !small.is_empty() && together + unit.len() + 4 > most {
            payloads.push(together_as_one(codec, &std::mem::take(&mut small)));
        }
        if unit.len() > most {
            fragments(codec, unit, most, &mut payloads);
        } else {
            small.push(unit);
        }
    }
    if !small.is_empty() {
        payloads.push(together_as_one(codec, &small));
    }
    payloads
}

fn together_as_one(codec: Codec, units: &[&Bytes]) -> Bytes {
    if let [one] = units {
        return (*one).clone();
    }
    let mut payload = match codec {
        Codec::Avc => vec![0x78],
        Codec::Hevc => vec![0x60, 0x01],
    };
    for unit in units {
        payload.extend(u16::try_from(unit.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload.into()
}

fn fragments(codec: Codec, unit: &Bytes, most: usize, payloads: &mut Vec<Bytes>) {
    let header = match codec {
        Codec::Avc => 1,
        Codec::Hevc => 2,
    };
    let chunks: Vec<&[u8]> = unit[header..].chunks(most - header - 1).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let place = if index == 0 {
            0x80
        } else if index == chunks.len() - 1 {
            0x40
        } else {
            0
        };
        let mut payload = match codec {
            Codec::Avc => vec![unit[0] & 0xe0 | 28, place | unit[0] & 0x1f],
            Codec::Hevc => vec![unit[0] & 0x81 | 49 << 1, unit[1], place | unit[0] >> 1 & 0x3f],
        };
        payload.extend_from_slice(chunk);
        payloads.push(payload.into());
    }
}

/// A film: a key frame with its sets, others that follow from it, and so on.
#[derive(Clone, Debug)]
pub(crate) struct Film {
    pub(crate) codec: Codec,
    /// The units of each frame.
    pub(crate) frames: Vec<Vec<Bytes>>,
}

impl Film {
    /// So many frames, every fourth of which is a key frame.
    pub(crate) fn new(codec: Codec, frames: usize) -> Self {
        Self::of(codec, frames, 4, &sets(codec))
    }

    /// So many frames, every `every`-th of which is a key frame with these sets.
    pub(crate) fn of(codec: Codec, frames: usize, every: usize, sets: &[Bytes]) -> Self {
        let frame = |index: usize| {
            let key = index.is_multiple_of(every);
            let mut units = if key { sets.to_vec() } else { Vec::new() };
            units.push(slice(codec, key, 2_900 + index, index));
            units
        };
        Self {
            codec,
            frames: (0..frames).map(frame).collect(),
        }
    }

    /// As packets, from this sequence number and time on.
    pub(crate) fn packets(&self, sequence: u16, timestamp: u32) -> Vec<Packet> {
        let mut packets: Vec<Packet> = Vec::new();
        for (index, units) in self.frames.iter().enumerate() {
            let payloads = payloads(self.codec, units, 1_100);
            let last = payloads.len() - 1;
            for (place, payload) in payloads.into_iter().enumerate() {
                packets.push(Packet {
                    sequence: sequence.wrapping_add(u16::try_from(packets.len()).unwrap()),
                    timestamp: timestamp.wrapping_add(FRAME * u32::try_from(index).unwrap()),
                    marker: place == last,
                    payload,
                });
            }
        }
        packets
    }
}
