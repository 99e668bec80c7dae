//! What every store of grants and links promises, whoever keeps them: the twins in memory and the tables. Each promise is a
//! function that panics where it is broken; [`all`] asks for each of them. Ids are fresh, so that a table that others use too
//! serves.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::nonce::{Nonce, mint};
use ring_partner::oauth::{AccessToken, RefreshToken};
use ring_partner::users::AccountId;
use shared::edge::clock::signed;
use shared::edge::table::StoreError;
use shared::grant::ports::{CodeOutcome, Due, Grants, Rescue, Rescued, RescuedPair, Tally};
use shared::grant::vault::Vault;
use shared::grant::{CLAIM_FOR, Claim, EndReason, Grant, GrantId, Lease, RelinkReason, Tokens};
use shared::link::ports::{Change, Links, UsedNonce};
use shared::link::{CompleteLink, Confirmed, Link};
use shared::world::{Nature as _, System};

use crate::house::{House, signing_key};
use crate::interference::Peace;
use crate::ring::Character;
use crate::twin::Twin;

/// The stores that are held to the contract.
#[derive(Debug)]
pub struct Stores<G, L, R> {
    /// Grants.
    pub grants: G,
    /// Links.
    pub links: L,
    /// The rescue queue.
    pub rescue: R,
    /// The time now, in whole milliseconds.
    pub now: Timestamp,
}

/// Asks for everything.
pub async fn all<G: Grants, L: Links, R: Rescue>(stores: &Stores<G, L, R>) {
    stores.a_code_is_taken_once().await;
    stores.what_is_issued_is_saved_once_and_waits_to_be_resolved().await;
    stores.an_unclaimed_grant_is_matched_over_until_it_is_confirmed().await;
    stores.a_step_is_taken_from_the_version_before_it_or_not_at_all().await;
    stores.a_lease_is_had_by_one_until_it_runs_out().await;
    stores
        .a_pair_is_saved_by_the_holder_of_the_lease_and_over_the_one_before_it()
        .await;
    stores.a_lease_is_given_back_by_its_owner_alone().await;
    stores.a_grant_whose_life_went_on_keeps_its_time().await;
    stores
        .a_rescued_pair_is_saved_over_the_one_before_it_whoever_has_the_lease()
        .await;
    stores.a_grant_is_refused_only_with_the_pair_that_was().await;
    stores.an_ended_grant_has_no_tokens_and_is_never_due().await;
    stores
        .what_is_due_comes_the_longest_overdue_first_and_says_so_itself()
        .await;
    stores.tallies_add_up().await;
    stores.a_commit_is_all_or_nothing().await;
    stores.a_link_is_changed_from_the_version_before_it().await;
    stores.a_link_is_its_users_until_it_is_taken().await;
    stores.a_nonce_is_its_first_users().await;
    stores.forgetting_spares_a_link_that_was_made_again().await;
    stores
        .what_waits_in_the_rescue_queue_is_hidden_while_somebody_has_it()
        .await;
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Conflict)), "{result:?}");
}

/// A pair of this generation, sealed with keys that nobody needs to open.
async fn pair(id: &GrantId, generation: u64, now: Timestamp) -> Tokens {
    // Twins need tokio's clock for nothing here.
    let twin = House::new(generation, Character::Strict, std::sync::Arc::new(Peace)).world;
    let vault: Vault<Twin> = Vault::new(twin);
    let access = AccessToken::new(format!("access-{generation}")).expect("letters and digits");
    let refresh = RefreshToken::new(format!("refresh-{generation}")).expect("letters and digits");
    Tokens {
        generation,
        access: vault.data_key(id).await.expect("a key").seal(&access).expect("sealed"),
        access_expires_at: now + signed(Duration::from_secs(14_400)),
        refresh: vault.data_key(id).await.expect("a key").seal(&refresh).expect("sealed"),
        refresh_expires_at: now + signed(Duration::from_secs(30 * 24 * 3600)),
        scope: Some(format!("scope-{generation}")),
        issued_at: now,
        epoch: 1,
    }
}

async fn sealed_nonce(id: &GrantId, nonce: &Nonce) -> shared::grant::vault::Sealed<Nonce> {
    let twin = House::new(1, Character::Strict, std::sync::Arc::new(Peace)).world;
    let key = Vault::<Twin>::new(twin).data_key(id).await.expect("a key");
    key.seal(nonce).expect("sealed")
}

fn a_nonce(account: &AccountId) -> Nonce {
    let time = ring_partner::nonce::LinkTime::parse("1770000000000").expect("digits");
    mint(&signing_key(), &time, account)
}

