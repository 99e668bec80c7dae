//! The client of Ring's API.

mod redirects;
mod settings;

use std::sync::Arc;

pub use settings::{Settings, SettingsError};

use crate::error::NotSent;
use crate::{
    AccessToken, AuthorizationCode, ClipRequest, Credentials, Device, DeviceId, Error, Integration, IntegrationStatus,
    Media, Nonce, RefreshToken, SnapshotRequest, TokenError, TokenResponse, User,
};

/// Ring's API. Cheap to clone; clones share connections, budget and circuits.
#[derive(Debug, Clone)]
pub struct Ring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
}

impl Ring {
    /// Makes a client. Nothing is connected to yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self(Arc::new(Inner { settings })))
    }

    /// Exchanges a code for tokens.
    pub async fn exchange_code(&self, _: &Credentials, _: &AuthorizationCode) -> Result<TokenResponse, TokenError> {
        Err(self.absent().into())
    }

    /// Exchanges a refresh token for new tokens.
    pub async fn refresh(&self, _: &Credentials, _: &RefreshToken) -> Result<TokenResponse, TokenError> {
        Err(self.absent().into())
    }

    /// The user behind a token.
    pub async fn me(&self, _: &AccessToken) -> Result<User, Error> {
        Err(self.absent())
    }

    /// Confirms a link.
    pub async fn confirm_link(&self, _: &AccessToken, _: Option<&str>, _: &Nonce) -> Result<IntegrationStatus, Error> {
        Err(self.absent())
    }

    /// Updates an integration.
    pub async fn update_integration(
        &self,
        _: &AccessToken,
        _: Option<&str>,
        _: Option<IntegrationStatus>,
    ) -> Result<Integration, Error> {
        Err(self.absent())
    }

    /// All devices with their parts.
    pub async fn devices(&self, _: &AccessToken) -> Result<Vec<Device>, Error> {
        Err(self.absent())
    }

    /// One device with its parts.
    pub async fn device(&self, _: &AccessToken, _: &DeviceId) -> Result<Device, Error> {
        Err(self.absent())
    }

    /// A clip.
    pub async fn clip(&self, _: &AccessToken, _: &DeviceId, _: &ClipRequest) -> Result<Media, Error> {
        Err(self.absent())
    }

    /// A snapshot.
    pub async fn snapshot(&self, _: &AccessToken, _: &DeviceId, _: &SnapshotRequest) -> Result<Media, Error> {
        Err(self.absent())
    }

    fn absent(&self) -> Error {
        let _ = &self.0.settings;
        Error::NotSent(NotSent::Invalid("the transport is not there yet"))
    }
}
