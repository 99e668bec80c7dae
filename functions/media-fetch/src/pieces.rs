//! What becomes of a medium that came or did not: whole, in pieces where it is too slow for one go, and with the end that it
//! lacked at first.

use std::time::Duration;

use ring_partner::error::Unclear;
use shared::device::Known;
use shared::edge::batch::Outcome;
use shared::edge::clock;
use shared::edge::table::StoreError;
use shared::grant::access::CallError;
use shared::link::Link;
use shared::media::archive::ArchiveError;
use shared::media::pieces::Pieces;
use shared::media::{Medium, MediumId, Object, Progress, Request, RingIds, Window, tail_message};

use crate::verdict::{Verdict, failed, hindrance, ring_ids, verdict};
use crate::{By, MediaFetch, Undone};

/// The next piece is asked for after this.
const NEXT_AFTER: Duration = Duration::from_secs(1);
/// The end that lacks is asked for once; so often at the most where it was not Ring that said that there is none.
const TAIL_TRIES: u32 = 3;

impl MediaFetch {
    /// A medium came, or this piece of it.
    pub(crate) async fn came(
        &self,
        medium: &mut Medium,
        piece: Option<Window>,
        object: Object,
        by: &By<'_>,
    ) -> Result<Outcome, Undone> {
        medium.hindered = None;
        medium.ring = Some(RingIds {
            request_id: object.ring_request_id.clone(),
            error_id: None,
        });
        match (piece, &mut medium.pieces) {
            (Some(window), Some(pieces)) => {
                pieces.stored(object.part(window));
                pieces.like.get_or_insert(Box::new(object));
                self.go_on(medium, failed("source_too_slow"), by).await
            }
            _ => self.is_stored(medium, object, by).await,
        }
    }

    /// A medium, or a piece of it, did not come.
    pub(crate) async fn did_not_come(
        &self,
        medium: &mut Medium,
        error: &Undone,
        tries: u32,
        back: Option<i64>,
        by: &By<'_>,
    ) -> Result<Outcome, Undone> {
        let now = clock::now();
        let mut verdict = verdict(error, medium, tries, back, now);
        let whole = medium.request.window(medium.requested_at);
        let is_slow = is_too_slow(error) && matches!(medium.request, Request::Clip(_));
        if is_slow && !matches!(verdict, Verdict::Failed(_)) {
            let pieces = medium.pieces.get_or_insert_with(|| Pieces::of(whole));
            verdict = if pieces.halve(whole) {
                Verdict::Later(NEXT_AFTER)
            } else {
                Verdict::Failed(hindrance(error).to_owned())
            };
        } else if matches!(verdict, Verdict::NoMedia(_) | Verdict::Failed(_))
            && let Some(pieces) = &mut medium.pieces
        {
            // What was given up is given up for all of them.
            let left = if matches!(verdict, Verdict::NoMedia(_)) {
                1
            } else {
                pieces.left.len()
            };
            pieces.left.drain(..left.min(pieces.left.len()));
        }
        medium.ring = ring_ids(error).or(medium.ring.take());
        medium.hindered = Some(hindrance(error).to_owned());
        tracing::warn!(
            medium.id = medium.id.as_str(),
            ring.request_id = medium.ring.as_ref().and_then(|ring| ring.request_id.as_deref()),
            ring.error_id = medium.ring.as_ref().and_then(|ring| ring.error_id.as_deref()),
            error = error as &dyn std::error::Error,
            reason = hindrance(error),
            verdict = ?verdict,
            "medium {} is not fetched",
            medium.id.as_str(),
        );
        if error.is_rings_limit() {
            self.metrics.count("ring_pauses", 1);
        }
        let end = match verdict {
            Verdict::Later(wait) => {
                medium.progress = Progress::Requested;
                return Ok(Outcome::RetryAfter(wait));
            }
            Verdict::Again => {
                medium.progress = Progress::Requested;
                return Ok(Outcome::Retry);
            }
            Verdict::NoMedia(reason) => Progress::NoMedia {
                reason,
                announced: false,
            },
            Verdict::Failed(reason) => failed(&reason),
        };
        self.go_on(medium, end, by).await
    }

    /// The next piece, where there is one; else what all pieces are together, and without any, this end.
    async fn go_on(&self, medium: &mut Medium, end: Progress, by: &By<'_>) -> Result<Outcome, Undone> {
        let Some(pieces) = &medium.pieces else {
            medium.progress = end;
            return Ok(Outcome::Done);
        };
        if !pieces.left.is_empty() {
            medium.progress = Progress::Requested;
            return Ok(Outcome::RetryAfter(NEXT_AFTER));
        }
        let asked = medium.request.window(medium.requested_at);
        let like = pieces.like.as_deref().cloned();
        match like.and_then(|like| like.of_parts(pieces.parts.clone(), asked)) {
            Some(object) => self.is_stored(medium, object, by).await,
            None => {
                medium.progress = end;
                Ok(Outcome::Done)
            }
        }
    }

