//! The twin of every port: one handle, held by a process. Each call is seen by the world's interference, with the line of the
//! source that made it.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::error::{Endpoint, NotSent, Unclear};
use ring_partner::integrations::{Integration, IntegrationStatus};
use ring_partner::nonce::Nonce;
use ring_partner::oauth::{
    AccessToken, AuthorizationCode, CodeVerifier, Credentials, RefreshToken, TokenError, TokenResponse,
};
use ring_partner::users::{AccountId, User};
use ring_partner::{Device, Error};
use sha2::{Digest as _, Sha256};
use shared::audit::Entry;
use shared::capture::session::ports::Bearer;
use shared::edge::bus::Announcement;
use shared::edge::clock::signed;
use shared::edge::queue::QueueError;
use shared::edge::quota::{Counters, Full};
use shared::edge::secret::SecretError;
use shared::edge::table::StoreError;
use shared::grant::ports::{
    Client, CodeOutcome, Due, Grants, Keys, NewKey, Received, Rescue, Rescued, Tallies, Tally, TokenEndpoint, Unclaimed,
};
use shared::grant::vault::VaultError;
use shared::grant::{Grant, GrantId, Lease, Tokens};
use shared::link::Link;
use shared::link::ports::{Change, Effects, Integrations, Links, UsedNonce};
use shared::link::settle::SettleError;
use shared::world::{Nature, World};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::interference::{Call, Fault, Interference, Mischief, Port};
use crate::kept::Kept;
use crate::ring::{Truth, answer, status};

/// The family of the twins.
#[derive(Clone, Copy, Debug)]
pub struct Simulated;

impl World for Simulated {
    type Nature = Twin;
    type Grants = Twin;
    type Links = Twin;
    type Keys = Twin;
    type Client = Twin;
    type Ring = Twin;
    type Rescue = Twin;
    type Counters = Twin;
    type Effects = Twin;
}

/// All that there is.
pub struct Everything {
    /// The tables and the rescue queue.
    pub kept: Kept,
    /// Ring.
    pub ring: Truth,
    /// What the bus was told: (what, which account, under which id).
    pub announced: Vec<(String, String, String)>,
    /// Events and devices.
    pub events: crate::events::kept::Kept,
    /// The queue of events, and quarantine.
    pub queue: crate::events::queue::Queue,
    /// The key that Ring signs webhooks with, and the secret that says so.
    pub signing: crate::events::ring::Signing,
    /// What the bus was told of events, and when.
    pub published: Vec<(Timestamp, Announcement)>,
    /// Which devices Ring was asked about, when, and whether they were there.
    pub asked: Vec<(AccountId, DeviceId, Timestamp, bool)>,
    /// Which family a grant is of.
    pub families: BTreeMap<GrantId, u64>,
    /// What may befall a call.
    pub interference: Arc<dyn Interference>,
    /// Which pair, by its sealed access token, is which of Ring's.
    pairs: BTreeMap<String, (u64, u64)>,
    codes: BTreeMap<String, u64>,
    counts: BTreeMap<String, Places>,
    keys: BTreeMap<Vec<u8>, (&'static str, GrantId)>,
    random: u64,
}

/// One world, and one process in it.
#[derive(Clone)]
pub struct Twin {
    everything: Arc<Mutex<Everything>>,
    calls: Arc<AtomicUsize>,
    process: Arc<Process>,
    begun: Instant,
}

/// When a call happens.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    /// Nobody will know that it did.
    is_lost: bool,
}

/// A process: it can die.
#[derive(Default)]
struct Process {
    died: Notify,
    is_dead: AtomicBool,
    /// Pairs that Ring has given it and that are nowhere else: family and number.
    in_hand: Mutex<BTreeMap<u64, u64>>,
}

impl fmt::Debug for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Twin")
    }
}

/// The places of a quota.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    taken: u64,
    used: u64,
}

/// When every world begins.
pub const BEGIN_SECOND: i64 = 1_770_000_000;

