//! The twins of what an event stands on.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring_partner::devices::{Configurations, Device, DeviceId};
use ring_partner::error::Endpoint;
use ring_partner::oauth::AccessToken;
use ring_partner::users::AccountId;
use shared::capture::Slot;
use shared::capture::ports::Captures;
use shared::device::{Change, Known, Mark};
use shared::edge::batch::{BASE64, ENCODING};
use shared::edge::bus::{Announcement, BusError};
use shared::edge::quarantine::{QuarantineError, TOO_LARGE};
use shared::edge::queue::{LARGEST, Message as QueueMessage, QueueError};
use shared::edge::secret::{self, SecretError};
use shared::edge::table::StoreError;
use shared::event::ports::{DeviceEndpoint, Devices, Inbox, LargeBodies, Media, Publisher, Records, Workers};
use shared::event::{EventId, Past, Place, Record, Repeat};
use shared::media::{Medium, MediumId, Retired};
use shared::policy::Policy;
use shared::world::{EventWorld, IntakeWorld};

use super::kept::Kept;
use super::queue::Content;
use crate::interference::{Call, Port};
use crate::ring::status;
use crate::twin::{Simulated, Twin, no_queue, unavailable};

impl IntakeWorld for Simulated {
    type Nature = Twin;
    type Secret = Twin;
    type Inbox = Twin;
    type LargeBodies = Twin;
}

impl EventWorld for Simulated {
    type Records = Twin;
    type Devices = Twin;
    type Media = Twin;
    type Captures = Twin;
    type Workers = Twin;
    type Bus = Twin;
}

impl Twin {
    /// A call of the tables of events and devices.
    async fn kept<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Kept, Timestamp) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.happen(
            call,
            |_| unavailable(),
            |_, all, moment| act(&mut all.events, moment.now),
        )
        .await
    }
}

impl Records for Twin {
    #[track_caller]
    fn get(&self, id: &EventId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        let call = self.call(Port::Table, "records.get");
        self.kept(call, |kept, _| Ok(kept.get(id)))
    }

    #[track_caller]
    fn record(&self, record: &Record, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "records.record");
        self.kept(call, move |kept, _| kept.record(record, now))
    }

    #[track_caller]
    fn park(&self, record: &Record, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "records.park");
        self.kept(call, move |kept, _| kept.park(record, now))
    }

    #[track_caller]
    fn release(&self, record: &Record, parked: &Record) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "records.release");
        self.kept(call, move |kept, _| kept.release(record, parked))
    }

    #[track_caller]
    fn past(&self, place: &Place) -> impl Future<Output = Result<Option<Past>, StoreError>> + Send {
        let call = self.call(Port::Table, "records.past");
        self.kept(call, |kept, _| Ok(kept.past(place)))
    }

    #[track_caller]
    fn done(&self, past: &Past) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "records.done");
        self.kept(call, |kept, now| {
            kept.done(past, now);
            Ok(())
        })
    }

    #[track_caller]
    fn repeated(&self, id: &EventId, repeat: &Repeat) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "records.repeated");
        self.kept(call, move |kept, _| {
            kept.repeated(id, repeat);
            Ok(())
        })
    }
}

impl Devices for Twin {
    #[track_caller]
    fn get(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Option<Known>, StoreError>> + Send {
        let call = self.call(Port::Table, "devices.get");
        self.kept(call, move |kept, _| Ok(kept.known(account, device)))
    }

    #[track_caller]
    fn account_of(&self, device: &DeviceId) -> impl Future<Output = Result<Option<AccountId>, StoreError>> + Send {
        let call = self.call(Port::Table, "devices.account_of");
        self.kept(call, |kept, _| Ok(kept.account_of(device)))
    }

    #[track_caller]
    fn tell(
        &self,
        account: &AccountId,
        device: &DeviceId,
        change: &Change,
    ) -> impl Future<Output = Result<Option<Known>, StoreError>> + Send {
        let call = self.call(Port::Table, "devices.tell");
        self.kept(call, move |kept, _| Ok(kept.tell(account, device, change)))
    }

    #[track_caller]
    fn mark(
        &self,
        account: &AccountId,
        device: &DeviceId,
        mark: Mark,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "devices.mark");
        self.kept(call, move |kept, _| {
            kept.mark(account, device, mark);
            Ok(())
        })
    }

