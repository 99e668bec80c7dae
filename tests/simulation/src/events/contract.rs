//! What every store of events and devices promises, whoever keeps them: the twins in memory and the tables. Each promise is a
//! function that panics where it is broken; [`all`] asks for each of them. Ids are fresh, so that a table that others use too
//! serves.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::{Device, DeviceId};
use ring_partner::users::AccountId;
use ring_partner::webhook::Webhook;
use serde_json::json;
use shared::device::{Change, Mark, Told};
use shared::edge::clock::signed;
use shared::edge::table::StoreError;
use shared::event::ports::{Devices, Records};
use shared::event::{Delivery, EventId, LEAST_KEPT, Plan, Progress, Record};
use shared::policy::Regions;
use shared::world::{Nature as _, System};

/// The stores that are held to the contract.
#[derive(Debug)]
pub struct Stores<R, D> {
    /// Events.
    pub records: R,
    /// Devices.
    pub devices: D,
    /// The time now, in whole milliseconds.
    pub now: Timestamp,
}

/// Asks for everything. `parked`: the events that wait for an account.
pub async fn all<R: Records, D: Devices>(stores: &Stores<R, D>, parked: impl AsyncFn(&AccountId) -> Vec<EventId>) {
    stores.a_marker_is_written_once().await;
    stores.what_has_run_out_is_not_there_deleted_or_not().await;
    stores
        .what_is_parked_waits_for_its_account_and_is_released_once(parked)
        .await;
    stores.an_event_is_done_when_its_row_is_in_the_history().await;
    stores
        .repeats_are_kept_beside_their_event_and_change_nothing_of_it()
        .await;
    stores.of_what_is_told_of_a_device_the_newest_stands().await;
    stores.a_device_belongs_to_the_one_account_that_has_it().await;
    stores.what_ring_answers_is_kept_beside_what_events_tell().await;
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Conflict)), "{result:?}");
}

fn device(id: &DeviceId, name: &str) -> Device {
    Device {
        id: id.clone(),
        name: Some(name.to_owned()),
        status: None,
        capabilities: None,
        location: None,
        configurations: None,
    }
}

impl<R: Records, D: Devices> Stores<R, D> {
    fn later(&self, duration: Duration) -> Timestamp {
        self.now + signed(duration)
    }

    fn account(&self) -> AccountId {
        AccountId::new(System.id("account")).expect("letters and digits")
    }

    fn device_id(&self) -> DeviceId {
        DeviceId::new(System.id("device")).expect("letters and digits")
    }

    /// An event that nobody knows, as it came.
    fn come(&self, request: &str) -> Record {
        let body = json!({
            "meta": { "version": "1.1", "time": self.now.to_string(), "request_id": request,
                      "account_id": self.account() },
            "data": { "id": System.id("id"), "type": "motion_detected",
                      "attributes": { "source": self.device_id(), "timestamp": self.now.as_millisecond() } },
        })
        .to_string();
        let webhook = Webhook::parse(body.as_bytes()).expect("a webhook");
        let delivery = Delivery {
            message: "message-1".to_owned(),
            received_at: self.now,
        };
        Record::of(&webhook, body.as_bytes(), &delivery, LEAST_KEPT, self.now)
    }

    fn pending(&self, come: &Record) -> Record {
        let account = come.account_id.clone().expect("it names one");
        let plan = Plan::of(come, None, &Regions::none());
        come.clone().pending(&account, plan, "message-1", self.now)
    }

    async fn stored(&self, id: &EventId) -> Record {
        let marker = self.records.get(id).await.expect("the store answers");
        marker.expect("the marker is there")
    }

    async fn a_marker_is_written_once(&self) {
        let record = self.pending(&self.come("request-1"));
        assert_eq!(self.records.get(&record.event_id).await.expect("an answer"), None);
        self.records.record(&record, self.now).await.expect("it is new");
        assert_eq!(self.stored(&record.event_id).await, record);
        let other = Record {
            message: "message-2".to_owned(),
            ..record.clone()
        };
        is_conflict(self.records.record(&other, self.now).await);
        is_conflict(self.records.park(&other, self.now).await);
        assert_eq!(self.stored(&record.event_id).await, record, "the first one stands");
    }

    async fn what_has_run_out_is_not_there_deleted_or_not(&self) {
        let record = self.pending(&self.come("request-1"));
        self.records.record(&record, self.now).await.expect("it is new");
        let ends = Timestamp::from_second(record.expires_at).expect("a time");
        let other = Record {
            message: "message-2".to_owned(),
            expires_at: record.expires_at + 1_000,
            ..record.clone()
        };
        is_conflict(self.records.record(&other, ends - signed(Duration::from_secs(1))).await);
        self.records.record(&other, ends).await.expect("the first has run out");
        assert_eq!(self.stored(&record.event_id).await, other);
    }

    async fn what_is_parked_waits_for_its_account_and_is_released_once(
        &self,
        parked: impl AsyncFn(&AccountId) -> Vec<EventId>,
    ) {
        let come = self.come("request-1");
        let account = come.account_id.clone().expect("it names one");
        assert!(parked(&account).await.is_empty());
        self.records.park(&come, self.now).await.expect("it is new");
        is_conflict(self.records.park(&come, self.now).await);
        is_conflict(self.records.record(&self.pending(&come), self.now).await);
        assert_eq!(self.stored(&come.event_id).await.progress, Progress::Parked);
        assert_eq!(parked(&account).await, std::slice::from_ref(&come.event_id));
        let released = self.pending(&come);
        self.records.release(&released, &come).await.expect("it is parked");
        is_conflict(self.records.release(&released, &come).await);
        assert_eq!(self.stored(&come.event_id).await, released);
        assert!(parked(&account).await.is_empty());
    }

