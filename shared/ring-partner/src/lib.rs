//! The Ring Partner API, typed: what Ring signs and sends, and a client for what it answers.
//!
//! `signature`, `nonce` and `webhook` are pure: bytes, keys and the time go in, typed values come out. `oauth`,
//! `users`, `integrations`, `devices`, `media` and `whep` are the nouns of Ring's documentation, and `client` asks for them
//! with time-outs, bounds, a budget and a circuit breaker. What is left out: storage, queues and any cloud's SDK, the
//! environment, and every clock but the monotonic one that the client's waits need.
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod client;
pub mod devices;
pub mod error;
pub mod integrations;
pub mod media;
pub mod nonce;
pub mod oauth;
pub mod object;
mod opaque;
pub mod signature;
pub mod users;
pub mod webhook;
pub mod whep;

pub use client::{Ring, Settings};
pub use devices::{Device, DeviceId};
pub use error::{ApiError, Decision, Error};
pub use integrations::{Integration, IntegrationStatus, mask_identifier};
pub use media::{ClipRequest, Media, SnapshotRequest};
pub use nonce::{LinkTime, Nonce};
pub use oauth::{AccessToken, AuthorizationCode, CodeVerifier, Credentials, RefreshToken, TokenError, TokenResponse};
pub use opaque::InvalidId;
pub use signature::{Signature, SignatureError, SigningKey, Verified};
pub use users::{AccountId, User};
pub use webhook::{EventKind, RequestId, SubType, Webhook, WebhookError};
