//! Ring's side: who is who, which tokens are good, which integrations stand. It knows the truth that our side is checked
//! against: which refresh token of a grant is alive, and how often a spent one was shown to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::error::{ApiError, Endpoint};
use ring_partner::integrations::{Integration, IntegrationStatus};
use ring_partner::nonce::{LinkTime, Nonce, mint};
use ring_partner::oauth::{AccessToken, RefreshToken, TokenError, TokenResponse};
use ring_partner::signature::SigningKey;
use ring_partner::users::{AccountId, User};
use ring_partner::{AuthorizationCode, Error};
use shared::edge::clock::signed;

/// How long a code is good. Ring: Token Lifecycle.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// What Ring allows one client id in a second. Ring: Rate Limiting.
const LIMIT: usize = 100;

/// What Ring makes of a refresh token that was used before. Its documentation does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Character {
    /// It is theft: the whole family of tokens is revoked.
    Strict,
    /// It is good until a token of a later pair is used.
    Grace,
}

/// One family of tokens: what came out of one code.
#[derive(Clone, Debug)]
pub struct Family {
    /// Whose.
    pub account: AccountId,
    /// The newest refresh token that Ring gave, counted from 1.
    pub newest: u64,
    /// The newest that was saved by us.
    pub saved: u64,
    /// Ring takes none of its tokens any more.
    pub revoked: bool,
    /// By its user, and not for theft.
    pub revoked_by_user: bool,
    /// A process of ours died between Ring's answer and its first durable write.
    pub died_in_window: bool,
    /// An answer of Ring's got lost on its way.
    pub answer_lost: bool,
    /// The newest pair of which a token was used: those before it are good no more.
    used: u64,
}

/// What Ring counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Codes that were exchanged.
    pub exchanges: u64,
    /// Codes that were presented again after they were spent.
    pub spent_codes: u64,
    /// Pairs that were renewed.
    pub renewals: u64,
    /// Refresh tokens that were shown although we had saved a newer one.
    pub older_than_saved: u64,
    /// Refresh tokens that were spent without our knowing: the answer was lost, or the process died.
    pub unknowingly_spent: u64,
    /// Requests that were one too many in their second.
    pub too_many: u64,
    /// The most requests of one second.
    pub most_in_a_second: usize,
    /// All requests that Ring has seen.
    pub requests: u64,
}

/// Ring.
#[derive(Clone, Debug)]
pub struct Truth {
    /// What it makes of a spent token.
    pub character: Character,
    /// What it counted.
    pub counts: Counts,
    /// How long an access token lives.
    pub access_life: Duration,
    key: SigningKey,
    codes: BTreeMap<String, (u64, Timestamp, bool)>,
    families: BTreeMap<u64, Family>,
    access: BTreeMap<String, (u64, Timestamp)>,
    integrations: BTreeMap<String, IntegrationStatus>,
    nonces: BTreeSet<String>,
    second: (i64, usize),
}

fn refresh_token(family: u64, number: u64) -> String {
    format!("refresh-{family}-{number}")
}

fn parse(token: &RefreshToken) -> Option<(u64, u64)> {
    let (family, number) = token.expose().strip_prefix("refresh-")?.split_once('-')?;
    Some((family.parse().ok()?, number.parse().ok()?))
}

impl Truth {
    /// A Ring of this character that signs with `key`.
    #[must_use]
    pub fn new(character: Character, key: SigningKey) -> Self {
        Self {
            character,
            counts: Counts::default(),
            access_life: Duration::from_secs(4 * 3600),
            key,
            codes: BTreeMap::new(),
            families: BTreeMap::new(),
            access: BTreeMap::new(),
            integrations: BTreeMap::new(),
            nonces: BTreeSet::new(),
            second: (0, 0),
        }
    }

    /// A user installs the app: Ring makes a code.
    pub fn install(&mut self, account: &AccountId, now: Timestamp) -> AuthorizationCode {
        let family = self.families.len() as u64 + 1;
        let code = format!("code-{family}");
        self.codes.insert(code.clone(), (family, now, false));
        let new = Family {
            account: account.clone(),
            newest: 0,
            saved: 0,
            revoked: false,
            revoked_by_user: false,
            died_in_window: false,
            answer_lost: false,
            used: 0,
        };
        self.families.insert(family, new);
        AuthorizationCode::new(code).expect("letters and digits")
    }

