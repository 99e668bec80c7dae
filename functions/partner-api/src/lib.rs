//! What the partner's frontends call: devices, events, policies, media.
//!
//! | route | answers |
//! |---|---|
//! | `GET /v1/devices` · `GET /v1/devices/{device}` | 200 devices with status, capabilities, location, configuration |
//! | `GET /v1/devices/{device}/events` · `GET /v1/events` | 200 what happened, newest first |
//! | `GET /v1/summary` | 200 totals, and the last events |
//! | `GET` · `PUT /v1/devices/{device}/policy`, `PUT /v1/policies` | 200 the policy |
//! | `POST /v1/devices/{device}/clips` · `/snapshots` | 202 the medium, which will be fetched |
//! | `POST /v1/devices/{device}/captures` | 202 the medium, which will be recorded |
//! | `GET /v1/devices/{device}/media` · `GET /v1/media/{id}` | 200 media, with a URL when stored |
//! | `GET /v1/media/{id}/playlist.m3u8` | 200 what is recorded so far, with signed segments |
//! | `DELETE /v1/media/{id}` | 204 |
//! | `GET /v1/openapi.json` | 200 the description of all of this, for anyone |
//! | `POST /v1/devices/{device}/live` · `DELETE /v1/live/{session}` | 201 the answer to a WHEP player's offer · 200 |
//!
//! Everything but live video is answered from what we keep: no other route here waits for Ring. Each is asked by a signed-in user and reaches
//! only what belongs to the Ring accounts linked to them; anything else is a 404, as if it did not exist.

mod captures;
mod config;
mod devices;
mod events;
mod footage;
mod live;
mod media;
mod playlist;
mod policies;
mod ring_shapes;
mod routes;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
pub use config::Config;
use ring_partner::Ring;
use ring_partner::client::SettingsError;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use shared::audit::store::Audit;
use shared::audit::{Deed, Entry};
use shared::capture::archive::Reels;
use shared::capture::session::live::{Closer, LiveSessions};
use shared::capture::session::store::SessionTable;
use shared::capture::store::Slots;
use shared::device::Known;
use shared::device::store::Devices;
use shared::edge::allowance::{Allowance, within};
use shared::edge::conditional::conditional;
use shared::edge::description::Description;
use shared::edge::function::Function;
use shared::edge::gateway::{SignedIn, not_found};
use shared::edge::idempotent::{Answers, repeatable};
use shared::edge::metrics::Metrics;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::queue::Queue;
use shared::edge::table::Table;
use shared::edge::{aws, clock};
use shared::event::store::Events;
use shared::grant::access::Access;
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::Link;
use shared::link::store::LinkTable;
use shared::media::archive::Archive;
use shared::media::store::Media;
use shared::policy::store::Policies;
use shared::policy::{Action, Regions};
use shared::world::Deployed;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long a renewed token is waited for: what is left of the gateway's 30 s when Ring has had its time for a live session.
const REFRESH_WITHIN: Duration = Duration::from_secs(8);

/// The description of the whole API, `account-link`'s routes too. It is generated from both programs' code
/// (`cargo run -p system-tests --example openapi`), and a test holds that it is what they say.
pub const DESCRIPTION: &str = include_str!("../openapi.json");

/// What the routes work with.
#[derive(Debug)]
pub struct App {
    allowance: Allowance<Table>,
    answers: Answers,
    links: LinkTable,
    devices: Devices,
    events: Events,
    media: Media,
    media_queue: Queue,
    archive: Archive,
    reels: Reels,
    policies: Policies,
    regions: Regions,
    captures: Slots,
    captures_queue: Option<Queue>,
    live: LiveSessions<SessionTable, Ring, Queue>,
    access: Access<Deployed, Function>,
    audit: Audit,
    metrics: Metrics,
}