impl Twin {
    /// A new world. Time is tokio's: this is called on a runtime that is paused.
    #[must_use]
    pub fn new(seed: u64, ring: Truth, interference: Arc<dyn Interference>) -> Self {
        let everything = Everything {
            kept: Kept::default(),
            ring,
            announced: Vec::new(),
            events: crate::events::kept::Kept::default(),
            queue: crate::events::queue::Queue::default(),
            signing: crate::events::ring::Signing::default(),
            published: Vec::new(),
            asked: Vec::new(),
            families: BTreeMap::new(),
            interference,
            pairs: BTreeMap::new(),
            codes: BTreeMap::new(),
            counts: BTreeMap::new(),
            keys: BTreeMap::new(),
            random: seed,
        };
        Self {
            everything: Arc::new(Mutex::new(everything)),
            calls: Arc::default(),
            process: Arc::default(),
            begun: Instant::now(),
        }
    }

    /// The same world, in a process that has just begun.
    #[must_use]
    pub fn process(&self) -> Self {
        Self {
            process: Arc::default(),
            ..self.clone()
        }
    }

    /// Runs a future in this process; `None` when the process dies of it.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.process.died.notified() => None,
            out = future => Some(out),
        }
    }

    /// Kills this process, wherever it is.
    pub fn kill(&self) {
        let mut all = self.all();
        self.process.is_dead.store(true, Ordering::Relaxed);
        // What it had in hand alone is lost with it.
        for family in self.process.in_hand().keys() {
            if let Some(family) = all.ring.family_mut(*family) {
                family.died_in_window = true;
            }
        }
        self.process.died.notify_one();
    }

    /// Everything, for a look or a change that is nobody's call.
    pub fn all(&self) -> MutexGuard<'_, Everything> {
        self.everything.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    #[track_caller]
    pub(crate) fn call(&self, port: Port, method: &'static str) -> Call {
        Call {
            port,
            method,
            site: Location::caller(),
            ordinal: self.calls.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// One call: it takes its time, and may be interfered with. `failed` is the error of a call that did not happen, or
    /// whose answer is lost.
    pub(crate) async fn happen<T, E>(
        &self,
        call: Call,
        failed: impl Fn(Fault) -> E,
        act: impl FnOnce(&Self, &mut Everything, Moment) -> Result<T, E>,
    ) -> Result<T, E> {
        let Mischief { before, after, fault } = {
            let mut all = self.all();
            let random = all.random();
            let interference = Arc::clone(&all.interference);
            drop(all);
            interference.at(&call, random)
        };
        if !before.is_zero() {
            sleep(before).await;
        }
        match fault {
            Some(Fault::DiesBefore) => self.die().await,
            Some(fault @ (Fault::Refused | Fault::Status(_) | Fault::InvalidClient)) => return Err(failed(fault)),
            _ => {}
        }
        if self.process.is_dead.load(Ordering::Relaxed) {
            // It died of another call, in the same moment.
            std::future::pending::<()>().await;
        }
        let moment = Moment {
            now: self.now(),
            is_lost: fault == Some(Fault::AnswerLost),
        };
        let result = act(self, &mut self.all(), moment);
        if !after.is_zero() {
            sleep(after).await;
        }
        match fault {
            Some(Fault::DiesAfter) => self.die().await,
            Some(Fault::AnswerLost) => Err(failed(Fault::AnswerLost)),
            _ => result,
        }
    }

    async fn die(&self) -> ! {
        self.kill();
        std::future::pending().await
    }

    /// A call of the tables.
    async fn table<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Kept, Timestamp) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.happen(call, |_| unavailable(), |_, all, moment| act(&mut all.kept, moment.now))
            .await
    }

    /// Ring has given a pair to this process.
    fn has_in_hand(&self, all: &mut Everything, family: u64, is_lost: bool) {
        let Some(truth) = all.ring.family_mut(family) else {
            return;
        };
        if is_lost {
            truth.answer_lost = true;
        } else {
            let newest = truth.newest;
            self.process.in_hand().insert(family, newest);
        }
    }

    /// Which of Ring's pairs this sealed one is: the one in this process's hand, when it is first seen.
    fn known_pair(&self, all: &mut Everything, id: &GrantId, tokens: &Tokens) -> Option<(u64, u64)> {
        let sealed = serde_json::to_string(&tokens.access).unwrap_or_default();
        if let Some(known) = all.pairs.get(&sealed) {
            return Some(*known);
        }
        let family = *all.families.get(id)?;
        let number = *self.process.in_hand().get(&family)?;
        all.pairs.insert(sealed, (family, number));
        Some((family, number))
    }

    /// A pair is in the table.
    fn is_saved(&self, all: &mut Everything, id: &GrantId, tokens: &Tokens) {
        if let Some((family, number)) = self.known_pair(all, id, tokens) {
            if let Some(truth) = all.ring.family_mut(family) {
                truth.saved = truth.saved.max(number);
            }
            self.process.in_hand().remove(&family);
        }
    }
}

