//! The one place where the time is read. Everything else gets it passed in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The time now, by this machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    Timestamp::now()
}

/// A duration for the arithmetic of timestamps. All of ours fit.
#[must_use]
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
