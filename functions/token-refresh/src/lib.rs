//! Keeps every grant alive: each minute, or asked for one.
//!
//! Each minute (the `time` in the schedule's event sets what is due): pairs in the rescue queue are brought home, grants whose
//! owner is not known yet are resolved, links that were left half-way are resumed, pairs older than a day are renewed with the
//! oldest first, each link's devices are listed anew daily, and it is looked whether everything, or the listed account, is
//! quieter than is usual. Asked synchronously with `{"grant","generation"}`, it renews that one pair and answers what came of
//! it. From a queue it takes `{"resolve"}`, and asks Ring whose that new grant is, at the waits of a new grant. It is the one
//! program that may open refresh tokens.

mod config;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
pub use config::Config;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::oauth::TokenError;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};
use shared::audit::store::Audit;
use shared::capture::session::live::Closer;
use shared::capture::session::store::SessionTable;
use shared::device::store::Devices;
use shared::edge::batch::{Outcome, Source, received};
use shared::edge::bus::Bus;
use shared::edge::clock::signed;
use shared::edge::config::RingConfig;
use shared::edge::metrics::Metrics;
use shared::edge::queue::Queue;
use shared::edge::secret::Secret;
use shared::edge::table::StoreError;
use shared::edge::{aws, clock};
use shared::event::silence::{Watch, store::Pulse};
use shared::event::store::Events;
use shared::grant::access::{
    Access, AccessError, CallError, Refresh as _, RefreshOutcome, RefreshRequest, ResolveRequest,
};
use shared::grant::ports::Grants as _;
use shared::grant::refresh::{Brake, Refresher, RefusedPair, Renewal, Undone as NotRenewed};
use shared::grant::rescue::Rescuer;
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::grant::{Grant, GrantId, Life, RESOLVE_WAITS};
use shared::link::claim::{ClaimError, Claims};
use shared::link::effects::Downstream;
use shared::link::ports::Links as _;
use shared::link::settle::{SettleError, Settler};
use shared::link::store::{LinkLedger, LinkTable};
use shared::link::{CompleteLink, LinkStatus};
use shared::world::{Deployed, Nature as _, System, World};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

const CREDENTIALS_KEPT_FOR: Duration = Duration::from_secs(300);
/// How many that are due are asked for in one go.
const PAGE: usize = 500;
/// How many grants are worked on side by side. With Ring answering within two seconds it keeps the pace.
const GRANTS_AT_ONCE: usize = 32;
/// How many links are. Each may ask Ring several times, and waits for leave no longer than Ring's client allows.
const LINKS_AT_ONCE: usize = 8;
/// A link that could not be settled is looked at again after this.
const UNSETTLED_WAITS_FOR: Duration = Duration::from_secs(300);
/// A link that Ring could not be told to be complete for so long is somebody's to look at.
const COMPLETED_WITHIN: Duration = Duration::from_secs(600);
/// Nothing new is begun after this: the next minute goes on. What was begun last has the time to end well before the
/// function's time-out in the template, as a renewal that is cut off between Ring's answer and its being saved loses a pair.
const BEGIN_WITHIN: Duration = Duration::from_millis(58_500);
/// A refresh token that ends this soon, and was not renewed just now, is somebody's to look at.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(5 * 24);
const ENDS_NOW: SignedDuration = SignedDuration::from_hours(24);
/// Up to so many refused pairs in one to two days are believed, whatever their share.
const REFUSED_AT_LEAST: u64 = 5;

/// What wakes this function.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Wake {
    /// A program asks for one grant.
    Asked(RefreshRequest),
    /// The schedule's event.
    Minute {
        /// What counts as now for what is due.
        time: Timestamp,
    },
    /// New grants whose owner is not known yet.
    Resolve(SqsEvent),
}

/// What it says when it is done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// To the program that asked.
    Outcome(RefreshOutcome),
    /// To the queue: what stays in it.
    Resolved(SqsBatchResponse),
    /// To the schedule.
    Minute(Minute),
}

