//! Devices, as we know them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use ring_partner::devices::{Capabilities, Configurations, Location};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::device::Known;
use shared::edge::clock;
use shared::edge::gateway::{Id, Params, SignedIn, private};
use shared::edge::page::{self, Page};
use shared::edge::problem::Problem;
use shared::link::Link;
use shared::link::store::LinkTable;

use crate::{App, ring_shapes, unavailable};

/// Devices are listed daily; a listing older than this says that Ring could not be asked.
const LISTED_WITHIN: SignedDuration = SignedDuration::from_hours(26);

/// A device as its user sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Device", example = serde_json::json!({
    "id": "ava1.ring.device.K4", "name": "Front Door", "link": "lnk_3", "online": true, "doorbell": "yes",
    "capabilities": {
        "video": { "configurations": [], "codecs": ["avc"], "ratio": "16:9", "max_resolution": 1080,
            "supported_resolutions": [1080] },
        "motion_detection": { "configurations": ["motion_zones"] }, "image_enhancements": null,
    },
    "location": { "country": "US", "state": "GA" },
    "configurations": { "motion_detection": { "enabled": "on", "motion_zones": [] }, "image_enhancements": null },
    "privacy_zones": 0, "ring": "ok", "as_of": "2026-02-14T00:02:53Z",
}))]
pub(crate) struct DeviceView {
    pub(crate) id: String,
    /// As its owner named it.
    pub(crate) name: Option<String>,
    /// The link that it came with.
    link: String,
    /// Whether it can be reached, as far as is known.
    pub(crate) online: bool,
    #[schemars(with = "Doorbell")]
    doorbell: &'static str,
    #[schemars(with = "Option<ring_shapes::Capabilities>")]
    capabilities: Option<Capabilities>,
    #[schemars(with = "Option<ring_shapes::Location>")]
    location: Option<Location>,
    #[schemars(with = "Option<ring_shapes::Configurations>")]
    configurations: Option<Configurations>,
    /// How many it has.
    privacy_zones: usize,
    #[schemars(with = "RingState")]
    ring: &'static str,
    /// How old what is said here is.
    #[schemars(extend("format" = "date-time"))]
    as_of: Option<String>,
}

/// Whether a device is a doorbell, as far as its button has told.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "a word of the description")]
enum Doorbell {
    Yes,
    No,
    Unknown,
}

/// Whether Ring could be asked of late: what is shown of a device is its last known state.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "a word of the description")]
enum RingState {
    Ok,
    Degraded,
}

impl DeviceView {
    pub(crate) fn new(link: &Link, known: Known, now: Timestamp) -> Self {
        let listed_at = known.listed_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let lately = listed_at.is_some_and(|at| now.duration_since(at) < LISTED_WITHIN);
        let degraded = link.is_degraded(now) || !lately;
        Self {
            as_of: known.as_of().map(|at| at.to_string()),
            id: known.device_id.to_string(),
            name: known.name,
            link: link.id.clone(),
            online: known.online.is_some_and(|told| told.is),
            doorbell: if known.doorbell { "yes" } else { "unknown" },
            capabilities: known.capabilities,
            location: known.location,
            privacy_zones: known.configurations.as_ref().map_or(0, |set| set.privacy_zones().len()),
            configurations: known.configurations,
            ring: if degraded { "degraded" } else { "ok" },
        }
    }

    /// Where it stands in a list.
    fn position(&self) -> String {
        format!("{}#{}", self.link, self.id)
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Filter {
    /// Those that can be reached, or those that can't.
    #[schemars(with = "Option<bool>")]
    online: Option<String>,
    /// Those in this country, by its ISO code.
    country: Option<String>,
    /// Those that can do this: `motion_detection`, `privacy_zones`, `hevc`, …
    capability: Option<String>,
    /// Those that came with this link.
    link: Option<String>,
    /// `next` of the page before.
    #[schemars(with = "Option<page::Cursor>")]
    cursor: Option<String>,
    /// The most items of a page; 50 unless told.
    #[schemars(with = "Option<u32>", range(min = 1, max = 100))]
    limit: Option<String>,
}

impl Filter {
    fn online(&self) -> Result<Option<bool>, Problem> {
        match self.online.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Problem::field("?online", "true or false")),
        }
    }

