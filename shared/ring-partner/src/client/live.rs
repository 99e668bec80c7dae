//! Live sessions: opened once, closed until they are. Ring: Live Video.

use std::time::Instant;

use http::{Method, StatusCode, header};

use super::transport::{Call, Transport, whole_by};
use crate::error::{Endpoint, NotSent, text_header};
use crate::whep::{Ended, LONGEST_DESCRIPTION, LocationError, Offer, OpenError, Session, SessionUrl};
use crate::{AccessToken, DeviceId, Error};

impl Transport {
    pub(super) async fn open_live(
        &self,
        token: &AccessToken,
        device: &DeviceId,
        offer: &Offer,
    ) -> Result<Session, OpenError> {
        let path = format!("/v1/devices/{}/media/streaming/whep/sessions", device.path_segment());
        let mut call = Call::new(Endpoint::Live, Method::POST, self.endpoint(&path), token);
        call.body = Some(("application/sdp", offer.for_ring().into()));
        let deadline = Instant::now() + self.settings.live_timeout;
        let answer = self.open_once(&call, deadline).await.map_err(OpenError::of)?;
        // Whatever else goes wrong from here on: what was opened can be closed.
        let location = match text_header(answer.headers(), header::LOCATION.as_str()) {
            None => Err(LocationError::Missing),
            Some(location) => SessionUrl::resolve(&call.url, location),
        };
        let request_id = text_header(answer.headers(), "x-request-id").map(str::to_owned);
        if answer.status() != StatusCode::CREATED {
            let opened_nothing = answer.status().is_redirection();
            return Err(match (OpenError::of(self.error(&call, answer).await), location) {
                (OpenError::MayBeOpen { source, .. }, Ok(location)) if !opened_nothing => OpenError::MayBeOpen {
                    location: Some(location),
                    source,
                },
                (error, _) => error,
            });
        }
        let body = whole_by(deadline, answer, LONGEST_DESCRIPTION).await;
        let text = body.and_then(|body| {
            String::from_utf8(body.into()).map_err(|_| Error::Unusable("its answer to the offer is no text"))
        });
        match text {
            Ok(answer) => Ok(Session {
                location,
                answer,
                request_id,
            }),
            Err(source) => Err(OpenError::MayBeOpen {
                location: location.ok(),
                source,
            }),
        }
    }

    pub(super) async fn end_live(&self, token: &AccessToken, session: &SessionUrl) -> Result<Ended, Error> {
        if !self.policy.is_api(session.url()) {
            return Err(Error::NotSent(NotSent::Invalid("the session is not one of Ring's API")));
        }
        let call = Call::new(Endpoint::Live, Method::DELETE, session.url().clone(), token);
        match self.repeat(&call).await {
            Ok(_) => Ok(Ended::Now),
            // It ended by itself, or was closed before.
            Err(Error::Api(answer)) if answer.status == StatusCode::NOT_FOUND => Ok(Ended::Before),
            Err(error) => Err(error),
        }
    }
}
