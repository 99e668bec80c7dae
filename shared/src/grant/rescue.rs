//! The way home for a pair that could not be saved. An exchange or a renewal whose answer the table does not take puts it,
//! sealed, into the rescue queue; whoever comes by applies it, under the condition that the pair it succeeds is stored still. It is
//! looked at each minute, before a lease is taken over whose holder vanished, and before a refused grant is believed to be
//! refused.

use std::time::Duration;

use super::ports::{Grants as _, Received, Rescue as _, Rescued};
use crate::edge::queue::QueueError;
use crate::edge::table::StoreError;
use crate::world::World;

/// How long a pair that somebody is applying is hidden from others.
pub const HIDDEN_FOR: Duration = Duration::from_secs(10);
/// How often the queue is asked in one go. Each time gives up to ten pairs.
const MOST_ROUNDS: usize = 500;

/// Brings rescued pairs home.
#[derive(Clone, Debug)]
pub struct Rescuer<W: World> {
    grants: W::Grants,
    rescue: W::Rescue,
}

/// What one look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BroughtHome {
    /// Pairs that are stored now.
    pub applied: usize,
    /// Pairs that were stored already, or whose grant has ended.
    pub outdated: usize,
}

/// Why not all that waits is brought home. It waits on.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// The queue is out of reach.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The table still is.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<W: World> Rescuer<W> {
    /// Brings what waits in `rescue` home to `grants`.
    pub fn new(grants: W::Grants, rescue: W::Rescue) -> Self {
        Self { grants, rescue }
    }

    /// Puts a pair into the queue; whether it is there.
    pub async fn keep(&self, rescued: &Rescued) -> bool {
        match self.rescue.keep(rescued).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the rescue queue did not take a pair yet"
                );
                false
            }
        }
    }

    /// Applies all that waits.
    pub async fn bring_home(&self) -> Result<BroughtHome, RescueError> {
        let mut home = BroughtHome::default();
        for _ in 0..MOST_ROUNDS {
            let received = self.rescue.receive().await?;
            if received.is_empty() {
                break;
            }
            for waiting in received {
                self.apply(waiting, &mut home).await?;
            }
        }
        if home != BroughtHome::default() {
            tracing::warn!(
                applied = home.applied,
                outdated = home.outdated,
                "pairs came home from the rescue queue"
            );
        }
        Ok(home)
    }

    async fn apply(&self, waiting: Received, home: &mut BroughtHome) -> Result<(), RescueError> {
        let Some(rescued) = &waiting.rescued else {
            // Nobody else writes there. It stays for a person to look at, until the queue forgets it.
            tracing::error!(
                alarm = "rescued_pair_unreadable",
                "the rescue queue holds what is no pair"
            );
            return Ok(());
        };
        let saved = match rescued {
            Rescued::Issued(new) => self.grants.save_issued(&new.grant, &new.code, new.due).await,
            Rescued::Renewed(pair) => self.grants.save_rescued(&pair.grant, &pair.tokens, pair.due).await,
        };
        match saved {
            Ok(()) => home.applied += 1,
            Err(StoreError::Conflict) => home.outdated += 1,
            Err(error) => {
                if let Err(error) = self.rescue.put_back(&waiting.receipt).await {
                    // It comes back by itself, only later.
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a rescued pair is not put back"
                    );
                }
                return Err(error.into());
            }
        }
        self.rescue.remove(&waiting.receipt).await?;
        Ok(())
    }
}