impl<G: Grants, L: Links, R: Rescue> Stores<G, L, R> {
    fn later(&self, seconds: u64) -> Timestamp {
        self.now + signed(Duration::from_secs(seconds))
    }

    fn account(&self) -> AccountId {
        AccountId::new(System.id("account")).expect("letters and digits")
    }

    async fn stored(&self, id: &GrantId) -> Grant {
        self.grants
            .get(id)
            .await
            .expect("the store answers")
            .expect("the grant is there")
    }

    /// A grant, as it was issued.
    async fn issued(&self) -> Grant {
        let id = GrantId::new(System.random());
        let code = System.id("hash");
        let grant = Grant::issued(id.clone(), pair(&id, 1, self.now).await, self.now);
        self.grants
            .take_code(&code, &id, self.now)
            .await
            .expect("the code is new");
        self.grants
            .save_issued(&grant, &code, self.later(1))
            .await
            .expect("it is saved");
        grant
    }

    async fn unclaimed(&self) -> Grant {
        let grant = self.issued().await.resolved(self.account(), self.now).expect("a step");
        self.grants
            .advance(&grant, Some(self.later(3600)), self.now)
            .await
            .expect("it is resolved");
        grant
    }

    async fn claimed(&self) -> Grant {
        let grant = self.unclaimed().await;
        let nonce = a_nonce(grant.account_id.as_ref().expect("it is resolved"));
        let claim = Claim {
            user_id: "usr_1".to_owned(),
            account_identifier: None,
            nonce: sealed_nonce(&grant.id, &nonce).await,
            time: "1770000000000".to_owned(),
            until: self.now + signed(CLAIM_FOR),
        };
        let claimed = grant.claimed(claim, self.now).expect("a step");
        self.grants
            .advance(&claimed, Some(self.later(45)), self.now)
            .await
            .expect("it is claimed");
        claimed
    }

    fn link_of(&self, grant: &Grant, user: &str) -> Link {
        let confirmed = Confirmed {
            user_id: user.to_owned(),
            account_id: grant.account_id.clone().expect("it is resolved"),
            grant_id: grant.id.clone(),
            account_identifier: None,
        };
        Link::confirmed(System.id("lnk"), confirmed, CompleteLink::AtOnce, self.now)
    }

    /// A grant and its link, as an attempt leaves them.
    async fn linked(&self, user: &str) -> (Grant, Link) {
        let confirmed = self.claimed().await.confirmed().expect("a step");
        let link = self.link_of(&confirmed, user);
        let changes = vec![
            Change::Grant(confirmed.clone(), Some(self.later(3600))),
            Change::NewLink(link.clone(), Some(self.later(60))),
            Change::Give(link.clone()),
        ];
        self.links
            .commit(changes, self.now)
            .await
            .expect("all of it is written");
        (confirmed, link)
    }

    fn lease(&self, owner: &str, until: u64) -> Lease {
        Lease {
            owner: owner.to_owned(),
            until: self.later(until),
        }
    }

    async fn a_code_is_taken_once(&self) {
        let (code, one, other) = (
            System.id("hash"),
            GrantId::new(System.random()),
            GrantId::new(System.random()),
        );
        assert_eq!(self.grants.code(&code).await.expect("an answer"), None);
        self.grants.take_code(&code, &one, self.now).await.expect("it is new");
        is_conflict(self.grants.take_code(&code, &other, self.now).await);
        self.grants
            .take_code(&code, &one, self.now)
            .await
            .expect("a lost answer is asked for again");
        let outcome = self.grants.code(&code).await.expect("an answer");
        assert_eq!(outcome, Some(CodeOutcome::Exchanging));
        is_conflict(self.grants.refuse_code(&code, &other).await);
        self.grants.refuse_code(&code, &one).await.expect("it is kept");
        let outcome = self.grants.code(&code).await.expect("an answer");
        assert_eq!(outcome, Some(CodeOutcome::Refused));
        is_conflict(self.grants.give_back_code(&code, &other).await);
        for _lost_answer in 0..2 {
            self.grants.give_back_code(&code, &one).await.expect("it is given back");
        }
        self.grants
            .take_code(&code, &other, self.now)
            .await
            .expect("it may be presented again");
    }

