//! The programs, each begun anew in a process of its own, as Lambda begins them: over the twins instead of AWS and Ring.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::nonce::{LinkTime, Nonce};
use ring_partner::oauth::AuthorizationCode;
use ring_partner::signature::SigningKey;
use ring_partner::users::AccountId;
use shared::edge::clock::signed;
use shared::edge::metrics::Metrics;
use shared::edge::quota::Quota;
use shared::grant::access::{Access, CallError, Refresh, RefreshOutcome, RefreshRequest};
use shared::grant::exchange::{Exchange, ExchangeError, Exchanged, Presented};
use shared::grant::refresh::{Brake, Refresher};
use shared::grant::rescue::Rescuer;
use shared::grant::source::{Source, WINDOW};
use shared::grant::vault::Vault;
use shared::grant::{EndReason, GrantId, RESOLVE_WAITS};
use shared::link::claim::{Attempt, ClaimError, Claims, Linked};
use shared::link::settle::{SetUp, Settler};
use shared::link::{CompleteLink, Link};
use shared::world::Nature as _;
use token_refresh::{Minute, Pace, TokenRefresh};
use tokio::sync::Semaphore;

use crate::events::programs::Door;
use crate::interference::Interference;
use crate::ring::{Character, Truth};
use crate::twin::{Simulated, Twin};

/// How long an invocation of `token-refresh` may take. In step with its time-out in the template.
const CUT_OFF: Duration = Duration::from_secs(180);
/// The same of `token-exchange`.
const EXCHANGE_TIME_OUT: Duration = Duration::from_secs(60);
/// How many of `token-refresh` run at once, besides the minute. In step with its reserved concurrency in the template, of which
/// new grants may take two.
const REFRESH_AT_ONCE: usize = 3;
/// How long a program waits for `token-refresh`.
const REFRESH_WITHIN: Duration = Duration::from_secs(8);

/// How many codes that Ring refuses one source may bring in a minute. In step with the template's default.
pub const REFUSED_CODES: u64 = 10;
/// A user whose e-mail address nobody knows.
pub const NAMELESS: &str = "nameless";

/// A runtime whose clock stands still until all that is done waits for it.
pub fn paused_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
}

/// The Ring account of this name.
#[must_use]
pub fn account(name: &str) -> AccountId {
    AccountId::new(name).expect("letters and digits")
}

/// The key that Ring signs with, at first.
pub const SIGNING_KEY: &str = "the key of a simulated Ring";

/// Ring's key.
#[must_use]
pub fn signing_key() -> SigningKey {
    SigningKey::new(SIGNING_KEY).expect("it is not empty")
}

/// All programs of one world.
#[derive(Clone, Debug)]
pub struct House {
    /// The world, in a process that nobody kills: for looks.
    pub world: Twin,
    /// The epoch that programs begin in.
    pub epoch: u64,
    /// How fast what is due is begun.
    pub pace: Pace,
    /// When refusals are not believed.
    pub brake: Brake,
    /// How long an invocation of `token-exchange` may take.
    pub exchange_time_out: Duration,
    /// Processes of `webhook-intake` that wait for the next webhook.
    pub(crate) doors: Arc<Mutex<Vec<Door>>>,
    room: Arc<Semaphore>,
}

impl House {
    /// A new world.
    #[must_use]
    pub fn new(seed: u64, character: Character, interference: Arc<dyn Interference>) -> Self {
        Self {
            world: Twin::new(seed, Truth::new(character, signing_key()), interference),
            epoch: 1,
            pace: Pace { grants: 15, links: 10 },
            brake: Brake { least: 5, percent: 20 },
            exchange_time_out: EXCHANGE_TIME_OUT,
            doors: Arc::default(),
            room: Arc::new(Semaphore::new(REFRESH_AT_ONCE)),
        }
    }

    /// A user of Ring's of this name installs the app, and Ring sends the code.
    pub async fn install(&self, name: &str) -> Option<Result<Exchanged, ExchangeError>> {
        let code = self.world.all().ring.install(&account(name), self.world.now());
        let process = self.world.process();
        process.run(self.exchange(&process, &code)).await
    }

