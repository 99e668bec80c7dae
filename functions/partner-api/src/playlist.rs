//! What a capture has recorded so far, as a playlist of HTTP Live Streaming: while it goes on, and afterwards, any player shows
//! it as one. The segments are read from the bucket itself, by URLs signed for this answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join_all;
use http::header;
use shared::capture::LONGEST;
use shared::capture::manifest::Manifest;
use shared::edge::gateway::{Id, SignedIn, private};
use shared::edge::problem::{Problem, ProblemType};
use shared::media::Request;
use shared::media::archive::PRESIGNED_FOR;

use crate::media::medium_of;
use crate::{App, unavailable};

/// A playlist's media type (RFC 8216, 4).
pub(crate) const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// The playlist of a capture of this user's; 404 while nothing is recorded of it.
pub(crate) async fn of_capture(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let medium = medium_of(&app, &user, id).await?;
    let not_found = || Problem::new(ProblemType::NotFound);
    let Request::Capture(_) = medium.request else {
        return Err(not_found());
    };
    let manifest = app.reels.manifest(&medium.object_key()).await;
    let manifest = manifest.map_err(|error| unavailable(&error))?;
    let manifest = manifest
        .filter(|manifest| !manifest.fragments.is_empty())
        .ok_or_else(not_found)?;
    let keys = manifest.keys().map(str::to_owned);
    let valid_for = valid_for(&manifest);
    let signed = try_join_all(keys.map(|key| {
        let reels = &app.reels;
        async move { Ok((key.clone(), reels.signed(&key, valid_for).await?)) }
    }));
    let signed: Result<BTreeMap<_, _>, shared::media::archive::ArchiveError> =
        signed.await.map(|signed| signed.into_iter().collect());
    let signed = signed.map_err(|error| unavailable(&error))?;
    let playlist = manifest.playlist(|key| signed.get(key).cloned().unwrap_or_default());
    Ok(private(([(header::CONTENT_TYPE, PLAYLIST)], playlist)))
}

/// A player reads a finished playlist once, and its last segment when it comes to it. The bucket takes no older URL of a piece
/// than the longest capture allows (`ThoseOfARecordingsPiecesWhenItWasPlayed` in the template).
fn valid_for(manifest: &Manifest) -> Duration {
    let lasts = manifest.window().map_or(0, |window| window.duration.max(0));
    PRESIGNED_FOR + Duration::from_millis(lasts.unsigned_abs()).min(LONGEST)
}
