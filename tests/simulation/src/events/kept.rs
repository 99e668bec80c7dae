//! The tables of events and devices, as maps. The conditions are those of the stores.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ring_partner::devices::{Device, DeviceId};
use ring_partner::users::AccountId;
use serde_json::json;
use shared::capture::Slot;
use shared::device::{Change, Gone, Known, Mark, Told};
use shared::edge::table::StoreError;
use shared::event::{EventId, Past, Place, Progress, Record, Repeat};
use shared::media::{Medium, MediumId, Retired};
use shared::policy::Policy;

type Done = Result<(), StoreError>;

/// All that is kept.
#[derive(Debug, Default)]
pub struct Kept {
    markers: BTreeMap<String, Record>,
    /// The slim rows of what is parked: under the account, or under the device where the body names none.
    parked: BTreeMap<(String, String), EventId>,
    history: BTreeMap<Place, Past>,
    repeats: BTreeMap<(String, String), Repeat>,
    devices: BTreeMap<(AccountId, DeviceId), Known>,
    /// When an event's row was first put into the history.
    done_at: BTreeMap<String, Timestamp>,
    policies: BTreeMap<AccountId, Policy>,
    media: BTreeMap<String, Medium>,
    /// Media that wait for their device.
    waiting: BTreeMap<(AccountId, DeviceId), Vec<MediumId>>,
    retired: BTreeMap<(AccountId, DeviceId), Retired>,
    slots: BTreeMap<(AccountId, DeviceId), Slot>,
    /// Which capture a request prolonged.
    prolonged: BTreeMap<String, MediumId>,
    /// How often two captures of one device would have gone on at once.
    pub captured_twice: u64,
}

fn parked_under(record: &Record) -> (String, String) {
    let under = match (&record.account_id, &record.device_id) {
        (Some(account), _) => format!("account {account}"),
        (None, Some(device)) => format!("device {device}"),
        (None, None) => "nowhere".to_owned(),
    };
    (under, record.event_id.as_str().to_owned())
}

impl Kept {
    /// All markers.
    pub fn markers(&self) -> impl Iterator<Item = &Record> {
        self.markers.values()
    }