    async fn an_event_is_done_when_its_row_is_in_the_history(&self) {
        let record = self.pending(&self.come("request-1"));
        self.records.record(&record, self.now).await.expect("it is new");
        let place = record.place().expect("it has one");
        assert_eq!(self.records.past(&place).await.expect("an answer"), None);
        let account = record.account_id.clone().expect("it names one");
        let past = record.past(&account, Vec::new(), Vec::new());
        assert_eq!(past.place(), place);
        self.records.done(&past).await.expect("it is done");
        self.records.done(&past).await.expect("it may be done again");
        assert_eq!(self.records.past(&place).await.expect("an answer"), Some(past));
        assert_eq!(self.stored(&record.event_id).await, record, "the marker stays");
    }

    async fn repeats_are_kept_beside_their_event_and_change_nothing_of_it(&self) {
        let record = self.pending(&self.come("request-1"));
        self.records.record(&record, self.now).await.expect("it is new");
        let again = Record {
            request_id: Some("request-2".to_owned()),
            ..record.clone()
        };
        let repeat = record.repeated_by(&again, b"{}").expect("it differs");
        self.records
            .repeated(&record.event_id, &repeat)
            .await
            .expect("it is kept");
        self.records
            .repeated(&record.event_id, &repeat)
            .await
            .expect("it may be kept again");
        assert_eq!(self.stored(&record.event_id).await, record);
    }

    async fn of_what_is_told_of_a_device_the_newest_stands(&self) {
        let (account, id) = (self.account(), self.device_id());
        let told = |is, after: i64, by: &str| Told {
            is,
            at: self.now.as_millisecond() + after,
            by: by.to_owned(),
        };
        // Whether it stands; then what comes back is the device with it.
        let tell = async |change: Change| {
            let told = self.devices.tell(&account, &id, &change).await.expect("an answer");
            assert!(told.as_ref().is_none_or(|known| known.agrees(&change)), "{told:?}");
            told.is_some()
        };
        assert!(tell(Change::Online(told(true, 10, "b"))).await, "the first");
        assert!(!tell(Change::Online(told(false, 9, "c"))).await, "an older one");
        assert!(
            !tell(Change::Online(told(false, 10, "a"))).await,
            "of one millisecond, the smaller key"
        );
        assert!(tell(Change::Online(told(true, 10, "b"))).await, "the same again");
        assert!(tell(Change::Online(told(false, 11, "a"))).await, "a newer one");
        assert!(
            tell(Change::Present(told(true, 5, "b"))).await,
            "something else is told for itself"
        );
        assert!(!tell(Change::Present(told(false, 4, "b"))).await, "a late removal");
        assert!(tell(Change::Doorbell).await);
        let known = self
            .devices
            .get(&account, &id)
            .await
            .expect("an answer")
            .expect("it is known");
        assert_eq!(known.online, Some(told(false, 11, "a")));
        assert_eq!(known.present, Some(told(true, 5, "b")));
        assert!(known.doorbell && !known.awaited && !known.captured && !known.watched);
        for mark in [Mark::Awaited, Mark::Captured, Mark::Watched] {
            self.devices.mark(&account, &id, mark).await.expect("it is remembered");
            let unknown = self.device_id();
            self.devices.mark(&account, &unknown, mark).await.expect("an answer");
            assert_eq!(self.devices.get(&account, &unknown).await.expect("an answer"), None);
        }
        let known = self
            .devices
            .get(&account, &id)
            .await
            .expect("an answer")
            .expect("it is known");
        assert!(known.awaited && known.captured && known.watched);
    }

    async fn a_device_belongs_to_the_one_account_that_has_it(&self) {
        let (one, other, id) = (self.account(), self.account(), self.device_id());
        assert_eq!(self.devices.account_of(&id).await.expect("an answer"), None);
        let tell = async |account: &AccountId| self.devices.tell(account, &id, &Change::Doorbell).await;
        tell(&one).await.expect("it is told");
        assert_eq!(self.devices.account_of(&id).await.expect("an answer"), Some(one));
        tell(&other).await.expect("it is told");
        assert_eq!(
            self.devices.account_of(&id).await.expect("an answer"),
            None,
            "of two it is nobody's"
        );
    }

    async fn what_ring_answers_is_kept_beside_what_events_tell(&self) {
        let (account, id) = (self.account(), self.device_id());
        let removed = Told {
            is: false,
            at: self.later(Duration::from_secs(60)).as_millisecond(),
            by: "evt".to_owned(),
        };
        let answered = async |name: &str, at: Timestamp| self.devices.keep(&account, device(&id, name), at).await;
        answered("New", self.later(Duration::from_secs(2)))
            .await
            .expect("it is kept");
        answered("Old", self.later(Duration::from_secs(1)))
            .await
            .expect("it is not newer");
        let tell = self
            .devices
            .tell(&account, &id, &Change::Present(removed.clone()))
            .await;
        assert!(tell.expect("an answer").is_some(), "it happened after Ring was asked");
        answered("Newer", self.later(Duration::from_secs(3)))
            .await
            .expect("it is kept");
        let known = self
            .devices
            .get(&account, &id)
            .await
            .expect("an answer")
            .expect("it is known");
        assert_eq!(known.name.as_deref(), Some("Newer"));
        assert_eq!(known.present, Some(removed), "what is newer stands");
    }
}
