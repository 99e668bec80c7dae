//! A recording in the making: groups of pictures in, objects to store and the manifest that describes them out. It goes on
//! where another recorder left off, from the manifest alone. No I/O.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use shared::capture::manifest::{
    CLOCK, Counts, Fragment, Gap, Init, Manifest, Missing, Part, manifest_key, milliseconds, prefix,
};
use shared::media::Window;

use crate::codec::{Codec, Set};
use crate::mp4::{self, Description, Unusable};
use crate::sets::Configuration;
use crate::stream::{self, Group};

/// A frame that stays for longer than this stands for others that were lost.
const STANDS_STILL: u64 = CLOCK;
/// A new session that begins this much after the last one's end leaves a gap.
const GAP: u64 = CLOCK / 10;

/// An object to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where.
    pub key: String,
    /// Its media type.
    pub content_type: &'static str,
    /// What it is.
    pub body: Bytes,
}

/// What a film, a whole file, is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reel {
    /// Where it is to lie.
    pub key: String,
    /// Its start.
    pub start: Bytes,
    /// The keys of the objects that follow, in order.
    pub fragments: Vec<String>,
}

/// A recording.
#[derive(Debug)]
pub struct Recording {
    /// What the keys of its objects begin with.
    prefix: String,
    /// Where the first film is to lie.
    film_key: String,
    manifest: Manifest,
    /// Those of the manifest's inits, in step with them.
    described: Vec<(Configuration, Arc<Description>)>,
    /// How much the ticks of the session at hand are moved; `None` before its first group.
    moved: Option<i64>,
}

impl Recording {
    /// A recording whose film is to lie at `film_key`, and its parts in a folder of that name. With the manifest of
    /// another recorder, it goes on from there.
    pub fn new(manifest: Manifest, film_key: impl Into<String>) -> Result<Self, Unusable> {
        let film_key = film_key.into();
        let described = manifest.inits.iter().map(described).collect::<Result<_, _>>()?;
        Ok(Self {
            prefix: prefix(&film_key).to_owned(),
            film_key,
            manifest,
            described,
            moved: None,
        })
    }

    /// What it has become so far.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as an object.
    #[must_use]
    pub fn manifest_object(&self) -> Object {
        Object {
            key: manifest_key(&self.film_key),
            content_type: "application/json",
            // A manifest has nothing in it that JSON could not say.
            body: serde_json::to_vec(&self.manifest).unwrap_or_default().into(),
        }
    }

    /// Another session begins.
    pub fn begin_part(&mut self, now: Timestamp) {
        let number = u32::try_from(self.manifest.parts.len() + 1).unwrap_or(u32::MAX);
        self.manifest.parts.push(Part {
            number,
            window: Window {
                timestamp: now.as_millisecond(),
                duration: 0,
            },
            ended: None,
            first_frame_after: None,
            counts: Counts::default(),
        });
        self.moved = None;
    }

    /// What came of the session at hand, so far.
    pub fn count(&mut self, counts: stream::Counts, overrun: u64) {
        if let Some(part) = self.manifest.parts.last_mut() {
            part.counts = Counts {
                packets_received: counts.packets.received,
                packets_repaired: counts.packets.repaired,
                packets_lost: counts.packets.lost,
                packets_overrun: overrun,
                payloads_malformed: counts.malformed,
                frames_kept: counts.kept,
                frames_damaged: counts.damaged,
                frames_dropped: counts.dropped,
            };
        }
    }

    /// The session at hand ends.
    pub fn end_part(&mut self, why: &str) {
        if let Some(part) = self.manifest.parts.last_mut() {
            part.ended = Some(why.to_owned());
        }
        self.moved = None;
    }

    /// Takes a group, whose session began at `began_at`: what is to be stored for it, in this order.
    pub fn take(&mut self, group: &Group, began_at: Timestamp) -> Result<Vec<Object>, Unusable> {
        let mut objects = Vec::new();
        let init = self.init(&group.configuration, &mut objects)?;
        let shown_at = began_at.as_millisecond() + whole_milliseconds(group.arrived);
        let first = group.samples.iter().map(|sample| sample.time).min().unwrap_or_default();
        let moved = match self.moved {
            Some(moved) => moved,
            None => self.begin(first, shown_at),
        };
        let number = self.manifest.fragments.len() + 1;
        let sequence = u32::try_from(number).unwrap_or(u32::MAX);
        let place = mp4::Place {
            sequence,
            description: self.manifest.inits[init].description,
            moved,
            changed: self.is_changed(init),
        };
        let fragment = mp4::fragment(group, place)?;
        let time = fragment.begins.saturating_add_signed(moved);
        self.stands_still(&fragment, moved);
        let part = self.part(time + fragment.lasts, shown_at, began_at);
        let key = format!("{}/{number:06}.m4s", self.prefix);
        self.manifest.fragments.push(Fragment {
            key: key.clone(),
            part,
            init,
            time,
            duration: fragment.lasts,
            bytes: fragment.bytes.len() as u64,
            frames: count(group.samples.len()),
            damaged: count(group.samples.iter().filter(|sample| sample.damaged).count()),
            independent: group.samples[0].key,
        });
        objects.push(Object {
            key,
            content_type: "video/iso.segment",
            body: fragment.bytes,
        });
        Ok(objects)
    }

