//! Live video by WHEP: a viewer's offer goes to Ring, Ring's answer comes back, and the session is closed by its URL. Ring:
//! Live Video.
//!
//! Ring sends video alone and refuses an offer that asks for more ([`Offer`] leaves the rest out, and the answer to the
//! viewer says so), ends a session by itself after a time, and drains a battery until then: so whatever was opened is to be
//! closed, and what *may* have been opened ([`OpenError::MayBeOpen`]) is to be waited out. This module is pure;
//! [`Ring::open_live`](crate::Ring::open_live) and [`Ring::close_live`](crate::Ring::close_live) do the asking.

mod answer;
mod description;
mod offer;

use std::fmt;
use std::time::Duration;

use url::Url;

pub use answer::AnswerError;
pub use offer::{Offer, OfferError};

use crate::Error;

/// The longest session of a device on a battery. Ring: Session Duration Limits.
pub const LONGEST_ON_BATTERY: Duration = Duration::from_secs(30);

/// The longest session of a device on mains power. Nothing that Ring tells of a device says which power it has.
pub const LONGEST_ON_MAINS: Duration = Duration::from_secs(60);

/// The longest session that motion has started.
pub const LONGEST_ON_MOTION: Duration = Duration::from_secs(20);

/// The longest description that is taken, in bytes. A browser's offer with all of its codecs has a tenth of it.
pub const LONGEST_DESCRIPTION: usize = 64 * 1024;

/// A session that Ring has opened.
#[derive(Debug)]
pub struct Session {
    /// Where it is closed; an error if Ring named no place that a token may be sent to. Such a session ends by itself alone.
    pub location: Result<SessionUrl, LocationError>,
    /// Ring's answer to the offer as it came: [`Offer::answer`] makes the viewer's of it.
    pub answer: String,
    /// Ring's id of the request, for support.
    pub request_id: Option<String>,
}

/// When a session that is closed has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By being closed.
    Now,
    /// Before: Ring does not know it (any more).
    Before,
}

/// Why there is no session to work with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Surely none was opened: Ring was not reached, or refused.
    #[error("Ring opened no live session")]
    NotOpened(#[source] Error),
    /// One may be open. Never ask again before it is closed, or has run out.
    #[error("a live session may be open at Ring")]
    MayBeOpen {
        /// Where to close it, if Ring said so much.
        location: Option<SessionUrl>,
        /// What went wrong.
        #[source]
        source: Error,
    },
}

impl OpenError {
    /// What went wrong.
    #[must_use]
    pub fn cause(&self) -> &Error {
        match self {
            Self::NotOpened(error) | Self::MayBeOpen { source: error, .. } => error,
        }
    }

    /// Sorts an error of the request itself. A refusal in Ring's words opens nothing, nor does a device that is offline;
    /// what a gateway says of an answer that it did not get leaves it open whether there is a session.
    pub(crate) fn of(error: Error) -> Self {
        let opened_nothing = match &error {
            Error::NotSent(_) | Error::Redirect(_) => true,
            Error::Api(answer) => !matches!(answer.status, 200..=299 | 408 | 500..=502 | 504..),
            Error::Unclear(_) | Error::Unusable(_) | Error::TooLarge { .. } => false,
        };
        if opened_nothing {
            Self::NotOpened(error)
        } else {
            Self::MayBeOpen {
                location: None,
                source: error,
            }
        }
    }
}

/// Where a session is closed. Whoever has it and a token can close it, so it shows nothing in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionUrl(Url);

impl SessionUrl {
    /// Reads a `Location` that came in answer to `request`, absolute or relative to it. A token will be sent there: it has
    /// to be at the very origin that was asked.
    pub fn resolve(request: &Url, location: &str) -> Result<Self, LocationError> {
        let mut url = request.join(location.trim()).map_err(|_| LocationError::Unreadable)?;
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(LocationError::Unreadable);
        }
        if url.origin() != request.origin() {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Err(LocationError::Elsewhere { host });
        }
        if !url.username().is_empty() || url.password().is_some() || url == *request {
            return Err(LocationError::Unreadable);
        }
        Ok(Self(url))
    }

    /// Reads one that was kept. Before a token goes there its origin is looked at again.
    pub fn kept(text: &str) -> Result<Self, LocationError> {
        Url::parse(text).map(Self).map_err(|_| LocationError::Unreadable)
    }

    /// The URL, to be kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SessionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionUrl(…)")
    }
}

