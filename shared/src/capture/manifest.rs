//! What a capture has become so far: the objects that it is made of, when each was, what is missing between them, and what
//! was lost. It lies beside the objects, is written anew with each of them, and is all that somebody else needs to go on
//! with a capture whose recorder died. This file does no I/O.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::media::Window;

/// The version of the form below.
const SCHEMA: &str = "capture_manifest/1";
/// Ticks a second of all durations and times below: the clock of video over RTP.
pub const CLOCK: u64 = 90_000;
/// The longest segment that a playlist promises while it grows: a group and the longest pause that it may end in.
const TARGET_SECONDS: u64 = 12;

/// A capture's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name and version of this form.
    pub schema: String,
    /// Which medium this is.
    pub medium_id: String,
    /// Whether nothing more will come.
    pub finished: bool,
    /// When the first frame was, in epoch milliseconds; `None` before it.
    pub began_at: Option<i64>,
    /// The sessions, in order.
    pub parts: Vec<Part>,
    /// What decoders have to know, in order.
    pub inits: Vec<Init>,
    /// The groups of pictures, in order.
    pub fragments: Vec<Fragment>,
    /// The time of which there are no pictures.
    pub gaps: Vec<Gap>,
    /// The whole as one file, once it is finished. More than one where the codec changed on the way.
    pub films: Vec<Film>,
}

/// What one session gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// When its pictures are from; no duration: it gave none.
    pub window: Window,
    /// How it ended; `None` while it goes on, or where its recorder died.
    pub ended: Option<String>,
    /// How long its first frame took from the offer on, in milliseconds.
    pub first_frame_after: Option<i64>,
    /// What became of its packets and frames.
    pub counts: Counts,
}

/// What became of a session's packets and frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Packets that came in time.
    pub packets_received: u64,
    /// Those of them that came late, reordered or sent again.
    pub packets_repaired: u64,
    /// Packets that never came, or too late.
    pub packets_lost: u64,
    /// Packets that our own program was too slow for.
    pub packets_overrun: u64,
    /// Payloads that made no sense.
    pub payloads_malformed: u64,
    /// Frames that are stored.
    pub frames_kept: u64,
    /// Those of them that show damage, as something was lost and the sender sent no whole key frame.
    pub frames_damaged: u64,
    /// Frames that were left out, as they were damaged.
    pub frames_dropped: u64,
}

/// What a decoder has to know, as an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// Where it lies.
    pub key: String,
    /// `avc` or `hevc`.
    pub codec: String,
    /// The codec as players are told it (RFC 6381).
    pub codecs: String,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The place of its description among those of its film, from 1.
    pub description: u32,
    /// Which of the films it belongs to, from 0.
    pub film: usize,
    /// The parameter sets that it is made of: the kind, and the set in Base64.
    pub sets: Vec<(String, String)>,
}

/// A group of pictures, as an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// Where it lies.
    pub key: String,
    /// Which session it came from.
    pub part: u32,
    /// Which of the inits it needs, from 0.
    pub init: usize,
    /// When it begins, in ticks since the first frame.
    pub time: u64,
    /// How long it lasts, in ticks.
    pub duration: u64,
    /// Its size.
    pub bytes: u64,
    /// Its frames.
    pub frames: u32,
    /// Those of them that show damage.
    pub damaged: u32,
    /// Whether it begins with a key frame.
    pub independent: bool,
}

/// A time of which there are no pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When.
    pub window: Window,
    /// Why.
    pub why: Missing,
}

/// Why there are no pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// One session had ended, and the next not begun.
    BetweenSessions,
    /// They were lost on the way.
    FramesLost,
}

/// The whole as one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Film {
    /// Where it lies.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

impl Manifest {
    /// Of a capture that has not begun.
    #[must_use]
    pub fn new(medium_id: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            medium_id: medium_id.into(),
            finished: false,
            began_at: None,
            parts: Vec::new(),
            inits: Vec::new(),
            fragments: Vec::new(),
            gaps: Vec::new(),
            films: Vec::new(),
        }
    }

    /// When the pictures are from: from the first to the last, gaps included. `None`: there are none.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        let last = self.fragments.last()?;
        Some(Window {
            timestamp: self.began_at?,
            duration: milliseconds(last.time + last.duration),
        })
    }

    /// How long there are no pictures within [`Self::window`], in milliseconds.
    #[must_use]
    pub fn missing(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.window.duration).sum()
    }

    /// A playlist of the fragments (HTTP Live Streaming, RFC 8216) that plays as one, with `url` for each object. Where a
    /// session follows another, or the description changes, it says so.
    #[must_use]
    pub fn playlist(&self, url: impl Fn(&str) -> String) -> String {
        let longest = self
            .fragments
            .iter()
            .map(|fragment| fragment.duration.div_ceil(CLOCK))
            .max();
        let target = match self.finished {
            true => longest.unwrap_or(1).max(1),
            // It may not change while the list grows.
            false => longest.unwrap_or(0).max(TARGET_SECONDS),
        };
        let mut list = format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0\n");
        list.push_str(match self.finished {
            true => "#EXT-X-PLAYLIST-TYPE:VOD\n",
            false => "#EXT-X-PLAYLIST-TYPE:EVENT\n",
        });
        if self.fragments.iter().all(|fragment| fragment.independent) {
            list.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        let mut before: Option<&Fragment> = None;
        for fragment in &self.fragments {
            let Some(init) = self.inits.get(fragment.init) else {
                continue;
            };
            let new_init = before.is_none_or(|before| before.init != fragment.init);
            let new_part = before.is_none_or(|before| before.part != fragment.part);
            if before.is_some() && (new_init || new_part) {
                list.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if new_init {
                push_line(&mut list, format_args!("#EXT-X-MAP:URI=\"{}\"", url(&init.key)));
            }
            if let Some(at) = new_part.then(|| self.at(fragment.time)).flatten() {
                push_line(&mut list, format_args!("#EXT-X-PROGRAM-DATE-TIME:{at:.3}"));
            }
            let (seconds, rest) = (fragment.duration / CLOCK, fragment.duration % CLOCK * 100_000 / CLOCK);
            push_line(
                &mut list,
                format_args!("#EXTINF:{seconds}.{rest:05},\n{}", url(&fragment.key)),
            );
            before = Some(fragment);
        }
        if self.finished {
            list.push_str("#EXT-X-ENDLIST\n");
        }
        list
    }

    /// When it was that many ticks since the first frame.
    fn at(&self, time: u64) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.began_at? + milliseconds(time)).ok()
    }

    /// The objects that it is made of, but for the manifest itself.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let inits = self.inits.iter().map(|init| init.key.as_str());
        let fragments = self.fragments.iter().map(|fragment| fragment.key.as_str());
        inits
            .chain(fragments)
            .chain(self.films.iter().map(|film| film.key.as_str()))
    }
}

