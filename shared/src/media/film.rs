//! What a clip says of itself: its codec, its resolution and its length, read from its bytes as they go by. Of the whole file
//! only the one box that tells is held. Pure.

use ring_partner::devices::Codec;
use ring_partner::media::Resolution;
use shiguredo_mp4::Decode as _;
use shiguredo_mp4::boxes::{MoovBox, SampleEntry};

/// The largest description of a film that is read. Fifteen minutes have far less.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// The box that describes a film (ISO/IEC 14496-12, 8.2.1).
const MOOV: [u8; 4] = *b"moov";

/// What a film says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Film {
    /// Its codec: `avc` or `hevc`.
    pub codec: Codec,
    /// The size of its pictures.
    pub resolution: Resolution,
    /// How long it is, in milliseconds; `None` where it does not say.
    pub duration: Option<i64>,
}

/// Reads a film's description from its bytes as they go by, wherever in the file it lies.
#[derive(Debug)]
pub struct Reader(At);

#[derive(Debug)]
enum At {
    /// Within the header of a box: what there is of it.
    Header(Vec<u8>),
    /// Within a box that tells nothing, with so many bytes to come; `None`: it lasts to the end of the file.
    Skipped(Option<u64>),
    /// Within the description: what there is of it, and how much is still to come.
    Moov(Vec<u8>, u64),
    /// The description is there.
    Told(Vec<u8>),
    /// This is no film that can be read.
    Lost,
}

impl Default for Reader {
    fn default() -> Self {
        Self(At::Header(Vec::new()))
    }
}

impl Reader {
    /// Takes the next bytes of the file.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = std::mem::replace(&mut self.0, At::Lost);
            self.0 = match at {
                At::Header(header) => in_header(header, &mut bytes),
                At::Skipped(Some(left)) => match left - taken(&mut bytes, left).len() as u64 {
                    0 => At::Header(Vec::new()),
                    left => At::Skipped(Some(left)),
                },
                At::Moov(mut moov, left) => {
                    let part = taken(&mut bytes, left);
                    moov.extend_from_slice(part);
                    match left - part.len() as u64 {
                        0 => At::Told(moov),
                        left => At::Moov(moov, left),
                    }
                }
                end @ (At::Skipped(None) | At::Told(_) | At::Lost) => {
                    self.0 = end;
                    return;
                }
            };
        }
    }

    /// What the film says of itself, as far as it can be read.
    #[must_use]
    pub fn done(self) -> Option<Film> {
        let At::Told(moov) = self.0 else { return None };
        let (moov, _) = MoovBox::decode(&moov).ok()?;
        let scale = u64::from(moov.mvhd_box.timescale.get());
        let duration = moov.mvhd_box.duration.checked_mul(1_000).map(|scaled| scaled / scale);
        let duration = duration.filter(|duration| *duration > 0);
        let entries = moov.trak_boxes.iter();
        let mut entries = entries.flat_map(|track| &track.mdia_box.minf_box.stbl_box.stsd_box.entries);
        let (codec, visual) = entries.find_map(|entry| match entry {
            SampleEntry::Avc1(avc) => Some((Codec::Avc, &avc.visual)),
            SampleEntry::Hev1(hevc) => Some((Codec::Hevc, &hevc.visual)),
            SampleEntry::Hvc1(hevc) => Some((Codec::Hevc, &hevc.visual)),
            _ => None,
        })?;
        Some(Film {
            codec,
            resolution: Resolution {
                width: visual.width.into(),
                height: visual.height.into(),
            },
            duration: duration.and_then(|duration| i64::try_from(duration).ok()),
        })
    }
}

