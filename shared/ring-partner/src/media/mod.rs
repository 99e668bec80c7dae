//! Clips and snapshots: what can be asked for, and what comes. Ring: Media Clips; Image Snapshots.

mod body;
mod request;

use std::fmt;

pub use body::Body;
pub(crate) use body::bounded;
pub use request::{
    AudioOptions, ClipRequest, FieldError, ImageFormat, ImageOptions, Resolution, SnapshotRequest, VideoOptions,
};

/// Media that has begun to come: what the headers say, and the bytes as they arrive.
pub struct Media {
    /// The type, without parameters: `video/mp4`, `image/jpeg`, `image/png`.
    pub content_type: String,
    /// The size in bytes, where it is told. A partial clip has none.
    pub content_length: Option<u64>,
    /// Ring had less than was asked for (206). The body is whole for all that: this is no range of a larger file, and
    /// nothing can be resumed.
    pub partial: bool,
    /// Where the media truly begins (epoch milliseconds), which may differ from what was asked.
    pub media_timestamp: Option<i64>,
    /// How long it truly is (milliseconds). Whole clips may come without it.
    pub media_length: Option<i64>,
    /// `recording` (a frame of a video) or `snapshot` (a still of its own).
    pub origin: Option<String>,
    /// Ring's id of the request, for support.
    pub request_id: Option<String>,
    /// The bytes.
    pub body: Body,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("content_type", &self.content_type)
            .field("content_length", &self.content_length)
            .field("partial", &self.partial)
            .field("media_timestamp", &self.media_timestamp)
            .field("media_length", &self.media_length)
            .field("origin", &self.origin)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}
