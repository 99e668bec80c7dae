//! A grant: one token pair that Ring gave us for one of its users, from the one-time code to its end. This file tells the
//! whole life and does no I/O. [`exchange`] makes one out of a code, [`access`] hands out the access token, [`refresh`]
//! renews the pair, and [`rescue`] brings home a pair that could not be saved; they are written over [`ports`]. [`store`]
//! keeps grants, [`vault`] seals what must not be read.
//!
//! ```text
//! code ─> resolving ─> unclaimed <─> claiming ─> confirmed ─> linked
//!              │            │            │            │          │
//!              └────────────┴─ ended <───┴── relink required <───┘
//! ```
//!
//! Two things change in a grant, each under its own guard: the *life*, under `life_version`, and the *tokens*, under their
//! generation and a lease. So a link that completes never overwrites tokens that were refreshed meanwhile.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring_partner::nonce::Nonce;
use ring_partner::oauth::{AccessToken, RefreshToken};
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::edge::clock::signed;
use crate::edge::key;
use vault::Sealed;

pub mod access;
pub mod exchange;
pub mod ports;
pub mod refresh;
pub mod rescue;
pub mod source;
pub mod store;
mod usage;
pub mod vault;

/// An access token is renewed when it has less than this left (Ring: Access Tokens, Implementation Example).
pub const STALE_BEFORE: Duration = Duration::from_secs(300);
/// How long a refresh token lives unless it is used (Ring: Token Lifecycle).
pub const REFRESH_TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a pair is renewed although nobody uses it (Ring: Proactive Refresh Strategy).
pub const KEEP_YOUNG_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A grant that nobody has claimed is given up after this long.
pub const UNCLAIMED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long one attempt to link holds its grant. In step with Ring's window of 600 s: it must leave room for another.
pub const CLAIM_FOR: Duration = Duration::from_secs(45);
/// The waits between attempts to learn whose a new grant is; the last repeats.
pub const RESOLVE_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// A grant's id: ours, random, opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(String);

impl GrantId {
    /// A new one, of 128 random bits.
    #[must_use]
    pub fn new(bits: u128) -> Self {
        Self(key::with_prefix("grt", bits))
    }

    /// The id as it was kept.
    pub(crate) fn kept(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Where it is in its life.
    pub life: Life,
    /// Counts the steps of its life: a step is taken from the version that was read, or not at all.
    pub life_version: u64,
    /// Whose it is, as soon as Ring has told.
    pub account_id: Option<AccountId>,
    /// The pair; gone when the grant has ended.
    pub tokens: Option<Tokens>,
    /// Who is renewing the pair now.
    pub lease: Option<Lease>,
    /// When Ring gave it to us.
    pub issued_at: Timestamp,
    /// When its pair was last counted as refused, along with too many others to be believed.
    #[serde(default)]
    pub refused_at: Option<Timestamp>,
}

/// A token pair, sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// Counts the pairs of this grant, from 1.
    pub generation: u64,
    /// The access token.
    pub access: Sealed<AccessToken>,
    /// When Ring stops to take it.
    pub access_expires_at: Timestamp,
    /// The refresh token.
    pub refresh: Sealed<RefreshToken>,
    /// When Ring stops to take it.
    pub refresh_expires_at: Timestamp,
    /// What Ring's answer named as the scope.
    pub scope: Option<String>,
    /// When this pair was issued.
    pub issued_at: Timestamp,
    /// The epoch in which it was saved. A pair of an earlier one came out of a backup, may be spent, and is never shown to
    /// Ring again.
    #[serde(default)]
    pub epoch: u64,
}

impl Tokens {
    /// Whether the access token is too old to be used.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.access_expires_at.duration_since(now) < signed(STALE_BEFORE)
    }

    /// For how long the pair has been due to be renewed: nothing within the day that a pair is kept young for.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(keep_young_at(self.issued_at, 1.0))
            .max(SignedDuration::ZERO)
    }
}