    /// The history of all devices and accounts.
    pub fn history(&self) -> impl Iterator<Item = &Past> {
        self.history.values()
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = &Known> {
        self.devices.values()
    }

    /// The repeats that are kept beside an event.
    pub fn repeats(&self, id: &EventId) -> impl Iterator<Item = &Repeat> {
        let id = id.as_str().to_owned();
        self.repeats
            .iter()
            .filter(move |((of, _), _)| *of == id)
            .map(|(_, repeat)| repeat)
    }

    /// When an event was done.
    #[must_use]
    pub fn done_at(&self, id: &str) -> Option<Timestamp> {
        self.done_at.get(id).copied()
    }

    /// The events that wait for this account, or for one of its devices to be known.
    #[must_use]
    pub fn parked(&self, account: &AccountId) -> Vec<EventId> {
        let mut under = vec![format!("account {account}")];
        let devices = self.devices.keys().filter(|(of, _)| of == account);
        under.extend(devices.map(|(_, device)| format!("device {device}")));
        let waiting = self.parked.iter().filter(|((of, _), _)| under.contains(of));
        waiting.map(|(_, id)| id.clone()).collect()
    }

    /// An account has this device, of which nothing else is known.
    pub fn list(&mut self, account: &AccountId, device: &DeviceId) {
        self.device(account, device);
    }

    pub(crate) fn get(&self, id: &EventId) -> Option<Record> {
        self.markers.get(id.as_str()).cloned()
    }

    /// There is none, or it has run out: whether it was deleted by then is nobody's business.
    fn is_new(&self, record: &Record, now: Timestamp) -> bool {
        let marker = self.markers.get(record.event_id.as_str());
        marker.is_none_or(|marker| marker.expires_at <= now.as_second())
    }

    pub(crate) fn record(&mut self, record: &Record, now: Timestamp) -> Done {
        if !self.is_new(record, now) {
            return Err(StoreError::Conflict);
        }
        self.markers.insert(record.event_id.as_str().to_owned(), record.clone());
        Ok(())
    }

    pub(crate) fn park(&mut self, record: &Record, now: Timestamp) -> Done {
        self.record(record, now)?;
        self.parked.insert(parked_under(record), record.event_id.clone());
        Ok(())
    }

    pub(crate) fn release(&mut self, record: &Record, parked: &Record) -> Done {
        let marker = self.markers.get(record.event_id.as_str());
        if marker.is_none_or(|marker| marker.progress != Progress::Parked) {
            return Err(StoreError::Conflict);
        }
        self.markers.insert(record.event_id.as_str().to_owned(), record.clone());
        self.parked.remove(&parked_under(parked));
        Ok(())
    }

    pub(crate) fn past(&self, place: &Place) -> Option<Past> {
        self.history.get(place).cloned()
    }

    pub(crate) fn done(&mut self, past: &Past, now: Timestamp) {
        self.history.insert(past.place(), past.clone());
        self.done_at.entry(past.event_id.as_str().to_owned()).or_insert(now);
    }

    pub(crate) fn repeated(&mut self, id: &EventId, repeat: &Repeat) {
        self.repeats
            .insert((id.as_str().to_owned(), repeat.name()), repeat.clone());
    }

    pub(crate) fn known(&self, account: &AccountId, device: &DeviceId) -> Option<Known> {
        self.devices.get(&(account.clone(), device.clone())).cloned()
    }

    pub(crate) fn account_of(&self, device: &DeviceId) -> Option<AccountId> {
        let mut accounts = self
            .devices
            .keys()
            .filter(|(_, of)| of == device)
            .map(|(account, _)| account);
        let first = accounts.next()?;
        accounts.next().is_none().then(|| first.clone())
    }

    fn device(&mut self, account: &AccountId, device: &DeviceId) -> &mut Known {
        let key = (account.clone(), device.clone());
        self.devices.entry(key).or_insert_with(|| {
            // But that it has no privacy zones.
            let nothing = json!({ "account_id": account, "device_id": device, "configurations": {} });
            serde_json::from_value(nothing).expect("a device of which nothing is known")
        })
    }

    pub(crate) fn tell(&mut self, account: &AccountId, device: &DeviceId, change: &Change) -> Option<Known> {
        let known = self.device(account, device);
        let stands = match change {
            Change::Present(told) => fold(&mut known.present, told),
            Change::Online(told) => fold(&mut known.online, told),
            Change::Doorbell => {
                known.doorbell = true;
                true
            }
        };
        stands.then(|| known.clone())
    }

    /// Something is remembered of a device.
    pub fn mark(&mut self, account: &AccountId, device: &DeviceId, mark: Mark) {
        if let Some(known) = self.devices.get_mut(&(account.clone(), device.clone())) {
            match mark {
                Mark::Awaited => known.awaited = true,
                Mark::Captured => known.captured = true,
                Mark::Watched => known.watched = true,
            }
        }
    }

    /// A listing does not show this device any more.
    pub fn gone(&mut self, account: &AccountId, device: &DeviceId, at: i64) -> Gone {
        let told = Told {
            is: false,
            at,
            by: "listing".to_owned(),
        };
        fold(&mut self.device(account, device).present, &told);
        Gone {
            account_id: account.clone(),
            device_id: device.clone(),
            at,
        }
    }

    pub(crate) fn keep(&mut self, account: &AccountId, device: Device, asked_at: Timestamp) {
        let listed = shared::device::listed(account, device, asked_at);
        let known = self.device(account, &listed.device_id);
        if known.listed_at <= listed.listed_at {
            known.name = listed.name;
            known.configurations = listed.configurations;
            known.listed_at = listed.listed_at;
        }
        for (told, kept) in [
            (&listed.present, &mut known.present),
            (&listed.online, &mut known.online),
        ] {
            if let Some(told) = told {
                fold(kept, told);
            }
        }
    }
}

/// Policies, media and captures.
impl Kept {
    /// All media that were asked for.
    pub fn media(&self) -> impl Iterator<Item = &Medium> {
        self.media.values()
    }

    /// What a device's removal has left to be purged.
    pub fn retired(&self) -> impl Iterator<Item = &Retired> {
        self.retired.values()
    }

