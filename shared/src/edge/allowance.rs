//! How many requests one user may make. It is counted over all processes, by the block: a process takes a block of requests
//! from the quota that all share, and hands them out by itself, so that a request costs a tenth of a write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::clock;
use super::gateway::SignedIn;
use super::problem::{Problem, ProblemType};
use super::quota::{Counters, Quota, Spent};
use super::table::Table;

/// How many requests a process takes at once. What it has left of them when the minute is over is nobody's.
const BLOCK: u64 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// The most users whose blocks a process has in hand.
const MOST_IN_HAND: usize = 10_000;

/// So many requests a minute for each user.
#[derive(Clone, Debug)]
pub struct Allowance<C> {
    blocks: Quota<C>,
    /// What is left of a user's block, and of which minute it is.
    in_hand: Arc<Mutex<BTreeMap<String, (i64, u64)>>>,
}

impl<C: Counters> Allowance<C> {
    /// At most so many requests a minute, rounded up to whole blocks, counted in `counters` under `name`.
    pub fn new(counters: C, name: &'static str, requests_per_minute: u64) -> Self {
        Self {
            blocks: Quota::new(counters, name, requests_per_minute.div_ceil(BLOCK), WINDOW),
            in_hand: Arc::default(),
        }
    }

    /// Uses one request of this user's.
    pub async fn spend(&self, user: &str, now: Timestamp) -> Result<(), Spent> {
        let minute = now.as_second().div_euclid(60);
        if self.has_in_hand(user, minute) {
            return Ok(());
        }
        self.blocks.spend(user, now).await?;
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        in_hand.retain(|_, (of, left)| *of == minute && *left > 0);
        if in_hand.len() < MOST_IN_HAND {
            // Two requests of one moment each took a block: neither is lost.
            in_hand.entry(user.to_owned()).or_insert((minute, 0)).1 += BLOCK - 1;
        }
        Ok(())
    }

    fn has_in_hand(&self, user: &str, minute: i64) -> bool {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        match in_hand.get_mut(user) {
            Some((of, left)) if *of == minute && *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// A layer around routes of signed-in users: who has made too many requests is told when to come again.
pub async fn within(State(allowance): State<Allowance<Table>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let user = match SignedIn::from_request_parts(&mut parts, &()).await {
        Ok(user) => user,
        Err(problem) => return problem.into_response(),
    };
    match allowance.spend(&user.user_id, clock::now()).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(spent) => Problem::new(ProblemType::RateLimited)
            .retry_after(spent.retry_after.as_secs() + 1)
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::quota::tests::Memory;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).unwrap()
    }

    #[tokio::test]
    async fn processes_share_a_users_minute_by_the_block() {
        let counters = Memory::default();
        let processes = [(); 2].map(|()| Allowance::new(counters.clone(), "api", 40));
        let mut allowed = 0;
        for turn in 0..100 {
            allowed += usize::from(processes[turn % 2].spend("a", at(0)).await.is_ok());
        }
        assert_eq!(allowed, 40);
        assert!(
            processes[0].spend("b", at(0)).await.is_ok(),
            "another user has their own"
        );
        let spent = processes[0].spend("a", at(20)).await.unwrap_err();
        assert_eq!(spent.retry_after, Duration::from_secs(40));
        assert!(
            processes[0].spend("a", at(60)).await.is_ok(),
            "the next minute is a new one"
        );
    }

    #[tokio::test]
    async fn ten_requests_cost_one_write() {
        let counters = Memory::default();
        let allowance = Allowance::new(counters.clone(), "api", 1_000);
        for _ in 0..100 {
            allowance.spend("a", at(0)).await.unwrap();
        }
        assert_eq!(counters.asked(), 10);
    }
}
