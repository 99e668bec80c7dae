//! The life of codes and tokens, without any I/O: what is issued, what is spent, what dies with what.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ring::secret;

/// Ring: "Token Lifecycle".
const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);
pub(crate) const ACCESS_LIFE: SignedDuration = SignedDuration::from_secs(14_400);
pub(crate) const REFRESH_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many tokens of a kind are remembered.
const REMEMBERED: usize = 200_000;

/// All codes and tokens that were issued.
#[derive(Default)]
pub(crate) struct Grants {
    codes: HashMap<String, Code>,
    families: BTreeMap<u64, Family>,
    refresh: HashMap<String, u64>,
    access: HashMap<String, Access>,
    born: u64,
}

struct Code {
    holder: Holder,
    /// PKCE, of the legacy model: Base64url of the verifier's SHA-256.
    challenge: Option<String>,
    expires: Timestamp,
    /// The family that it became.
    spent: Option<u64>,
}

/// Whose a token is, and what it opens.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) scope: String,
}

impl Holder {
    /// Whether the scope has a word in it.
    pub(crate) fn may(&self, word: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == word)
    }
}

/// A chain of refresh tokens that began with one code.
struct Family {
    holder: Holder,
    current: String,
    expires: Timestamp,
    previous: Option<Spent>,
    /// The answer that `current` came in.
    reply: Reply,
    rotations: u64,
    dead: Option<&'static str>,
}

struct Spent {
    token: String,
    at: Timestamp,
}

struct Access {
    family: u64,
    expires: Timestamp,
    revoked: bool,
}

/// A token answer (Ring: "Exchange Authorization Code").
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) scope: String,
    expires: Timestamp,
}

impl Reply {
    pub(crate) fn body(&self, now: Timestamp) -> Value {
        json!({
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "scope": self.scope,
            "expires_in": self.expires.duration_since(now).as_secs(),
            "token_type": "Bearer",
        })
    }
}

/// Why a code or a refresh token is refused: always `invalid_grant` to the caller, and a reason for the journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidGrant(pub(crate) &'static str);

/// What a bearer is found to be.
#[derive(Debug)]
pub(crate) enum Bearer {
    Good(Holder),
    Bad(&'static str),
}

/// How spent refresh tokens are treated; `Grace` carries how long.
#[derive(Clone, Copy)]
pub(crate) enum Rotation {
    Strict,
    Grace(SignedDuration),
}

/// What one family looks like from outside, for `GET /_sim/state`.
#[derive(Debug, Serialize)]
pub(crate) struct FamilyState {
    id: u64,
    pub(crate) live: bool,
    dead: Option<&'static str>,
    rotations: u64,
    pub(crate) live_access_tokens: usize,
    refresh_expires: String,
    refresh_sha256: String,
}

/// Tokens in clear, for `GET /_sim/users/{user}/secrets`.
pub(crate) struct Issued {
    pub(crate) access_tokens: Vec<String>,
    pub(crate) refresh_tokens: Vec<String>,
}

/// Which tokens of a user die.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Which {
    Access,
    Refresh,
    #[default]
    All,
}

impl Grants {
    pub(crate) fn mint_code(&mut self, holder: Holder, challenge: Option<String>, now: Timestamp) -> String {
        if self.codes.len() > REMEMBERED {
            self.codes.retain(|_, code| code.expires > now);
        }
        let code = secret(24);
        self.codes.insert(
            code.clone(),
            Code {
                holder,
                challenge,
                expires: now + CODE_LIFE,
                spent: None,
            },
        );
        code
    }

