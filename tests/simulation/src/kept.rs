//! What the tables and the rescue queue hold: plain maps in order, so that every run of a seed is the same. Each method is one
//! atomic write or read, with the conditions that the real stores have.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ring_partner::nonce::Nonce;
use ring_partner::users::AccountId;
use shared::audit::Entry;
use shared::edge::clock::signed;
use shared::edge::table::StoreError;
use shared::grant::ports::{CodeOutcome, Due as NextDue, Rescued, Tallies, Tally, Unclaimed};
use shared::grant::rescue::HIDDEN_FOR;
use shared::grant::{Grant, GrantId, Lease, Life, Tokens};
use shared::link::Link;
use shared::link::ports::{Change, UsedNonce};

/// Rows that come due, by time.
#[derive(Clone, Debug)]
struct Due<K>(BTreeSet<(Timestamp, K)>, BTreeMap<K, Timestamp>);

impl<K: Ord + Clone> Due<K> {
    fn set(&mut self, key: &K, due: Option<Timestamp>) {
        if let Some(before) = self.1.remove(key) {
            self.0.remove(&(before, key.clone()));
        }
        if let Some(due) = due {
            // The real row has milliseconds.
            let due = Timestamp::from_millisecond(due.as_millisecond()).unwrap_or(due);
            self.0.insert((due, key.clone()));
            self.1.insert(key.clone(), due);
        }
    }

    fn is(&self, key: &K, now: Timestamp) -> bool {
        self.1.get(key).is_some_and(|due| *due <= now)
    }

    fn at(&self, now: Timestamp, most: usize) -> Vec<K> {
        let due = self.0.iter().take_while(|(due, _)| *due <= now).take(most);
        due.map(|(_, key)| key.clone()).collect()
    }
}

/// A message of the rescue queue.
#[derive(Clone, Debug)]
struct Waiting {
    rescued: Rescued,
    visible_at: Timestamp,
    receipt: String,
}

/// All that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    grants: BTreeMap<GrantId, Grant>,
    due_grants: Due<GrantId>,
    unclaimed: BTreeMap<GrantId, Unclaimed>,
    resolving: BTreeSet<GrantId>,
    codes: BTreeMap<String, (CodeOutcome, GrantId)>,
    /// By the period's length in seconds, and its number.
    tallies: BTreeMap<(i64, i64), Tally>,
    links: BTreeMap<String, Link>,
    due_links: Due<String>,
    /// Who has which link, and of which account.
    pointers: BTreeMap<(String, String), AccountId>,
    nonces: BTreeMap<String, UsedNonce>,
    rescue: BTreeMap<u64, Waiting>,
    messages: u64,
    /// The audit trail, by the entries' ids.
    pub audit: BTreeMap<String, Entry>,
    /// How many live links were taken from their user by another's.
    pub moved: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            grants: BTreeMap::new(),
            due_grants: Due(BTreeSet::new(), BTreeMap::new()),
            unclaimed: BTreeMap::new(),
            resolving: BTreeSet::new(),
            codes: BTreeMap::new(),
            tallies: BTreeMap::new(),
            links: BTreeMap::new(),
            due_links: Due(BTreeSet::new(), BTreeMap::new()),
            pointers: BTreeMap::new(),
            nonces: BTreeMap::new(),
            rescue: BTreeMap::new(),
            messages: 0,
            audit: BTreeMap::new(),
            moved: 0,
        }
    }
}

type Done = Result<(), StoreError>;

/// Grants.
impl Kept {
    /// All grants.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// Puts a link there, by nobody's call.
    pub fn put(&mut self, link: &Link) {
        let changes = [Change::NewLink(link.clone(), None), Change::Give(link.clone())];
        self.commit(&changes).expect("there is none of this account");
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Whether the user's pointer leads to this link.
    #[must_use]
    pub fn is_given(&self, link: &Link) -> bool {
        self.pointers.contains_key(&(link.user_id.clone(), link.id.clone()))
    }

    /// How many pairs wait in the rescue queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.rescue.len()
    }

    /// Whether any grant is due.
    #[must_use]
    pub fn has_due(&self, now: Timestamp) -> bool {
        !self.due_grants.at(now, 1).is_empty()
    }

    /// When a grant comes due.
    #[must_use]
    pub fn due_of(&self, id: &GrantId) -> Option<Timestamp> {
        self.due_grants.1.get(id).copied()
    }

