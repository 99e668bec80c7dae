//! Keeps every grant alive: each minute, or asked for one.
//!
//! Each minute (the `time` in the schedule's event sets what is due): grants whose owner is not known yet are resolved,
//! links that were left half-way are resumed, pairs older than a day are renewed with the oldest first, and each link's
//! devices are listed anew daily. Asked synchronously with `{"grant","generation"}`, it renews that one pair and answers
//! what came of it. It is the one program that may open refresh tokens.

mod config;

use std::sync::Arc;
use std::time::Duration;

pub use config::Config;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::Ring;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};
use shared::device::store::Devices;
use shared::edge::bus::Bus;
use shared::edge::clock::signed;
use shared::edge::queue::Queue;
use shared::edge::secret::Secret;
use shared::edge::table::StoreError;
use shared::edge::{aws, clock, key};
use shared::event::store::Events;
use shared::grant::access::{Access, CallError, Refresh as _, RefreshOutcome, RefreshRequest};
use shared::grant::refresh::Refresher;
use shared::grant::store::Grants;
use shared::grant::vault::Vault;
use shared::grant::{Grant, GrantId, Life};
use shared::link::claim::{ClaimError, Claims};
use shared::link::settle::{SettleError, Settler};
use shared::link::store::Links;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

const CREDENTIALS_KEPT_FOR: Duration = Duration::from_secs(300);
/// The most grants, and the most links, that one minute looks at.
const MOST_A_MINUTE: usize = 1_000;
/// How many are worked on side by side. With answers of 200 ms and more it holds the renewals below their share of the
/// 100 requests a second that Ring allows a client (Ring: Rate Limiting).
const AT_ONCE: usize = 4;
/// A link that could not be settled is looked at again after this.
const UNSETTLED_WAITS_FOR: Duration = Duration::from_secs(300);
/// Nothing new is begun after this, which leaves the last one begun the time to end well before the function's time-out
/// in the template: a renewal that is cut off between Ring's answer and its being saved loses a pair: the next minute goes on.
const BEGIN_WITHIN: Duration = Duration::from_secs(45);

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
}

/// What it says when it is done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// To the program that asked.
    Outcome(RefreshOutcome),
    /// To the schedule.
    Minute(Minute),
}

/// What one minute came to.
#[derive(Debug, Default, Serialize)]
pub struct Minute {
    /// Grants whose owner is known now.
    pub resolved: usize,
    /// Pairs that were renewed.
    pub renewed: usize,
    /// Grants that were given up, or that Ring refuses.
    pub ended: usize,
    /// Links of which nothing is left to do now.
    pub settled: usize,
    /// Grants and links that are tried again.
    pub failed: usize,
}

/// The token refresh.
#[derive(Debug)]
pub struct TokenRefresh {
    grants: Grants,
    links: Links,
    ring: Ring,
    refresher: Refresher,
    access: Access<Refresher>,
    claims: Claims<Refresher>,
    settler: Settler<Refresher>,
}

/// What became of one grant.
enum Step {
    Nothing,
    Resolved,
    Renewed,
    Ended,
}

/// Why a grant or a link is tried again.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("the pair could not be renewed")]
    Renewal,
}