impl App {
    /// An app with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, SettingsError> {
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        let allowance = Allowance::new(
            Table::new(aws, &config.devices_table),
            "api",
            config.requests_per_minute,
        );
        Ok(Self {
            allowance,
            answers: Answers::new(aws, &config.devices_table),
            live: LiveSessions {
                closer: Closer {
                    sessions: SessionTable::new(aws, &config.devices_table),
                    ring: config.ring.client()?,
                },
                reminders: Queue::new(aws, &config.media_queue_url),
                usual: config.live_limit,
            },
            access: Access::new(
                GrantTable::new(aws, config.grants_table),
                Vault::new(Kms::new(aws, config.token_key_id)),
                refresh,
            ),
            audit: Audit::new(
                aws,
                config.audit_table,
                config.audit_retention_days,
                &config.links_table,
            ),
            links: LinkTable::new(aws, config.links_table),
            policies: Policies::new(aws, &config.devices_table),
            devices: Devices::new(aws, config.devices_table),
            events: Events::new(aws, config.events_table),
            captures: Slots::new(aws, &config.media_table),
            captures_queue: config.captures_queue_url.map(|url| Queue::new(aws, url)),
            regions: config.privacy_regions,
            media: Media::new(aws, config.media_table),
            media_queue: Queue::new(aws, config.media_queue_url),
            reels: Reels::new(aws, &config.media_bucket),
            archive: Archive::new(aws, config.media_bucket),
            metrics: Metrics::new(&config.metrics_namespace, SERVICE),
        })
    }

    async fn links_of(&self, user: &SignedIn) -> Result<Vec<Link>, Problem> {
        self.links
            .of_user(&user.user_id)
            .await
            .map_err(|error| unavailable(&error))
    }

    /// This user's device of this id, and the link that it came with.
    async fn device_of(&self, user: &SignedIn, id: &str) -> Result<(Link, Known), Problem> {
        let not_found = || Problem::new(ProblemType::NotFound);
        let device = DeviceId::new(id).map_err(|_| not_found())?;
        let links = self.links_of(user).await?;
        let each = links.into_iter().map(|link| {
            let device = &device;
            async move {
                let known = self.devices.get(&link.account_id, device).await?;
                Ok(known.filter(Known::is_present).map(|known| (link, known)))
            }
        });
        let found: Result<Vec<_>, shared::edge::table::StoreError> = futures_util::future::try_join_all(each).await;
        let found = found.map_err(|error| unavailable(&error))?;
        found.into_iter().flatten().next().ok_or_else(not_found)
    }

    /// Has it stand in the audit trail that this user did this with a device.
    async fn audited(&self, user: &SignedIn, account: &AccountId, device: &DeviceId, deed: Deed) {
        let entry = Entry {
            at: clock::now(),
            user_id: user.user_id.clone(),
            deed,
            account_id: Some(account.clone()),
            link_id: None,
            device_id: Some(device.clone()),
            why: None,
        };
        self.audit.write(&entry).await;
    }

    /// Who is told of captures; a problem, where nobody records them.
    fn recorder(&self) -> Result<&Queue, Problem> {
        let queue = self.captures_queue.as_ref();
        queue.ok_or_else(|| Problem::new(ProblemType::RecordingOff))
    }

    /// Fails unless what is recorded of this device may be shown. Masking is not built: what would have to be masked is not
    /// to be had.
    async fn may_be_shown(&self, known: &Known, action: Action) -> Result<(), Problem> {
        let policy = self
            .policies
            .holding_for(known)
            .await
            .map_err(|error| unavailable(&error))?;
        let shown = policy.shows(known, &self.regions);
        if shown.takes(action) {
            Ok(())
        } else {
            Err(Problem::new(ProblemType::PrivacyZones))
        }
    }
}

/// The routes.
pub fn router(app: App) -> Router {
    let signed_in = routes::of_signed_in().router();
    signed_in
        .layer(from_fn_with_state(app.answers.clone(), repeatable))
        .layer(from_fn_with_state(app.allowance.clone(), within))
        .merge(routes::open().router())
        .layer(from_fn(conditional))
        .fallback(not_found)
        .with_state(Arc::new(app))
}

/// What the routes say about themselves.
#[must_use]
pub fn description() -> Description {
    routes::of_signed_in().and(routes::open()).description()
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "a request can't be answered now");
    Problem::new(ProblemType::Unavailable)
}