    /// Nothing more will come. Says what the films are to be made of: one, unless the codec changed on the way.
    pub fn finish(&mut self) -> Result<Vec<Reel>, Unusable> {
        let films = self.manifest.inits.iter().map(|init| init.film + 1).max().unwrap_or(0);
        (0..films).map(|film| self.reel(film)).collect()
    }

    /// The films are stored.
    pub fn finished(&mut self, films: Vec<shared::capture::manifest::Film>) {
        self.manifest.films = films;
        self.manifest.finished = true;
    }

    fn reel(&self, film: usize) -> Result<Reel, Unusable> {
        let of_film = |init: &usize| self.manifest.inits[*init].film == film;
        let descriptions: Vec<_> = (0..self.manifest.inits.len())
            .filter(of_film)
            .map(|init| self.described[init].1.clone())
            .collect();
        let fragments = self
            .manifest
            .fragments
            .iter()
            .filter(|fragment| of_film(&fragment.init));
        let fragments: Vec<_> = fragments.collect();
        let begins = fragments.first().map_or(0, |fragment| fragment.time);
        let ends = fragments.last().map_or(0, |fragment| fragment.time + fragment.duration);
        Ok(Reel {
            key: match film {
                0 => self.film_key.clone(),
                _ => format!("{}/film-{}.mp4", self.prefix, film + 1),
            },
            start: mp4::init(&descriptions, Some(ends - begins))?,
            fragments: fragments.iter().map(|fragment| fragment.key.clone()).collect(),
        })
    }

    /// The place of a configuration's init, which is made where there is none yet. It has all descriptions of its film up
    /// to its own in it, so that the last one can begin the whole file.
    fn init(&mut self, configuration: &Configuration, objects: &mut Vec<Object>) -> Result<usize, Unusable> {
        if let Some(known) = self.described.iter().position(|(other, _)| other == configuration) {
            return Ok(known);
        }
        let description = Arc::new(Description::of(configuration)?);
        let last = self.described.last().zip(self.manifest.inits.last());
        let film = match last {
            Some(((before, _), init)) if before.codec == configuration.codec => init.film,
            Some((_, init)) => init.film + 1,
            None => 0,
        };
        let of_film = self
            .described
            .iter()
            .zip(&self.manifest.inits)
            .filter(|(_, init)| init.film == film);
        let mut descriptions: Vec<_> = of_film.map(|((_, description), _)| description.clone()).collect();
        descriptions.push(description.clone());
        let init = Init {
            key: format!("{}/init-{}.mp4", self.prefix, self.described.len() + 1),
            codec: name(configuration.codec).to_owned(),
            codecs: description.codecs.clone(),
            width: description.width.into(),
            height: description.height.into(),
            description: count(descriptions.len()),
            film,
            sets: configuration
                .sets
                .iter()
                .map(|(kind, set)| (set_name(*kind).to_owned(), BASE64.encode(set)))
                .collect(),
        };
        objects.push(Object {
            key: init.key.clone(),
            content_type: "video/mp4",
            body: mp4::init(&descriptions, None)?,
        });
        self.manifest.inits.push(init);
        self.described.push((configuration.clone(), description));
        Ok(self.described.len() - 1)
    }

    /// Whether the film of this init has had another one already.
    fn is_changed(&self, init: usize) -> bool {
        let film = self.manifest.inits[init].film;
        let mut before = self.manifest.fragments.iter().map(|fragment| fragment.init);
        before.any(|other| other != init && self.manifest.inits[other].film == film)
    }

    /// A session's first group: its ticks are moved to where they belong in the recording.
    fn begin(&mut self, first: u64, shown_at: i64) -> i64 {
        let began_at = *self.manifest.began_at.get_or_insert(shown_at);
        let passed = u64::try_from(shown_at - began_at).unwrap_or(0) * (CLOCK / 1_000);
        let before = self
            .manifest
            .fragments
            .last()
            .map_or(0, |last| last.time + last.duration);
        let at = passed.max(before);
        if !self.manifest.fragments.is_empty() && at - before > GAP {
            self.gap(before, at, Missing::BetweenSessions);
        }
        let moved = at.wrapping_sub(first).cast_signed();
        self.moved = Some(moved);
        moved
    }