    /// Exchanges a code. A second exchange is refused, and in the strict mode also ends what the first one gave (RFC 6749,
    /// 4.1.2: "SHOULD revoke").
    pub(crate) fn exchange(
        &mut self,
        code: &str,
        client: &str,
        verifier: Option<&str>,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<(Reply, Holder), InvalidGrant> {
        let Some(found) = self.codes.get(code) else {
            return Err(InvalidGrant("unknown code"));
        };
        if let Some(family) = found.spent {
            if matches!(rotation, Rotation::Strict) {
                self.kill(family, "its code was presented twice");
            }
            return Err(InvalidGrant("code already used"));
        }
        if now.duration_since(found.expires) > SignedDuration::ZERO {
            return Err(InvalidGrant("code expired"));
        }
        if found.holder.client != client {
            return Err(InvalidGrant("code of another client"));
        }
        if let Some(challenge) = &found.challenge {
            let proof = verifier.map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
            if proof.as_deref() != Some(challenge) {
                return Err(InvalidGrant("code_verifier does not match the challenge"));
            }
        }
        let holder = found.holder.clone();
        self.born += 1;
        let id = self.born;
        let reply = self.issue(id, &holder, now);
        let family = Family {
            holder: holder.clone(),
            current: reply.refresh_token.clone(),
            expires: now + REFRESH_LIFE,
            previous: None,
            reply: reply.clone(),
            rotations: 0,
            dead: None,
        };
        self.families.insert(id, family);
        if let Some(code) = self.codes.get_mut(code) {
            code.spent = Some(id);
        }
        Ok((reply, holder))
    }

    /// Trades a refresh token for its successor.
    pub(crate) fn refresh(
        &mut self,
        token: &str,
        client: &str,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<(Reply, Holder), InvalidGrant> {
        let Some((id, family)) = self
            .refresh
            .get(token)
            .and_then(|id| Some((*id, self.families.get(id)?)))
        else {
            return Err(InvalidGrant("unknown refresh token"));
        };
        if family.holder.client != client {
            return Err(InvalidGrant("refresh token of another client"));
        }
        if let Some(reason) = family.dead {
            return Err(InvalidGrant(reason));
        }
        let holder = family.holder.clone();
        if family.current != token {
            let in_grace = |spent: &Spent| match rotation {
                Rotation::Strict => false,
                Rotation::Grace(length) => spent.token == token && now.duration_since(spent.at) <= length,
            };
            if family.previous.as_ref().is_some_and(in_grace) {
                return Ok((family.reply.clone(), holder));
            }
            self.kill(id, "a spent refresh token was presented");
            return Err(InvalidGrant("refresh token already used"));
        }
        if now.duration_since(family.expires) > SignedDuration::ZERO {
            return Err(InvalidGrant("refresh token expired"));
        }
        let reply = self.issue(id, &holder, now);
        if let Some(family) = self.families.get_mut(&id) {
            family.previous = Some(Spent {
                token: token.to_owned(),
                at: now,
            });
            family.current = reply.refresh_token.clone();
            family.expires = now + REFRESH_LIFE;
            family.reply = reply.clone();
            family.rotations += 1;
        }
        Ok((reply, holder))
    }

    /// What a bearer opens. A refresh token in its place opens nothing.
    pub(crate) fn bearer(&self, token: &str, now: Timestamp) -> Bearer {
        let Some(access) = self.access.get(token) else {
            let refresh = self.refresh.contains_key(token);
            return Bearer::Bad(if refresh {
                "a refresh token as bearer"
            } else {
                "unknown token"
            });
        };
        let Some(family) = self.families.get(&access.family) else {
            return Bearer::Bad("unknown token");
        };
        if access.revoked {
            Bearer::Bad("revoked token")
        } else if now.duration_since(access.expires) >= SignedDuration::ZERO {
            Bearer::Bad("expired token")
        } else {
            Bearer::Good(family.holder.clone())
        }
    }

    /// Ends tokens of a user; says how many families and access tokens that struck.
    pub(crate) fn revoke(&mut self, user: &str, which: Which, reason: &'static str) -> (usize, usize) {
        let ids: Vec<u64> = self
            .families
            .iter()
            .filter(|(_, family)| family.holder.user == user)
            .map(|(id, _)| *id)
            .collect();
        let mut families = 0;
        let mut tokens = 0;
        for id in ids {
            if which != Which::Access
                && let Some(family) = self.families.get_mut(&id).filter(|family| family.dead.is_none())
            {
                family.dead = Some(reason);
                families += 1;
            }
            if which != Which::Refresh {
                tokens += self.revoke_access(id);
            }
        }
        (families, tokens)
    }

    /// All tokens that were issued for a user and are still remembered, spent ones too.
    pub(crate) fn issued(&self, user: &str) -> Issued {
        let of_user = |family: &u64| {
            let family = self.families.get(family);
            family.is_some_and(|family| family.holder.user == user)
        };
        let access = self.access.iter().filter(|(_, access)| of_user(&access.family));
        let refresh = self.refresh.iter().filter(|(_, family)| of_user(family));
        Issued {
            access_tokens: access.map(|(token, _)| token.clone()).collect(),
            refresh_tokens: refresh.map(|(token, _)| token.clone()).collect(),
        }
    }

    /// All families by their user, those without any left out.
    pub(crate) fn families(&self, now: Timestamp) -> BTreeMap<&str, Vec<FamilyState>> {
        let mut live_access = HashMap::<u64, usize>::new();
        for access in self
            .access
            .values()
            .filter(|access| !access.revoked && access.expires > now)
        {
            *live_access.entry(access.family).or_default() += 1;
        }
        let mut by_user = BTreeMap::<&str, Vec<FamilyState>>::new();
        for (id, family) in &self.families {
            by_user.entry(&family.holder.user).or_default().push(FamilyState {
                id: *id,
                live: family.dead.is_none() && family.expires >= now,
                dead: family.dead,
                rotations: family.rotations,
                live_access_tokens: live_access.get(id).copied().unwrap_or_default(),
                refresh_expires: family.expires.to_string(),
                refresh_sha256: crate::journal::fingerprint(&family.current),
            });
        }
        by_user
    }

    /// A new pair for a family. The refresh token has characters that a form must percent-encode.
    fn issue(&mut self, family: u64, holder: &Holder, now: Timestamp) -> Reply {
        self.forget(now);
        let expires = now + ACCESS_LIFE;
        let reply = Reply {
            access_token: format!("{}.{}.{}", secret(24), secret(120), secret(32)),
            refresh_token: format!("{}+/{}==", secret(48), secret(16)),
            scope: holder.scope.clone(),
            expires,
        };
        self.access.insert(
            reply.access_token.clone(),
            Access {
                family,
                expires,
                revoked: false,
            },
        );
        self.refresh.insert(reply.refresh_token.clone(), family);
        reply
    }

    /// Keeps the memory bounded: what has expired goes first, then the oldest access tokens, and refresh tokens long spent (to
    /// present one of those is refused, and ends nothing).
    fn forget(&mut self, now: Timestamp) {
        if self.access.len() > REMEMBERED {
            self.access.retain(|_, access| access.expires > now);
        }
        if self.access.len() > REMEMBERED {
            let mut ends: Vec<Timestamp> = self.access.values().map(|access| access.expires).collect();
            ends.sort_unstable();
            let median = ends[ends.len() / 2];
            self.access.retain(|_, access| access.expires > median);
        }
        if self.refresh.len() > REMEMBERED {
            let families = &mut self.families;
            families.retain(|_, family| family.expires > now);
            self.refresh
                .retain(|token, family| families.get(family).is_some_and(|family| family.current == *token));
        }
    }

    fn kill(&mut self, id: u64, reason: &'static str) {
        if let Some(family) = self.families.get_mut(&id)
            && family.dead.is_none()
        {
            family.dead = Some(reason);
        }
        self.revoke_access(id);
    }

    fn revoke_access(&mut self, id: u64) -> usize {
        let live = self
            .access
            .values_mut()
            .filter(|access| access.family == id && !access.revoked);
        live.map(|access| access.revoked = true).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::constant(1_771_130_906, 0);

    fn holder() -> Holder {
        Holder {
            user: "u".into(),
            client: "c".into(),
            scope: "s".into(),
        }
    }

    fn linked(rotation: Rotation) -> (Grants, Reply) {
        let mut grants = Grants::default();
        let code = grants.mint_code(holder(), None, START);
        let (reply, _) = grants
            .exchange(&code, "c", None, rotation, START)
            .expect("a fresh code");
        (grants, reply)
    }

    #[test]
    fn a_code_is_good_for_sixty_seconds_and_not_a_millisecond_more() {
        #[track_caller]
        fn check(after_ms: i64, good: bool) {
            let mut grants = Grants::default();
            let code = grants.mint_code(holder(), None, START);
            let then = START + SignedDuration::from_millis(after_ms);
            assert_eq!(
                grants.exchange(&code, "c", None, Rotation::Strict, then).is_ok(),
                good,
                "{after_ms} ms"
            );
        }
        check(0, true);
        check(60_000, true);
        check(60_001, false);
    }

    #[test]
    fn a_code_of_another_client_is_refused_and_stays_unspent() {
        let mut grants = Grants::default();
        let code = grants.mint_code(holder(), None, START);
        assert!(grants.exchange(&code, "other", None, Rotation::Strict, START).is_err());
        assert!(grants.exchange(&code, "c", None, Rotation::Strict, START).is_ok());
    }

    #[test]
    fn an_access_token_lives_14400_seconds_and_a_refresh_token_30_days() {
        let (mut grants, reply) = linked(Rotation::Strict);
        let last = START + ACCESS_LIFE - SignedDuration::from_millis(1);
        assert!(matches!(grants.bearer(&reply.access_token, last), Bearer::Good(_)));
        assert!(matches!(
            grants.bearer(&reply.access_token, START + ACCESS_LIFE),
            Bearer::Bad("expired token")
        ));
        let late = START + REFRESH_LIFE + SignedDuration::from_millis(1);
        let refused = grants.refresh(&reply.refresh_token, "c", Rotation::Strict, late).err();
        assert_eq!(refused, Some(InvalidGrant("refresh token expired")));
        assert!(
            grants
                .refresh(&reply.refresh_token, "c", Rotation::Strict, START + REFRESH_LIFE)
                .is_ok()
        );
    }

    #[test]
    fn every_token_of_a_user_is_told_the_spent_ones_too_and_no_other_users() {
        let (mut grants, first) = linked(Rotation::Strict);
        let (second, _) = grants
            .refresh(&first.refresh_token, "c", Rotation::Strict, START)
            .expect("current");
        let mut issued = grants.issued("u").refresh_tokens;
        issued.sort_unstable();
        let mut both = vec![first.refresh_token, second.refresh_token];
        both.sort_unstable();
        assert_eq!(issued, both);
        assert_eq!(grants.issued("u").access_tokens.len(), 2);
        assert!(grants.issued("other").access_tokens.is_empty());
    }

    #[test]
    fn the_pkce_challenge_is_checked_as_rfc_7636_appendix_b_has_it() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned();
        let mut grants = Grants::default();
        let code = grants.mint_code(holder(), Some(challenge), START);
        assert!(grants.exchange(&code, "c", None, Rotation::Strict, START).is_err());
        assert!(
            grants
                .exchange(&code, "c", Some("wrong"), Rotation::Strict, START)
                .is_err()
        );
        assert!(
            grants
                .exchange(&code, "c", Some(verifier), Rotation::Strict, START)
                .is_ok()
        );
    }

    #[test]
    fn grace_ends_after_its_time_and_then_reuse_kills() {
        let grace = Rotation::Grace(SignedDuration::from_secs(60));
        let (mut grants, first) = linked(grace);
        let (second, _) = grants
            .refresh(&first.refresh_token, "c", grace, START)
            .expect("current");
        let within = START + SignedDuration::from_secs(60);
        let (again, _) = grants
            .refresh(&first.refresh_token, "c", grace, within)
            .expect("within grace");
        assert_eq!(again.refresh_token, second.refresh_token);
        assert_eq!(again.access_token, second.access_token);
        let after = within + SignedDuration::from_millis(1);
        assert!(grants.refresh(&first.refresh_token, "c", grace, after).is_err());
        assert!(
            grants.refresh(&second.refresh_token, "c", grace, after).is_err(),
            "the family is dead"
        );
    }

    proptest! {
        /// Whatever order tokens come in: in the strict mode one reuse ends the family, and until then exactly the newest works.
        #[test]
        fn in_strict_mode_only_the_newest_works_and_one_reuse_ends_all(picks in proptest::collection::vec(0usize..4, 1..12)) {
            let (mut grants, first) = linked(Rotation::Strict);
            let mut issued = vec![first.refresh_token];
            let mut alive = true;
            for pick in picks {
                let back = pick.min(issued.len() - 1);
                let token = issued[issued.len() - 1 - back].clone();
                let outcome = grants.refresh(&token, "c", Rotation::Strict, START);
                prop_assert_eq!(outcome.is_ok(), alive && back == 0);
                if let Ok((reply, _)) = outcome {
                    prop_assert!(!issued.contains(&reply.refresh_token));
                    issued.push(reply.refresh_token);
                }
                alive &= back == 0;
            }
        }
    }
}
