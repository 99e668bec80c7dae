//! The one place where the time is read. Everything else gets it passed in.

use jiff::Timestamp;

/// The time now, by this machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    Timestamp::now()
}