    #[track_caller]
    fn keep(
        &self,
        account: &AccountId,
        device: Device,
        asked_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "devices.keep");
        self.happen(
            call,
            |_| unavailable(),
            move |_, all, _| {
                let id = device.id.clone();
                all.asked.push((account.clone(), id, asked_at, true));
                all.events.keep(account, device, asked_at);
                Ok(())
            },
        )
    }

    #[track_caller]
    fn link_policy(&self, account: &AccountId) -> impl Future<Output = Result<Option<Policy>, StoreError>> + Send {
        let call = self.call(Port::Table, "devices.link_policy");
        self.kept(call, |kept, _| Ok(kept.link_policy(account)))
    }

    #[track_caller]
    fn give_policy(
        &self,
        account: &AccountId,
        device: &DeviceId,
        policy: &Policy,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "devices.give_policy");
        self.kept(call, move |kept, _| {
            kept.give_policy(account, device, policy);
            Ok(())
        })
    }
}

impl Media for Twin {
    #[track_caller]
    fn request_once(&self, medium: Medium) -> impl Future<Output = Result<Medium, StoreError>> + Send {
        let call = self.call(Port::Table, "media.request_once");
        self.kept(call, |kept, _| Ok(kept.request_once(medium)))
    }

    #[track_caller]
    fn waiting(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Vec<MediumId>, StoreError>> + Send {
        let call = self.call(Port::Table, "media.waiting");
        self.kept(call, move |kept, _| Ok(kept.waiting(account, device)))
    }

    #[track_caller]
    fn waits_no_more(
        &self,
        account: &AccountId,
        device: &DeviceId,
        id: &MediumId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "media.waits_no_more");
        self.kept(call, move |kept, _| {
            kept.waits_no_more(account, device, id);
            Ok(())
        })
    }

    #[track_caller]
    fn retire(&self, retired: &Retired) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "media.retire");
        self.kept(call, |kept, _| {
            kept.retire(retired);
            Ok(())
        })
    }

    #[track_caller]
    fn restore(
        &self,
        account: &AccountId,
        device: &DeviceId,
        added_at: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "media.restore");
        self.kept(call, move |kept, _| {
            kept.restore(account, device, added_at);
            Ok(())
        })
    }
}

impl Captures for Twin {
    #[track_caller]
    fn slot(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Option<Slot>, StoreError>> + Send {
        let call = self.call(Port::Table, "captures.slot");
        self.kept(call, move |kept, _| Ok(kept.slot(account, device)))
    }

    #[track_caller]
    fn asked(&self, id: &MediumId) -> impl Future<Output = Result<Option<MediumId>, StoreError>> + Send {
        let call = self.call(Port::Table, "captures.asked");
        self.kept(call, |kept, _| Ok(kept.asked(id)))
    }

    #[track_caller]
    fn take(&self, slot: &Slot, medium: &Medium) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "captures.take");
        self.kept(call, move |kept, now| kept.take(slot, medium, now))
    }

    #[track_caller]
    fn prolong(&self, slot: &Slot, asked: &MediumId) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "captures.prolong");
        self.kept(call, move |kept, _| kept.prolong(slot, asked))
    }

    #[track_caller]
    fn change(&self, slot: &Slot) -> impl Future<Output = Result<(), StoreError>> + Send {
        let call = self.call(Port::Table, "captures.change");
        self.kept(call, |kept, _| kept.change(slot))
    }
}

impl Twin {
    /// What a worker is told.
    async fn tell_worker(&self, call: Call, job: super::queue::Job) -> Result<(), QueueError> {
        self.happen(call, no_queue, |_, all, _| {
            all.queue.jobs.push(job);
            Ok(())
        })
        .await
    }
}