/// The right to renew a pair, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which invocation has it.
    pub owner: String,
    /// Until when.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub until: Timestamp,
}

/// Where a grant is in its life. Each state carries only what is true in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Life {
    /// Saved; whose it is was not learnt yet.
    Resolving {
        /// How often Ring was asked in vain.
        attempts: u32,
    },
    /// Nobody has linked it yet.
    Unclaimed {
        /// Since when.
        since: Timestamp,
    },
    /// Somebody is linking it now.
    Claiming {
        /// Who, and with what.
        claim: Claim,
    },
    /// Ring has taken the nonce; the integration is not completed yet.
    Confirmed,
    /// Linked.
    Linked,
    /// Ring refuses its refresh token: its user has to link again.
    RelinkRequired {
        /// Why we think so.
        why: RelinkReason,
    },
    /// Over; its tokens are deleted.
    Ended {
        /// Why.
        why: EndReason,
    },
}

/// One attempt to link a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Who is linking, as a pseudonym.
    pub user_id: String,
    /// What Ring's user will be shown of them.
    pub account_identifier: Option<String>,
    /// The nonce, for another try at the same step.
    pub nonce: Sealed<Nonce>,
    /// The raw `time` that came with it.
    pub time: String,
    /// Until when nobody else may try.
    pub until: Timestamp,
}

/// Why a user has to link again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelinkReason {
    /// Ring said `invalid_grant` of the token that was stored before and after it was asked.
    RefreshTokenRefused,
    /// Its pair came out of a backup, and may be spent.
    Restored,
}

/// Why a grant is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its user unlinked it with us.
    Unlinked,
    /// Ring's user removed the app.
    RemovedAtRing,
    /// A newer grant of the same account took its place.
    Replaced,
    /// Nobody claimed it in time.
    NeverClaimed,
}

/// A step that this state does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grant that is {from} can't become {to}")]
pub struct Illegal {
    from: &'static str,
    to: &'static str,
}

impl Grant {
    /// A new grant, as Ring has just issued it.
    #[must_use]
    pub fn issued(id: GrantId, tokens: Tokens, now: Timestamp) -> Self {
        Self {
            id,
            life: Life::Resolving { attempts: 0 },
            life_version: 1,
            account_id: None,
            tokens: Some(tokens),
            lease: None,
            issued_at: now,
            refused_at: None,
        }
    }

    /// Ring told whose it is.
    pub fn resolved(self, account: AccountId, now: Timestamp) -> Result<Self, Illegal> {
        match self.life {
            Life::Resolving { .. } => Ok(Self {
                account_id: Some(account),
                ..self.step(Life::Unclaimed { since: now })
            }),
            _ => Err(self.illegal("unclaimed")),
        }
    }

    /// Ring could not be asked whose it is.
    pub fn still_resolving(self) -> Result<Self, Illegal> {
        match self.life {
            Life::Resolving { attempts } => Ok(self.step(Life::Resolving {
                attempts: attempts.saturating_add(1),
            })),
            _ => Err(self.illegal("resolving")),
        }
    }

    /// Somebody starts to link it: nobody was, or their time is up.
    pub fn claimed(self, claim: Claim, now: Timestamp) -> Result<Self, Illegal> {
        match &self.life {
            Life::Unclaimed { .. } => Ok(self.step(Life::Claiming { claim })),
            Life::Claiming { claim: held } if held.until <= now => Ok(self.step(Life::Claiming { claim })),
            _ => Err(self.illegal("claiming")),
        }
    }

    /// Whether somebody is linking it, and has time left.
    #[must_use]
    pub fn is_claimed_at(&self, now: Timestamp) -> bool {
        matches!(&self.life, Life::Claiming { claim } if claim.until > now)
    }

    /// The attempt failed and changed nothing at Ring.
    pub fn released(self, now: Timestamp) -> Result<Self, Illegal> {
        match self.life {
            Life::Claiming { .. } => Ok(self.step(Life::Unclaimed { since: now })),
            _ => Err(self.illegal("unclaimed")),
        }
    }