/// Why a session can't be closed at the place that was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// None was named.
    #[error("the session has no Location")]
    Missing,
    /// It is no URL, names the place that was asked itself, or carries a user name.
    #[error("the session's Location is not the URL of a session")]
    Unreadable,
    /// It leads to another scheme, host or port than the one that was asked. Of it only the host is told.
    #[error("the session's Location leads to {host}, which is not where it was opened")]
    Elsewhere {
        /// The host.
        host: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{NotSent, Unclear};

    const SESSIONS: &str = "https://api.amazonvision.com/v1/devices/a/media/streaming/whep/sessions";

    fn resolve(location: &str) -> Result<String, LocationError> {
        let request = Url::parse(SESSIONS).unwrap();
        SessionUrl::resolve(&request, location).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn trap_89_a_location_is_absolute_or_relative_to_what_was_asked() {
        for (location, expected) in [
            (format!("{SESSIONS}/s1"), format!("{SESSIONS}/s1")),
            ("sessions/s1".to_owned(), format!("{SESSIONS}/s1")),
            (
                "/v1/devices/a/media/streaming/whep/sessions/s1".to_owned(),
                format!("{SESSIONS}/s1"),
            ),
            (
                "//api.amazonvision.com/s1".to_owned(),
                "https://api.amazonvision.com/s1".to_owned(),
            ),
            (
                "https://api.amazonvision.com:443/s1#x".to_owned(),
                "https://api.amazonvision.com/s1".to_owned(),
            ),
            (
                " /s1?key=1 ".to_owned(),
                "https://api.amazonvision.com/s1?key=1".to_owned(),
            ),
        ] {
            assert_eq!(resolve(&location), Ok(expected), "{location}");
        }
    }

    #[test]
    fn trap_89_a_token_is_sent_to_no_other_origin() {
        for (location, host) in [
            ("https://evil.test/s1", "evil.test"),
            ("//evil.test/s1", "evil.test"),
            ("https:\\\\evil.test/s1", "evil.test"),
            ("http://api.amazonvision.com/s1", "api.amazonvision.com"),
            ("https://api.amazonvision.com:8443/s1", "api.amazonvision.com"),
            (
                "https://api.amazonvision.com.evil.test/s1",
                "api.amazonvision.com.evil.test",
            ),
            ("https://api.amazonvision.com@evil.test/s1", "evil.test"),
            ("https://127.0.0.1/s1", "127.0.0.1"),
        ] {
            let host = host.to_owned();
            assert_eq!(resolve(location), Err(LocationError::Elsewhere { host }), "{location}");
        }
        for location in [
            "",
            "#s1",
            SESSIONS,
            "https://user@api.amazonvision.com/s1",
            "https://u:p@api.amazonvision.com/s1",
            "https://",
            "data:text/plain,x",
            "javascript:x",
        ] {
            assert_eq!(resolve(location), Err(LocationError::Unreadable), "{location}");
        }
    }

    #[test]
    fn a_session_url_shows_nothing() {
        let url = SessionUrl::kept("https://api.amazonvision.com/s1?key=s3cret").unwrap();
        assert_eq!(format!("{url:?}"), "SessionUrl(…)");
        let elsewhere = resolve("https://evil.test/s1?key=s3cret").unwrap_err();
        assert!(!format!("{elsewhere} {elsewhere:?}").contains("s3cret"));
    }

    #[test]
    fn trap_94_what_surely_opened_nothing_is_told_from_what_may_have() {
        let api = |status: u16| {
            let status = http::StatusCode::from_u16(status).unwrap();
            let headers = http::HeaderMap::new();
            let answer = crate::ApiError::read(crate::error::Endpoint::Live, false, status, &headers, b"", &[]);
            Error::Api(Box::new(answer))
        };
        for status in [301, 307, 400, 401, 403, 404, 405, 406, 409, 415, 422, 429, 503] {
            assert!(
                matches!(OpenError::of(api(status)), OpenError::NotOpened(_)),
                "{status}"
            );
        }
        for status in [200, 202, 204, 408, 500, 502, 504, 520] {
            assert!(
                matches!(OpenError::of(api(status)), OpenError::MayBeOpen { .. }),
                "{status}"
            );
        }
        let unclear = Error::Unclear(Unclear::TimedOut);
        assert!(matches!(OpenError::of(unclear), OpenError::MayBeOpen { .. }));
        let not_sent = Error::NotSent(NotSent::Invalid("x"));
        assert!(matches!(OpenError::of(not_sent), OpenError::NotOpened(_)));
    }
}