impl Workers for Twin {
    #[track_caller]
    fn fetch(
        &self,
        _account: &AccountId,
        id: &MediumId,
        _after: Duration,
    ) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "workers.fetch");
        self.tell_worker(call, super::queue::Job::Fetch(id.as_str().to_owned()))
    }

    #[track_caller]
    fn record(&self, capture: &Medium) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "workers.record");
        self.tell_worker(call, super::queue::Job::Record(capture.id.as_str().to_owned()))
    }

    #[track_caller]
    fn close_live(
        &self,
        _account: &AccountId,
        device: &DeviceId,
        _opened_before: Timestamp,
    ) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "workers.close_live");
        self.tell_worker(call, super::queue::Job::CloseLive(device.as_str().to_owned()))
    }

    #[track_caller]
    fn sweep(&self) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "workers.sweep");
        self.tell_worker(call, super::queue::Job::Sweep)
    }
}

/// The secret of the signing keys.
impl secret::Source for Twin {
    #[track_caller]
    fn string(&self) -> impl Future<Output = Result<String, SecretError>> + Send {
        let call = self.call(Port::Client, "secret.string");
        let unavailable = |_| SecretError::Unavailable("the simulated secret is out of reach".into());
        self.happen(call, unavailable, |_, all, _| Ok(all.signing.secret.clone()))
    }
}

impl Inbox for Twin {
    #[track_caller]
    fn put(&self, message: QueueMessage) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "inbox.put");
        self.happen(call, no_queue, move |_, all, moment| {
            if message.size() > LARGEST {
                return Err(QueueError("it is too large for the simulated queue".into()));
            }
            let body = match message.attribute_named(ENCODING) {
                Some(BASE64) => STANDARD.decode(message.body().trim()).expect("Base64"),
                _ => message.body().as_bytes().to_vec(),
            };
            all.queue.send(Content::Body(body), moment.now);
            Ok(())
        })
    }
}

impl LargeBodies for Twin {
    #[track_caller]
    fn keep_large(&self, body: &[u8], _now: Timestamp) -> impl Future<Output = Result<(), QuarantineError>> + Send {
        let call = self.call(Port::Queue, "large_bodies.keep_large");
        let body = body.to_vec();
        let failed = |fault| QuarantineError::Queue(no_queue(fault));
        self.happen(call, failed, move |_, all, _| {
            all.queue.quarantine.push((Content::Body(body), TOO_LARGE));
            Ok(())
        })
    }
}

impl DeviceEndpoint for Twin {
    #[track_caller]
    fn device(
        &self,
        token: &AccessToken,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Device, ring_partner::Error>> + Send {
        let call = self.call(Port::Ring, "ring.device");
        self.ring_call(call, Endpoint::Devices, move |ring, now| {
            ring.devices(token, now)?;
            if device.as_str().starts_with("gone") {
                return Err(status(Endpoint::Devices, 404, None));
            }
            Ok(Device {
                id: device.clone(),
                name: Some(format!("{device} by name")),
                status: None,
                capabilities: None,
                location: None,
                configurations: Some(Configurations::default()),
            })
        })
    }
}

impl Publisher for Twin {
    #[track_caller]
    fn announce(&self, announcement: &Announcement) -> impl Future<Output = Result<(), BusError>> + Send {
        let call = self.call(Port::Bus, "bus.announce");
        let told = announcement.clone();
        let failed = |_| BusError("the simulated bus is out of reach".into());
        self.happen(call, failed, move |_, all, moment| {
            all.published.push((moment.now, told));
            Ok(())
        })
    }
}

impl Twin {
    /// A message is not seen again before `wait` has passed.
    #[track_caller]
    pub fn put_off(&self, receipt: u64, wait: Duration) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "queue.put_off");
        self.happen(call, no_queue, move |_, all, moment| {
            all.queue.put_off(receipt, wait, moment.now);
            Ok(())
        })
    }

    /// Sets a message aside that makes no sense.
    #[track_caller]
    pub fn set_aside(
        &self,
        content: &Content,
        reason: &'static str,
    ) -> impl Future<Output = Result<(), QueueError>> + Send {
        let call = self.call(Port::Queue, "quarantine.send");
        let content = content.clone();
        self.happen(call, no_queue, move |_, all, _| {
            all.queue.quarantine.push((content, reason));
            Ok(())
        })
    }
}
