//! The bytes of a piece of media, with a bound on their number and on every wait for them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::client::broken;
use crate::error::Unclear;

/// The bytes as they arrive. After an error there are no more.
pub struct Body(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>);

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(…)")
    }
}

/// Bounds a body: no wait for the next bytes longer than `idle`, none beyond `deadline`, no more than `limit` bytes.
pub(crate) fn bounded<S>(body: S, idle: Duration, deadline: Instant, limit: u64) -> Body
where
    S: Stream<Item = Result<Bytes, reqwest::Error>> + Send + Unpin + 'static,
{
    // The source is dropped with the first error, which also closes its connection.
    let pieces = stream::unfold(Some((body, limit)), move |source| async move {
        let (mut body, left) = source?;
        let idle_until = Instant::now() + idle;
        match timeout_at(deadline.min(idle_until), body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => match left.checked_sub(bytes.len() as u64) {
                Some(left) => Some((Ok(bytes), Some((body, left)))),
                None => Some((Err(Error::TooLarge { limit }), None)),
            },
            Ok(Some(Err(error))) => Some((Err(Error::Unclear(broken(error))), None)),
            // Silence is told apart from slowness: the one may be over next time, the other is a matter of how much is asked for.
            Err(_) if idle_until <= deadline => Some((Err(Error::Unclear(Unclear::Stalled)), None)),
            Err(_) => Some((Err(Error::Unclear(Unclear::TooSlow)), None)),
        }
    });
    Body(Box::pin(pieces.fuse()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pieces of three bytes, each so many seconds after the one before.
    fn pieces(seconds: &'static [u64]) -> impl Stream<Item = Result<Bytes, reqwest::Error>> + Send + Unpin + 'static {
        Box::pin(stream::iter(seconds).then(|seconds| async move {
            tokio::time::sleep(SECOND * u32::try_from(*seconds).unwrap()).await;
            Ok(Bytes::from_static(b"abc"))
        }))
    }

    async fn check(seconds: &'static [u64], idle: u64, whole: u64, limit: u64, bytes: usize, end: &str) {
        let deadline = Instant::now() + Duration::from_secs(whole);
        let mut body = bounded(pieces(seconds), Duration::from_secs(idle), deadline, limit);
        let mut got = 0;
        let mut ended = "whole".to_owned();
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => got += piece.len(),
                Err(Error::Unclear(why)) => ended = why.to_string(),
                Err(error) => ended = error.to_string(),
            }
        }
        assert_eq!((got, ended.as_str()), (bytes, end), "{seconds:?}");
        assert!(body.next().await.is_none(), "an ended body stays ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_flows_is_read_to_its_end() {
        check(&[0, 4, 4, 4], 5, 60, 12, 12, "whole").await;
        check(&[], 5, 60, 12, 0, "whole").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_flowing_ends_with_an_error() {
        check(&[0, 6, 0], 5, 60, 100, 3, "its source stalled").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_for_ever_ends_with_an_error() {
        check(&[4, 4, 4, 4, 4], 5, 10, 100, 6, "its source is too slow").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_beyond_its_bound_ends_with_an_error() {
        check(&[0, 0, 0, 0], 5, 60, 11, 9, "Ring's answer is larger than 11 bytes").await;
    }
}
