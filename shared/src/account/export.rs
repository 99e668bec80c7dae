//! Makes one archive of all that there is of a user: links, devices with their policies, what happened, and media with their
//! files. Nothing opens anything: no token is in it.

use jiff::Timestamp;
use serde::Serialize;

use super::archive::Tarball;
use super::erase::{EraseError, Places};
use super::store::Accounts;
use super::{Collection, Holding, Ready, object_key};
use crate::device::store::Devices;
use crate::edge::aws::SdkConfig;
use crate::edge::table::StoreError;
use crate::event::device_key;
use crate::event::store::{Events, Span};
use crate::link::LinkStatus;
use crate::link::store::LinkTable;
use crate::media::archive::{Archive, ArchiveError};
use crate::media::store::Media;
use crate::media::{Medium, Progress};
use crate::policy::Policy;
use crate::policy::store::Policies;

/// How many events one file has, and how many media are looked at together.
const PAGE: usize = 500;

const READ_ME: &str = "\
What there is of you here, at the time that these files have.

links.json        the Ring accounts that you linked
devices.json      their devices: state, settings, and the policy of each
policies.json     the policy that a link gives to devices that come
events/*.json     what happened at each device, newest first
media/*.json      what each recording is; beside it lies the recording itself, as it was stored
";

/// Makes archives.
#[derive(Clone, Debug)]
pub struct Exporter {
    accounts: Accounts,
    links: LinkTable,
    devices: Devices,
    policies: Policies,
    events: Events,
    media: Media,
    archive: Archive,
}

#[derive(Serialize)]
struct LinkEntry<'l> {
    id: &'l str,
    account_id: &'l str,
    status: LinkStatus,
    account_identifier: Option<&'l str>,
    linked_at: Timestamp,
}

#[derive(Serialize)]
struct PolicyEntry {
    account_id: String,
    policy: Policy,
}

impl Exporter {
    /// From these places.
    #[must_use]
    pub fn new(aws: &SdkConfig, places: &Places<'_>) -> Self {
        Self {
            accounts: Accounts::new(aws, places.devices),
            links: LinkTable::new(aws, places.links),
            devices: Devices::new(aws, places.devices),
            policies: Policies::new(aws, places.devices),
            events: Events::new(aws, places.events),
            media: Media::new(aws, places.media),
            archive: Archive::new(aws, places.bucket),
        }
    }

    /// Makes an archive, if somebody waits for it still.
    pub async fn make(&self, collection: &Collection, now: Timestamp) -> Result<(), EraseError> {
        let Collection { user_id, export_id, .. } = collection;
        let wanted = self.accounts.export(user_id).await?;
        if wanted.is_none_or(|export| export.id != *export_id || export.ready.is_some()) {
            return Ok(());
        }
        let key = object_key(export_id);
        let mut tarball = Tarball::new(&self.archive, &key, now);
        if let Err(error) = self.pour(&mut tarball, collection, now).await {
            tarball.abort().await;
            return Err(error);
        }
        let receipt = tarball.end().await?;
        let ready = Ready {
            at: now,
            bytes: receipt.bytes,
            sha256: receipt.sha256,
        };
        match self.accounts.exported(user_id, export_id, &ready).await {
            Ok(()) => Ok(()),
            // They were erased meanwhile, or wait for another: what was made goes.
            Err(StoreError::Conflict) => Ok(self.archive.erase(&key).await?),
            Err(error) => Err(error.into()),
        }
    }

    async fn pour(&self, tarball: &mut Tarball<'_>, what: &Collection, now: Timestamp) -> Result<(), EraseError> {
        tarball.add("README.txt", READ_ME.as_bytes()).await?;
        let mut links = Vec::new();
        let mut devices = Vec::new();
        let mut policies = Vec::new();
        for Holding { account_id, device_ids } in &what.holdings {
            links.extend(self.links.of_account(account_id).await?);
            policies.extend(self.policies.of_link(account_id).await?.map(|policy| PolicyEntry {
                account_id: account_id.to_string(),
                policy,
            }));
            for device in device_ids {
                devices.extend(self.devices.get(account_id, device).await?);
            }
        }
        links.retain(|link| link.user_id == what.user_id && link.is_live());
        let links: Vec<_> = links
            .iter()
            .map(|link| LinkEntry {
                id: &link.id,
                account_id: link.account_id.as_str(),
                status: link.status,
                account_identifier: link.account_identifier.as_deref(),
                linked_at: link.linked_at,
            })
            .collect();
        tarball.add("links.json", &json(&links)?).await?;
        tarball.add("devices.json", &json(&devices)?).await?;
        tarball.add("policies.json", &json(&policies)?).await?;
        let mut number = 0;
        for Holding { account_id, device_ids } in &what.holdings {
            for device in device_ids {
                number += 1;
                self.events_of(tarball, &device_key(account_id, device), number, now)
                    .await?;
                let mut before: Option<String> = None;
                loop {
                    let found = self
                        .media
                        .of_device(account_id, device, before.as_deref(), PAGE)
                        .await?;
                    for medium in &found {
                        add_medium(tarball, medium).await?;
                    }
                    match found.last() {
                        Some(last) => before = Some(last.position()),
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }

    async fn events_of(
        &self,
        tarball: &mut Tarball<'_>,
        history: &str,
        number: usize,
        now: Timestamp,
    ) -> Result<(), EraseError> {
        let mut span = Span {
            from: None,
            before: None,
            to: None,
            kind: None,
            now,
        };
        for part in 1_usize.. {
            let found = self.events.history(&[history.to_owned()], &span, PAGE).await?;
            let Some(last) = found.last() else { break };
            span.before = Some(last.place().position);
            let name = format!("events/device-{number}-{part}.json");
            tarball.add(&name, &json(&found)?).await?;
        }
        Ok(())
    }
}

async fn add_medium(tarball: &mut Tarball<'_>, medium: &Medium) -> Result<(), EraseError> {
    let id = medium.id.as_str();
    tarball.add(&format!("media/{id}.json"), &json(medium)?).await?;
    if let Progress::Stored { object, .. } = &medium.progress {
        let ending = object.key.rsplit_once('.').map_or("bin", |(_, ending)| ending);
        let is_there = tarball.add_object(&format!("media/{id}.{ending}"), &object.key).await?;
        if !is_there {
            tracing::warn!(medium.id = id, "medium {id} has no object to be given away");
        }
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, EraseError> {
    serde_json::to_vec_pretty(value).map_err(|error| ArchiveError::Unavailable(error.into()).into())
}