/// What one minute came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// Pairs that came home from the rescue queue.
    pub rescued: usize,
    /// Grants whose owner is known now.
    pub resolved: usize,
    /// Pairs that were renewed.
    pub renewed: usize,
    /// Pairs that Ring refused.
    pub refused: usize,
    /// Grants that were given up, or whose user has to link again.
    pub ended: usize,
    /// Links of which nothing is left to do now.
    pub settled: usize,
    /// Grants and links that are tried again.
    pub failed: usize,
}

/// The token refresh.
#[derive(Clone, Debug)]
pub struct TokenRefresh<W: World> {
    /// Renews what is due.
    pub due: Refresher<W>,
    /// Renews what is asked for, which has a budget of its own.
    pub asked: Refresher<W>,
    /// Ring, as links ask it: on the API's budget.
    pub ring: W::Ring,
    /// What follows from a link.
    pub effects: W::Effects,
    /// When Ring is told that a link is complete.
    pub complete: CompleteLink,
    /// How far ahead of our clock a link's time may lie.
    pub leeway: Duration,
    /// How many are begun each second.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
}

/// How many of what is due are begun each second: within the shares of Ring's limit (Ring: Rate Limiting).
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Grants.
    pub grants: u32,
    /// Links.
    pub links: u32,
}

/// The walks of one invocation.
struct Walks<W: World> {
    refresher: Refresher<W>,
    claims: Claims<W, Refresher<W>>,
    settler: Settler<W, Refresher<W>>,
    /// Nothing new is begun after this.
    begin_until: Timestamp,
    /// Nor after Ring has asked for a pause.
    paused: AtomicBool,
    metrics: Metrics,
}

/// What became of one grant.
enum Step {
    Nothing,
    Resolved,
    Renewed,
    Refused(RefusedPair),
    Ended,
}

/// Why a grant or a link is tried again.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error(transparent)]
    Renewal(#[from] NotRenewed),
}

impl Undone {
    /// Ring refuses our id or secret. That has an alarm of its own, and is no failure of a grant's.
    fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Renewal(NotRenewed::Ring(TokenError::InvalidClient)))
    }

    /// Ring asks to be left alone: the rest of this minute's share is not used.
    fn is_pause(&self) -> bool {
        match self {
            Self::Renewal(NotRenewed::Ring(error)) => error.pause().is_some(),
            Self::Claim(ClaimError::Ring(CallError::Ring(error))) => error.pause().is_some(),
            _ => false,
        }
    }
}

/// The program: the walks, and the queue that some of them are asked for by.
#[derive(Debug)]
pub struct Program {
    walks: TokenRefresh<Deployed>,
    resolve_queue: Source,
}