    async fn what_is_issued_is_saved_once_and_waits_to_be_resolved(&self) {
        let id = GrantId::new(System.random());
        let code = System.id("hash");
        self.grants
            .take_code(&code, &id, self.now)
            .await
            .expect("the code is new");
        let grant = Grant::issued(id.clone(), pair(&id, 1, self.now).await, self.now);
        self.grants
            .save_issued(&grant, &code, self.later(1))
            .await
            .expect("it is saved");
        is_conflict(self.grants.save_issued(&grant, &code, self.later(1)).await);
        let outcome = self.grants.code(&code).await.expect("an answer");
        assert_eq!(outcome, Some(CodeOutcome::Exchanged));
        let stored = self.stored(&id).await;
        assert_eq!(stored.life, grant.life);
        let tokens = stored.tokens.expect("its tokens");
        assert_eq!((tokens.generation, tokens.scope.as_deref()), (1, Some("scope-1")));
        let resolving = self.grants.resolving(10_000).await.expect("an answer");
        assert!(resolving.contains(&id));
        let resolved = grant.resolved(self.account(), self.now).expect("a step");
        self.grants
            .advance(&resolved, None, self.now)
            .await
            .expect("it is resolved");
        let resolving = self.grants.resolving(10_000).await.expect("an answer");
        assert!(!resolving.contains(&id));
        assert_eq!(
            self.grants
                .get(&GrantId::new(System.random()))
                .await
                .expect("an answer")
                .map(|_| ()),
            None
        );
    }

    async fn is_matched_over(&self, id: &GrantId) -> bool {
        let unclaimed = self.grants.unclaimed().await.expect("an answer");
        assert!(
            unclaimed.is_sorted_by(|one, next| one.since >= next.since),
            "the newest first"
        );
        unclaimed.iter().any(|waiting| waiting.grant_id == *id)
    }

    async fn an_unclaimed_grant_is_matched_over_until_it_is_confirmed(&self) {
        let issued = self.issued().await;
        assert!(!self.is_matched_over(&issued.id).await);
        let claimed = self.claimed().await;
        assert!(self.is_matched_over(&claimed.id).await, "a claim may be released");
        let confirmed = claimed.confirmed().expect("a step");
        self.grants
            .advance(&confirmed, None, self.now)
            .await
            .expect("it is confirmed");
        assert!(!self.is_matched_over(&confirmed.id).await);
        let refused = self.unclaimed().await.refused(RelinkReason::Restored).expect("a step");
        self.grants
            .advance(&refused, None, self.now)
            .await
            .expect("it is refused");
        assert!(!self.is_matched_over(&refused.id).await);
    }

    async fn a_step_is_taken_from_the_version_before_it_or_not_at_all(&self) {
        let issued = self.issued().await;
        let one = issued.clone().resolved(self.account(), self.now).expect("a step");
        let other = issued.still_resolving().expect("another step");
        self.grants
            .advance(&one, None, self.now)
            .await
            .expect("the first is taken");
        is_conflict(self.grants.advance(&other, None, self.now).await);
        is_conflict(self.grants.advance(&one, None, self.now).await);
        assert_eq!(self.stored(&one.id).await.account_id, one.account_id);
    }

    async fn a_lease_is_had_by_one_until_it_runs_out(&self) {
        let id = self.unclaimed().await.id;
        let (one, other) = (self.lease("one", 30), self.lease("other", 60));
        self.grants.lease(&id, 1, &one, self.now).await.expect("it is free");
        self.grants
            .lease(&id, 1, &one, self.now)
            .await
            .expect("a lost answer is asked for again");
        is_conflict(self.grants.lease(&id, 1, &other, self.now).await);
        is_conflict(self.grants.lease(&id, 1, &other, self.later(29)).await);
        assert_eq!(self.stored(&id).await.lease, Some(one));
        self.grants
            .lease(&id, 1, &other, self.later(30))
            .await
            .expect("it has run out");
        is_conflict(self.grants.lease(&id, 2, &other, self.later(90)).await);
        is_conflict(
            self.grants
                .lease(&GrantId::new(System.random()), 1, &other, self.now)
                .await,
        );
    }

