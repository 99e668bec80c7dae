//! The client of Ring's API: one method for each thing that can be asked for.
//!
//! Every wait, body and repetition has a bound, set in [`Settings`]. Requests that may be made again (GET, and PATCH,
//! which sets what it says) are, with back-off and jitter, and as `Retry-After` says while that is short; what must not
//! be done twice is done once, and its error tells whether it surely was not sent ([`Error::NotSent`]) or may have been
//! received ([`Error::Unclear`]). Redirects are never followed but for media. The client reads no environment, uses no
//! proxy, keeps no cookies, and refreshes no token by itself: [`Error::decision`] says when to.

mod addresses;
mod breaker;
mod budget;
mod downloads;
mod listing;
mod live;
mod redirects;
mod settings;
mod transport;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use url::form_urlencoded;

use crate::error::{Endpoint, NotSent};
use crate::whep::{Ended, Offer, OpenError, Session, SessionUrl};
use crate::{
    AccessToken, AuthorizationCode, ClipRequest, CodeVerifier, Credentials, Device, DeviceId, Error, Integration,
    IntegrationStatus, Media, Nonce, RefreshToken, SnapshotRequest, TokenError, TokenResponse, User,
};

pub use settings::{Settings, SettingsError};
pub(crate) use transport::broken;
use transport::{Call, Transport};

/// Ring's API. Cheap to clone; clones share connections, budget and circuits.
#[derive(Clone)]
pub struct Ring(Arc<Transport>);

