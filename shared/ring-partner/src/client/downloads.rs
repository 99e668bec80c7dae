//! Clips and snapshots, with redirects followed by hand. Ring: Media Clips; Image Snapshots, Download Flow.

use http::Method;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::redirects::{MOST, Step};
use super::transport::{Call, Transport};
use crate::error::{Endpoint, RedirectRefused, text_header};
use crate::media::{Media, bounded};
use crate::{AccessToken, DeviceId, Error};

impl Transport {
    /// Asks for media. A target that has run out is asked for anew, once.
    pub(super) async fn download(
        &self,
        token: &AccessToken,
        device: &DeviceId,
        kind: &str,
        request: &impl serde::Serialize,
        types: &[&str],
    ) -> Result<Media, Error> {
        let url = self.endpoint(&format!("/v1/devices/{}/media/{kind}/download", device.path_segment()));
        let call = Call::new(Endpoint::Media, Method::POST, url, token).json(request)?;
        match self.follow(&call, token, types).await {
            Err(Error::Api(answer)) if answer.is_stale_link() => self.follow(&call, token, types).await,
            result => result,
        }
    }

    async fn follow(&self, call: &Call<'_>, token: &AccessToken, types: &[&str]) -> Result<Media, Error> {
        let deadline = Instant::now() + self.settings.media_timeout;
        let mut step = Step {
            method: call.method.clone(),
            url: call.url.clone(),
            bearer: true,
        };
        let mut request_id = None;
        for _ in 0..=MOST {
            let call = Call {
                method: step.method.clone(),
                url: step.url.clone(),
                bearer: step.bearer.then_some(token),
                body: call.body.clone().filter(|_| step.method != Method::GET),
                // A step without the bearer must not quote it either.
                secrets: vec![token.expose()],
                endpoint: call.endpoint,
            };
            let answer = self.open(&call).await?;
            request_id = text_header(answer.headers(), "x-request-id")
                .map(str::to_owned)
                .or(request_id);
            match self
                .policy
                .follow(&step, answer.status(), answer.headers())
                .map_err(Error::Redirect)?
            {
                Some(next) => step = next,
                None if matches!(answer.status().as_u16(), 200 | 206) => {
                    return self.media(answer, types, request_id, deadline);
                }
                None => return Err(self.error(&call, answer).await),
            }
        }
        Err(Error::Redirect(RedirectRefused::TooMany))
    }

    fn media(
        &self,
        answer: reqwest::Response,
        types: &[&str],
        request_id: Option<String>,
        deadline: Instant,
    ) -> Result<Media, Error> {
        let headers = answer.headers();
        let content_type = text_header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let content_type = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !types.contains(&content_type.as_str()) {
            return Err(Error::Unusable("its content type is not the media's"));
        }
        let number = |name| text_header(headers, name).and_then(|text| text.trim().parse::<i64>().ok());
        let content_length = answer.content_length();
        let limit = self.settings.media_limit;
        match content_length {
            Some(0) => return Err(Error::Unusable("it is empty")),
            Some(length) if length > limit => return Err(Error::TooLarge { limit }),
            _ => {}
        }
        Ok(Media {
            content_type,
            content_length,
            partial: answer.status() == http::StatusCode::PARTIAL_CONTENT,
            media_timestamp: number("x-media-timestamp"),
            // The clips' page has the one name, the snapshots' page the other.
            media_length: number("x-media-length").or_else(|| number("x-media-duration")),
            origin: text_header(headers, "x-media-origin").map(str::to_owned),
            request_id,
            body: bounded(
                Box::pin(answer.bytes_stream()),
                self.settings.media_idle_timeout,
                deadline,
                limit,
            ),
        })
    }
}