    /// The user is sent to link: the nonce, and the time that goes with it.
    #[must_use]
    pub fn redirect(&self, account: &AccountId, now: Timestamp) -> (Nonce, LinkTime) {
        let time = LinkTime::parse(&now.as_millisecond().to_string()).expect("digits");
        (mint(&self.key, &time, account), time)
    }

    /// The user takes back what they have allowed.
    pub fn revoke(&mut self, account: &AccountId) {
        for family in self.families.values_mut().filter(|family| family.account == *account) {
            family.revoked = true;
            family.revoked_by_user = true;
        }
        self.integrations.remove(account.as_str());
    }

    /// Ring takes this nonce no more.
    pub fn forget_nonce(&mut self, nonce: &Nonce) {
        self.nonces.insert(nonce.as_str().to_owned());
    }

    /// The families, by their number.
    pub fn families(&self) -> impl Iterator<Item = (u64, &Family)> {
        self.families.iter().map(|(number, family)| (*number, family))
    }

    /// One of them.
    pub fn family_mut(&mut self, number: u64) -> Option<&mut Family> {
        self.families.get_mut(&number)
    }

    /// Where the integration of an account stands.
    #[must_use]
    pub fn integration(&self, account: &AccountId) -> Option<&IntegrationStatus> {
        self.integrations.get(account.as_str())
    }

    /// Whether this refresh token would be taken.
    #[must_use]
    pub fn is_alive(&self, token: &RefreshToken) -> bool {
        parse(token).is_some_and(|(number, index)| {
            self.families
                .get(&number)
                .is_some_and(|family| self.takes(family, index))
        })
    }

    /// The family that a refresh token belongs to.
    #[must_use]
    pub fn family_of(&self, token: &RefreshToken) -> Option<(u64, &Family)> {
        let (number, _) = parse(token)?;
        self.families.get(&number).map(|family| (number, family))
    }

    fn takes(&self, family: &Family, index: u64) -> bool {
        let has_grace = self.character == Character::Grace && index >= family.used;
        !family.revoked && (index == family.newest || has_grace)
    }

    /// Whether a request is one too many in its second.
    pub fn is_too_many(&mut self, now: Timestamp) -> bool {
        self.counts.requests += 1;
        if self.second.0 != now.as_second() {
            self.second = (now.as_second(), 0);
        }
        self.second.1 += 1;
        self.counts.most_in_a_second = self.counts.most_in_a_second.max(self.second.1);
        if self.second.1 > LIMIT {
            self.counts.too_many += 1;
            return true;
        }
        false
    }

    /// A code for a pair; and the family that it begins.
    pub fn exchange(&mut self, code: &AuthorizationCode, now: Timestamp) -> Result<(u64, TokenResponse), TokenError> {
        let Some((family, made, spent)) = self.codes.get_mut(code.expose()) else {
            return Err(TokenError::InvalidGrant);
        };
        if *spent {
            self.counts.spent_codes += 1;
            return Err(TokenError::InvalidGrant);
        }
        if now.duration_since(*made) > signed(CODE_LIFE) {
            return Err(TokenError::InvalidGrant);
        }
        *spent = true;
        self.counts.exchanges += 1;
        let family = *family;
        Ok((family, self.pair(family, now)))
    }

    /// A refresh token for a new pair.
    pub fn refresh(&mut self, token: &RefreshToken, now: Timestamp) -> Result<(u64, TokenResponse), TokenError> {
        let (number, index) = parse(token).ok_or(TokenError::InvalidGrant)?;
        let family = self.families.get(&number).ok_or(TokenError::InvalidGrant)?.clone();
        if family.revoked {
            return Err(TokenError::InvalidGrant);
        }
        if index < family.saved {
            self.counts.older_than_saved += 1;
        } else if index < family.newest {
            self.counts.unknowingly_spent += 1;
        }
        if !self.takes(&family, index) {
            // A spent token: somebody has stolen it, for all Ring knows.
            self.families.entry(number).and_modify(|family| family.revoked = true);
            return Err(TokenError::InvalidGrant);
        }
        self.counts.renewals += 1;
        self.families
            .entry(number)
            .and_modify(|family| family.used = family.used.max(index));
        Ok((number, self.pair(number, now)))
    }

