//! The fetch under measurement: what the function does with a clip.

use bench::Failure;
use futures_util::TryStreamExt as _;
use ring_partner::Ring;
use ring_partner::client::Settings;
use ring_partner::media::ClipRequest;
use ring_partner::oauth::AccessToken;
use shared::edge::aws;
use shared::media::archive::Archive;
use shared::media::film;

/// Ring -> S3.
pub(crate) async fn clip(address: &str) -> Result<(), Failure> {
    let ring = Ring::new(Settings::new(address.parse()?, address.parse()?))?;
    let request = ClipRequest {
        timestamp: 1_770_989_995_000,
        duration: 60_000,
        video_options: None,
        audio_options: None,
    };
    let token = AccessToken::new("the-token-of-the-bench")?;
    let source = ring.clip(&token, &"device".parse()?, &request).await?;
    let mut film = film::Reader::default();
    let body = source.body.inspect_ok(|bytes| film.take(bytes));
    let archive = Archive::new(&aws::config().await, "media");
    archive.store("clip.mp4", &source.content_type, body).await?;
    Ok(())
}