    async fn a_pair_is_saved_by_the_holder_of_the_lease_and_over_the_one_before_it(&self) {
        let id = self.unclaimed().await.id;
        let second = pair(&id, 2, self.now).await;
        is_conflict(self.grants.renew(&id, "one", &second, None).await);
        self.grants
            .lease(&id, 1, &self.lease("one", 30), self.now)
            .await
            .expect("it is free");
        is_conflict(self.grants.renew(&id, "other", &second, None).await);
        is_conflict(self.grants.renew(&id, "one", &pair(&id, 3, self.now).await, None).await);
        let life_version = self.stored(&id).await.life_version;
        let due = Some(Due {
            at: self.later(7200),
            life_version,
        });
        self.grants.renew(&id, "one", &second, due).await.expect("it is saved");
        is_conflict(self.grants.renew(&id, "one", &second, due).await);
        let stored = self.stored(&id).await;
        assert_eq!(stored.tokens.map(|tokens| tokens.generation), Some(2));
        assert_eq!(stored.lease, None, "the lease is given back with it");
        assert!(
            self.grants
                .get_due(&id, self.later(7199))
                .await
                .expect("an answer")
                .is_none()
        );
        assert!(
            self.grants
                .get_due(&id, self.later(7200))
                .await
                .expect("an answer")
                .is_some()
        );
    }

    async fn a_lease_is_given_back_by_its_owner_alone(&self) {
        let id = self.unclaimed().await.id;
        self.grants
            .lease(&id, 1, &self.lease("one", 30), self.now)
            .await
            .expect("it is free");
        is_conflict(self.grants.give_back(&id, "other", None).await);
        self.grants
            .give_back(&id, "one", self.due(&id, 60).await)
            .await
            .expect("it is given back");
        is_conflict(self.grants.give_back(&id, "one", None).await);
        self.grants
            .lease(&id, 1, &self.lease("other", 30), self.now)
            .await
            .expect("it is free");
        assert!(
            self.grants
                .get_due(&id, self.later(59))
                .await
                .expect("an answer")
                .is_none()
        );
        assert!(
            self.grants
                .get_due(&id, self.later(60))
                .await
                .expect("an answer")
                .is_some()
        );
    }

    async fn due(&self, id: &GrantId, seconds: u64) -> Option<Due> {
        Some(Due {
            at: self.later(seconds),
            life_version: self.stored(id).await.life_version,
        })
    }

    /// A claim that began while Ring was asked comes due by itself, and not with the pair.
    async fn a_grant_whose_life_went_on_keeps_its_time(&self) {
        let grant = self.claimed().await;
        let (id, second) = (grant.id.clone(), pair(&grant.id, 2, self.now).await);
        let before_the_claim = Some(Due {
            at: self.later(7200),
            life_version: grant.life_version - 1,
        });
        self.grants
            .lease(&id, 1, &self.lease("one", 30), self.now)
            .await
            .expect("it is free");
        self.grants
            .renew(&id, "one", &second, before_the_claim)
            .await
            .expect("the pair is saved all the same");
        assert_eq!(self.stored(&id).await.tokens.map(|tokens| tokens.generation), Some(2));
        let due = self.grants.get_due(&id, self.later(7199)).await.expect("an answer");
        assert!(due.is_some(), "the claim's time stands");
        self.grants
            .lease(&id, 2, &self.lease("two", 60), self.now)
            .await
            .expect("it is free");
        self.grants
            .give_back(&id, "two", before_the_claim)
            .await
            .expect("it is given back all the same");
        let due = self.grants.get_due(&id, self.later(7199)).await.expect("an answer");
        assert!(due.is_some_and(|grant| grant.lease.is_none()));
    }

    async fn a_rescued_pair_is_saved_over_the_one_before_it_whoever_has_the_lease(&self) {
        let id = self.unclaimed().await.id;
        self.grants
            .lease(&id, 1, &self.lease("one", 30), self.now)
            .await
            .expect("it is free");
        is_conflict(self.grants.save_rescued(&id, &pair(&id, 3, self.now).await, None).await);
        let second = pair(&id, 2, self.now).await;
        self.grants
            .save_rescued(&id, &second, None)
            .await
            .expect("it succeeds the stored one");
        is_conflict(self.grants.save_rescued(&id, &second, None).await);
        is_conflict(self.grants.renew(&id, "one", &second, None).await);
        assert_eq!(self.stored(&id).await.tokens.map(|tokens| tokens.generation), Some(2));
    }

    async fn a_grant_is_refused_only_with_the_pair_that_was(&self) {
        let grant = self.unclaimed().await;
        let refused = grant
            .clone()
            .refused(RelinkReason::RefreshTokenRefused)
            .expect("a step");
        let second = pair(&grant.id, 2, self.now).await;
        self.grants
            .save_rescued(&grant.id, &second, None)
            .await
            .expect("it is renewed meanwhile");
        is_conflict(self.grants.advance(&refused, None, self.now).await);
        let grant = self.stored(&grant.id).await;
        let refused = grant.refused(RelinkReason::RefreshTokenRefused).expect("a step");
        self.grants
            .advance(&refused, None, self.now)
            .await
            .expect("it is refused");
        assert!(self.stored(&refused.id).await.tokens.is_some(), "its tokens are kept");
    }