    fn pair(&mut self, number: u64, now: Timestamp) -> TokenResponse {
        let newest = self.families.get_mut(&number).map_or(0, |family| {
            family.newest += 1;
            family.newest
        });
        let access = format!("access-{number}-{newest}");
        self.access
            .insert(access.clone(), (number, now + signed(self.access_life)));
        // The newest three are enough: an older one is never shown.
        self.access
            .remove(&format!("access-{number}-{}", newest.saturating_sub(3)));
        TokenResponse {
            access_token: AccessToken::new(access).expect("letters and digits"),
            refresh_token: RefreshToken::new(refresh_token(number, newest)).ok(),
            expires_in: self.access_life,
            scope: Some(format!("scope-{newest}")),
        }
    }

    /// Whose an access token is. Its use is the use of its pair.
    fn bearer(&mut self, token: &AccessToken, now: Timestamp, endpoint: Endpoint) -> Result<AccountId, Error> {
        let unauthorized = || status(endpoint, 401, None);
        let (number, expires_at) = *self.access.get(token.expose()).ok_or_else(unauthorized)?;
        let family = self.families.get_mut(&number).ok_or_else(unauthorized)?;
        if family.revoked || expires_at <= now {
            return Err(unauthorized());
        }
        let index = token.expose().rsplit('-').next().and_then(|index| index.parse().ok());
        family.used = family.used.max(index.unwrap_or(0));
        Ok(family.account.clone())
    }

    /// Whose a token is.
    pub fn me(&mut self, token: &AccessToken, now: Timestamp) -> Result<User, Error> {
        Ok(User {
            id: self.bearer(token, now, Endpoint::Users)?,
            first_name: Some("Ada".to_owned()),
            last_name: None,
            email: None,
        })
    }

    /// Takes a nonce: one of this account, young, once.
    pub fn confirm(&mut self, token: &AccessToken, nonce: &Nonce, now: Timestamp) -> Result<IntegrationStatus, Error> {
        let account = self.bearer(token, now, Endpoint::Integrations)?;
        let young = (0..=600_000).map(|age| now.as_millisecond() - age);
        // The real Ring remembers which nonces it gave; here each redirect is at a whole second.
        let is_ours = young.filter(|time| time % 1000 == 0).any(|time| {
            LinkTime::parse(&time.to_string()).is_ok_and(|time| mint(&self.key, &time, &account) == *nonce)
        });
        if !is_ours || !self.nonces.insert(nonce.as_str().to_owned()) {
            return Err(status(Endpoint::Integrations, 400, Some("Invalid Nonce")));
        }
        let awaiting = IntegrationStatus::Awaiting;
        self.integrations.insert(account.as_str().to_owned(), awaiting.clone());
        Ok(awaiting)
    }

    /// Changes an integration.
    pub fn update(
        &mut self,
        token: &AccessToken,
        identifier: Option<&str>,
        to: Option<IntegrationStatus>,
        now: Timestamp,
    ) -> Result<Integration, Error> {
        let account = self.bearer(token, now, Endpoint::Integrations)?;
        let Some(stands) = self.integrations.get_mut(account.as_str()) else {
            return Err(status(Endpoint::Integrations, 404, None));
        };
        if to.is_some() && to.as_ref() == Some(stands) {
            return Err(status(Endpoint::Integrations, 400, Some("Invalid Status Transition")));
        }
        if let Some(to) = to {
            *stands = to;
        }
        Ok(Integration {
            status: stands.clone(),
            account_identifier: identifier.map(str::to_owned),
            updated_at: Some(now),
        })
    }

    /// The devices that an integration opens: none, but only an integration that stands opens them.
    pub fn devices(&mut self, token: &AccessToken, now: Timestamp) -> Result<Vec<ring_partner::Device>, Error> {
        let account = self.bearer(token, now, Endpoint::Devices)?;
        match self.integrations.contains_key(account.as_str()) {
            true => Ok(Vec::new()),
            false => Err(status(Endpoint::Devices, 404, None)),
        }
    }
}

/// An answer with an error status.
#[must_use]
pub fn status(endpoint: Endpoint, status: u16, title: Option<&str>) -> Error {
    Error::Api(Box::new(answer(endpoint, status, title)))
}

/// The same, as the token endpoint's errors are made of.
#[must_use]
pub fn answer(endpoint: Endpoint, status: u16, title: Option<&str>) -> ApiError {
    ApiError {
        endpoint,
        redirected: false,
        status,
        id: None,
        request_id: None,
        code: None,
        title: title.map(str::to_owned),
        detail: None,
        pointer: None,
        excerpt: None,
        retry_after: (status == 429).then(|| Duration::from_secs(1)),
    }
}
