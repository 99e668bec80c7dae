//! What the processing of events has read a moment ago of links and devices: an event reads nothing while it is warm.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;

use crate::device::Known;
use crate::edge::cache::Cache;
use crate::link::Link;
use crate::policy::Policy;

/// A device, and the policy that holds for it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The device.
    pub known: Known,
    /// Its own policy, or its link's.
    pub policy: Policy,
}

/// How old what was read may be.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// The most links, and the most devices, of which something is kept.
const MOST: usize = 2_000;

/// Links and devices as they were up to ten seconds ago. That there is none is never kept: an account is linked, and
/// a device comes, in any moment.
#[derive(Debug)]
pub struct Views {
    links: Cache<AccountId, Link>,
    devices: Cache<(AccountId, DeviceId), Seen>,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            links: Cache::new(FRESH_FOR, MOST),
            devices: Cache::new(FRESH_FOR, MOST),
        }
    }
}

impl Views {
    /// The live link of an account.
    #[must_use]
    pub fn link(&self, account: &AccountId, now: Timestamp) -> Option<Link> {
        self.links.get(account, now)
    }

    /// A live link, as it was read at `now`.
    pub fn keep_link(&self, link: &Link, now: Timestamp) {
        self.links.put(link.account_id.clone(), link.clone(), now);
    }

    /// The link of this account was changed.
    pub fn forget_link(&self, account: &AccountId) {
        self.links.forget(account);
    }

    /// A device of an account.
    #[must_use]
    pub fn device(&self, account: &AccountId, device: &DeviceId, now: Timestamp) -> Option<Seen> {
        self.devices.get(&(account.clone(), device.clone()), now)
    }

    /// A device, as it was read at `now`.
    pub fn keep_device(&self, seen: &Seen, now: Timestamp) {
        let key = (seen.known.account_id.clone(), seen.known.device_id.clone());
        self.devices.put(key, seen.clone(), now);
    }

    /// A device is so now. Its policy is still that of the view, unless it has one of its own.
    pub fn tell_device(&self, known: &Known, now: Timestamp) {
        let key = (known.account_id.clone(), known.device_id.clone());
        let Some(seen) = self.devices.get(&key, now) else {
            return;
        };
        let policy = known.policy.clone().unwrap_or(seen.policy);
        let known = known.clone();
        self.devices.change(&key, Seen { known, policy });
    }

    /// This device was changed.
    pub fn forget_device(&self, account: &AccountId, device: &DeviceId) {
        self.devices.forget(&(account.clone(), device.clone()));
    }
}
