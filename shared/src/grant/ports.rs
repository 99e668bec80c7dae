//! What the life of a grant stands on, in its own words: where grants are kept, what wraps the keys of their tokens, Ring's
//! token endpoint, our id and secret there, and the queue where a pair waits that the table did not take.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::oauth::{
    AccessToken, AuthorizationCode, CodeVerifier, Credentials, RefreshToken, TokenError, TokenResponse,
};
use ring_partner::users::{AccountId, User};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::rescue::HIDDEN_FOR;
use super::vault::VaultError;
use super::{Grant, GrantId, Lease, Tokens};
use crate::edge::queue::{Message, Queue, QueueError};
use crate::edge::secret::{ClientSecrets, Secret, SecretError};
use crate::edge::table::StoreError;

/// Where grants are kept, and the one-time codes that they came from.
///
/// Each write is conditional on what was read: [`StoreError::Conflict`] says that somebody else was there first. A write
/// whose answer is lost ([`StoreError::Unavailable`]) may have happened; made again by the same caller it succeeds, or
/// tells by `Conflict` that it had.
pub trait Grants: Clone + Debug + Send + Sync + 'static {
    /// One grant, as it is now.
    fn get(&self, id: &GrantId) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send;

    /// A grant, if it says itself that it is due at `now`.
    fn get_due(&self, id: &GrantId, now: Timestamp) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send;

    /// Marks a code (by its hash) as being exchanged for a new grant. `Err(Conflict)`: it was presented before.
    fn take_code(
        &self,
        hash: &str,
        grant: &GrantId,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What became of a code that was presented before.
    fn code(&self, hash: &str) -> impl Future<Output = Result<Option<CodeOutcome>, StoreError>> + Send;

    /// Ring refused the code, which was to be exchanged for this grant. `Err(Conflict)`: it is another's now.
    fn refuse_code(&self, hash: &str, grant: &GrantId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The code, which was to be exchanged for this grant, is not spent: it may be presented again. `Err(Conflict)`: it is
    /// another's now.
    fn give_back_code(&self, hash: &str, grant: &GrantId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Saves a grant as it was issued, and that its code is spent: both or none. `Err(Conflict)`: it is saved already.
    fn save_issued(
        &self,
        grant: &Grant,
        code: &str,
        due: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A step of a grant's life, from the version before it. A grant that is refused must still have the pair that was.
    fn advance(
        &self,
        grant: &Grant,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// All unclaimed grants, the newest first: a grant that was saved a moment ago is among them.
    fn unclaimed(&self) -> impl Future<Output = Result<Vec<Unclaimed>, StoreError>> + Send;

    /// Grants whose owner is not known yet, the newest first, at most `most`.
    fn resolving(&self, most: usize) -> impl Future<Output = Result<Vec<GrantId>, StoreError>> + Send;

    /// Takes the right to renew the pair of this generation. `Err(Conflict)`: somebody has it, or has renewed it already.
    fn lease(
        &self,
        id: &GrantId,
        generation: u64,
        lease: &Lease,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Saves a renewed pair and gives the lease back. `Err(Conflict)`: the lease was lost, or the grant has ended.
    fn renew(
        &self,
        id: &GrantId,
        owner: &str,
        tokens: &Tokens,
        due: Option<Due>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Saves a pair that its renewer could not save, whoever has the lease now: it is the successor of the stored one.
    /// `Err(Conflict)`: a successor is stored already, or the grant has ended.
    fn save_rescued(
        &self,
        id: &GrantId,
        tokens: &Tokens,
        due: Option<Due>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the lease back with nothing renewed.
    fn give_back(
        &self,
        id: &GrantId,
        owner: &str,
        due: Option<Due>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The grant comes due at `due`, if it is to come due at all.
    fn put_off(&self, id: &GrantId, due: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The same for one that Ring refuses, and that this is counted at `refused_at`.
    fn hold(
        &self,
        id: &GrantId,
        due: Timestamp,
        refused_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The grants that are due at `now`, the longest overdue first, at most `most`.
    fn due(&self, now: Timestamp, most: usize) -> impl Future<Output = Result<Vec<GrantId>, StoreError>> + Send;

    /// Adds to what the renewals of this hour and this day came to, and tells what they and the ones before came to.
    fn tally(&self, add: Tally, now: Timestamp) -> impl Future<Output = Result<Tallies, StoreError>> + Send;
}

/// What became of a one-time code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeOutcome {
    /// Somebody is exchanging it, or died doing so.
    Exchanging,
    /// Its tokens are saved.
    Exchanged,
    /// Ring refused it.
    Refused,
}

/// What the nonce is matched over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unclaimed {
    /// The grant.
    pub grant_id: GrantId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Since when it waits.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub since: Timestamp,
}

/// What a number of renewals came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Pairs that were renewed.
    pub renewed: u64,
    /// Pairs that Ring refused.
    pub refused: u64,
}

/// What renewals came to of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// This hour and the one before.
    pub hours: Tally,
    /// This day and the one before.
    pub days: Tally,
}

/// When a grant comes due next, as long as its life is as it was read: a claim that began meanwhile comes due for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// When.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// The version of its life that was read.
    pub life_version: u64,
}

/// What wraps data keys (KMS).
pub trait Keys: Clone + Debug + Send + Sync + 'static {
    /// A fresh data key, in clear and wrapped, for what `purpose` and `grant` name.
    fn data_key(
        &self,
        purpose: &'static str,
        grant: &GrantId,
    ) -> impl Future<Output = Result<NewKey, VaultError>> + Send;

    /// A data key that was wrapped for the same purpose and grant, in clear.
    fn unwrap(
        &self,
        wrapped: &[u8],
        purpose: &'static str,
        grant: &GrantId,
    ) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, VaultError>> + Send;
}

/// A fresh data key.
pub struct NewKey {
    /// In clear: 32 bytes.
    pub plain: Zeroizing<Vec<u8>>,
    /// Wrapped, to be kept beside what it seals.
    pub wrapped: Vec<u8>,
}

impl Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey(…)")
    }
}

/// Our id and secret at Ring.
pub trait Client: Clone + Debug + Send + Sync + 'static {
    /// Both, as they are now.
    fn credentials(&self, now: Timestamp) -> impl Future<Output = Result<Credentials, SecretError>> + Send;

    /// Others than these, which Ring refuses. `None`: there are none.
    fn other_than(&self, refused: &[Credentials], now: Timestamp) -> impl Future<Output = Option<Credentials>> + Send;
}

impl Client for Arc<Secret<ClientSecrets>> {
    async fn credentials(&self, now: Timestamp) -> Result<Credentials, SecretError> {
        Ok(self.get(now).await?.all()[0].clone())
    }

    async fn other_than(&self, refused: &[Credentials], now: Timestamp) -> Option<Credentials> {
        Secret::other_than(self, refused, now).await
    }
}

/// Ring's token endpoint, and whose a token is.
pub trait TokenEndpoint: Clone + Debug + Send + Sync + 'static {
    /// A one-time code for a pair; with a verifier, as the older two-way model has it.
    fn exchange_code(
        &self,
        credentials: &Credentials,
        code: &AuthorizationCode,
        verifier: Option<&CodeVerifier>,
    ) -> impl Future<Output = Result<TokenResponse, TokenError>> + Send;

    /// A refresh token for a new pair.
    fn refresh(
        &self,
        credentials: &Credentials,
        token: &RefreshToken,
    ) -> impl Future<Output = Result<TokenResponse, TokenError>> + Send;

    /// Whose it is.
    fn me(&self, token: &AccessToken) -> impl Future<Output = Result<User, ring_partner::Error>> + Send;
}

