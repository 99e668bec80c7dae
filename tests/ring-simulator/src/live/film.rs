//! The films that sessions send, as frames: Annex B streams of a test pattern (see `assets`), parsed once.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::{fs, io};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

/// A codec of Ring's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Codec {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
}

/// Frames in the order of decoding, which is that of showing as well. It begins with a key frame.
#[derive(Debug)]
pub(super) struct Film {
    pub(super) frames: Vec<Frame>,
}

/// A frame with its parameter sets, in Annex B with start codes of four bytes.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) key: bool,
    pub(super) data: Bytes,
}

/// Which film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Title {
    /// 640×360.
    Usual,
    /// 480×270, so with other parameter sets.
    Small,
}

static FILMS: LazyLock<[Arc<Film>; 4]> = LazyLock::new(|| {
    let films = [
        Film::parse(Codec::Avc, include_bytes!("../../assets/film-avc.h264")),
        Film::parse(Codec::Hevc, include_bytes!("../../assets/film-hevc.h265")),
        Film::parse(Codec::Avc, include_bytes!("../../assets/film-small-avc.h264")),
        Film::parse(Codec::Hevc, include_bytes!("../../assets/film-small-hevc.h265")),
    ];
    films.map(Arc::new)
});

impl Film {
    pub(super) fn of(codec: Codec, title: Title) -> Arc<Self> {
        let [avc, hevc, small_avc, small_hevc] = &*FILMS;
        let film = match (codec, title) {
            (Codec::Avc, Title::Usual) => avc,
            (Codec::Hevc, Title::Usual) => hevc,
            (Codec::Avc, Title::Small) => small_avc,
            (Codec::Hevc, Title::Small) => small_hevc,
        };
        Arc::clone(film)
    }

    /// A film of somebody's own: an Annex B stream that begins with a key frame.
    pub(super) fn read(codec: Codec, path: &Path) -> io::Result<Arc<Self>> {
        let film = Self::parse(codec, &fs::read(path)?);
        if film.frames.first().is_some_and(|frame| frame.key) {
            Ok(Arc::new(film))
        } else {
            Err(io::Error::other(
                "it is no Annex B stream of this codec that begins with a key frame",
            ))
        }
    }

    /// The place of the first key frame from `place` on; the film begins again at its end.
    pub(super) fn key_from(&self, place: usize) -> usize {
        let later = self.frames.iter().skip(place).position(|frame| frame.key);
        later.map_or(0, |later| place + later)
    }

    fn parse(codec: Codec, stream: &[u8]) -> Self {
        let mut frames = Vec::new();
        let (mut data, mut key, mut has_picture) = (BytesMut::new(), false, false);
        for unit in units(stream) {
            let kind = codec.unit(unit);
            if has_picture && kind != Unit::MorePicture {
                frames.push(Frame {
                    key,
                    data: data.split().freeze(),
                });
                (key, has_picture) = (false, false);
            }
            data.put_slice(&[0, 0, 0, 1]);
            data.put_slice(unit);
            key |= kind == Unit::KeyPicture;
            has_picture |= kind != Unit::Other;
        }
        if has_picture {
            frames.push(Frame {
                key,
                data: data.freeze(),
            });
        }
        Self { frames }
    }
}

/// What a NAL unit is to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// The first slice of a key frame.
    KeyPicture,
    /// The first slice of another frame.
    Picture,
    /// A further slice of the same frame.
    MorePicture,
    /// Parameter sets and the like: they stand before their frame.
    Other,
}

impl Codec {
    fn unit(self, unit: &[u8]) -> Unit {
        let (is_picture, is_key, slice) = match (self, unit) {
            (Self::Avc, [head, slice, ..]) => (matches!(head & 0x1f, 1 | 5), head & 0x1f == 5, slice),
            (Self::Hevc, [head, _, slice, ..]) => {
                let kind = (head >> 1) & 0x3f;
                (kind < 32, (16..=21).contains(&kind), slice)
            }
            _ => return Unit::Other,
        };
        // Both codecs say with the first bit of a slice whether it is the first of its picture.
        match (is_picture, slice & 0x80 != 0, is_key) {
            (false, ..) => Unit::Other,
            (true, false, _) => Unit::MorePicture,
            (true, true, true) => Unit::KeyPicture,
            (true, true, false) => Unit::Picture,
        }
    }
}

/// The NAL units between the start codes.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut begin = None;
    let mut at = 0;
    while let Some(found) = stream[at..].windows(3).position(|bytes| bytes == [0, 0, 1]) {
        let code = at + found;
        if let Some(begin) = begin {
            units.push(&stream[begin..code]);
        }
        at = code + 3;
        begin = Some(at);
    }
    if let Some(begin) = begin {
        units.push(&stream[begin..]);
    }
    let trimmed = units.into_iter().map(|unit| {
        // The zero of a four-byte start code belongs to it, and no unit ends in one.
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &unit[..end]
    });
    trimmed.filter(|unit| !unit.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_film_is_whole_frames_with_a_key_frame_every_two_seconds() {
        for (codec, title, frames) in [
            (Codec::Avc, Title::Usual, 90),
            (Codec::Hevc, Title::Usual, 90),
            (Codec::Avc, Title::Small, 60),
            (Codec::Hevc, Title::Small, 60),
        ] {
            let film = Film::of(codec, title);
            let keys: Vec<usize> = (0..film.frames.len()).filter(|place| film.frames[*place].key).collect();
            assert_eq!(film.frames.len(), frames, "{codec:?} {title:?}");
            assert_eq!(keys, (0..frames).step_by(30).collect::<Vec<_>>(), "{codec:?} {title:?}");
            for frame in &film.frames {
                assert!(frame.data.starts_with(&[0, 0, 0, 1]));
            }
            // A key frame brings its parameter sets: VPS or SPS first.
            let first = if codec == Codec::Avc { 0x67 } else { 0x40 };
            assert!(keys.iter().all(|place| film.frames[*place].data[4] == first));
        }
    }

    #[test]
    fn a_film_of_ones_own_begins_with_a_key_frame() {
        let own = |file: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(file);
        let film = Film::read(Codec::Avc, &own("film-avc.h264")).expect("a film");
        assert_eq!(film.frames.len(), 90);
        for (codec, file) in [
            (Codec::Avc, "snapshot.jpg"),
            (Codec::Hevc, "film-avc.h264"),
            (Codec::Avc, "none"),
        ] {
            assert!(Film::read(codec, &own(file)).is_err(), "{file}");
        }
    }

    #[test]
    fn the_next_key_frame_may_be_the_films_first() {
        let film = Film::of(Codec::Avc, Title::Usual);
        assert_eq!([0, 1, 30, 31, 61].map(|place| film.key_from(place)), [0, 30, 30, 60, 0]);
    }
}
