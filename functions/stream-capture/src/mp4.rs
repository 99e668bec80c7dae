//! Fragmented MP4 (ISO/IEC 14496-12 and -15): what a decoder has to know, and groups of pictures, each as bytes that can be
//! stored for themselves and put one behind the other.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use shiguredo_mp4::bitstream::h264::{self, H264SampleEntryConfig, LengthSize};
use shiguredo_mp4::bitstream::h265::{self, H265ConstantFrameRate, H265SampleEntryConfig};
use shiguredo_mp4::boxes::{
    FtypBox, MehdBox, MfhdBox, MoofBox, MoovBox, SampleEntry, TfdtBox, TfhdBox, TrafBox, TrunBox, TrunSample,
};
use shiguredo_mp4::mux::{Fmp4SegmentMuxer, Sample as Described};
use shiguredo_mp4::{Decode as _, Encode as _, SampleFlags, TrackKind, codec_string};

use crate::codec::{Codec, Set};
use crate::rtp::CLOCK;
use crate::sets::Configuration;
use crate::stream::Group;

/// The one track.
const TRACK: u32 = 1;

/// A configuration, or a group, that no file can be made of: what the peer sent makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the video can't be put into a file: {0}")]
pub struct Unusable(String);

impl Unusable {
    /// Something that was kept can't be read.
    pub(crate) fn unreadable(what: &str) -> Self {
        Self(format!("{what} can't be read"))
    }
}

