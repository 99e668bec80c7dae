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
        match timeout_at(deadline.min(Instant::now() + idle), body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => match left.checked_sub(bytes.len() as u64) {
                Some(left) => Some((Ok(bytes), Some((body, left)))),
                None => Some((Err(Error::TooLarge { limit }), None)),
            },
            Ok(Some(Err(error))) => Some((Err(Error::Unclear(broken(error))), None)),
            Err(_) => Some((Err(Error::Unclear(Unclear::TimedOut)), None)),
        }
    });
    Body(Box::pin(pieces))
}