    /// Frames that are shown for too long stand for others.
    fn stands_still(&mut self, fragment: &mp4::Fragment, moved: i64) {
        for (at, lasts) in &fragment.frames {
            if *lasts > STANDS_STILL {
                let at = at.saturating_add_signed(moved);
                self.gap(at, at + lasts, Missing::FramesLost);
            }
        }
    }

    fn gap(&mut self, from: u64, to: u64, why: Missing) {
        let began_at = self.manifest.began_at.unwrap_or_default();
        self.manifest.gaps.push(Gap {
            window: Window {
                timestamp: began_at + milliseconds(from),
                duration: milliseconds(to - from),
            },
            why,
        });
    }

    /// The session at hand has pictures up to `ends`, in ticks of the recording. Its number.
    fn part(&mut self, ends: u64, shown_at: i64, session_began_at: Timestamp) -> u32 {
        let began_at = self.manifest.began_at.unwrap_or_default();
        let Some(part) = self.manifest.parts.last_mut() else {
            return 0;
        };
        if part.first_frame_after.is_none() {
            part.first_frame_after = Some(shown_at - session_began_at.as_millisecond());
            part.window.timestamp = shown_at;
        }
        part.window.duration = began_at + milliseconds(ends) - part.window.timestamp;
        part.number
    }
}

fn described(init: &Init) -> Result<(Configuration, Arc<Description>), Unusable> {
    let mut sets = Vec::new();
    for (kind, set) in &init.sets {
        let kind = [Set::Vps, Set::Sps, Set::Pps]
            .into_iter()
            .find(|known| set_name(*known) == kind);
        let set = BASE64.decode(set).ok();
        let (kind, set) = kind.zip(set).ok_or_else(|| Unusable::unreadable("a parameter set"))?;
        sets.push((kind, Bytes::from(set)));
    }
    let codec = [Codec::Avc, Codec::Hevc]
        .into_iter()
        .find(|codec| name(*codec) == init.codec);
    let codec = codec.ok_or_else(|| Unusable::unreadable("a codec"))?;
    let configuration = Configuration { codec, sets };
    let description = Arc::new(Description::of(&configuration)?);
    Ok((configuration, description))
}

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Avc => "avc",
        Codec::Hevc => "hevc",
    }
}