    pub(crate) fn get(&self, id: &GrantId) -> Option<Grant> {
        self.grants.get(id).cloned()
    }

    pub(crate) fn get_due(&self, id: &GrantId, now: Timestamp) -> Option<Grant> {
        self.get(id).filter(|_| self.due_grants.is(id, now))
    }

    pub(crate) fn take_code(&mut self, hash: &str, grant: &GrantId) -> Done {
        match self.codes.get(hash) {
            Some((_, holder)) if holder != grant => Err(StoreError::Conflict),
            _ => {
                let taken = (CodeOutcome::Exchanging, grant.clone());
                self.codes.insert(hash.to_owned(), taken);
                Ok(())
            }
        }
    }

    pub(crate) fn code(&self, hash: &str) -> Option<CodeOutcome> {
        self.codes.get(hash).map(|(outcome, _)| *outcome)
    }

    pub(crate) fn refuse_code(&mut self, hash: &str, grant: &GrantId) -> Done {
        match self.codes.get_mut(hash) {
            Some((outcome, holder)) if holder == grant => {
                *outcome = CodeOutcome::Refused;
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    pub(crate) fn give_back_code(&mut self, hash: &str, grant: &GrantId) -> Done {
        if self.codes.get(hash).is_some_and(|(_, holder)| holder != grant) {
            return Err(StoreError::Conflict);
        }
        self.codes.remove(hash);
        Ok(())
    }

    pub(crate) fn save_issued(&mut self, grant: &Grant, code: &str, due: Timestamp) -> Done {
        if self.grants.contains_key(&grant.id) {
            return Err(StoreError::Conflict);
        }
        self.grants.insert(grant.id.clone(), grant.clone());
        self.due_grants.set(&grant.id, Some(due));
        self.resolving.insert(grant.id.clone());
        let spent = (CodeOutcome::Exchanged, grant.id.clone());
        self.codes.insert(code.to_owned(), spent);
        Ok(())
    }

    pub(crate) fn unclaimed(&self) -> Vec<Unclaimed> {
        let mut all: Vec<_> = self.unclaimed.values().cloned().collect();
        all.sort_by_key(|unclaimed| std::cmp::Reverse(unclaimed.since));
        all
    }

    pub(crate) fn resolving(&self, most: usize) -> Vec<GrantId> {
        let mut newest: Vec<_> = self.resolving.iter().filter_map(|id| self.grants.get(id)).collect();
        newest.sort_by_key(|grant| std::cmp::Reverse((grant.issued_at.as_millisecond(), grant.id.clone())));
        newest.into_iter().take(most).map(|grant| grant.id.clone()).collect()
    }

    pub(crate) fn lease(&mut self, id: &GrantId, generation: u64, lease: &Lease, now: Timestamp) -> Done {
        let grant = self.grants.get_mut(id).ok_or(StoreError::Conflict)?;
        let is_stored = grant
            .tokens
            .as_ref()
            .is_some_and(|stored| stored.generation == generation);
        let is_free = grant
            .lease
            .as_ref()
            .is_none_or(|held| held.until <= now || held == lease);
        if !is_stored || !is_free {
            return Err(StoreError::Conflict);
        }
        grant.lease = Some(lease.clone());
        Ok(())
    }

    pub(crate) fn renew(&mut self, id: &GrantId, owner: &str, tokens: &Tokens, due: Option<NextDue>) -> Done {
        let grant = self.grants.get(id).ok_or(StoreError::Conflict)?;
        if grant.lease.as_ref().is_none_or(|lease| lease.owner != owner) {
            return Err(StoreError::Conflict);
        }
        self.save_rescued(id, tokens, due)
    }

    pub(crate) fn save_rescued(&mut self, id: &GrantId, tokens: &Tokens, due: Option<NextDue>) -> Done {
        let grant = self.grants.get_mut(id).ok_or(StoreError::Conflict)?;
        let before = grant.tokens.as_ref().map(|stored| stored.generation);
        if before != Some(tokens.generation - 1) {
            return Err(StoreError::Conflict);
        }
        grant.tokens = Some(tokens.clone());
        self.set_free(id, due);
        Ok(())
    }

    /// The lease is free; the grant comes due if its life is as it was read.
    fn set_free(&mut self, id: &GrantId, due: Option<NextDue>) {
        let Some(grant) = self.grants.get_mut(id) else {
            return;
        };
        grant.lease = None;
        if let Some(due) = due.filter(|due| due.life_version == grant.life_version) {
            self.due_grants.set(id, Some(due.at));
        }
    }

    pub(crate) fn give_back(&mut self, id: &GrantId, owner: &str, due: Option<NextDue>) -> Done {
        let grant = self.grants.get(id).ok_or(StoreError::Conflict)?;
        if grant.lease.as_ref().is_none_or(|lease| lease.owner != owner) {
            return Err(StoreError::Conflict);
        }
        self.set_free(id, due);
        Ok(())
    }

    pub(crate) fn hold(&mut self, id: &GrantId, due: Timestamp, refused_at: Timestamp) -> Done {
        self.put_off(id, due)?;
        if let Some(grant) = self.grants.get_mut(id) {
            grant.refused_at = Some(refused_at);
        }
        Ok(())
    }

    pub(crate) fn put_off(&mut self, id: &GrantId, due: Timestamp) -> Done {
        if !self.due_grants.1.contains_key(id) {
            return Err(StoreError::Conflict);
        }
        self.due_grants.set(id, Some(due));
        Ok(())
    }

    pub(crate) fn due(&self, now: Timestamp, most: usize) -> Vec<GrantId> {
        self.due_grants.at(now, most)
    }

    pub(crate) fn tally(&mut self, add: Tally, now: Timestamp) -> Tallies {
        let mut of = |seconds: i64| {
            let number = now.as_second().div_euclid(seconds);
            let this = self.tallies.entry((seconds, number)).or_default();
            this.renewed += add.renewed;
            this.refused += add.refused;
            let this = *this;
            let before = self.tallies.get(&(seconds, number - 1)).copied().unwrap_or_default();
            Tally {
                renewed: this.renewed + before.renewed,
                refused: this.refused + before.refused,
            }
        };
        Tallies {
            hours: of(3600),
            days: of(24 * 3600),
        }
    }

    fn may_advance(&self, grant: &Grant) -> Done {
        let stored = self.grants.get(&grant.id).ok_or(StoreError::Conflict)?;
        let generation = |grant: &Grant| grant.tokens.as_ref().map(|tokens| tokens.generation);
        let is_refused = matches!(grant.life, Life::RelinkRequired { .. });
        if stored.life_version + 1 != grant.life_version || is_refused && generation(stored) != generation(grant) {
            return Err(StoreError::Conflict);
        }
        Ok(())
    }

    fn advance_now(&mut self, grant: &Grant, due: Option<Timestamp>) {
        let Some(stored) = self.grants.get_mut(&grant.id) else {
            return;
        };
        stored.life = grant.life.clone();
        stored.life_version = grant.life_version;
        if grant.account_id.is_some() {
            stored.account_id.clone_from(&grant.account_id);
        }
        if grant.tokens.is_none() {
            stored.tokens = None;
            stored.lease = None;
        }
        self.due_grants.set(&grant.id, due);
        match (&grant.life, &grant.account_id) {
            (Life::Unclaimed { since }, Some(account_id)) => {
                let slim = Unclaimed {
                    grant_id: grant.id.clone(),
                    account_id: account_id.clone(),
                    since: *since,
                };
                self.unclaimed.insert(grant.id.clone(), slim);
                self.resolving.remove(&grant.id);
            }
            (Life::Confirmed, _) => {
                self.unclaimed.remove(&grant.id);
            }
            (Life::RelinkRequired { .. } | Life::Ended { .. }, _) => {
                self.unclaimed.remove(&grant.id);
                self.resolving.remove(&grant.id);
            }
            _ => {}
        }
    }
}

/// Links.
impl Kept {
    pub(crate) fn of_account(&self, account: &AccountId) -> Option<Link> {
        self.links.get(account.as_str()).cloned()
    }

    pub(crate) fn link_due(&self, account: &AccountId, now: Timestamp) -> Option<Link> {
        let is_due = self.due_links.is(&account.as_str().to_owned(), now);
        self.of_account(account).filter(|_| is_due)
    }

    pub(crate) fn of_user(&self, user_id: &str) -> Vec<Link> {
        let held = self.pointers.iter().filter(|((user, _), _)| user == user_id);
        held.filter_map(|(_, account)| self.of_account(account))
            .filter(|link| link.user_id == user_id && link.is_live())
            .collect()
    }

    pub(crate) fn used(&self, nonce: &Nonce) -> Option<UsedNonce> {
        self.nonces.get(nonce.as_str()).cloned()
    }

    pub(crate) fn commit(&mut self, changes: &[Change]) -> Done {
        for change in changes {
            match change {
                Change::Grant(grant, _) => self.may_advance(grant)?,
                Change::NewLink(link, _) => {
                    if self.links.contains_key(link.account_id.as_str()) {
                        return Err(StoreError::Conflict);
                    }
                }
                Change::Link(link, _) => {
                    let stored = self.links.get(link.account_id.as_str()).map(|link| link.version);
                    if stored != Some(link.version - 1) {
                        return Err(StoreError::Conflict);
                    }
                }
                Change::Use(nonce, used) => {
                    if self.used(nonce).is_some_and(|before| before.user_id != used.user_id) {
                        return Err(StoreError::Conflict);
                    }
                }
                Change::Give(_) | Change::Take(_) | Change::Audit(_) => {}
            }
        }
        for change in changes {
            match change {
                Change::Grant(grant, due) => self.advance_now(grant, *due),
                Change::NewLink(link, due) | Change::Link(link, due) => {
                    let account = link.account_id.as_str().to_owned();
                    let before = self.links.get(&account).filter(|before| before.is_live());
                    let is_moved = before.is_some_and(|before| before.user_id != link.user_id);
                    self.moved += u64::from(is_moved);
                    self.due_links.set(&account, *due);
                    self.links.insert(account, link.clone());
                }
                Change::Give(link) => {
                    let pointer = (link.user_id.clone(), link.id.clone());
                    self.pointers.insert(pointer, link.account_id.clone());
                }
                Change::Take(link) => {
                    self.pointers.remove(&(link.user_id.clone(), link.id.clone()));
                }
                Change::Use(nonce, used) => {
                    self.nonces.insert(nonce.as_str().to_owned(), used.clone());
                }
                Change::Audit(entry) => _ = self.audit.insert(entry.id(), entry.clone()),
            }
        }
        Ok(())
    }

    pub(crate) fn put_off_link(&mut self, account: &AccountId, due: Timestamp) -> Done {
        let account = account.as_str().to_owned();
        if !self.due_links.1.contains_key(&account) {
            return Err(StoreError::Conflict);
        }
        self.due_links.set(&account, Some(due));
        Ok(())
    }

    pub(crate) fn forget(&mut self, link: &Link) -> Done {
        let account = link.account_id.as_str().to_owned();
        if self
            .links
            .get(&account)
            .is_none_or(|stored| stored.version != link.version)
        {
            return Err(StoreError::Conflict);
        }
        self.links.remove(&account);
        self.due_links.set(&account, None);
        Ok(())
    }

    pub(crate) fn due_accounts(&self, now: Timestamp, most: usize) -> Vec<AccountId> {
        let due = self.due_links.at(now, most);
        due.iter().filter_map(|account| AccountId::new(account).ok()).collect()
    }
}

/// The rescue queue.
impl Kept {
    pub(crate) fn keep(&mut self, rescued: &Rescued, now: Timestamp) {
        self.messages += 1;
        let waiting = Waiting {
            rescued: rescued.clone(),
            visible_at: now,
            receipt: String::new(),
        };
        self.rescue.insert(self.messages, waiting);
    }

    pub(crate) fn receive(&mut self, now: Timestamp) -> Vec<(String, Rescued)> {
        let visible = self.rescue.iter_mut().filter(|(_, waiting)| waiting.visible_at <= now);
        visible
            .take(10)
            .map(|(number, waiting)| {
                waiting.visible_at = now + signed(HIDDEN_FOR);
                waiting.receipt = format!("{number}@{now}");
                (waiting.receipt.clone(), waiting.rescued.clone())
            })
            .collect()
    }

    pub(crate) fn remove(&mut self, receipt: &str) {
        // A receipt of an earlier receiving removes nothing.
        self.rescue.retain(|_, waiting| waiting.receipt != receipt);
    }

    pub(crate) fn put_back(&mut self, receipt: &str, now: Timestamp) {
        let received = self.rescue.values_mut().filter(|waiting| waiting.receipt == receipt);
        received.for_each(|waiting| waiting.visible_at = now);
    }
}

impl Kept {
    pub(crate) fn advance(&mut self, grant: &Grant, due: Option<Timestamp>) -> Done {
        self.may_advance(grant)?;
        self.advance_now(grant, due);
        Ok(())
    }
}