impl Program {
    /// The program with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let grants = GrantTable::new(aws, config.grants_table);
        // Three quarters of the renewals' share are for what is due, in the one run of each minute; what is asked for has the
        // rest. Links have a fifth of the API's.
        let pace = Pace {
            grants: (config.ring.share * 3 / 4).max(1),
            links: (config.api_share / 5).max(1),
        };
        let metrics = Metrics::new(&config.metrics_namespace, SERVICE);
        let audit = Audit::new(
            aws,
            config.audit_table,
            config.audit_retention_days,
            &config.links_table,
        );
        let events = Events::new(aws, &config.events_table);
        let pulse = Pulse::new(aws, config.events_table);
        let ring = |share: u32, shared_by: u32| {
            RingConfig {
                share: share.max(1),
                shared_by: shared_by.max(1),
                ..config.ring.clone()
            }
            .client()
        };
        let due = Refresher {
            nature: System,
            links: LinkLedger::new(LinkTable::new(aws, config.links_table), grants.clone(), audit.clone()),
            vault: Vault::new(Kms::new(aws, config.token_key_id)),
            ring: ring(pace.grants, 1)?,
            client: Arc::new(Secret::new(aws, config.oauth_secret_id, CREDENTIALS_KEPT_FOR)),
            rescuer: Rescuer::new(grants.clone(), Queue::new(aws, config.rescue_queue_url)),
            grants,
            epoch: config.grants_epoch,
            brake: Brake {
                least: REFUSED_AT_LEAST,
                percent: config.refused_share_percent,
            },
            deadline: Timestamp::MAX,
        };
        let walks = TokenRefresh {
            asked: Refresher {
                ring: ring(config.ring.share - pace.grants, config.ring.shared_by - 1)?,
                ..due.clone()
            },
            due,
            ring: ring(pace.links, 1)?,
            effects: Downstream {
                audit,
                live: Closer {
                    sessions: SessionTable::new(aws, &config.devices_table),
                    ring: ring(pace.links, 1)?,
                },
                devices: Devices::new(aws, config.devices_table),
                events: events.clone(),
                events_queue: Queue::new(aws, config.events_queue_url),
                bus: Bus::new(aws, config.event_bus_name),
                watch: Some(Watch {
                    pulse,
                    events,
                    metrics: metrics.clone(),
                }),
            },
            complete: config.complete_link,
            leeway: config.link_leeway,
            pace,
            metrics,
        };
        let resolve_queue = Source {
            queue: Queue::new(aws, config.resolve_queue_url),
            quarantine: None,
        };
        Ok(Self { walks, resolve_queue })
    }

    /// Handles one wake.
    pub async fn handle(&self, event: LambdaEvent<Wake>) -> Result<Said, Error> {
        // The runtime gives the instant at which Lambda ends this invocation.
        let deadline = Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX);
        // Boxed, as the walks are deep: the runtime moves this future about.
        Ok(match event.payload {
            Wake::Asked(request) => Said::Outcome(self.walks.asked(&request, deadline).boxed().await),
            Wake::Minute { time } => {
                let (minute, ()) = tokio::join!(self.walks.minute(time, deadline).boxed(), self.listen(time));
                for ring in [&self.walks.ring, &self.walks.due.ring] {
                    if let Some(left) = ring.take_lowest_left() {
                        self.walks.metrics.level("ring_requests_left", left);
                    }
                }
                // What was counted goes out, whether or not the minute came to its end.
                self.walks.metrics.flush(clock::now());
                Said::Minute(minute?)
            }
            Wake::Resolve(batch) => {
                let one = async |message: &SqsMessage| self.resolve_message(message, deadline).boxed().await;
                Said::Resolved(self.resolve_queue.each(batch, one).await)
            }
        })
    }

    /// Looks whether nothing comes from Ring any more, by the time of the schedule's event.
    async fn listen(&self, time: Timestamp) {
        if let Some(watch) = &self.walks.effects.watch {
            watch.everything(time).await;
        }
    }

    async fn resolve_message(&self, message: &SqsMessage, deadline: Timestamp) -> Outcome {
        let body = message.body.as_deref().unwrap_or_default();
        let Ok(request) = serde_json::from_str::<ResolveRequest>(body) else {
            tracing::error!("the queue of grants to be resolved holds what is none");
            return Outcome::Done;
        };
        match self.walks.resolve(&request.resolve, received(message), deadline).await {
            Some(wait) => Outcome::RetryAfter(wait),
            None => Outcome::Done,
        }
    }
}

impl<W: World> TokenRefresh<W> {
    /// Renews one pair, for a program that needs it now.
    pub async fn asked(&self, request: &RefreshRequest, deadline: Timestamp) -> RefreshOutcome {
        self.asked.until(deadline).refresh(request).await
    }

    /// Asks Ring whose a new grant is, for the `attempt`-th time (from 1) since it was told of it. How long to wait before the
    /// next; `None`: it is known, or each minute goes on with it.
    pub async fn resolve(&self, id: &GrantId, attempt: u32, deadline: Timestamp) -> Option<Duration> {
        let resolved = self.walks(&self.asked, deadline).claims.resolve(id).await;
        let error = resolved.err()?;
        tracing::warn!(
            grant.id = id.as_str(),
            error = &error as &dyn std::error::Error,
            "whose grant {id} is is not known yet"
        );
        RESOLVE_WAITS.get(attempt as usize).copied()
    }