/// Where the manifest of a recording lies whose film is to lie at `film_key`.
#[must_use]
pub fn manifest_key(film_key: &str) -> String {
    format!("{}/manifest.json", prefix(film_key))
}

/// What the keys of all objects of a recording begin with.
#[must_use]
pub fn prefix(film_key: &str) -> &str {
    film_key.strip_suffix(".mp4").unwrap_or(film_key)
}

/// Ticks as milliseconds.
#[must_use]
pub fn milliseconds(ticks: u64) -> i64 {
    i64::try_from(ticks / (CLOCK / 1_000)).unwrap_or(i64::MAX)
}

fn push_line(list: &mut String, line: std::fmt::Arguments<'_>) {
    let _a_string_takes_all = list.write_fmt(line);
    list.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(key: &str) -> Init {
        Init {
            key: key.to_owned(),
            codec: "avc".to_owned(),
            codecs: "avc1.42C016".to_owned(),
            width: 640,
            height: 360,
            description: 1,
            film: 0,
            sets: Vec::new(),
        }
    }

    fn fragment(key: &str, part: u32, init: usize, time: u64) -> Fragment {
        Fragment {
            key: key.to_owned(),
            part,
            init,
            time,
            duration: 2 * CLOCK,
            bytes: 1,
            frames: 30,
            damaged: 0,
            independent: true,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            began_at: Some(1_770_000_000_250),
            inits: vec![init("i0"), init("i1")],
            fragments: vec![
                fragment("a", 1, 0, 0),
                fragment("b", 1, 0, 2 * CLOCK),
                fragment("c", 2, 0, 5 * CLOCK),
                fragment("d", 2, 1, 7 * CLOCK),
            ],
            finished: true,
            ..Manifest::new("med_1")
        }
    }

    #[test]
    fn a_playlist_maps_each_description_once_and_marks_what_does_not_follow() {
        let list = manifest().playlist(|key| format!("https://b/{key}?s"));
        let expected = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n\
            #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-MAP:URI=\"https://b/i0?s\"\n#EXT-X-PROGRAM-DATE-TIME:2026-02-02T02:40:00.250Z\n\
            #EXTINF:2.00000,\nhttps://b/a?s\n#EXTINF:2.00000,\nhttps://b/b?s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-02-02T02:40:05.250Z\n\
            #EXTINF:2.00000,\nhttps://b/c?s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"https://b/i1?s\"\n\
            #EXTINF:2.00000,\nhttps://b/d?s\n#EXT-X-ENDLIST\n";
        assert_eq!(list, expected);
    }

    #[test]
    fn a_playlist_that_grows_has_no_end_and_only_gets_longer() {
        let mut growing = manifest();
        growing.finished = false;
        let full = growing.playlist(str::to_owned);
        growing.fragments.pop();
        let before = growing.playlist(str::to_owned);
        assert!(full.starts_with(&before), "{before}");
        assert!(!full.contains("ENDLIST"));
    }

    #[test]
    fn all_that_a_capture_has_in_the_bucket_is_named_by_its_manifest() {
        let mut manifest = manifest();
        manifest.films.push(Film {
            key: "m/1.mp4".to_owned(),
            bytes: 1,
            sha256: String::new(),
        });
        assert_eq!(
            manifest.keys().collect::<Vec<_>>(),
            ["i0", "i1", "a", "b", "c", "d", "m/1.mp4"]
        );
        assert_eq!(manifest_key("m/1.mp4"), "m/1/manifest.json");
    }

    #[test]
    fn the_window_has_the_gaps_in_it() {
        let window = manifest().window().unwrap();
        assert_eq!((window.timestamp, window.duration), (1_770_000_000_250, 9_000));
        assert_eq!(Manifest::new("m").window(), None);
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = manifest();
        let text = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    }
}
