//! The one state that all listeners share, and the few things every noun needs: who is calling, fresh ids, secrets.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Settings;
use crate::faults::Faults;
use crate::journal::{Journal, Note, bearer, fingerprint};
use crate::live::Sessions;
use crate::media::Presigned;
use crate::oauth::{Bearer, Grants, Holder};
use crate::rate::Limiter;
use crate::users::Users;
use crate::webhooks::Webhooks;

/// How long a push of a code waits for the partner, in real time. A local gateway with a cold function takes seconds.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Ring, offline. No two of its locks are ever held at once, and none over an `await`.
pub(crate) struct Ring {
    pub(crate) clock: Clock,
    pub(crate) origins: Origins,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) limiter: Limiter,
    pub(crate) webhooks: Webhooks,
    pub(crate) live: Sessions,
    /// The address that all listeners bind, and the sockets of live video.
    pub(crate) bind: IpAddr,
    pub(crate) http: reqwest::Client,
    /// True once the simulator stops.
    pub(crate) closing: watch::Sender<bool>,
    settings: Mutex<Arc<Settings>>,
    users: Mutex<Users>,
    grants: Mutex<Grants>,
    presigned: Mutex<Presigned>,
}

/// Where the listeners are found, without a slash at the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Origins {
    pub(crate) api: String,
    pub(crate) oauth: String,
    pub(crate) media: String,
    pub(crate) control: String,
}

/// A bearer that opens nothing.
#[derive(Debug)]
pub(crate) struct BadToken;

impl Ring {
    pub(crate) fn new(settings: Settings, origins: Origins, bind: IpAddr) -> std::io::Result<Self> {
        // No redirects and no proxy: a push goes where the partner registered it, or nowhere.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PUSH_TIMEOUT)
            .user_agent("ring-simulator")
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self {
            clock: Clock::new(),
            origins,
            faults: Faults::default(),
            journal: Journal::default(),
            limiter: Limiter::default(),
            webhooks: Webhooks::default(),
            live: Sessions::default(),
            bind,
            http,
            closing: watch::Sender::new(false),
            settings: Mutex::new(Arc::new(settings)),
            users: Mutex::default(),
            grants: Mutex::default(),
            presigned: Mutex::default(),
        })
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    pub(crate) fn settle(&self, settings: Settings) {
        *lock(&self.settings) = Arc::new(settings);
    }

    pub(crate) fn users(&self) -> MutexGuard<'_, Users> {
        lock(&self.users)
    }

    pub(crate) fn grants(&self) -> MutexGuard<'_, Grants> {
        lock(&self.grants)
    }

    pub(crate) fn presigned(&self) -> MutexGuard<'_, Presigned> {
        lock(&self.presigned)
    }

    /// Whose access token came with a request.
    pub(crate) fn caller(&self, headers: &HeaderMap, note: &Note) -> Result<Holder, BadToken> {
        let Some(token) = bearer(headers) else {
            note.say("no bearer");
            return Err(BadToken);
        };
        match self.grants().bearer(token, self.clock.now()) {
            Bearer::Good(holder) => {
                note.user(&holder.user);
                Ok(holder)
            }
            Bearer::Bad(why) => {
                note.say(why);
                Err(BadToken)
            }
        }
    }

    /// The client that a request counts for: its token's, else the one that is registered.
    pub(crate) fn client_of(&self, headers: &HeaderMap) -> String {
        let holder = bearer(headers).map(|token| self.grants().bearer(token, self.clock.now()));
        match holder {
            Some(Bearer::Good(holder)) => holder.client,
            _ => self.settings().client_id.clone(),
        }
    }
}

/// Locks, also after a panic elsewhere: the state is plain data, and a test that goes on sees what there is.
pub(crate) fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fresh UUID.
pub(crate) fn fresh_id() -> String {
    Uuid::new_v4().to_string()
}

/// So many random bytes, in Base64url.
pub(crate) fn secret(bytes: usize) -> String {
    let mut random: Vec<u8> = Vec::with_capacity(bytes + 16);
    while random.len() < bytes {
        random.extend_from_slice(Uuid::new_v4().as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&random[..bytes])
}

/// An id in Ring's manner: opaque, upper case, the same for the same parts.
pub(crate) fn opaque(parts: &str) -> String {
    fingerprint(parts).to_uppercase()
}

/// A text as one segment of a path.
pub(crate) fn segment(raw: &str) -> String {
    raw.bytes().fold(String::with_capacity(raw.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(byte.into());
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_53_an_opaque_id_is_one_segment_of_a_path() {
        assert_eq!(segment("ava1.ring.device.A_b-9"), "ava1.ring.device.A_b-9");
        assert_eq!(segment("50%/é"), "50%25%2F%C3%A9");
    }

    #[test]
    fn secrets_are_long_and_differ() {
        assert_eq!(secret(24).len(), 32);
        assert_ne!(secret(24), secret(24));
    }
}