    /// Everything that is due at `time`, as far as it goes in a minute.
    pub async fn minute(&self, time: Timestamp, deadline: Timestamp) -> Result<Minute, StoreError> {
        let walks = self.walks(&self.due, deadline);
        // Side by side: none waits for another's backlog.
        let (home, grants, links) = tokio::join!(
            walks.refresher.rescuer.bring_home(),
            self.grants(&walks, time),
            self.links(&walks, time)
        );
        let (grants, links) = (grants?, links?);
        let mut minute = Minute {
            settled: links.settled,
            failed: grants.failed + links.failed,
            ..grants
        };
        match home {
            Ok(home) => minute.rescued = home.applied,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "rescued pairs are not home yet"
                );
                minute.failed += 1;
            }
        }
        tracing::info!(
            rescued = minute.rescued,
            resolved = minute.resolved,
            renewed = minute.renewed,
            refused = minute.refused,
            ended = minute.ended,
            settled = minute.settled,
            failed = minute.failed,
            "what was due at {time} is looked at"
        );
        Ok(minute)
    }

    async fn grants(&self, walks: &Walks<W>, time: Timestamp) -> Result<Minute, StoreError> {
        let mut minute = Minute::default();
        let mut refused = Vec::new();
        let mut seen = BTreeSet::new();
        // Each page begins where the one before has ended, as what is done is not due any more.
        while walks.has_time() {
            let mut due = walks.refresher.grants.due(time, PAGE).await?;
            due.retain(|id| seen.insert(id.clone()));
            if due.is_empty() {
                break;
            }
            let begun =
                Self::paced(due, self.pace.grants).map(|id| async move { walks.grant(&id, time).await }.boxed());
            let mut steps = std::pin::pin!(begun.buffer_unordered(GRANTS_AT_ONCE));
            while let Some(step) = steps.next().await {
                match step {
                    Ok(Step::Nothing) => {}
                    Ok(Step::Resolved) => minute.resolved += 1,
                    Ok(Step::Renewed) => minute.renewed += 1,
                    Ok(Step::Refused(pair)) => refused.push(pair),
                    Ok(Step::Ended) => minute.ended += 1,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a grant is tried again");
                        minute.failed += 1;
                        self.metrics
                            .count("grants_failed", u64::from(!error.is_of_credentials()));
                        // What is begun comes to its end; nothing more is begun. Nor can anything be renewed while our id or
                        // secret is wrong.
                        let stops = error.is_pause() || error.is_of_credentials();
                        if stops && !walks.paused.swap(true, Ordering::Relaxed) {
                            tracing::warn!("Ring asks for a pause, or refuses all: this minute ends early");
                            self.metrics.count("ring_pauses", u64::from(error.is_pause()));
                        }
                    }
                }
            }
        }
        minute.refused = refused.len();
        self.metrics.count("pairs_renewed", minute.renewed as u64);
        self.metrics.count("pairs_refused", minute.refused as u64);
        minute.ended += walks.refresher.judge(refused, minute.renewed as u64).await?;
        Ok(minute)
    }

    async fn links(&self, walks: &Walks<W>, time: Timestamp) -> Result<Minute, StoreError> {
        let mut minute = Minute::default();
        let mut seen = BTreeSet::new();
        while walks.is_in_time() {
            let mut due = walks.refresher.links.due(time, PAGE).await?;
            due.retain(|account| seen.insert(account.clone()));
            if due.is_empty() {
                break;
            }
            let begun = Self::paced(due, self.pace.links)
                .map(|account| async move { walks.link(&account, time).await }.boxed());
            let mut settled = std::pin::pin!(begun.buffer_unordered(LINKS_AT_ONCE));
            while let Some(link) = settled.next().await {
                match link {
                    Ok(()) => minute.settled += 1,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a link is tried again");
                        minute.failed += 1;
                    }
                }
            }
        }
        Ok(minute)
    }

    /// One after the other, so many of them a second.
    fn paced<T>(items: Vec<T>, a_second: u32) -> impl Stream<Item = T> {
        let interval = tokio::time::interval(Duration::from_secs(1) / a_second.max(1));
        futures_util::stream::unfold((items.into_iter(), interval), async |(mut items, mut interval)| {
            let item = items.next()?;
            interval.tick().await;
            Some((item, (items, interval)))
        })
    }

    fn walks(&self, refresher: &Refresher<W>, deadline: Timestamp) -> Walks<W> {
        let refresher = refresher.until(deadline);
        let Refresher {
            nature,
            grants,
            links,
            vault,
            ring,
            ..
        } = refresher.clone();
        let access = Access::new(grants.clone(), vault.clone(), refresher.clone());
        Walks {
            begin_until: nature.now() + signed(BEGIN_WITHIN),
            paused: AtomicBool::new(false),
            metrics: self.metrics.clone(),
            refresher,
            claims: Claims {
                nature: nature.clone(),
                grants: grants.clone(),
                links: links.clone(),
                vault,
                ring,
                access: access.clone(),
                complete: self.complete,
                leeway: self.leeway,
            },
            settler: Settler {
                nature,
                grants,
                links,
                effects: self.effects.clone(),
                ring: self.ring.clone(),
                access,
            },
        }
    }
}

