//! What links stand on, in their own words: where they are kept (together with the grants that open them), Ring's side of
//! an integration, and what follows from a link in the rest of the house.

use std::fmt::Debug;

use jiff::Timestamp;
use ring_partner::devices::Device;
use ring_partner::integrations::{Integration, IntegrationStatus};
use ring_partner::nonce::Nonce;
use ring_partner::oauth::AccessToken;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::Link;
use super::settle::SettleError;
use crate::audit::Entry;
use crate::capture::session::ports::Bearer;
use crate::edge::bus::Announcement;
use crate::edge::table::StoreError;
use crate::grant::Grant;

/// Where links are kept. There is one for each Ring account.
pub trait Links: Clone + Debug + Send + Sync + 'static {
    /// The link of an account, an unlinked one among them.
    fn of_account(&self, account: &AccountId) -> impl Future<Output = Result<Option<Link>, StoreError>> + Send;

    /// The link of an account, if it says itself that it is due at `now`.
    fn get_due(
        &self,
        account: &AccountId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Link>, StoreError>> + Send;

    /// The links of a user, as they stand.
    fn of_user(&self, user_id: &str) -> impl Future<Output = Result<Vec<Link>, StoreError>> + Send;

    /// Who used this nonce before.
    fn used(&self, nonce: &Nonce) -> impl Future<Output = Result<Option<UsedNonce>, StoreError>> + Send;

    /// All of these changes, or none. `Err(Conflict)`: one of them is made from what is not so any more.
    fn commit(&self, changes: Vec<Change>, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A link that could not be settled is not looked at before `due`, so that it does not stand in the way of others.
    fn put_off(&self, account: &AccountId, due: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets an unlinked link, unless its account was linked again meanwhile.
    fn forget(&self, link: &Link) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The accounts whose links are due at `now`, the longest overdue first, at most `most`.
    fn due(&self, now: Timestamp, most: usize) -> impl Future<Output = Result<Vec<AccountId>, StoreError>> + Send;

    /// Saves a changed link, from the version before it.
    fn save(
        &self,
        link: Link,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.commit(vec![Change::Link(link, due)], now)
    }
}

/// One change of what is kept about links and the grants that open them.
#[derive(Clone, Debug)]
pub enum Change {
    /// A grant's step, from the version before it, and when it comes due.
    Grant(Grant, Option<Timestamp>),
    /// A link of an account that has none, and when it comes due.
    NewLink(Link, Option<Timestamp>),
    /// A link, from the version before it, and when it comes due.
    Link(Link, Option<Timestamp>),
    /// Its user has it.
    Give(Link),
    /// Its user has it no more.
    Take(Link),
    /// A nonce was used: it links for this user alone from now on.
    Use(Nonce, UsedNonce),
    /// An entry of the audit trail.
    Audit(Entry),
}

/// Who used a nonce, and for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedNonce {
    /// The user.
    pub user_id: String,
    /// The account that it linked.
    pub account_id: AccountId,
}

/// Ring's side of an integration. Ring: App Integration; Device Discovery.
pub trait Integrations: Clone + Debug + Send + Sync + 'static {
    /// Has Ring take a nonce.
    fn confirm_link(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        nonce: &Nonce,
    ) -> impl Future<Output = Result<IntegrationStatus, ring_partner::Error>> + Send;

    /// Tells Ring a status, an identifier, or both.
    fn update_integration(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        status: Option<IntegrationStatus>,
    ) -> impl Future<Output = Result<Integration, ring_partner::Error>> + Send;

    /// The devices that the integration opens.
    fn devices(&self, token: &AccessToken) -> impl Future<Output = Result<Vec<Device>, ring_partner::Error>> + Send;
}

impl Integrations for ring_partner::Ring {
    async fn confirm_link(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        nonce: &Nonce,
    ) -> Result<IntegrationStatus, ring_partner::Error> {
        self.confirm_link(token, account_identifier, nonce).await
    }

    async fn update_integration(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        status: Option<IntegrationStatus>,
    ) -> Result<Integration, ring_partner::Error> {
        self.update_integration(token, account_identifier, status).await
    }

    async fn devices(&self, token: &AccessToken) -> Result<Vec<Device>, ring_partner::Error> {
        self.devices(token).await
    }
}

/// What follows from a link in the rest of the house. Each may come twice without harm.
pub trait Effects: Clone + Debug + Send + Sync + 'static {
    /// Writes an entry into the audit trail of what changes no link.
    fn audit(&self, entry: &Entry) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Keeps a listing of an account's devices, as Ring gave it after `asked_at`.
    fn keep_listing(
        &self,
        account: &AccountId,
        devices: Vec<Device>,
        asked_at: Timestamp,
    ) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Closes the live sessions of a link's account, as far as that can be done.
    fn close_sessions(
        &self,
        link: &Link,
        tokens: &impl Bearer,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Forgets an account's devices.
    fn forget_devices(&self, account: &AccountId) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Hands the events that came before the link back to the queue.
    fn release_parked(&self, account: &AccountId) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Tells the bus.
    fn announce(&self, announcement: &Announcement) -> impl Future<Output = Result<(), SettleError>> + Send;
}
