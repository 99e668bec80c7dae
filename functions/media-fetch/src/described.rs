//! What is stored, described: what Ring says ahead of the bytes, what the file says of itself, and what lies beside the object.

use jiff::Timestamp;
use ring_partner::media::{Media as RingMedia, Resolution};
use serde::Serialize;
use shared::media::archive::Receipt;
use shared::media::{Medium, Object, Request, Window, is_stale, privacy_word};
use shared::policy::Shown;

/// What a file says of itself.
#[derive(Clone, Default)]
pub(crate) struct Looks {
    pub(crate) codec: Option<String>,
    pub(crate) resolution: Option<Resolution>,
    /// In milliseconds.
    pub(crate) duration: Option<i64>,
}

/// What Ring says of a medium, ahead of its bytes.
pub(crate) struct Described {
    pub(crate) content_type: String,
    partial: bool,
    timestamp: Option<i64>,
    length: Option<i64>,
    origin: Option<String>,
    request_id: Option<String>,
}

impl Described {
    pub(crate) fn of(source: &RingMedia) -> Self {
        Self {
            content_type: source.content_type.clone(),
            partial: source.partial,
            timestamp: source.media_timestamp,
            length: source.media_length,
            origin: source.origin.clone(),
            request_id: source.request_id.clone(),
        }
    }

    /// What was `asked` for, as it came.
    pub(crate) fn object(
        self,
        request: &Request,
        asked: Window,
        key: String,
        shown: Shown,
        receipt: Receipt,
        looks: Looks,
    ) -> Object {
        let actual = self.timestamp.map(|timestamp| Window {
            timestamp,
            // Ring names the length of a part, and of a whole it need not (Ring: Media Clips, Response Headers): then the file
            // says it, and only where that is silent, too, what was asked for is believed.
            duration: self.length.or(looks.duration).unwrap_or(asked.duration),
        });
        let stale = matches!(request, Request::Snapshot(_)) && is_stale(asked, actual);
        Object {
            key,
            content_type: self.content_type,
            bytes: receipt.bytes,
            sha256: receipt.sha256,
            actual,
            origin: self
                .origin
                .or_else(|| matches!(request, Request::Clip(_)).then(|| "recording".to_owned())),
            privacy_zones: privacy_word(shown).to_owned(),
            partial: self.partial,
            stale,
            codec: looks.codec,
            resolution: looks.resolution,
            parts: Vec::new(),
            tail: None,
            thumbnail: None,
            ring_request_id: self.request_id,
        }
    }
}

/// What lies beside the object in the bucket.
#[derive(Serialize)]
pub(crate) struct Description<'m> {
    medium_id: &'m str,
    kind: &'m str,
    event_id: Option<&'m str>,
    requested_at: Timestamp,
    requested: Window,
    #[serde(flatten)]
    object: &'m Object,
}

impl<'m> Description<'m> {
    pub(crate) fn of(medium: &'m Medium, object: &'m Object) -> Self {
        Self {
            medium_id: medium.id.as_str(),
            kind: medium.request.kind(),
            event_id: medium.event_id.as_deref(),
            requested_at: medium.requested_at,
            requested: medium.request.window(medium.requested_at),
            object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::clip_that_ended;

    #[test]
    fn trap_103_and_105_the_true_window_is_what_ring_says_and_a_part_without_a_word_what_its_file_says() {
        let medium = clip_that_ended(60);
        let asked = medium.request.window(medium.requested_at);
        let described = |length, partial| Described {
            content_type: "video/mp4".to_owned(),
            partial,
            timestamp: Some(1_699_457_235_000),
            length,
            origin: None,
            request_id: None,
        };
        let receipt = || Receipt {
            bytes: 1,
            sha256: String::new(),
        };
        let object = |described: Described, looks| {
            described.object(&medium.request, asked, String::new(), Shown::All, receipt(), looks)
        };
        let whole = object(described(None, false), Looks::default());
        assert_eq!(
            whole.actual,
            Some(Window {
                timestamp: 1_699_457_235_000,
                duration: 5_000
            })
        );
        let told = Looks {
            duration: Some(4_960),
            ..Looks::default()
        };
        for partial in [true, false] {
            let told = object(described(None, partial), told.clone());
            assert_eq!(
                told.actual.unwrap().duration,
                4_960,
                "trap 103: where Ring says nothing, the file does"
            );
        }
        let part = object(
            described(Some(3_000), true),
            Looks {
                duration: Some(1),
                ..Looks::default()
            },
        );
        assert_eq!(
            part.actual,
            Some(Window {
                timestamp: 1_699_457_235_000,
                duration: 3_000
            })
        );
        assert!(part.partial);
    }
}