    /// Ring took the nonce.
    pub fn confirmed(self) -> Result<Self, Illegal> {
        match self.life {
            Life::Claiming { .. } => Ok(self.step(Life::Confirmed)),
            _ => Err(self.illegal("confirmed")),
        }
    }

    /// The link is complete on our side too.
    pub fn linked(self) -> Result<Self, Illegal> {
        match self.life {
            Life::Confirmed => Ok(self.step(Life::Linked)),
            _ => Err(self.illegal("linked")),
        }
    }

    /// Ring refuses the stored refresh token. The tokens stay: should it be our credentials that are wrong, they are right.
    pub fn refused(self, why: RelinkReason) -> Result<Self, Illegal> {
        match self.life {
            Life::RelinkRequired { .. } | Life::Ended { .. } => Err(self.illegal("relink required")),
            _ => Ok(self.step(Life::RelinkRequired { why })),
        }
    }

    /// It is over: both tokens go.
    pub fn ended(self, why: EndReason) -> Result<Self, Illegal> {
        match self.life {
            Life::Ended { .. } => Err(self.illegal("ended")),
            _ => Ok(Self {
                tokens: None,
                lease: None,
                ..self.step(Life::Ended { why })
            }),
        }
    }

    /// When this grant next needs somebody to look at it; `None`: never. `spread` in 0..1 keeps grants of one hour from
    /// coming due in one hour again.
    #[must_use]
    pub fn due_at(&self, now: Timestamp, spread: f64) -> Option<Timestamp> {
        match &self.life {
            Life::Resolving { attempts } => {
                let wait = RESOLVE_WAITS[(*attempts as usize).min(RESOLVE_WAITS.len() - 1)];
                Some(now + signed(wait))
            }
            Life::Claiming { claim } => Some(claim.until),
            Life::Unclaimed { .. } | Life::Confirmed | Life::Linked => self
                .tokens
                .as_ref()
                .map(|tokens| keep_young_at(tokens.issued_at, spread)),
            Life::RelinkRequired { .. } | Life::Ended { .. } => None,
        }
    }

    /// Whether nobody has claimed it for too long. One that Ring refuses may be linked: whoever gives it up looks.
    #[must_use]
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        matches!(
            self.life,
            Life::Resolving { .. } | Life::Unclaimed { .. } | Life::RelinkRequired { .. }
        ) && now >= self.given_up_at()
    }

    /// When it is given up unless somebody claims it.
    #[must_use]
    pub fn given_up_at(&self) -> Timestamp {
        self.issued_at + signed(UNCLAIMED_FOR)
    }

    fn step(self, life: Life) -> Self {
        Self {
            life,
            life_version: self.life_version + 1,
            ..self
        }
    }

    fn illegal(&self, to: &'static str) -> Illegal {
        Illegal {
            from: self.life.name(),
            to,
        }
    }
}

impl Life {
    /// The state's name, as in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resolving { .. } => "resolving",
            Self::Unclaimed { .. } => "unclaimed",
            Self::Claiming { .. } => "claiming",
            Self::Confirmed => "confirmed",
            Self::Linked => "linked",
            Self::RelinkRequired { .. } => "relink required",
            Self::Ended { .. } => "ended",
        }
    }
}

