//! Who looks whether it is too quiet: at everything each minute, at an account when its devices are listed.

use jiff::Timestamp;
use ring_partner::users::AccountId;

use super::store::Pulse;
use super::{of_account, of_all};
use crate::device::Known;
use crate::edge::metrics::Metrics;
use crate::edge::table::StoreError;
use crate::event::store::{Events, Span};
use crate::event::{account_key, device_key};

/// How far back an account's events are looked at. A home with more of them is busy, and what is usual for it shows in these.
const MOST_EVENTS: usize = 100;

/// Looks, and counts what it finds. It stands in nobody's way: what it can't read, it says, and leaves uncounted.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The pulse of all events.
    pub pulse: Pulse,
    /// The history of each account.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
}

impl Watch {
    /// Looks at everything: counts `everything_is_quiet`, 1 or 0. Nothing is counted where the pulse can't be read; the alarm in
    /// the template takes that for the worse.
    pub async fn everything(&self, now: Timestamp) {
        let silence = match self.pulse.hours(now).await {
            Ok(hours) => of_all(&hours, now),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "whether everything is quiet is not known"
                );
                return;
            }
        };
        let unusual = silence.filter(super::Silence::is_unusual);
        self.metrics.count("everything_is_quiet", u64::from(unusual.is_some()));
        if let Some(silence) = unusual {
            tracing::error!(
                quiet_minutes = silence.lasts.as_mins(),
                usual_events = silence.missed.round() as u64,
                "nothing has come from Ring for {} minutes, in which about {} events are usual",
                silence.lasts.as_mins(),
                silence.missed.round(),
            );
        }
    }

    /// Looks at one account with these devices: counts `accounts_looked_at`, and `accounts_quiet` where it is.
    pub async fn account(&self, account: &AccountId, devices: &[Known], now: Timestamp) {
        match self.last_events(account, devices, now).await {
            Ok(events) => {
                self.metrics.count("accounts_looked_at", 1);
                if let Some(lasts) = of_account(&events, now) {
                    self.metrics.count("accounts_quiet", 1);
                    let key = account_key(account);
                    tracing::warn!(
                        account.key = key,
                        quiet_hours = lasts.as_hours(),
                        "account {key} has been quiet for {} hours, longer than is usual for it",
                        lasts.as_hours(),
                    );
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether an account is quiet is not known"
            ),
        }
    }

    async fn last_events(
        &self,
        account: &AccountId,
        devices: &[Known],
        now: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let histories: Vec<_> = devices
            .iter()
            .map(|known| device_key(account, &known.device_id))
            .collect();
        let span = Span {
            from: None,
            before: None,
            to: Some(now),
            kind: None,
            now,
        };
        let past = self.events.history(&histories, &span, MOST_EVENTS).await?;
        Ok(past.into_iter().map(|past| past.occurred_at).collect())
    }
}