impl From<shiguredo_mp4::Error> for Unusable {
    fn from(error: shiguredo_mp4::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<shiguredo_mp4::mux::MuxError> for Unusable {
    fn from(error: shiguredo_mp4::mux::MuxError) -> Self {
        Self(error.to_string())
    }
}

/// What a configuration describes.
#[derive(Clone, Debug)]
pub struct Description {
    entry: SampleEntry,
    /// The width in pixels.
    pub width: u16,
    /// The height in pixels.
    pub height: u16,
    /// The codec as players are told it (RFC 6381).
    pub codecs: String,
}

impl Description {
    /// Of a configuration. The sets stay out of the samples: `avc1` and `hvc1`.
    pub fn of(configuration: &Configuration) -> Result<Self, Unusable> {
        let length_size = LengthSize::FourBytes;
        let (sps, pps) = (configuration.of(Set::Sps), configuration.of(Set::Pps));
        let (entry, width, height) = match configuration.codec {
            Codec::Avc => {
                let avc1 = h264::build_avc1_box(&sps, &pps, &H264SampleEntryConfig { length_size })?;
                let (width, height) = (avc1.visual.width, avc1.visual.height);
                (SampleEntry::Avc1(avc1), width, height)
            }
            Codec::Hevc => {
                let config = H265SampleEntryConfig {
                    length_size,
                    avg_frame_rate: H265SampleEntryConfig::AVG_FRAME_RATE_UNSPECIFIED,
                    constant_frame_rate: H265ConstantFrameRate::Unknown,
                };
                let hvc1 = h265::build_hvc1_box(&configuration.of(Set::Vps), &sps, &pps, &config)?;
                let (width, height) = (hvc1.visual.width, hvc1.visual.height);
                (SampleEntry::Hvc1(hvc1), width, height)
            }
        };
        Ok(Self {
            codecs: codec_string::from_sample_entry(&entry)?,
            entry,
            width,
            height,
        })
    }
}

/// The start of a file in which these descriptions occur, numbered from 1. A file that has them all can begin one that has
/// more. `lasts`, in ticks, where that is known.
pub fn init(descriptions: &[Arc<Description>], lasts: Option<u64>) -> Result<Bytes, Unusable> {
    let mut muxer = Fmp4SegmentMuxer::new()?;
    for description in descriptions {
        // The muxer learns descriptions from samples; what it makes of these is of no use.
        muxer.create_media_segment_metadata(&[Described {
            track_kind: TrackKind::Video,
            timescale: timescale()?,
            sample_entry: Some(description.entry.clone()),
            duration: 1,
            keyframe: true,
            composition_time_offset: None,
            data_offset: 0,
            data_size: 1,
        }])?;
    }
    let start = muxer.init_segment_bytes()?;
    let (ftyp, size) = FtypBox::decode(&start)?;
    let (mut moov, _) = MoovBox::decode(&start[size..])?;
    let milliseconds = lasts.map(|ticks| ticks / (CLOCK / 1_000));
    if let Some(mvex) = &mut moov.mvex_box {
        // The time scale of a whole movie is milliseconds. No duration is better than a false one.
        mvex.mehd_box = milliseconds.map(|fragment_duration| MehdBox { fragment_duration });
    }
    let mut bytes = ftyp.encode_to_vec()?;
    bytes.extend(moov.encode_to_vec()?);
    Ok(bytes.into())
}

/// A group as a fragment.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Its bytes.
    pub bytes: Bytes,
    /// When it begins, in ticks of the group.
    pub begins: u64,
    /// How long it lasts, in ticks.
    pub lasts: u64,
    /// How long each of its frames is shown, with when that begins.
    pub frames: Vec<(u64, u64)>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// It is the how-manieth of its recording, from 1.
    pub sequence: u32,
    /// The number of its description, from 1.
    pub description: u32,
    /// Its ticks are moved by as many.
    pub moved: i64,
    /// Another description was before it in its film. Its key frames carry their parameter sets, although the description
    /// has them too: players that read a whole film look at the first description alone.
    pub changed: bool,
}

/// Makes a group a fragment.
pub fn fragment(group: &Group, place: Place) -> Result<Fragment, Unusable> {
    // The frames lie in the order in which they are decoded, and say when they are shown. Where the two differ, the times
    // of decoding are those of showing, in order.
    let mut decoded: Vec<u64> = group.samples.iter().map(|sample| sample.time).collect();
    decoded.sort_unstable();
    let begins = *decoded
        .first()
        .ok_or_else(|| Unusable("a group of nothing".to_owned()))?;
    let ends = decoded.iter().copied().skip(1).chain([group.ends]);
    let frames: Vec<_> = decoded
        .iter()
        .copied()
        .zip(ends)
        .map(|(at, end)| (at, end - at))
        .collect();
    let reordered = group
        .samples
        .iter()
        .zip(&decoded)
        .any(|(sample, at)| sample.time != *at);

    let sets = |key: bool| {
        let sets: &[_] = if place.changed && key {
            &group.configuration.sets
        } else {
            &[]
        };
        sets.iter().map(|(_, set)| set)
    };
    let mut samples = Vec::with_capacity(group.samples.len());
    let mut payload = 0_usize;
    for (sample, (at, lasts)) in group.samples.iter().zip(&frames) {
        let units = sets(sample.key).chain(&sample.units);
        let size: usize = units.map(|unit| unit.len() + 4).sum();
        payload += size;
        let offset = i64::try_from(sample.time).unwrap_or(0) - i64::try_from(*at).unwrap_or(0);
        samples.push(TrunSample {
            duration: Some(narrow(*lasts)?),
            size: Some(narrow(size as u64)?),
            flags: Some(flags(sample.key)),
            composition_time_offset: reordered.then_some(offset),
        });
    }
    let mut moof = MoofBox {
        mfhd_box: MfhdBox {
            sequence_number: place.sequence,
        },
        traf_boxes: vec![TrafBox {
            tfhd_box: TfhdBox {
                track_id: TRACK,
                base_data_offset: None,
                sample_description_index: Some(place.description),
                default_sample_duration: None,
                default_sample_size: None,
                default_sample_flags: None,
                duration_is_empty: false,
                default_base_is_moof: true,
            },
            tfdt_box: Some(TfdtBox {
                version: 1,
                base_media_decode_time: begins.saturating_add_signed(place.moved),
            }),
            trun_boxes: vec![TrunBox {
                data_offset: Some(0),
                first_sample_flags: None,
                samples,
            }],
            unknown_boxes: Vec::new(),
        }],
        unknown_boxes: Vec::new(),
    };
    // Its size does not depend on the offset that stands in it.
    let data_offset = moof.encode_to_vec()?.len() + MDAT_HEADER;
    moof.traf_boxes[0].trun_boxes[0].data_offset = Some(i32::try_from(data_offset).map_err(|_| too_large())?);

    let mut bytes = BytesMut::with_capacity(data_offset + payload);
    bytes.extend_from_slice(&moof.encode_to_vec()?);
    bytes.put_u32(narrow((payload + MDAT_HEADER) as u64)?);
    bytes.extend_from_slice(b"mdat");
    for unit in group
        .samples
        .iter()
        .flat_map(|sample| sets(sample.key).chain(&sample.units))
    {
        bytes.put_u32(narrow(unit.len() as u64)?);
        bytes.extend_from_slice(unit);
    }
    Ok(Fragment {
        bytes: bytes.freeze(),
        begins,
        lasts: group.ends - begins,
        frames,
    })
}

/// Size and type.
const MDAT_HEADER: usize = 8;

/// ISO/IEC 14496-12, 8.8.3.1: a key frame depends on no other; another one does, and is no place to begin.
fn flags(key: bool) -> SampleFlags {
    let depends_on = if key { 2 } else { 1 };
    SampleFlags::from_fields(0, depends_on, 0, 0, 0, !key, 0)
}

fn narrow(value: u64) -> Result<u32, Unusable> {
    u32::try_from(value).map_err(|_| too_large())
}

fn too_large() -> Unusable {
    Unusable("it is too large".to_owned())
}

fn timescale() -> Result<NonZeroU32, Unusable> {
    let ticks = u32::try_from(CLOCK).ok().and_then(NonZeroU32::new);
    ticks.ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use shiguredo_mp4::demux::Fmp4SegmentDemuxer;

    use super::*;
    use crate::stream::Sample;
    use crate::testing;

    fn configuration(codec: Codec, sets: &[Bytes]) -> Arc<Configuration> {
        let kind = |set: &Bytes| match codec.kind(set) {
            crate::codec::Kind::Set(kind) => kind,
            other => panic!("{other:?}"),
        };
        Arc::new(Configuration {
            codec,
            sets: sets.iter().map(|set| (kind(set), set.clone())).collect(),
        })
    }

    fn group(codec: Codec, times: &[u64], ends: u64) -> Group {
        let sample = |(index, time): (usize, &u64)| Sample {
            time: *time,
            key: index == 0,
            damaged: false,
            units: vec![testing::unit(codec, 50 + index), testing::unit(codec, 20)],
        };
        Group {
            configuration: configuration(codec, &testing::sets(codec)),
            samples: times.iter().enumerate().map(sample).collect(),
            ends,
            arrived: Duration::ZERO,
        }
    }

    fn place(moved: i64) -> Place {
        Place {
            sequence: 7,
            description: 1,
            moved,
            changed: false,
        }
    }

    fn described(codec: Codec, sets: &[Bytes]) -> Arc<Description> {
        Arc::new(Description::of(&configuration(codec, sets)).unwrap())
    }

    #[test]
    fn a_description_has_the_size_and_the_name_that_the_sets_say() {
        fn check(codec: Codec, sets: &[Bytes], expected: (u16, u16, &str)) {
            let description = described(codec, sets);
            assert_eq!(
                (description.width, description.height, description.codecs.as_str()),
                expected
            );
        }
        check(Codec::Avc, &testing::sets(Codec::Avc), (640, 360, "avc1.42c016"));
        check(Codec::Avc, &testing::smaller_sets(), (320, 180, "avc1.42c00d"));
        check(Codec::Hevc, &testing::sets(Codec::Hevc), (640, 360, "hvc1.1.6.L63.90"));
    }

    #[test]
    fn sets_that_make_no_sense_are_an_error() {
        let sets = [Bytes::from_static(&[0x67, 1, 2]), Bytes::from_static(&[0x68, 1])];
        assert!(Description::of(&configuration(Codec::Avc, &sets)).is_err());
    }

    #[test]
    fn a_fragment_is_read_back_as_it_was_sent() {
        for codec in [Codec::Avc, Codec::Hevc] {
            let group = group(codec, &[900_000, 906_000, 915_000], 921_000);
            let fragment = fragment(&group, place(-900_000 + 45_000)).unwrap();
            assert_eq!((fragment.begins, fragment.lasts), (900_000, 21_000));
            let mut demuxer = Fmp4SegmentDemuxer::new();
            let start = init(&[described(codec, &testing::sets(codec))], None).unwrap();
            demuxer.handle_init_segment(&start).unwrap();
            let samples = demuxer.handle_media_segment(&fragment.bytes).unwrap();
            let read: Vec<_> = samples
                .iter()
                .map(|sample| (sample.timestamp, sample.duration, sample.keyframe))
                .collect();
            assert_eq!(
                read,
                [(45_000, 6_000, true), (51_000, 9_000, false), (60_000, 6_000, false)]
            );
            let first = &samples[0];
            let data = &fragment.bytes[usize::try_from(first.data_offset).unwrap()..][..first.data_size];
            assert_eq!(data[..4], 50_u32.to_be_bytes());
            assert_eq!(data[4..54], group.samples[0].units[0]);
        }
    }

    #[test]
    fn frames_that_are_shown_in_another_order_than_decoded_say_so() {
        let group = group(Codec::Avc, &[900_000, 918_000, 906_000, 912_000], 924_000);
        let fragment = fragment(&group, place(0)).unwrap();
        let mut demuxer = Fmp4SegmentDemuxer::new();
        demuxer
            .handle_init_segment(&init(&[described(Codec::Avc, &testing::sets(Codec::Avc))], None).unwrap())
            .unwrap();
        let samples = demuxer.handle_media_segment(&fragment.bytes).unwrap();
        let shown: Vec<_> = samples
            .iter()
            .map(|sample| {
                sample
                    .timestamp
                    .saturating_add_signed(sample.composition_time_offset.unwrap_or(0))
            })
            .collect();
        assert_eq!(shown, [900_000, 918_000, 906_000, 912_000]);
        assert!(samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
    }

    #[test]
    fn the_start_of_a_file_may_have_several_descriptions_and_its_duration() {
        let all = [
            described(Codec::Avc, &testing::sets(Codec::Avc)),
            described(Codec::Avc, &testing::smaller_sets()),
        ];
        let start = init(&all, Some(90_000 * 3 / 2)).unwrap();
        let (_, size) = FtypBox::decode(&start).unwrap();
        let (moov, _) = MoovBox::decode(&start[size..]).unwrap();
        let mvex = moov.mvex_box.unwrap();
        assert_eq!(mvex.mehd_box.unwrap().fragment_duration, 1_500);
        assert_eq!(moov.trak_boxes[0].mdia_box.minf_box.stbl_box.stsd_box.entries.len(), 2);
    }

    #[test]
    fn after_a_change_key_frames_carry_their_sets() {
        let group = group(Codec::Avc, &[900_000, 906_000], 912_000);
        let plain = fragment(&group, place(0)).unwrap();
        let changed = Place {
            changed: true,
            ..place(0)
        };
        let changed = fragment(&group, changed).unwrap();
        let sets: usize = testing::sets(Codec::Avc).iter().map(|set| set.len() + 4).sum();
        assert_eq!(changed.bytes.len(), plain.bytes.len() + sets);
    }

    proptest! {
        #[test]
        fn the_durations_of_a_group_add_up_to_it(
            steps in proptest::collection::vec(1_u64..30_000, 1..40),
            last in 1_u64..30_000,
        ) {
            let times: Vec<_> = steps.iter().scan(900_000, |at, step| { *at += step; Some(*at) }).collect();
            let ends = times.last().unwrap() + last;
            let fragment = fragment(&group(Codec::Avc, &times, ends), place(0)).unwrap();
            let all: u64 = fragment.frames.iter().map(|(_, lasts)| lasts).sum();
            prop_assert_eq!(all, fragment.lasts);
            prop_assert_eq!(fragment.begins + fragment.lasts, ends);
        }
    }
}