impl Process {
    fn in_hand(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Everything {
    /// Bits of this world's seed (SplitMix64).
    fn random(&mut self) -> u128 {
        let mut next = || {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.random;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        };
        (u128::from(next()) << 64) | u128::from(next())
    }
}

pub(crate) fn unavailable() -> StoreError {
    StoreError::Unavailable("the simulated table is out of reach".into())
}

pub(crate) fn no_queue(_: Fault) -> QueueError {
    QueueError("the simulated queue is out of reach".into())
}

fn no_keys(_: Fault) -> VaultError {
    VaultError::Unavailable("the simulated KMS is out of reach".into())
}

fn no_tokens(fault: Fault) -> TokenError {
    let endpoint = Endpoint::OAuth;
    match fault {
        Fault::Status(code) => TokenError::from(&answer(endpoint, code, None)),
        Fault::InvalidClient => TokenError::from(&answer(endpoint, 401, Some("invalid_client"))),
        Fault::AnswerLost => TokenError::from(Error::Unclear(Unclear::TimedOut)),
        _ => TokenError::from(Error::NotSent(NotSent::Unreachable("simulated".into()))),
    }
}

fn no_answer(endpoint: Endpoint) -> impl Fn(Fault) -> Error {
    move |fault| match fault {
        Fault::Status(code) => status(endpoint, code, None),
        Fault::InvalidClient => status(endpoint, 401, None),
        Fault::AnswerLost => Error::Unclear(Unclear::TimedOut),
        _ => Error::NotSent(NotSent::Unreachable("simulated".into())),
    }
}

impl Nature for Twin {
    fn now(&self) -> Timestamp {
        let begin = Timestamp::from_second(BEGIN_SECOND).expect("an instant of 2026");
        begin + signed(self.begun.elapsed())
    }

    fn random(&self) -> u128 {
        self.all().random()
    }
}

impl Grants for Twin {
    #[track_caller]
    fn get(&self, id: &GrantId) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.get");
        self.table(call, |kept, _| Ok(kept.get(id)))
    }

    #[track_caller]
    fn get_due(&self, id: &GrantId, now: Timestamp) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.get_due");
        self.table(call, move |kept, _| Ok(kept.get_due(id, now)))
    }

    #[track_caller]
    fn take_code(
        &self,
        hash: &str,
        grant: &GrantId,
        _now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.take_code");
        self.table(call, |kept, _| kept.take_code(hash, grant))
    }