    /// The captures that have their device, or had it last.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// What the account's link gives to its devices.
    pub fn give(&mut self, account: &AccountId, policy: Policy) {
        self.policies.insert(account.clone(), policy);
    }

    /// A medium waits for its device.
    pub fn wait(&mut self, account: &AccountId, device: &DeviceId, id: MediumId) {
        self.device(account, device).awaited = true;
        let key = (account.clone(), device.clone());
        self.waiting.entry(key).or_default().push(id);
    }

    pub(crate) fn link_policy(&self, account: &AccountId) -> Option<Policy> {
        self.policies.get(account).cloned()
    }

    pub(crate) fn give_policy(&mut self, account: &AccountId, device: &DeviceId, policy: &Policy) {
        self.device(account, device)
            .policy
            .get_or_insert_with(|| policy.clone());
    }

    pub(crate) fn request_once(&mut self, medium: Medium) -> Medium {
        let id = medium.id.as_str().to_owned();
        self.media.entry(id).or_insert(medium).clone()
    }

    pub(crate) fn waiting(&self, account: &AccountId, device: &DeviceId) -> Vec<MediumId> {
        let key = (account.clone(), device.clone());
        self.waiting.get(&key).cloned().unwrap_or_default()
    }

    pub(crate) fn waits_no_more(&mut self, account: &AccountId, device: &DeviceId, id: &MediumId) {
        let waiting = self.waiting.entry((account.clone(), device.clone())).or_default();
        waiting.retain(|waiting| waiting != id);
    }

    pub(crate) fn retire(&mut self, retired: &Retired) {
        let key = (retired.account_id.clone(), retired.device_id.clone());
        if self
            .retired
            .get(&key)
            .is_none_or(|before| before.removed_at <= retired.removed_at)
        {
            self.retired.insert(key, retired.clone());
        }
    }

    pub(crate) fn restore(&mut self, account: &AccountId, device: &DeviceId, added_at: i64) {
        let key = (account.clone(), device.clone());
        if self
            .retired
            .get(&key)
            .is_some_and(|retired| retired.removed_at < added_at)
        {
            self.retired.remove(&key);
        }
    }

    pub(crate) fn slot(&self, account: &AccountId, device: &DeviceId) -> Option<Slot> {
        self.slots.get(&(account.clone(), device.clone())).cloned()
    }

    pub(crate) fn asked(&self, id: &MediumId) -> Option<MediumId> {
        let medium = || self.media.get(id.as_str()).map(|medium| medium.id.clone());
        self.prolonged.get(id.as_str()).cloned().or_else(medium)
    }

    fn put_slot(&mut self, slot: &Slot) -> Done {
        let key = (slot.account_id.clone(), slot.device_id.clone());
        if self.slots.get(&key).map_or(0, |before| before.version) + 1 != slot.version {
            return Err(StoreError::Conflict);
        }
        self.slots.insert(key, slot.clone());
        Ok(())
    }

    pub(crate) fn take(&mut self, slot: &Slot, medium: &Medium, now: Timestamp) -> Done {
        if self.media.contains_key(medium.id.as_str()) {
            return Err(StoreError::Conflict);
        }
        let before = self.slot(&slot.account_id, &slot.device_id);
        self.put_slot(slot)?;
        self.captured_twice += u64::from(before.is_some_and(|before| before.is_taken(now)));
        self.media.insert(medium.id.as_str().to_owned(), medium.clone());
        Ok(())
    }

    pub(crate) fn prolong(&mut self, slot: &Slot, asked: &MediumId) -> Done {
        if self.prolonged.contains_key(asked.as_str()) {
            return Err(StoreError::Conflict);
        }
        self.put_slot(slot)?;
        self.prolonged.insert(asked.as_str().to_owned(), slot.medium_id.clone());
        Ok(())
    }

    pub(crate) fn change(&mut self, slot: &Slot) -> Done {
        self.put_slot(slot)
    }
}

/// The newest by time stands, and of one millisecond the one with the greater key.
fn fold(kept: &mut Option<Told>, told: &Told) -> bool {
    let stands = kept
        .as_ref()
        .is_none_or(|kept| (told.at, &told.by) >= (kept.at, &kept.by));
    if stands {
        *kept = Some(told.clone());
    }
    stands
}