    async fn an_ended_grant_has_no_tokens_and_is_never_due(&self) {
        let grant = self.unclaimed().await;
        self.grants
            .lease(&grant.id, 1, &self.lease("one", 30), self.now)
            .await
            .expect("it is free");
        let ended = grant.ended(EndReason::Unlinked).expect("a step");
        self.grants.advance(&ended, None, self.now).await.expect("it has ended");
        let stored = self.stored(&ended.id).await;
        assert!(stored.tokens.is_none() && stored.lease.is_none());
        let second = pair(&ended.id, 2, self.now).await;
        is_conflict(self.grants.renew(&ended.id, "one", &second, None).await);
        is_conflict(self.grants.save_rescued(&ended.id, &second, None).await);
        is_conflict(self.grants.put_off(&ended.id, self.now).await);
        assert!(
            self.grants
                .get_due(&ended.id, Timestamp::MAX)
                .await
                .expect("an answer")
                .is_none()
        );
    }

    async fn what_is_due_comes_the_longest_overdue_first_and_says_so_itself(&self) {
        // Long ago, so that nothing of others comes before.
        let long_ago = Timestamp::from_second(86_400).expect("1970");
        let mut ids = Vec::new();
        for seconds in [30, 10, 20] {
            let grant = self.unclaimed().await;
            let due = long_ago + signed(Duration::from_secs(seconds));
            self.grants.put_off(&grant.id, due).await.expect("it will be due");
            ids.push(grant.id);
        }
        let until = long_ago + signed(Duration::from_secs(25));
        let mine = |due: Vec<GrantId>| due.into_iter().filter(|id| ids.contains(id)).collect::<Vec<_>>();
        let due = mine(self.grants.due(until, 100).await.expect("an answer"));
        assert_eq!(due, [ids[1].clone(), ids[2].clone()]);
        let most = self.grants.due(until, 1).await.expect("an answer");
        assert_eq!(most, [ids[1].clone()]);
        assert!(self.grants.get_due(&ids[0], until).await.expect("an answer").is_none());
        for id in &ids {
            self.grants
                .put_off(id, self.later(86_400))
                .await
                .expect("it is put off");
        }
        assert!(mine(self.grants.due(until, 100).await.expect("an answer")).is_empty());

        let (_, link) = self.linked("usr_due").await;
        // Where a stack has these tables, its own minute may take the link just now: then once more.
        let mut seen = (false, false);
        for _ in 0..3 {
            let account = &link.account_id;
            self.links.put_off(account, long_ago).await.expect("it will be due");
            let due = self.links.due(long_ago, 100).await.expect("an answer");
            let one = self.links.get_due(account, long_ago).await.expect("an answer");
            seen = (due.contains(account), one.is_some());
            if seen == (true, true) {
                break;
            }
        }
        assert_eq!(seen, (true, true), "it is among what is due, and says so itself");
        self.links
            .put_off(&link.account_id, self.later(86_400))
            .await
            .expect("it is put off");
        assert!(
            self.links
                .get_due(&link.account_id, long_ago)
                .await
                .expect("an answer")
                .is_none()
        );
    }

    async fn tallies_add_up(&self) {
        // Hours of its own, thousands of years ahead.
        let hour =
            Timestamp::from_second(200_000_000_000 + i64::from(System.random() as u16) * 720_000).expect("a far year");
        let next = hour + signed(Duration::from_secs(3600));
        let add = |renewed, refused| Tally { renewed, refused };
        let tallies = async |add, now| self.grants.tally(add, now).await.expect("kept");
        assert_eq!(tallies(add(2, 1), hour).await.hours, add(2, 1));
        assert_eq!(tallies(add(3, 0), hour).await.hours, add(5, 1));
        assert_eq!(tallies(add(1, 1), next).await.hours, add(6, 2), "with the hour before");
        let much_later = next + signed(Duration::from_secs(7200));
        let last = tallies(add(0, 1), much_later).await;
        assert_eq!((last.hours, last.days), (add(0, 1), add(6, 3)), "with the day before");
    }