/// Reads a box's header: its size and its type, and its size once more where that takes 64 bits.
fn in_header(mut header: Vec<u8>, bytes: &mut &[u8]) -> At {
    header.extend_from_slice(taken(bytes, 8_u64.saturating_sub(header.len() as u64)));
    let Some((&[a, b, c, d, kind @ ..], _)) = header.split_first_chunk::<8>() else {
        return At::Header(header);
    };
    let small = u32::from_be_bytes([a, b, c, d]);
    if small == 1 {
        header.extend_from_slice(taken(bytes, 16_u64.saturating_sub(header.len() as u64)));
    }
    let size = match (small, header.get(8..).and_then(|large| large.first_chunk::<8>())) {
        (0, _) if kind == MOOV => return At::Lost,
        (0, _) => return At::Skipped(None),
        (1, None) => return At::Header(header),
        (1, Some(large)) => u64::from_be_bytes(*large),
        (small, _) => small.into(),
    };
    match size.checked_sub(header.len() as u64) {
        None => At::Lost,
        Some(left) if kind == MOOV && size <= MOST_BYTES && left > 0 => At::Moov(header, left),
        Some(_) if kind == MOOV => At::Lost,
        Some(0) => At::Header(Vec::new()),
        Some(left) => At::Skipped(Some(left)),
    }
}

/// At most so many of the bytes, which are taken away.
fn taken<'b>(bytes: &mut &'b [u8], most: u64) -> &'b [u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (part, rest) = bytes.split_at(most);
    *bytes = rest;
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVC: &[u8] = include_bytes!("../../../tests/ring-simulator/assets/clip-avc.mp4");
    const SOUND: &[u8] = include_bytes!("../../../tests/ring-simulator/assets/clip-avc-audio.mp4");
    const HEVC: &[u8] = include_bytes!("../../../tests/ring-simulator/assets/clip-hevc.mp4");

    fn read(file: &[u8], piece: usize) -> Option<Film> {
        let mut reader = Reader::default();
        for piece in file.chunks(piece) {
            reader.take(piece);
        }
        reader.done()
    }

    /// The same film with its description behind its pictures, as a camera writes it.
    fn told_at_the_end(file: &[u8]) -> Vec<u8> {
        let (mut before, mut moov, mut rest) = (Vec::new(), Vec::new(), file);
        while let Some((size, _)) = rest.split_first_chunk::<4>() {
            let (this, next) = rest.split_at(u32::from_be_bytes(*size) as usize);
            let place = if this[4..8] == MOOV { &mut moov } else { &mut before };
            place.extend_from_slice(this);
            rest = next;
        }
        before.extend_from_slice(&moov);
        before
    }

    #[test]
    fn trap_111_codec_and_resolution_are_what_the_file_says_in_rings_words() {
        for (file, codec) in [(AVC, "avc"), (SOUND, "avc"), (HEVC, "hevc")] {
            let film = read(file, 1_000).expect("it is a film");
            assert_eq!(film.codec.as_str(), codec);
            assert!(film.resolution.width > film.resolution.height && film.resolution.height > 0);
            assert!(
                film.duration.is_some_and(|duration| (500..60_000).contains(&duration)),
                "{film:?}"
            );
            assert_eq!(read(&told_at_the_end(file), 1_000), Some(film));
        }
    }

    #[test]
    fn what_is_cut_short_or_no_film_tells_nothing() {
        for file in [
            &AVC[..200],
            b"",
            b"<html>not found</html>",
            b"\0\0\0\0moov",
            b"\0\0\0\x08moov",
            b"\0\0\0\x04free",
            b"\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff and so on",
        ] {
            assert_eq!(read(file, 7), None);
        }
    }

    proptest! {
        #[test]
        fn however_its_bytes_come_a_film_says_the_same(piece in 1_usize..5_000) {
            prop_assert_eq!(read(HEVC, piece), read(HEVC, HEVC.len()));
        }

        #[test]
        fn no_bytes_at_all_stop_the_reader(
            at in 0_usize..4_000, damage in proptest::collection::vec(any::<u8>(), 1..16),
        ) {
            let mut file = AVC.to_vec();
            file[at..at + damage.len()].copy_from_slice(&damage);
            let _ = read(&file, 333);
        }
    }
}