impl Ring {
    /// Makes a client. Nothing is connected to yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Transport::new(settings).map(|transport| Self(Arc::new(transport)))
    }

    /// The fewest requests that Ring has said to be left in its window since this was last asked; `None`: it has not said.
    /// For a metric: what is left is kept to by itself. Ring: Rate Limiting, `X-RateLimit-Remaining`.
    #[must_use]
    pub fn take_lowest_left(&self) -> Option<u32> {
        self.0.take_lowest_left()
    }

    /// Exchanges a code for tokens. A code is good once: the request is made again, once, only if no connection came
    /// about. Ring: Token Exchange Flow; with a verifier, Ring Credential Transfer API.
    pub async fn exchange_code(
        &self,
        credentials: &Credentials,
        code: &AuthorizationCode,
        verifier: Option<&CodeVerifier>,
    ) -> Result<TokenResponse, TokenError> {
        let once = async || match verifier {
            None => {
                let grant = [("grant_type", "authorization_code"), ("code", code.expose())];
                self.tokens(credentials, &grant).await
            }
            Some(verifier) => self.tokens_with_proof(credentials, code, verifier).await,
        };
        match once().await {
            Err(Error::NotSent(NotSent::Unreachable(_))) => once().await,
            result => result,
        }
        .map_err(TokenError::from)
    }

    /// Exchanges a refresh token for new tokens, in one attempt: a refresh token may be good once, and what to do when
    /// an answer is lost is for the one who keeps it. Ring: Refresh Token Exchange.
    pub async fn refresh(&self, credentials: &Credentials, token: &RefreshToken) -> Result<TokenResponse, TokenError> {
        let grant = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        self.tokens(credentials, &grant).await.map_err(TokenError::from)
    }

    /// The user behind a token. Ring: Users API.
    pub async fn me(&self, token: &AccessToken) -> Result<User, Error> {
        let call = Call::new(Endpoint::Users, Method::GET, self.0.endpoint("/v1/users/me"), token);
        User::parse(&self.0.repeat(&call).await?).map_err(|_| Error::Unusable("it is no user"))
    }

    /// Confirms a link, in one attempt: a nonce may be good once. After [`Error::Unclear`] the link may stand. Ring: App
    /// Integration, POST.
    pub async fn confirm_link(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        nonce: &Nonce,
    ) -> Result<IntegrationStatus, Error> {
        #[derive(Serialize)]
        struct Confirmation<'c> {
            #[serde(skip_serializing_if = "Option::is_none")]
            account_identifier: Option<&'c str>,
            nonce: &'c str,
        }
        let body = Confirmation {
            account_identifier,
            nonce: nonce.as_str(),
        };
        let mut call = self.integration(Method::POST, token).json(&body)?;
        call.secrets = vec![nonce.as_str()];
        let answer = self.0.once(&call).await?;
        // Ring has said yes: whatever else it says, the link stands.
        Ok(Integration::parse(&answer).map_or(IntegrationStatus::Awaiting, |integration| integration.status))
    }

    /// Updates an integration: its status, its identifier, or both. Ring: App Integration, PATCH.
    pub async fn update_integration(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        status: Option<IntegrationStatus>,
    ) -> Result<Integration, Error> {
        #[derive(Serialize)]
        struct Update<'c> {
            #[serde(skip_serializing_if = "Option::is_none")]
            account_identifier: Option<&'c str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<&'c str>,
        }
        if account_identifier.is_none() && status.is_none() {
            return Err(Error::NotSent(NotSent::Invalid(
                "an update needs a status or an identifier",
            )));
        }
        let body = Update {
            account_identifier,
            status: status.as_ref().map(IntegrationStatus::as_str),
        };
        let answer = self
            .0
            .repeat(&self.integration(Method::PATCH, token).json(&body)?)
            .await?;
        match (Integration::parse(&answer), status) {
            (Ok(integration), _) => Ok(integration),
            // Ring has said yes to what was asked for.
            (Err(_), Some(status)) => Ok(Integration {
                status,
                account_identifier: account_identifier.map(str::to_owned),
                updated_at: None,
            }),
            (Err(_), None) => Err(Error::Unusable("it is no integration")),
        }
    }

    /// All devices within the token's reach, each with its four parts. Parts that Ring did not include are fetched from
    /// where it says they are, within its API. Ring: Device Discovery.
    pub async fn devices(&self, token: &AccessToken) -> Result<Vec<Device>, Error> {
        self.0.devices(token).await
    }

    /// One device with its four parts.
    pub async fn device(&self, token: &AccessToken, device: &DeviceId) -> Result<Device, Error> {
        self.0.device(token, device).await
    }

    /// A clip, which Ring has recorded already: asking does not make one. One attempt (but for a redirect that has run
    /// out), as the answer may be long. Ring: Media Clips.
    pub async fn clip(&self, token: &AccessToken, device: &DeviceId, request: &ClipRequest) -> Result<Media, Error> {
        self.0.download(token, device, "video", request, &["video/mp4"]).await
    }

    /// A snapshot. One attempt, as with clips. Ring: Image Snapshots.
    pub async fn snapshot(
        &self,
        token: &AccessToken,
        device: &DeviceId,
        request: &SnapshotRequest,
    ) -> Result<Media, Error> {
        self.0
            .download(token, device, "image", request, &["image/jpeg", "image/png"])
            .await
    }

    /// Opens a live session, in one attempt: Ring opens another one each time that it is asked, and each drains a battery. The
    /// error tells whether one may be open. Ring: Starting a Live Video Session.
    pub async fn open_live(&self, token: &AccessToken, device: &DeviceId, offer: &Offer) -> Result<Session, OpenError> {
        self.0.open_live(token, device, offer).await
    }

    /// Closes a live session; one that Ring does not know (any more) is closed. A session of another origin than Ring's API is
    /// not asked about. Ring: Closing a Session.
    pub async fn close_live(&self, token: &AccessToken, session: &SessionUrl) -> Result<(), Error> {
        self.end_live(token, session).await.map(drop)
    }

    /// Closes a live session as [`close_live`](Self::close_live) does, and tells whether it was open still: where it was not, its
    /// time was over.
    pub async fn end_live(&self, token: &AccessToken, session: &SessionUrl) -> Result<Ended, Error> {
        self.0.end_live(token, session).await
    }

    fn integration<'c>(&self, method: Method, token: &'c AccessToken) -> Call<'c> {
        Call::new(
            Endpoint::Integrations,
            method,
            self.0.endpoint("/v1/accounts/me/app-integrations"),
            token,
        )
    }

    /// Asks the token endpoint, as RFC 6749 has it: a form, the client's credentials in it, and no PKCE.
    async fn tokens(&self, credentials: &Credentials, grant: &[(&str, &str); 2]) -> Result<TokenResponse, Error> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(grant)
            .append_pair("client_id", credentials.client_id())
            .append_pair("client_secret", credentials.expose_secret())
            .finish();
        let body = ("application/x-www-form-urlencoded", Bytes::from(form));
        self.tokens_for(body, [grant[1].1, credentials.expose_secret()]).await
    }

    /// Asks the token endpoint as the older two-way model does: JSON, with the proof of PKCE (RFC 7636).
    async fn tokens_with_proof(
        &self,
        credentials: &Credentials,
        code: &AuthorizationCode,
        verifier: &CodeVerifier,
    ) -> Result<TokenResponse, Error> {
        let request = serde_json::json!({
            "grant_type": "authorization_code",
            "code_verifier": verifier.expose(),
            "client_id": credentials.client_id(),
            "code": code.expose(),
            "client_secret": credentials.expose_secret(),
        });
        let secrets = [code.expose(), verifier.expose(), credentials.expose_secret()];
        self.tokens_for(("application/json", Bytes::from(request.to_string())), secrets)
            .await
    }

    async fn tokens_for<const N: usize>(
        &self,
        body: (&'static str, Bytes),
        secrets: [&str; N],
    ) -> Result<TokenResponse, Error> {
        // A server may quote the request as it stood, and there they are encoded.
        let encoded: Vec<String> = secrets.iter().flat_map(|secret| as_sent(secret)).collect();
        let call = Call {
            endpoint: Endpoint::OAuth,
            method: Method::POST,
            url: self.0.settings.oauth_url.clone(),
            bearer: None,
            body: Some(body),
            secrets: encoded.iter().map(String::as_str).chain(secrets).collect(),
        };
        TokenResponse::parse(&self.0.once(&call).await?)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// How a secret stands in a form, and in a JSON string.
fn as_sent(secret: &str) -> [String; 2] {
    let quoted = serde_json::Value::from(secret).to_string();
    [
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        quoted[1..quoted.len() - 1].to_owned(),
    ]
}