impl<W: World> Walks<W> {
    /// Whether another grant may be begun: Ring's pause is one of the grants' share, and links have another.
    fn has_time(&self) -> bool {
        !self.paused.load(Ordering::Relaxed) && self.is_in_time()
    }

    fn is_in_time(&self) -> bool {
        self.refresher.nature.now() < self.begin_until
    }

    /// The next step of a grant that is due.
    async fn grant(&self, id: &GrantId, time: Timestamp) -> Result<Step, Undone> {
        if !self.has_time() {
            return Ok(Step::Nothing);
        }
        // The index may be behind: only what the row itself says is due.
        let Some(grant) = self.refresher.grants.get_due(id, time).await? else {
            return Ok(Step::Nothing);
        };
        match &grant.life {
            _ if grant.is_given_up(time) => {
                self.refresher.give_up(grant).await?;
                Ok(Step::Ended)
            }
            Life::Resolving { .. } => match self.claims.resolve(id).await {
                Ok(true) => Ok(Step::Resolved),
                Ok(false) => Ok(Step::Nothing),
                Err(error) => self.not_asked(&grant, error),
            },
            Life::Claiming { .. } => self.resume(grant).await,
            Life::Unclaimed { .. } | Life::Confirmed | Life::Linked => self.renew(&grant, time).await,
            Life::RelinkRequired { .. } | Life::Ended { .. } => Ok(Step::Nothing),
        }
    }

    /// A claim that was left half-way.
    async fn resume(&self, grant: Grant) -> Result<Step, Undone> {
        let mut resumed = self.claims.resume(grant.clone()).await;
        if let Err(ClaimError::Unsettled(earlier)) = resumed {
            self.settler.settle(*earlier).await?;
            resumed = self.claims.resume(grant.clone()).await;
        }
        match resumed {
            Ok(Some(link)) => {
                self.settler.settle(link).await?;
                Ok(Step::Nothing)
            }
            Ok(None) => Ok(Step::Nothing),
            Err(error) => self.not_asked(&grant, error),
        }
    }

    async fn renew(&self, grant: &Grant, time: Timestamp) -> Result<Step, Undone> {
        let renewed = self.renew_now(grant).await;
        if let Some(tokens) = &grant.tokens {
            self.metrics.time("renewal_overdue_ms", tokens.overdue(time));
            // What is renewed has a month again.
            if !matches!(renewed, Ok(Step::Renewed)) {
                let left = tokens.refresh_expires_at.duration_since(time);
                self.metrics.count("tokens_end_in_5_days", u64::from(left < ENDS_SOON));
                self.metrics.count("tokens_end_in_a_day", u64::from(left < ENDS_NOW));
            }
        }
        renewed
    }