    #[track_caller]
    fn code(&self, hash: &str) -> impl Future<Output = Result<Option<CodeOutcome>, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.code");
        self.table(call, |kept, _| Ok(kept.code(hash)))
    }

    #[track_caller]
    fn refuse_code(&self, hash: &str, grant: &GrantId) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.refuse_code");
        self.table(call, |kept, _| kept.refuse_code(hash, grant))
    }

    #[track_caller]
    fn give_back_code(&self, hash: &str, grant: &GrantId) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.give_back_code");
        self.table(call, |kept, _| kept.give_back_code(hash, grant))
    }

    #[track_caller]
    fn save_issued(
        &self,
        grant: &Grant,
        code: &str,
        due: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.save_issued");
        self.happen(
            call,
            |_| unavailable(),
            move |twin, all, _| {
                all.kept.save_issued(grant, code, due)?;
                twin.begins(all, grant, code);
                Ok(())
            },
        )
    }

    #[track_caller]
    fn advance(
        &self,
        grant: &Grant,
        due: Option<Timestamp>,
        _now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.advance");
        self.table(call, move |kept, _| kept.advance(grant, due))
    }

    #[track_caller]
    fn unclaimed(&self) -> impl Future<Output = Result<Vec<Unclaimed>, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.unclaimed");
        self.table(call, |kept, _| Ok(kept.unclaimed()))
    }

    #[track_caller]
    fn resolving(&self, most: usize) -> impl Future<Output = Result<Vec<GrantId>, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.resolving");
        self.table(call, move |kept, _| Ok(kept.resolving(most)))
    }

    #[track_caller]
    fn lease(
        &self,
        id: &GrantId,
        generation: u64,
        lease: &Lease,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.lease");
        self.table(call, move |kept, _| kept.lease(id, generation, lease, now))
    }

    #[track_caller]
    fn renew(
        &self,
        id: &GrantId,
        owner: &str,
        tokens: &Tokens,
        due: Option<Due>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.renew");
        self.happen(
            call,
            |_| unavailable(),
            move |twin, all, _| {
                all.kept.renew(id, owner, tokens, due)?;
                twin.is_saved(all, id, tokens);
                Ok(())
            },
        )
    }

    #[track_caller]
    fn save_rescued(
        &self,
        id: &GrantId,
        tokens: &Tokens,
        due: Option<Due>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.save_rescued");
        self.happen(
            call,
            |_| unavailable(),
            move |twin, all, _| {
                all.kept.save_rescued(id, tokens, due)?;
                twin.is_saved(all, id, tokens);
                Ok(())
            },
        )
    }

    #[track_caller]
    fn give_back(
        &self,
        id: &GrantId,
        owner: &str,
        due: Option<Due>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.give_back");
        self.table(call, move |kept, _| kept.give_back(id, owner, due))
    }

    #[track_caller]
    fn put_off(&self, id: &GrantId, due: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.put_off");
        self.table(call, move |kept, _| kept.put_off(id, due))
    }

    #[track_caller]
    fn hold(
        &self,
        id: &GrantId,
        due: Timestamp,
        refused_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "grants.hold");
        self.table(call, move |kept, _| kept.hold(id, due, refused_at))
    }

    #[track_caller]
    fn due(&self, now: Timestamp, most: usize) -> impl Future<Output = Result<Vec<GrantId>, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.due");
        self.table(call, move |kept, _| Ok(kept.due(now, most)))
    }

    #[track_caller]
    fn tally(&self, add: Tally, now: Timestamp) -> impl Future<Output = Result<Tallies, StoreError>> + Send {
        let call = self.call(Port::Table, "grants.tally");
        self.table(call, move |kept, _| Ok(kept.tally(add, now)))
    }
}

impl Links for Twin {
    #[track_caller]
    fn of_account(&self, account: &AccountId) -> impl Future<Output = Result<Option<Link>, StoreError>> + Send {
        let call = self.call(Port::Table, "links.of_account");
        self.table(call, |kept, _| Ok(kept.of_account(account)))
    }

    #[track_caller]
    fn get_due(
        &self,
        account: &AccountId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Link>, StoreError>> + Send {
        let call = self.call(Port::Table, "links.get_due");
        self.table(call, move |kept, _| Ok(kept.link_due(account, now)))
    }

    #[track_caller]
    fn of_user(&self, user_id: &str) -> impl Future<Output = Result<Vec<Link>, StoreError>> + Send {
        let call = self.call(Port::Table, "links.of_user");
        self.table(call, |kept, _| Ok(kept.of_user(user_id)))
    }

    #[track_caller]
    fn used(&self, nonce: &Nonce) -> impl Future<Output = Result<Option<UsedNonce>, StoreError>> + Send {
        let call = self.call(Port::Table, "links.used");
        self.table(call, |kept, _| Ok(kept.used(nonce)))
    }

    #[track_caller]
    fn commit(&self, changes: Vec<Change>, _now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "links.commit");
        self.table(call, move |kept, _| kept.commit(&changes))
    }

