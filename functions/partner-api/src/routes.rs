//! The routes, each with its description: one table makes both the router and the document.

use std::sync::{Arc, LazyLock};

use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use http::{HeaderValue, header};
use serde_json::Value;
use shared::edge::description::{Operation, Routes};
use shared::edge::page::{Page, Paging};
use shared::edge::problem::ProblemType::{
    DeviceOffline, InvalidRequest, NotAcceptable, NotFound, PayloadTooLarge, PrivacyZones, RecordingOff,
    RelinkRequired, RingUnavailable, ScopeMissing, SessionOpen, UnsupportedMediaType, UnusableOffer,
};
use shared::policy::Policy;

use crate::captures::CaptureBody;
use crate::devices::DeviceView;
use crate::events::EventView;
use crate::media::{ClipBody, MediumView, SnapshotBody};
use crate::playlist::PLAYLIST;
use crate::policies::Many;
use crate::summary::Summary;
use crate::{App, DESCRIPTION, captures, devices, events, live, media, playlist, policies, summary};

/// The description without the white space that it has for its readers in the repository.
static COMPACT: LazyLock<String> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(DESCRIPTION).expect("a test holds the description to be JSON");
    document.to_string()
});

/// The routes of signed-in users.
pub(crate) fn of_signed_in() -> Routes<Arc<App>> {
    let body = [InvalidRequest, NotFound, PayloadTooLarge, UnsupportedMediaType];
    Routes::default()
        .at(
            "/v1/devices",
            [(
                Operation::get(
                    "listDevices",
                    "devices",
                    "All devices, as we know them, also while Ring is out of reach",
                )
                .query::<devices::Filter>()
                .answers::<Page<DeviceView>>(200, "A page of devices")
                .problems(&[InvalidRequest]),
                get(devices::list),
            )],
        )
        .at(
            "/v1/devices/{device}",
            [(
                Operation::get("getDevice", "devices", "One device")
                    .answers::<DeviceView>(200, "The device")
                    .problems(&[NotFound]),
                get(devices::one),
            )],
        )
        .at(
            "/v1/devices/{device}/events",
            [(
                Operation::get("listDeviceEvents", "events", "What happened at a device, newest first")
                    .query::<events::Asked>()
                    .answers::<Page<EventView>>(200, "A page of events")
                    .problems(&[InvalidRequest, NotFound]),
                get(events::of_device),
            )],
        )
        .at(
            "/v1/events",
            [(
                Operation::get("listEvents", "events", "What happened, newest first")
                    .query::<events::Asked>()
                    .answers::<Page<EventView>>(200, "A page of events")
                    .problems(&[InvalidRequest]),
                get(events::of_user),
            )],
        )
        .at(
            "/v1/summary",
            [(
                Operation::get("getSummary", "events", "Totals, and the last events")
                    .answers::<Summary>(200, "The totals"),
                get(summary::of_user),
            )],
        )
        .at(
            "/v1/devices/{device}/policy",
            [
                (
                    Operation::get("getPolicy", "policies", "The policy of a device")
                        .answers::<Policy>(200, "The policy")
                        .problems(&[NotFound]),
                    get(policies::of_device),
                ),
                (
                    Operation::put("setPolicy", "policies", "Gives a device a policy")
                        .takes::<Policy>()
                        .answers::<Policy>(200, "The policy")
                        .problems(&body),
                    put(policies::set),
                ),
            ],
        )
        .at(
            "/v1/policies",
            [(
                Operation::put(
                    "setPolicies",
                    "policies",
                    "Gives many devices a policy, or all of a link",
                )
                .takes::<Many>()
                .answers::<Policy>(200, "The policy")
                .problems(&body),
                put(policies::set_many),
            )],
        )
        .at(
            "/v1/devices/{device}/clips",
            [(
                Operation::post(
                    "requestClip",
                    "media",
                    "Asks for a clip; the same again is the same medium",
                )
                .takes::<ClipBody>()
                .answers::<MediumView>(202, "The medium, which will be fetched")
                .with_location()
                .problems(&body)
                .problems(&[PrivacyZones, DeviceOffline, RecordingOff]),
                post(media::clip),
            )],
        )
        .at(
            "/v1/devices/{device}/snapshots",
            [(
                Operation::post(
                    "requestSnapshot",
                    "media",
                    "Asks for a snapshot; the same again is the same medium",
                )
                .takes::<SnapshotBody>()
                .answers::<MediumView>(202, "The medium, which will be fetched")
                .with_location()
                .problems(&body)
                .problems(&[PrivacyZones]),
                post(media::snapshot),
            )],
        )
        .at(
            "/v1/devices/{device}/captures",
            [(
                Operation::post(
                    "requestCapture",
                    "media",
                    "Records live video; the capture that goes on is prolonged",
                )
                .takes::<CaptureBody>()
                .answers::<MediumView>(202, "The medium, which will be recorded")
                .with_location()
                .problems(&body)
                .problems(&[PrivacyZones, DeviceOffline, RecordingOff]),
                post(captures::capture),
            )],
        )
        .at(
            "/v1/devices/{device}/media",
            [(
                Operation::get("listMedia", "media", "The media of a device, newest first")
                    .query::<Paging>()
                    .answers::<Page<MediumView>>(200, "A page of media")
                    .problems(&[InvalidRequest, NotFound]),
                get(media::of_device),
            )],
        )
        .at(
            "/v1/media/{id}",
            [
                (
                    Operation::get("getMedium", "media", "One medium, with a URL when it is stored")
                        .answers::<MediumView>(200, "The medium")
                        .problems(&[NotFound]),
                    get(media::one),
                ),
                (
                    Operation::delete(
                        "deleteMedium",
                        "media",
                        "Deletes a medium; a capture under way is stopped",
                    )
                    .answers_empty(204, "It is gone")
                    .problems(&[NotFound]),
                    delete(media::delete),
                ),
            ],
        )
        .at(
            "/v1/media/{id}/playlist.m3u8",
            [(
                Operation::get(
                    "getPlaylist",
                    "media",
                    "What is recorded of a capture so far, with signed segments",
                )
                .answers_as::<String>(200, PLAYLIST, "A playlist of HTTP Live Streaming")
                .problems(&[NotFound]),
                get(playlist::of_capture),
            )],
        )
        .at(
            "/v1/devices/{device}/live",
            [(
                Operation::post("openLive", "live", "Opens a live session with any WHEP player's offer")
                    .takes_as::<String>("application/sdp")
                    .answers_as::<String>(201, "application/sdp", "The answer to the offer")
                    .with_location()
                    .problems(&[
                        ScopeMissing,
                        PrivacyZones,
                        NotFound,
                        NotAcceptable,
                        RelinkRequired,
                        DeviceOffline,
                    ])
                    .problems(&[
                        SessionOpen,
                        PayloadTooLarge,
                        UnsupportedMediaType,
                        UnusableOffer,
                        RingUnavailable,
                    ]),
                post(live::open),
            )],
        )
        .at(
            "/v1/live/{session}",
            [(
                Operation::delete("closeLive", "live", "Closes a live session")
                    .answers_empty(200, "It is closed")
                    .problems(&[NotFound, RingUnavailable]),
                delete(live::close),
            )],
        )
}

/// The route that anyone may call.
pub(crate) fn open() -> Routes<Arc<App>> {
    Routes::default().at(
        "/v1/openapi.json",
        [(
            Operation::get("getDescription", "description", "The description of this API")
                .open()
                .answers::<Value>(200, "An OpenAPI 3.1 document"),
            get(async || {
                let media_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                ([media_type], COMPACT.as_str()).into_response()
            }),
        )],
    )
}
