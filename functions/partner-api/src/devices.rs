//! Devices, as we know them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use ring_partner::devices::{Capabilities, Configurations, Location};
use serde::{Deserialize, Serialize};
use shared::device::Known;
use shared::edge::clock;
use shared::edge::gateway::{Id, Params, SignedIn, private};
use shared::edge::page::{self, Page};
use shared::edge::problem::Problem;
use shared::link::{Link, LinkStatus};

use crate::{App, unavailable};

/// Devices are listed daily; a listing older than this says that Ring could not be asked.
const LISTED_WITHIN: SignedDuration = SignedDuration::from_hours(26);

/// A device as its user sees it.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceView {
    id: String,
    name: Option<String>,
    link: String,
    online: bool,
    doorbell: &'static str,
    capabilities: Option<Capabilities>,
    location: Option<Location>,
    configurations: Option<Configurations>,
    privacy_zones: usize,
    ring: &'static str,
    as_of: Option<String>,
}

impl DeviceView {
    fn new(link: &Link, known: Known, now: Timestamp) -> Self {
        let listed_at = known.listed_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let lately = listed_at.is_some_and(|at| now.duration_since(at) < LISTED_WITHIN);
        let degraded = link.status == LinkStatus::RelinkRequired || !lately;
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

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    online: Option<String>,
    country: Option<String>,
    capability: Option<String>,
    link: Option<String>,
    cursor: Option<String>,
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
    let known = futures_util::future::try_join_all(each)
        .await
        .map_err(|error| unavailable(&error))?;
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