    #[track_caller]
    fn put_off(&self, account: &AccountId, due: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "links.put_off");
        self.table(call, move |kept, _| kept.put_off_link(account, due))
    }

    #[track_caller]
    fn forget(&self, link: &Link) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "links.forget");
        self.table(call, |kept, _| kept.forget(link))
    }

    #[track_caller]
    fn due(&self, now: Timestamp, most: usize) -> impl Future<Output = Result<Vec<AccountId>, StoreError>> + Send {
        let call = self.call(Port::Table, "links.due");
        self.table(call, move |kept, _| Ok(kept.due_accounts(now, most)))
    }

    #[track_caller]
    fn save(
        &self,
        link: Link,
        due: Option<Timestamp>,
        _now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "links.save");
        self.table(call, move |kept, _| kept.commit(&[Change::Link(link, due)]))
    }
}

impl Keys for Twin {
    #[track_caller]
    fn data_key(
        &self,
        purpose: &'static str,
        grant: &GrantId,
    ) -> impl Future<Output = Result<NewKey, VaultError>> + Send {
        let call = self.call(Port::Keys, "keys.data_key");
        self.happen(call, no_keys, move |_, all, _| {
            let plain = Sha256::digest(all.random().to_be_bytes()).to_vec();
            // Wrapping is remembering what the key is for: nothing here is a secret.
            all.keys.insert(plain.clone(), (purpose, grant.clone()));
            Ok(NewKey {
                plain: Zeroizing::new(plain.clone()),
                wrapped: plain,
            })
        })
    }

    #[track_caller]
    fn unwrap(
        &self,
        wrapped: &[u8],
        purpose: &'static str,
        grant: &GrantId,
    ) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, VaultError>> + Send {
        let call = self.call(Port::Keys, "keys.unwrap");
        self.happen(call, no_keys, move |_, all, _| match all.keys.get(wrapped) {
            Some((known, of)) if *known == purpose && of == grant => Ok(Zeroizing::new(wrapped.to_vec())),
            _ => Err(VaultError::Damaged),
        })
    }
}

impl Client for Twin {
    #[track_caller]
    fn credentials(&self, _now: Timestamp) -> impl Future<Output = Result<Credentials, SecretError>> + Send {
        let call = self.call(Port::Client, "client.credentials");
        let failed = |_| SecretError::Unavailable("the simulated secret is out of reach".into());
        self.happen(call, failed, |_, _, _| {
            Credentials::new("client", "secret").map_err(|_| SecretError::Malformed("it is empty"))
        })
    }

    /// Where Ring refuses what it is shown, the secret has been changed, once.
    #[track_caller]
    fn other_than(&self, refused: &[Credentials], _now: Timestamp) -> impl Future<Output = Option<Credentials>> + Send {
        let call = self.call(Port::Client, "client.other_than");
        let failed = |_| SecretError::Unavailable("the simulated secret is out of reach".into());
        let is_first = refused.len() == 1;
        let changed = self.happen(call, failed, move |_, _, _| {
            let changed = is_first.then(|| Credentials::new("client", "changed"));
            changed.transpose().map_err(|_| SecretError::Malformed("it is empty"))
        });
        async { changed.await.ok().flatten() }
    }
}

impl TokenEndpoint for Twin {
    #[track_caller]
    fn exchange_code(
        &self,
        _credentials: &Credentials,
        code: &AuthorizationCode,
        _verifier: Option<&CodeVerifier>,
    ) -> impl Future<Output = Result<TokenResponse, TokenError>> + Send {
        let call = self.call(Port::Ring, "ring.exchange_code");
        self.token_call(call, move |all, now| {
            let (family, response) = all.ring.exchange(code, now)?;
            let hash = Sha256::digest(code.expose());
            let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            all.codes.insert(hash, family);
            Ok((family, response))
        })
    }

    #[track_caller]
    fn refresh(
        &self,
        _credentials: &Credentials,
        token: &RefreshToken,
    ) -> impl Future<Output = Result<TokenResponse, TokenError>> + Send {
        let call = self.call(Port::Ring, "ring.refresh");
        self.token_call(call, move |all, now| all.ring.refresh(token, now))
    }