    /// A user of Ring's of this name is sent to link, at the next whole second.
    pub async fn arrive(&self, name: &str) -> (Nonce, LinkTime) {
        let since = u64::try_from(self.world.now().as_millisecond().rem_euclid(1_000)).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(1_000 - since)).await;
        self.world.all().ring.redirect(&account(name), self.world.now())
    }

    /// From now on this is what may befall calls.
    pub fn interfere(&self, interference: Arc<dyn Interference>) {
        self.world.all().interference = interference;
    }

    /// `token-exchange`, in this process. A grant that is not resolved is resolved by another one.
    pub async fn exchange(&self, process: &Twin, code: &AuthorizationCode) -> Result<Exchanged, ExchangeError> {
        self.exchange_from("192.0.2.1", process, code).await
    }

    /// The same, for a code that comes from this address.
    pub async fn exchange_from(
        &self,
        address: &str,
        process: &Twin,
        code: &AuthorizationCode,
    ) -> Result<Exchanged, ExchangeError> {
        let exchange = Exchange::<Simulated> {
            nature: process.clone(),
            grants: process.clone(),
            vault: Vault::new(process.clone()),
            ring: process.clone(),
            client: process.clone(),
            rescuer: Rescuer::new(process.clone(), process.clone()),
            epoch: self.epoch,
            refusals: Quota::new(process.clone(), "source", REFUSED_CODES, WINDOW),
        };
        let presented = Presented {
            code: code.clone(),
            verifier: None,
            source: Source::of(address),
        };
        let exchanged = exchange
            .exchange(&presented, self.cut_off_after(self.exchange_time_out))
            .await?;
        if let Exchanged::Unresolved(id) = &exchanged {
            tokio::spawn(self.clone().resolve(id.clone()));
        }
        Ok(exchanged)
    }

    /// `token-refresh`, told by its queue of a grant whose owner is not known yet: each try is another process.
    async fn resolve(self, id: GrantId) {
        let mut wait = Some(RESOLVE_WAITS[0]);
        let mut attempt = 0;
        while let Some(wait_for) = wait {
            tokio::time::sleep(wait_for).await;
            attempt += 1;
            let process = self.world.process();
            let refresh = self.token_refresh(&process);
            wait = process
                .run(refresh.resolve(&id, attempt, self.cut_off()))
                .await
                .flatten();
        }
    }

    /// `token-refresh`, in this process.
    #[must_use]
    pub fn token_refresh(&self, process: &Twin) -> TokenRefresh<Simulated> {
        let refresher = Refresher {
            nature: process.clone(),
            grants: process.clone(),
            links: process.clone(),
            vault: Vault::new(process.clone()),
            ring: process.clone(),
            client: process.clone(),
            rescuer: Rescuer::new(process.clone(), process.clone()),
            epoch: self.epoch,
            brake: self.brake,
            deadline: Timestamp::MAX,
        };
        TokenRefresh {
            due: refresher.clone(),
            asked: refresher,
            ring: process.clone(),
            effects: process.clone(),
            complete: CompleteLink::AtOnce,
            leeway: Duration::ZERO,
            pace: self.pace,
            metrics: Metrics::new("simulation", "token-refresh"),
        }
    }

    /// When an invocation that begins now is cut off.
    #[must_use]
    pub fn cut_off(&self) -> Timestamp {
        self.cut_off_after(CUT_OFF)
    }

    fn cut_off_after(&self, time_out: Duration) -> Timestamp {
        self.world.now() + signed(time_out)
    }

    /// The minute that comes `later` than now, by the schedule's time. `None`: the process died.
    pub async fn minute(&self, process: &Twin, later: Duration) -> Option<Minute> {
        let refresh = self.token_refresh(process);
        let time = self.world.now() + signed(later);
        process.run(refresh.minute(time, self.cut_off())).await?.ok()
    }

    /// Access to tokens, in this process.
    #[must_use]
    pub fn access(&self, process: &Twin) -> Access<Simulated, Asks> {
        let asks = Asks { house: self.clone() };
        Access::new(process.clone(), Vault::new(process.clone()), asks)
    }

    /// A call of Ring's API under a grant.
    pub async fn call(&self, process: &Twin, id: &GrantId) -> Result<(), CallError> {
        use shared::grant::ports::TokenEndpoint as _;
        let call = |token| async move { process.me(&token).await.map(|_| ()) };
        self.access(process).call(id, self.world.now(), call).await
    }

    /// `account-link`, in this process: from a nonce to a link, as far as it gets.
    pub async fn link(
        &self,
        process: &Twin,
        user: &str,
        (nonce, time): &(Nonce, LinkTime),
    ) -> Result<Linked, ClaimError> {
        let claims = Claims::<Simulated, Asks> {
            nature: process.clone(),
            grants: process.clone(),
            links: process.clone(),
            vault: Vault::new(process.clone()),
            ring: process.clone(),
            access: self.access(process),
            complete: CompleteLink::AtOnce,
            leeway: Duration::ZERO,
        };
        let attempt = Attempt {
            user_id: user.to_owned(),
            account_identifier: (user != NAMELESS).then(|| "u***r@example.com".to_owned()),
            nonce: nonce.clone(),
            time: time.clone(),
        };
        let mut linked = claims.link(&attempt, &[signing_key()]).await;
        if let Err(ClaimError::Unsettled(earlier)) = linked {
            let _settled = self.settler(process).settle(*earlier).await;
            linked = claims.link(&attempt, &[signing_key()]).await;
        }
        let linked = linked?;
        let (Linked::Now(link) | Linked::Before(link)) = linked.clone();
        // What is left to be done is `token-refresh`'s.
        let _settled = self.settler(process).settle(link).await;
        Ok(linked)
    }

    /// `account-link`: the end of a link.
    pub async fn unlink(&self, process: &Twin, link: Link) -> bool {
        self.settler(process).unlink(link, EndReason::Unlinked).await.is_ok()
    }

    /// `account-link`: a link is completed, or awaits its user again.
    pub async fn set_up(&self, process: &Twin, link: Link, status: SetUp) -> bool {
        let identifier = link.account_identifier.clone();
        self.settler(process).set_status(link, status, identifier).await.is_ok()
    }

    pub(crate) fn settler(&self, process: &Twin) -> Settler<Simulated, Asks> {
        Settler {
            nature: process.clone(),
            grants: process.clone(),
            links: process.clone(),
            effects: process.clone(),
            ring: process.clone(),
            access: self.access(process),
        }
    }
}

/// Asks `token-refresh`: another process, which goes on when the one that asked has no more patience, or dies.
#[derive(Clone, Debug)]
pub struct Asks {
    house: House,
}

impl Refresh for Asks {
    async fn refresh(&self, request: &RefreshRequest) -> RefreshOutcome {
        let (house, request) = (self.house.clone(), request.clone());
        // Where all are at work it is asked again for a while, as `Function` does.
        let asked = tokio::spawn(async move {
            let _room = house.room.acquire().await.ok()?;
            let process = house.world.process();
            let refresh = house.token_refresh(&process);
            process.run(refresh.asked(&request, house.cut_off())).await
        });
        match tokio::time::timeout(REFRESH_WITHIN, asked).await {
            Ok(Ok(Some(outcome))) => outcome,
            _ => RefreshOutcome::Unavailable,
        }
    }
}