    /// All that there is of a medium is stored. Where its end lacks, that is asked for once more when it may have come.
    async fn is_stored(&self, medium: &mut Medium, object: Object, by: &By<'_>) -> Result<Outcome, Undone> {
        let mut object = Box::pin(self.finish(medium, object, by)).await?;
        let asked = medium.request.window(medium.requested_at);
        if let (Request::Clip(_), true, Some(actual)) = (&medium.request, object.partial, object.actual) {
            object.tail = asked.tail(actual);
        }
        if object.tail.is_some() {
            // First the message: without the row it finds nothing to do.
            let message = tail_message(&medium.account_id, &medium.id);
            self.source.queue.send(message).await?;
        }
        medium.hindered = None;
        medium.pieces = None;
        medium.progress = Progress::Stored {
            object: Box::new(object),
            announced: false,
        };
        Ok(Outcome::Done)
    }

    /// Asks for the end that a clip lacks, and joins it to the clip.
    pub(crate) async fn tail(&self, id: &MediumId, tries: u32) -> Result<Outcome, Undone> {
        let Some(mut medium) = self.media.get(id).await? else {
            return Ok(Outcome::Done);
        };
        let Progress::Stored { object, .. } = &medium.progress else {
            return Ok(Outcome::Done);
        };
        let (Some(window), object) = (object.tail, (**object).clone()) else {
            // It was joined before, and the bus may not have been told.
            return self.over(id).await;
        };
        let Some(link) = self.links.of_account(&medium.account_id).await?.filter(Link::is_live) else {
            return Ok(Outcome::Done);
        };
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        let is_within_reach = known.as_ref().is_some_and(Known::is_present);
        let by = match self.allowed(known.as_ref()).await? {
            Some((shown, zones)) if is_within_reach && shown.takes(medium.request.action()) => By {
                link: &link,
                shown,
                zones,
            },
            _ => return Ok(Outcome::Done),
        };
        let request = medium.request.within(window);
        let fetched = Box::pin(self.fetch(&medium, &request, medium.part_key(window), &by)).await;
        let joined = match fetched {
            Ok(tail) => self.joined(&medium, object, &tail, window, &by).await?,
            Err(error) => {
                let verdict = verdict(&error, &medium, tries, None, clock::now());
                tracing::info!(
                    medium.id = id.as_str(),
                    error = &error as &dyn std::error::Error,
                    reason = hindrance(&error),
                    verdict = ?verdict,
                    "the end of medium {} is not fetched",
                    id.as_str(),
                );
                match verdict {
                    Verdict::Later(wait) if tries < TAIL_TRIES => return Ok(Outcome::RetryAfter(wait)),
                    Verdict::Again if tries < TAIL_TRIES => return Ok(Outcome::Retry),
                    _ => Object { tail: None, ..object },
                }
            }
        };
        // What is more than it was is told of.
        let announced = joined.parts.is_empty();
        medium.progress = Progress::Stored {
            object: Box::new(joined),
            announced,
        };
        match self.media.keep(&medium).await {
            Ok(()) => self.announce(medium, &link).await?,
            // It was deleted meanwhile, or begun anew: what was stored goes.
            Err(StoreError::Conflict) => self.archive.delete(&medium.object_key()).await?,
            Err(error) => return Err(error.into()),
        }
        Ok(Outcome::Done)
    }

    /// A clip with its end.
    async fn joined(
        &self,
        medium: &Medium,
        object: Object,
        tail: &Object,
        window: Window,
        by: &By<'_>,
    ) -> Result<Object, Undone> {
        let asked = medium.request.window(medium.requested_at);
        let mut parts = object.parts.clone();
        if parts.is_empty() {
            parts.push(object.part(asked));
        }
        parts.push(tail.part(window));
        let unjoined = object.clone();
        let joined = object.of_parts(parts, asked).unwrap_or(unjoined);
        Box::pin(self.finish(medium, joined, by)).await
    }
}

/// Whether the source came all along, and not fast enough.
fn is_too_slow(error: &Undone) -> bool {
    let (Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error))) = error else {
        return false;
    };
    matches!(error, ring_partner::Error::Unclear(Unclear::TooSlow))
}