    #[track_caller]
    fn me(&self, token: &AccessToken) -> impl Future<Output = Result<User, Error>> + Send {
        let call = self.call(Port::Ring, "ring.me");
        self.ring_call(call, Endpoint::Users, |ring, now| ring.me(token, now))
    }
}

impl Integrations for Twin {
    #[track_caller]
    fn confirm_link(
        &self,
        token: &AccessToken,
        _account_identifier: Option<&str>,
        nonce: &Nonce,
    ) -> impl Future<Output = Result<IntegrationStatus, Error>> + Send {
        let call = self.call(Port::Ring, "ring.confirm_link");
        self.ring_call(call, Endpoint::Integrations, |ring, now| {
            ring.confirm(token, nonce, now)
        })
    }

    #[track_caller]
    fn update_integration(
        &self,
        token: &AccessToken,
        account_identifier: Option<&str>,
        status: Option<IntegrationStatus>,
    ) -> impl Future<Output = Result<Integration, Error>> + Send {
        let call = self.call(Port::Ring, "ring.update_integration");
        self.ring_call(call, Endpoint::Integrations, move |ring, now| {
            ring.update(token, account_identifier, status, now)
        })
    }

    #[track_caller]
    fn devices(&self, token: &AccessToken) -> impl Future<Output = Result<Vec<Device>, Error>> + Send {
        let call = self.call(Port::Ring, "ring.devices");
        self.ring_call(call, Endpoint::Devices, |ring, now| ring.devices(token, now))
    }
}

impl Twin {
    /// A call of Ring's API.
    pub(crate) async fn ring_call<T>(
        &self,
        call: Call,
        endpoint: Endpoint,
        act: impl FnOnce(&mut Truth, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.happen(call, no_answer(endpoint), |_, all, Moment { now, .. }| {
            if all.ring.is_too_many(now) {
                return Err(status(endpoint, 429, None));
            }
            act(&mut all.ring, now)
        })
        .await
    }

    /// A call of Ring's token endpoint: whoever gets the answer has a pair in hand that is nowhere else.
    async fn token_call(
        &self,
        call: Call,
        act: impl FnOnce(&mut Everything, Timestamp) -> Result<(u64, TokenResponse), TokenError>,
    ) -> Result<TokenResponse, TokenError> {
        self.happen(call, no_tokens, |twin, all, moment| {
            if all.ring.is_too_many(moment.now) {
                return Err(no_tokens(Fault::Status(429)));
            }
            let (family, response) = act(all, moment.now)?;
            twin.has_in_hand(all, family, moment.is_lost);
            Ok(response)
        })
        .await
    }

    /// A new grant is in the table: from now on it is known which family it is of.
    fn begins(&self, all: &mut Everything, grant: &Grant, code: &str) {
        if let Some(family) = all.codes.get(code).copied() {
            all.families.insert(grant.id.clone(), family);
            if let Some(tokens) = &grant.tokens {
                let sealed = serde_json::to_string(&tokens.access).unwrap_or_default();
                all.pairs.insert(sealed, (family, 1));
                self.is_saved(all, &grant.id, tokens);
            }
        }
    }
}

impl Rescue for Twin {
    #[track_caller]
    fn keep(&self, rescued: &Rescued) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Rescue, "rescue.keep");
        self.happen(call, no_queue, move |twin, all, moment| {
            all.kept.keep(rescued, moment.now);
            // It is durable from here on.
            let family = match rescued {
                Rescued::Renewed(pair) => {
                    twin.known_pair(all, &pair.grant, &pair.tokens);
                    all.families.get(&pair.grant).copied()
                }
                Rescued::Issued(new) => all.codes.get(&new.code).copied(),
            };
            if let Some(family) = family {
                twin.process.in_hand().remove(&family);
            }
            Ok(())
        })
    }

    #[track_caller]
    fn receive(&self) -> impl Future<Output = Result<Vec<Received>, QueueError>> + Send {
        let call = self.call(Port::Rescue, "rescue.receive");
        self.happen(call, no_queue, |_, all, moment| {
            let received = all.kept.receive(moment.now).into_iter();
            Ok(received
                .map(|(receipt, rescued)| Received {
                    receipt,
                    rescued: Some(rescued),
                })
                .collect())
        })
    }

    #[track_caller]
    fn remove(&self, receipt: &str) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Rescue, "rescue.remove");
        self.happen(call, no_queue, |_, all, _| {
            all.kept.remove(receipt);
            Ok(())
        })
    }

    #[track_caller]
    fn put_back(&self, receipt: &str) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Rescue, "rescue.put_back");
        self.happen(call, no_queue, |_, all, moment| {
            all.kept.put_back(receipt, moment.now);
            Ok(())
        })
    }
}