    fn lets_through(&self, device: &DeviceView, online: Option<bool>) -> bool {
        let country = device
            .location
            .as_ref()
            .and_then(|location| location.country.as_deref());
        online.is_none_or(|online| device.online == online)
            && self.link.as_ref().is_none_or(|link| device.link == *link)
            && self
                .country
                .as_deref()
                .is_none_or(|asked| country.is_some_and(|is| is.eq_ignore_ascii_case(asked)))
            && self
                .capability
                .as_deref()
                .is_none_or(|asked| has(device.capabilities.as_ref(), asked))
    }
}

/// Whether a device can do this: a part of its capabilities (`motion_detection`), a setting of one
/// (`color_night_vision`), or a codec (`hevc`).
fn has(capabilities: Option<&Capabilities>, asked: &str) -> bool {
    let Some(capabilities) = capabilities else { return false };
    let video = capabilities.video.as_ref();
    let features = [&capabilities.motion_detection, &capabilities.image_enhancements];
    let part = match asked {
        "video" => video.is_some(),
        "motion_detection" => capabilities.motion_detection.is_some(),
        "image_enhancements" => capabilities.image_enhancements.is_some(),
        _ => false,
    };
    part || features.into_iter().flatten().any(|feature| feature.has(asked))
        || video.is_some_and(|video| {
            video.configurations.iter().any(|setting| setting == asked)
                || video
                    .codecs
                    .iter()
                    .any(|codec| codec.as_str().eq_ignore_ascii_case(asked))
        })
}

/// All devices
///
/// Of all links, with status, capabilities, location and configuration; as we know them, also while Ring is out of reach.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Params(filter): Params<Filter>,
) -> Result<Response, Problem> {
    let limit = page::limit(filter.limit.as_deref())?;
    let after = filter.cursor.as_deref().map(page::position).transpose()?;
    let online = filter.online()?;
    let now = clock::now();
    let links = app.links_of(&user).await?;
    let each = links.iter().map(|link| app.devices.of_account(&link.account_id));
    let (known, ()) = tokio::join!(
        futures_util::future::try_join_all(each),
        list_stale(&app.links, &links, now)
    );
    let known = known.map_err(|error| unavailable(&error))?;
    let all = links
        .iter()
        .zip(known)
        .flat_map(|(link, known)| known.into_iter().map(move |known| DeviceView::new(link, known, now)));
    let mut all: Vec<_> = all.filter(|device| filter.lets_through(device, online)).collect();
    all.sort_by_cached_key(DeviceView::position);
    all.retain(|device| after.as_ref().is_none_or(|after| device.position() > *after));
    let page: Page<DeviceView> = page::cut(all, limit, DeviceView::position);
    Ok(private(axum::Json(page)))
}

/// Has the devices listed anew of the links whose listing is old. What is known is answered all the same, and also where this
/// does not come about: each link is listed daily by itself.
async fn list_stale(table: &LinkTable, links: &[Link], now: Timestamp) {
    for link in links.iter().filter(|link| link.is_stale(now)) {
        if let Err(error) = table.list_soon(link, now).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "a list of devices is old, and could not be asked for");
        }
    }
}

/// One device
pub(crate) async fn one(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let (link, known) = app.device_of(&user, &id).await?;
    Ok(private(axum::Json(DeviceView::new(&link, known, clock::now()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_a_part_a_setting_or_a_codec() {
        let capabilities: Capabilities = serde_json::from_str(
            r#"{"video":{"codecs":["HEVC"],"configurations":["resolution_mode"]},
                "image_enhancements":{"configurations":["hdr"]}}"#,
        )
        .unwrap();
        for asked in ["video", "hevc", "HEVC", "resolution_mode", "hdr", "image_enhancements"] {
            assert!(has(Some(&capabilities), asked), "{asked}");
        }
        for asked in ["avc", "motion_detection", "privacy_zones", ""] {
            assert!(!has(Some(&capabilities), asked), "{asked}");
        }
        assert!(!has(None, "video"));
    }
}