/// When a pair issued at `issued_at` is renewed: 24 h x U(0.85, 1).
#[must_use]
pub fn keep_young_at(issued_at: Timestamp, spread: f64) -> Timestamp {
    issued_at + signed(KEEP_YOUNG_EVERY.mul_f64(0.85 + 0.15 * spread.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + seconds).unwrap()
    }

    fn id() -> GrantId {
        GrantId::new(7)
    }

    fn tokens(now: Timestamp) -> Tokens {
        Tokens {
            generation: 1,
            access: Sealed::from_text("access"),
            access_expires_at: now + signed(Duration::from_secs(14_400)),
            refresh: Sealed::from_text("refresh"),
            refresh_expires_at: now + signed(REFRESH_TOKEN_LIFE),
            scope: None,
            issued_at: now,
            epoch: 1,
        }
    }

    fn claim(user: &str, until: Timestamp) -> Claim {
        Claim {
            user_id: user.to_owned(),
            account_identifier: None,
            nonce: Sealed::from_text("nonce"),
            time: "1771130906289".to_owned(),
            until,
        }
    }

    fn new() -> Grant {
        Grant::issued(id(), tokens(at(0)), at(0))
    }

    fn unclaimed() -> Grant {
        new().resolved(AccountId::new("a").unwrap(), at(1)).unwrap()
    }

    #[test]
    fn the_whole_good_life_is_legal_and_counts_its_steps() {
        let grant = unclaimed()
            .claimed(claim("u", at(45)), at(2))
            .unwrap()
            .confirmed()
            .unwrap()
            .linked()
            .unwrap();
        assert_eq!(grant.life, Life::Linked);
        assert_eq!(grant.life_version, 5);
        assert!(grant.tokens.is_some());
    }

    #[test]
    fn a_claim_holds_against_others_until_its_time_is_up() {
        let held = unclaimed().claimed(claim("one", at(45)), at(0)).unwrap();
        assert!(held.clone().claimed(claim("two", at(90)), at(44)).is_err());
        assert!(
            held.clone().claimed(claim("one", at(90)), at(44)).is_err(),
            "two attempts of one user would collide"
        );
        assert!(held.claimed(claim("two", at(90)), at(45)).is_ok());
    }

    #[test]
    fn a_refused_grant_asks_for_its_user_and_keeps_its_tokens() {
        let refused = unclaimed().refused(RelinkReason::RefreshTokenRefused).unwrap();
        assert!(matches!(refused.life, Life::RelinkRequired { .. }));
        assert!(refused.tokens.is_some());
        assert!(refused.due_at(at(0), 0.5).is_none());
        assert!(refused.refused(RelinkReason::Restored).is_err());
    }

    #[test]
    fn the_end_deletes_both_tokens_and_comes_once() {
        let ended = unclaimed().ended(EndReason::Unlinked).unwrap();
        assert!(ended.tokens.is_none());
        assert!(ended.due_at(at(0), 0.5).is_none());
        assert!(ended.ended(EndReason::Unlinked).is_err());
    }

    #[test]
    fn an_illegal_step_says_from_where_to_where() {
        let error = new().linked().unwrap_err();
        assert_eq!(error.to_string(), "a grant that is resolving can't become linked");
    }

    #[test]
    fn an_access_token_is_stale_300_seconds_before_its_end() {
        let tokens = tokens(at(0));
        assert!(!tokens.is_stale(at(14_400 - 300)));
        assert!(tokens.is_stale(at(14_400 - 299)));
    }

    #[test]
    fn trap_3_resolving_is_tried_again_at_growing_waits_then_each_minute() {
        let mut grant = new();
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(grant.due_at(at(0), 0.0).unwrap().duration_since(at(0)).as_secs());
            grant = grant.still_resolving().unwrap();
        }
        assert_eq!(waits, [1, 5, 20, 60, 60, 60]);
    }

    #[test]
    fn trap_21_a_grant_that_nobody_claims_is_given_up_after_thirty_days() {
        let month = 30 * 24 * 3600;
        let refused = unclaimed().refused(RelinkReason::RefreshTokenRefused).unwrap();
        assert!(!unclaimed().is_given_up(at(month - 1)));
        for grant in [unclaimed(), new(), refused] {
            assert!(grant.is_given_up(at(month)), "{}", grant.life.name());
        }
    }

    proptest! {
        #[test]
        fn trap_7_pairs_are_renewed_daily_and_spread(spread in 0.0_f64..1.0) {
            let due = keep_young_at(at(0), spread).duration_since(at(0)).as_secs_f64() / 3600.0;
            prop_assert!((20.39..=24.0).contains(&due), "{}", due);
        }
    }
}