impl Twin {
    async fn effect(&self, call: Call, act: impl FnOnce(&mut Everything)) -> Result<(), SettleError> {
        let failed = |_| SettleError::Store(unavailable());
        self.happen(call, failed, |_, all, _| {
            act(all);
            Ok(())
        })
        .await
    }
}

impl Counters for Twin {
    #[track_caller]
    fn take(
        &self,
        key: &str,
        most: u64,
        _forget_at: Timestamp,
    ) -> impl Future<Output = Result<Result<(), Full>, StoreError>> + Send {
        let call = self.call(Port::Table, "counters.take");
        self.happen(
            call,
            |_| unavailable(),
            move |_, all, _| {
                let count = all.counts.entry(key.to_owned()).or_default();
                if count.taken < most {
                    count.taken += 1;
                    return Ok(Ok(()));
                }
                Ok(Err(if count.used < most { Full::Busy } else { Full::UsedUp }))
            },
        )
    }

    #[track_caller]
    fn use_up(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "counters.use_up");
        self.happen(
            call,
            |_| unavailable(),
            move |_, all, _| {
                all.counts.entry(key.to_owned()).or_default().used += 1;
                Ok(())
            },
        )
    }

    #[track_caller]
    fn give_back(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "counters.give_back");
        self.happen(
            call,
            |_| unavailable(),
            move |_, all, _| {
                let count = all.counts.get_mut(key).filter(|count| count.taken > 0);
                count.map(|count| count.taken -= 1).ok_or(StoreError::Conflict)
            },
        )
    }
}

impl Effects for Twin {
    #[track_caller]
    fn audit(&self, entry: &Entry) -> impl Future<Output = Result<(), SettleError>> + Send {
        let call = self.call(Port::Effects, "effects.audit");
        let entry = entry.clone();
        self.effect(call, move |all| _ = all.kept.audit.insert(entry.id(), entry))
    }

    #[track_caller]
    fn keep_listing(
        &self,
        _account: &AccountId,
        _devices: Vec<Device>,
        _asked_at: Timestamp,
    ) -> impl Future<Output = Result<(), SettleError>> + Send {
        let call = self.call(Port::Effects, "effects.keep_listing");
        self.effect(call, |_| {})
    }

    #[track_caller]
    fn close_sessions(
        &self,
        _link: &Link,
        _tokens: &impl Bearer,
        _now: Timestamp,
    ) -> impl Future<Output = Result<(), SettleError>> + Send {
        let call = self.call(Port::Effects, "effects.close_sessions");
        self.effect(call, |_| {})
    }

    #[track_caller]
    fn forget_devices(&self, _account: &AccountId) -> impl Future<Output = Result<(), SettleError>> + Send {
        let call = self.call(Port::Effects, "effects.forget_devices");
        self.effect(call, |_| {})
    }

    #[track_caller]
    fn release_parked(&self, account: &AccountId) -> impl Future<Output = Result<(), SettleError>> + Send {
        let call = self.call(Port::Effects, "effects.release_parked");
        let now = self.now();
        self.effect(call, move |all| {
            for id in all.events.parked(account) {
                all.queue.send(crate::events::queue::Content::Resume(id), now);
            }
        })
    }

    #[track_caller]
    fn announce(&self, announcement: &Announcement) -> impl Future<Output = Result<(), SettleError>> + Send {
        let call = self.call(Port::Effects, "effects.announce");
        let told = (
            announcement.kind.clone(),
            announcement.account_id.clone(),
            announcement.event_id.clone(),
        );
        self.effect(call, move |all| all.announced.push(told))
    }
}