fn set_name(kind: Set) -> &'static str {
    match kind {
        Set::Vps => "vps",
        Set::Sps => "sps",
        Set::Pps => "pps",
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn whole_milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Settings, Stream};
    use crate::testing::{self, FRAME, Film};

    const KEY: &str = "media/acc/dev/med_1.mp4";

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_770_000_000_000 + milliseconds).unwrap()
    }

    /// Records a film as one session that began at `began_at`.
    fn record(recording: &mut Recording, film: &Film, began_at: Timestamp) -> Vec<Object> {
        let mut stream = Stream::new(film.codec, Settings::default());
        for packet in film.packets(0, 0) {
            stream.packet(
                packet.clone(),
                Duration::from_micros(66_667) * (packet.timestamp / FRAME),
            );
        }
        stream.finish(Duration::from_secs(60));
        recording.begin_part(began_at);
        let mut objects = Vec::new();
        while let Some(group) = stream.group() {
            objects.extend(recording.take(&group, began_at).unwrap());
        }
        recording.count(stream.counts(), 0);
        recording.end_part("limit");
        objects
    }

    fn recording() -> Recording {
        Recording::new(Manifest::new("med_1"), KEY).unwrap()
    }

    #[test]
    fn one_session_is_one_init_its_groups_and_a_film_of_them() {
        let mut recording = recording();
        let objects = record(&mut recording, &Film::new(Codec::Hevc, 10), at(0));
        let keys: Vec<_> = objects.iter().map(|object| object.key.as_str()).collect();
        let folder = "media/acc/dev/med_1";
        let expected = ["init-1.mp4", "000001.m4s", "000002.m4s", "000003.m4s"].map(|name| format!("{folder}/{name}"));
        assert_eq!(keys, expected);
        let manifest = recording.manifest().clone();
        assert_eq!(
            manifest.window(),
            Some(Window {
                timestamp: 1_770_000_000_000,
                duration: 666
            })
        );
        assert_eq!(manifest.gaps, []);
        assert_eq!((manifest.inits[0].width, manifest.inits[0].height), (640, 360));
        assert_eq!(
            manifest
                .fragments
                .iter()
                .map(|fragment| fragment.frames)
                .collect::<Vec<_>>(),
            [4, 4, 2]
        );
        assert_eq!(manifest.parts[0].counts.frames_kept, 10);
        let reels = recording.finish().unwrap();
        assert_eq!(reels.len(), 1);
        assert_eq!((reels[0].key.as_str(), &reels[0].fragments[..]), (KEY, &expected[1..]));
    }

    #[test]
    fn a_chained_session_lies_at_its_own_time_and_the_gap_before_it_is_told() {
        let mut recording = recording();
        record(&mut recording, &Film::new(Codec::Avc, 10), at(0));
        let objects = record(&mut recording, &Film::new(Codec::Avc, 10), at(2_000));
        assert!(
            objects.iter().all(|object| !object.key.contains("init")),
            "the first one's serves"
        );
        let manifest = recording.manifest();
        let gap = Gap {
            window: Window {
                timestamp: 1_770_000_000_666,
                duration: 1_334,
            },
            why: Missing::BetweenSessions,
        };
        let close = |one: i64, other: i64| (one - other).abs() <= 1;
        assert_eq!(manifest.gaps.len(), 1);
        assert!(close(manifest.gaps[0].window.timestamp, gap.window.timestamp));
        assert!(close(manifest.gaps[0].window.duration, gap.window.duration));
        assert_eq!(manifest.fragments[3].time, 2 * CLOCK);
        assert_eq!(manifest.window().unwrap().duration, 2_666);
        assert_eq!(
            manifest.parts[1].window,
            Window {
                timestamp: 1_770_000_002_000,
                duration: 666
            }
        );
    }

    #[test]
    fn sessions_that_overlap_by_their_clocks_follow_each_other_all_the_same() {
        let mut recording = recording();
        record(&mut recording, &Film::new(Codec::Avc, 10), at(0));
        record(&mut recording, &Film::new(Codec::Avc, 10), at(600));
        let fragments = &recording.manifest().fragments;
        assert!(
            fragments
                .windows(2)
                .all(|two| two[0].time + two[0].duration <= two[1].time),
            "{fragments:?}"
        );
        assert_eq!(recording.manifest().gaps, []);
    }

    #[test]
    fn another_size_is_another_init_of_the_same_film_and_another_codec_another_film() {
        let mut recording = recording();
        record(&mut recording, &Film::new(Codec::Avc, 4), at(0));
        record(
            &mut recording,
            &Film::of(Codec::Avc, 4, 4, &testing::smaller_sets()),
            at(1_000),
        );
        record(&mut recording, &Film::new(Codec::Avc, 4), at(2_000));
        record(&mut recording, &Film::new(Codec::Hevc, 4), at(3_000));
        let inits: Vec<_> = recording
            .manifest()
            .inits
            .iter()
            .map(|init| (init.film, init.description, init.width))
            .collect();
        assert_eq!(inits, [(0, 1, 640), (0, 2, 320), (1, 1, 640)]);
        let needed: Vec<_> = recording
            .manifest()
            .fragments
            .iter()
            .map(|fragment| fragment.init)
            .collect();
        assert_eq!(needed, [0, 1, 0, 2]);
        let reels = recording.finish().unwrap();
        assert_eq!(
            reels.iter().map(|reel| reel.fragments.len()).collect::<Vec<_>>(),
            [3, 1]
        );
    }

    #[test]
    fn another_recorder_goes_on_from_the_manifest_alone() {
        let mut first = recording();
        record(&mut first, &Film::new(Codec::Avc, 10), at(0));
        let stored = serde_json::from_slice(&first.manifest_object().body).unwrap();
        let mut second = Recording::new(stored, KEY).unwrap();
        assert_eq!(second.manifest(), first.manifest());
        let film = Film::new(Codec::Avc, 10);
        assert_eq!(
            record(&mut second, &film, at(5_000)),
            record(&mut first, &film, at(5_000))
        );
        assert_eq!(second.finish().unwrap(), first.finish().unwrap());
    }

    #[test]
    fn a_picture_that_stands_still_is_told_as_a_gap() {
        let mut recording = recording();
        let film = Film::of(Codec::Avc, 60, 30, &testing::sets(Codec::Avc));
        let mut stream = Stream::new(Codec::Avc, Settings::default());
        for packet in film.packets(0, 0) {
            if packet.timestamp != 5 * FRAME {
                stream.packet(
                    packet.clone(),
                    Duration::from_micros(66_667) * (packet.timestamp / FRAME),
                );
            }
        }
        stream.finish(Duration::from_secs(60));
        recording.begin_part(at(0));
        while let Some(group) = stream.group() {
            recording.take(&group, at(0)).unwrap();
        }
        let gaps = &recording.manifest().gaps;
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].why, gaps[0].window.duration), (Missing::FramesLost, 1_733));
    }
}