    async fn a_commit_is_all_or_nothing(&self) {
        let confirmed = self.claimed().await.confirmed().expect("a step");
        let link = self.link_of(&confirmed, "usr_commit");
        let stale = self.unclaimed().await;
        let gone = stale.clone().ended(EndReason::Replaced).expect("a step");
        self.grants.advance(&gone, None, self.now).await.expect("it has ended");
        let changes = vec![
            Change::Grant(confirmed.clone(), None),
            Change::NewLink(link.clone(), None),
            Change::Give(link.clone()),
            Change::Grant(stale.ended(EndReason::Unlinked).expect("a step"), None),
        ];
        is_conflict(self.links.commit(changes, self.now).await);
        assert_eq!(self.links.of_account(&link.account_id).await.expect("an answer"), None);
        assert!(self.links.of_user("usr_commit").await.expect("an answer").is_empty());
        assert_eq!(self.stored(&confirmed.id).await.life.name(), "claiming");
    }

    async fn a_link_is_changed_from_the_version_before_it(&self) {
        let (_, link) = self.linked("usr_1").await;
        is_conflict(self.links.save(link.clone(), None, self.now).await);
        let again = vec![Change::NewLink(link.clone(), None)];
        is_conflict(self.links.commit(again, self.now).await);
        let changed = link.clone().relink_required();
        self.links
            .save(changed.clone(), None, self.now)
            .await
            .expect("it is changed");
        is_conflict(self.links.save(link.unlinked(), None, self.now).await);
        assert_eq!(
            self.links.of_account(&changed.account_id).await.expect("an answer"),
            Some(changed)
        );
    }

    async fn a_link_is_its_users_until_it_is_taken(&self) {
        let user = System.id("usr");
        let (_, link) = self.linked(&user).await;
        assert_eq!(
            self.links.of_user(&user).await.expect("an answer"),
            std::slice::from_ref(&link)
        );
        let unlinked = link.clone().unlinked();
        let changes = vec![Change::Link(unlinked, None), Change::Take(link)];
        self.links.commit(changes, self.now).await.expect("it is unlinked");
        assert!(self.links.of_user(&user).await.expect("an answer").is_empty());
    }

    async fn a_nonce_is_its_first_users(&self) {
        let account = self.account();
        let nonce = a_nonce(&account);
        let by = |user: &str| UsedNonce {
            user_id: user.to_owned(),
            account_id: account.clone(),
        };
        assert_eq!(self.links.used(&nonce).await.expect("an answer"), None);
        let used = |user| vec![Change::Use(nonce.clone(), by(user))];
        self.links.commit(used("one"), self.now).await.expect("it is new");
        self.links.commit(used("one"), self.now).await.expect("it is theirs");
        is_conflict(self.links.commit(used("other"), self.now).await);
        assert_eq!(self.links.used(&nonce).await.expect("an answer"), Some(by("one")));
    }

    async fn forgetting_spares_a_link_that_was_made_again(&self) {
        let (_, link) = self.linked("usr_1").await;
        let unlinked = link.unlinked();
        self.links
            .save(unlinked.clone(), None, self.now)
            .await
            .expect("it is unlinked");
        let again = Link {
            version: unlinked.version + 1,
            ..unlinked.clone()
        };
        self.links
            .save(again.clone(), None, self.now)
            .await
            .expect("it is made again");
        is_conflict(self.links.forget(&unlinked).await);
        self.links.forget(&again).await.expect("it is forgotten");
        assert_eq!(self.links.of_account(&again.account_id).await.expect("an answer"), None);
    }

    async fn what_waits_in_the_rescue_queue_is_hidden_while_somebody_has_it(&self) {
        let id = GrantId::new(System.random());
        let rescued = Rescued::Renewed(Box::new(RescuedPair {
            grant: id.clone(),
            tokens: pair(&id, 2, self.now).await,
            due: Some(Due {
                at: self.now,
                life_version: 2,
            }),
        }));
        self.rescue.keep(&rescued).await.expect("it is kept");
        let mine = async || {
            let received = self.rescue.receive().await.expect("an answer");
            received.into_iter().find_map(|waiting| match &waiting.rescued {
                Some(Rescued::Renewed(pair)) if pair.grant == id => Some((waiting.receipt, pair.tokens.clone())),
                _ => None,
            })
        };
        let (receipt, tokens) = mine().await.expect("it waits");
        assert_eq!((tokens.generation, tokens.issued_at), (2, self.now));
        assert!(mine().await.is_none(), "it is hidden");
        self.rescue.put_back(&receipt).await.expect("it is put back");
        let (receipt, _) = mine().await.expect("it is seen at once");
        self.rescue.remove(&receipt).await.expect("it is removed");
        assert!(mine().await.is_none());
    }
}