    async fn renew_now(&self, grant: &Grant) -> Result<Step, Undone> {
        let generation = grant.tokens.as_ref().map_or(0, |tokens| tokens.generation);
        Ok(match self.refresher.renew(&grant.id, generation).await? {
            Renewal::Fresh(true) => Step::Renewed,
            Renewal::Fresh(false) => Step::Nothing,
            Renewal::Refused(pair) => Step::Refused(pair),
            Renewal::RelinkRequired | Renewal::Ended => Step::Ended,
        })
    }

    /// What became of a grant that Ring could not be asked about: it may be that Ring refuses its pair.
    fn not_asked(&self, grant: &Grant, error: ClaimError) -> Result<Step, Undone> {
        match (&error, &grant.tokens) {
            (ClaimError::Ring(CallError::Access(AccessError::Refused)), Some(tokens)) => {
                Ok(Step::Refused(RefusedPair {
                    grant: grant.id.clone(),
                    generation: tokens.generation,
                    is_counted: self.refresher.is_counted(grant.refused_at),
                }))
            }
            _ => Err(error.into()),
        }
    }

    /// What is to be done about a link that is due: what was left half-way, or the daily listing.
    async fn link(&self, account: &AccountId, time: Timestamp) -> Result<(), Undone> {
        if !self.is_in_time() {
            return Ok(());
        }
        let links = &self.refresher.links;
        let Some(link) = links.get_due(account, time).await? else {
            return Ok(());
        };
        let link = if link.todo.is_empty() {
            link.to_be_listed()
        } else {
            link
        };
        let now = self.refresher.nature.now();
        if link.status == LinkStatus::Confirming && now.duration_since(link.linked_at) > signed(COMPLETED_WITHIN) {
            tracing::error!(
                alarm = "link_not_completed",
                link.id = link.id,
                "link {} is confirmed at Ring since {}, and Ring could not be told that it is complete",
                link.id,
                link.linked_at,
            );
        }
        if let Err(error) = self.settler.settle(link).await {
            if let Err(not_put_off) = links.put_off(account, now + signed(UNSETTLED_WAITS_FOR)).await {
                // It is looked at with the next minute, only sooner.
                tracing::warn!(
                    error = &not_put_off as &dyn std::error::Error,
                    "a link that can't be settled now is not put off"
                );
            }
            return Err(error.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ring_ends_a_minute_and_not_one_connection_that_failed() {
        use ring_partner::error::NotSent;
        let not_sent = |why| TokenError::NotSent(Box::new(ring_partner::Error::NotSent(why)));
        let answered = |status, retry_after| TokenError::Unavailable { status, retry_after };
        let second = Duration::from_secs(1);
        for (error, is_pause) in [
            (answered(429, None), true),
            (answered(503, Some(second)), true),
            (answered(503, None), false),
            (TokenError::InvalidClient, false),
            (TokenError::InvalidGrant, false),
            (not_sent(NotSent::CircuitOpen(second)), true),
            (not_sent(NotSent::BudgetSpent(second)), false),
            (not_sent(NotSent::Unreachable("no route".into())), false),
        ] {
            let what = format!("{error:?}");
            let undone = Undone::from(NotRenewed::from(error));
            assert_eq!(undone.is_pause(), is_pause, "{what}");
            assert_eq!(undone.is_of_credentials(), what == "InvalidClient", "{what}");
        }
    }

    #[test]
    fn the_schedule_and_a_program_are_told_apart() {
        let schedule = r#"{"version":"0","id":"1","detail-type":"Scheduled Event","source":"aws.events",
            "time":"2026-02-14T00:02:00Z","region":"us-east-1","resources":[],"detail":{}}"#;
        assert!(matches!(serde_json::from_str(schedule).unwrap(), Wake::Minute { .. }));
        let asked = r#"{"grant":"grt_1","generation":3}"#;
        assert!(matches!(serde_json::from_str(asked).unwrap(), Wake::Asked(request) if request.generation == 3));
        let resolve = r#"{"Records":[{"messageId":"1","body":"{\"resolve\":\"grt_1\"}"}]}"#;
        assert!(matches!(serde_json::from_str(resolve).unwrap(), Wake::Resolve(batch) if batch.records.len() == 1));
    }
}