impl TokenRefresh {
    /// A token refresh with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let ring = config.ring.client()?;
        let grants = Grants::new(aws, config.grants_table);
        let links = Links::new(aws, config.links_table);
        let vault = Vault::new(aws, config.token_key_id);
        let secret = Arc::new(Secret::new(aws, config.oauth_secret_id, CREDENTIALS_KEPT_FOR));
        let refresher = Refresher::new(grants.clone(), links.clone(), vault.clone(), ring.clone(), secret);
        let access = Access::new(grants.clone(), vault.clone(), refresher.clone());
        Ok(Self {
            claims: Claims::new(
                grants.clone(),
                links.clone(),
                vault,
                ring.clone(),
                access.clone(),
                config.complete_link,
            ),
            settler: Settler {
                grants: grants.clone(),
                links: links.clone(),
                devices: Devices::new(aws, config.devices_table),
                events: Events::new(aws, config.events_table),
                events_queue: Queue::new(aws, config.events_queue_url),
                bus: Bus::new(aws, config.event_bus_name),
                ring: ring.clone(),
                access: access.clone(),
            },
            grants,
            links,
            ring,
            refresher,
            access,
        })
    }

    /// Handles one wake.
    pub async fn handle(&self, event: LambdaEvent<Wake>) -> Result<Said, Error> {
        Ok(match event.payload {
            Wake::Asked(request) => Said::Outcome(self.refresher.refresh(&request).await),
            Wake::Minute { time } => Said::Minute(self.minute(time).await?),
        })
    }

    /// Everything that is due at `time`.
    async fn minute(&self, time: Timestamp) -> Result<Minute, StoreError> {
        let stop_at = clock::now() + signed(BEGIN_WITHIN);
        let mut minute = Minute::default();
        let grants = self.grants.due(time, MOST_A_MINUTE).await?;
        let steps = futures_util::stream::iter(grants).map(|id| async move {
            if clock::now() > stop_at {
                Ok(Step::Nothing)
            } else {
                self.grant(&id, time).await
            }
        });
        let mut steps = steps.buffer_unordered(AT_ONCE);
        while let Some(step) = steps.next().await {
            match step {
                Ok(Step::Nothing) => {}
                Ok(Step::Resolved) => minute.resolved += 1,
                Ok(Step::Renewed) => minute.renewed += 1,
                Ok(Step::Ended) => minute.ended += 1,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a grant is tried again");
                    minute.failed += 1;
                }
            }
        }
        let links = self.links.due(time, MOST_A_MINUTE).await?;
        let settled = futures_util::stream::iter(links).map(|account| async move {
            if clock::now() > stop_at {
                Ok(())
            } else {
                self.link(&account, time).await
            }
        });
        let mut settled = settled.buffer_unordered(AT_ONCE);
        while let Some(link) = settled.next().await {
            match link {
                Ok(()) => minute.settled += 1,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a link is tried again");
                    minute.failed += 1;
                }
            }
        }
        tracing::info!(
            resolved = minute.resolved,
            renewed = minute.renewed,
            ended = minute.ended,
            settled = minute.settled,
            failed = minute.failed,
            "what was due at {time} is looked at"
        );
        Ok(minute)
    }

    /// The next step of a grant that is due.
    async fn grant(&self, id: &GrantId, time: Timestamp) -> Result<Step, Undone> {
        // The index may be behind: only what the row itself says is due.
        let Some(grant) = self.grants.get_due(id, time).await? else {
            return Ok(Step::Nothing);
        };
        match &grant.life {
            Life::Resolving { .. } | Life::Unclaimed { .. } if grant.is_given_up(time) => {
                self.refresher.give_up(grant, clock::now()).await?;
                Ok(Step::Ended)
            }
            Life::Resolving { .. } => self.resolve(grant).await,
            Life::Claiming { .. } => {
                if let Some(link) = self.claims.resume(grant, clock::now()).await? {
                    self.settler.settle(link, clock::now()).await?;
                }
                Ok(Step::Nothing)
            }
            Life::Unclaimed { .. } | Life::Confirmed | Life::Linked => {
                let generation = grant.tokens.map_or(0, |tokens| tokens.generation);
                match self
                    .refresher
                    .refresh(&RefreshRequest {
                        grant: id.clone(),
                        generation,
                    })
                    .await
                {
                    RefreshOutcome::Fresh => Ok(Step::Renewed),
                    RefreshOutcome::RelinkRequired | RefreshOutcome::Ended => Ok(Step::Ended),
                    RefreshOutcome::Unavailable => Err(Undone::Renewal),
                }
            }
            Life::RelinkRequired { .. } | Life::Ended { .. } => Ok(Step::Nothing),
        }
    }

    /// Asks Ring whose a new grant is.
    async fn resolve(&self, grant: Grant) -> Result<Step, Undone> {
        let now = clock::now();
        let asked = self
            .access
            .call(&grant.id, now, |token| async move { self.ring.me(&token).await })
            .await;
        let (next, outcome) = match asked {
            Ok(user) => (grant.resolved(user.id, now), Ok(Step::Resolved)),
            Err(error) => (grant.still_resolving(), Err(error.into())),
        };
        if let Ok(next) = next {
            self.grants
                .advance(&next, next.due_at(now, key::fraction()), now, Vec::new())
                .await?;
        }
        outcome
    }

    /// What is to be done about a link that is due: what was left half-way, or the daily listing.
    async fn link(&self, account: &AccountId, time: Timestamp) -> Result<(), Undone> {
        let Some(link) = self.links.get_due(account, time).await? else {
            return Ok(());
        };
        let link = if link.todo.is_empty() {
            link.to_be_listed()
        } else {
            link
        };
        if let Err(error) = self.settler.settle(link, clock::now()).await {
            self.links
                .put_off(account, clock::now() + signed(UNSETTLED_WAITS_FOR))
                .await?;
            return Err(error.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_and_a_program_are_told_apart() {
        let schedule = r#"{"version":"0","id":"1","detail-type":"Scheduled Event","source":"aws.events",
            "time":"2026-02-14T00:02:00Z","region":"us-east-1","resources":[],"detail":{}}"#;
        assert!(matches!(serde_json::from_str(schedule).unwrap(), Wake::Minute { .. }));
        let asked = r#"{"grant":"grt_1","generation":3}"#;
        assert!(matches!(serde_json::from_str(asked).unwrap(), Wake::Asked(request) if request.generation == 3));
    }
}