impl TokenEndpoint for ring_partner::Ring {
    async fn exchange_code(
        &self,
        credentials: &Credentials,
        code: &AuthorizationCode,
        verifier: Option<&CodeVerifier>,
    ) -> Result<TokenResponse, TokenError> {
        self.exchange_code(credentials, code, verifier).await
    }

    async fn refresh(&self, credentials: &Credentials, token: &RefreshToken) -> Result<TokenResponse, TokenError> {
        self.refresh(credentials, token).await
    }

    async fn me(&self, token: &AccessToken) -> Result<User, ring_partner::Error> {
        self.me(token).await
    }
}

/// Where a pair waits, sealed, when the table is out of reach. What is received is hidden from others for
/// [`HIDDEN_FOR`], and comes back unless it is removed.
pub trait Rescue: Clone + Debug + Send + Sync + 'static {
    /// Takes a pair in.
    fn keep(&self, rescued: &Rescued) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Some of what waits, nothing only if nothing waits (or is hidden).
    fn receive(&self) -> impl Future<Output = Result<Vec<Received>, QueueError>> + Send;

    /// It is applied, or nobody's any more.
    fn remove(&self, receipt: &str) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// It could not be applied now: others may see it at once.
    fn put_back(&self, receipt: &str) -> impl Future<Output = Result<(), QueueError>> + Send;
}

impl Rescue for Queue {
    async fn keep(&self, rescued: &Rescued) -> Result<(), QueueError> {
        let text = serde_json::to_string(rescued).map_err(|error| QueueError(error.into()))?;
        self.send(Message::new(text)).await
    }

    async fn receive(&self) -> Result<Vec<Received>, QueueError> {
        let received = self.receive(HIDDEN_FOR).await?;
        Ok(received
            .into_iter()
            .map(|(receipt, text)| Received {
                receipt,
                rescued: serde_json::from_str(&text).ok(),
            })
            .collect())
    }

    async fn remove(&self, receipt: &str) -> Result<(), QueueError> {
        self.delete(receipt).await
    }

    async fn put_back(&self, receipt: &str) -> Result<(), QueueError> {
        self.put_off(receipt, Duration::ZERO).await
    }
}

/// A pair that the table did not take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rescued {
    /// The first of a new grant.
    Issued(Box<RescuedGrant>),
    /// The successor of a grant's stored one.
    Renewed(Box<RescuedPair>),
}

/// A new grant, as it was to be saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RescuedGrant {
    /// The grant.
    pub grant: Grant,
    /// The hash of the code that it was had for.
    pub code: String,
    /// When it comes due.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub due: Timestamp,
}

/// A renewed pair, as it was to be saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RescuedPair {
    /// Whose it is.
    pub grant: GrantId,
    /// The pair, sealed.
    pub tokens: Tokens,
    /// When the grant comes due with it, if that is to be changed.
    pub due: Option<Due>,
}

/// A message of the rescue queue.
#[derive(Clone, Debug)]
pub struct Received {
    /// What it is removed or put back by.
    pub receipt: String,
    /// The pair; `None` if it can't be read.
    pub rescued: Option<Rescued>,
}
