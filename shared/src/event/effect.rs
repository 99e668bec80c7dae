//! What follows from an event: which effects, in which order, by its kind and by its device's policy. No I/O.

use ring_partner::webhook::EventKind;
use serde::{Deserialize, Serialize};

use super::Record;
use super::views::Seen;
use crate::policy::{Action, Regions};

/// One effect of an event. Each may happen twice without harm: it has an id that is made of the event's, and whoever
/// receives it drops repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The device's state is told by the event: there or gone, online or offline, a doorbell.
    DeviceState,
    /// The device is asked for at Ring, with all four parts, and kept; it gets its link's policy.
    FetchDevice,
    /// The device is back: an earlier removal purges nothing of it.
    RestoreMedia,
    /// Media that wait for the device go back to their queue: to be fetched, or to be given up.
    ReleaseMedia,
    /// A capture of the device stops.
    StopCapture,
    /// Whoever watches the device live sees no more of it: the sessions are closed at Ring.
    CloseLive,
    /// The device is gone: its media get their date.
    RetireMedia,
    /// The audit trail is told that the device came or went.
    Audit,
    /// A still of the moment is asked for.
    Snapshot,
    /// A clip from the moment on is asked for.
    Clip {
        /// How long, in milliseconds.
        duration: i64,
        /// Whether it has sound.
        audio: bool,
    },
    /// A capture begins, or the one that goes on is prolonged.
    Capture {
        /// How long, in milliseconds.
        duration: i64,
        /// Whether it has sound.
        audio: bool,
    },
    /// The event is published on the bus.
    Announce,
    /// The link of the account ends.
    Unlink,
}

impl Effect {
    /// Its word in a ledger.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::DeviceState => "device_state",
            Self::FetchDevice => "fetch_device",
            Self::RestoreMedia => "restore_media",
            Self::ReleaseMedia => "release_media",
            Self::StopCapture => "stop_capture",
            Self::CloseLive => "close_live",
            Self::RetireMedia => "retire_media",
            Self::Audit => "audit",
            Self::Snapshot => "snapshot",
            Self::Clip { .. } => "clip",
            Self::Capture { .. } => "capture",
            Self::Announce => "announce",
            Self::Unlink => "unlink",
        }
    }

    /// Whether it follows from the state that the event tells, and so from nothing once something newer was told.
    #[must_use]
    pub fn follows_the_state(&self) -> bool {
        match self {
            Self::RestoreMedia | Self::ReleaseMedia | Self::StopCapture | Self::CloseLive | Self::RetireMedia => true,
            Self::DeviceState
            | Self::FetchDevice
            | Self::Audit
            | Self::Snapshot
            | Self::Clip { .. }
            | Self::Capture { .. }
            | Self::Announce
            | Self::Unlink => false,
        }
    }
}

/// What is to be done about an event once its account is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub effects: Vec<Effect>,
    /// Whether whoever hears of it is to be told, where a policy says so.
    pub notify: Option<bool>,
}

impl Plan {
    /// The plan for an event of a device that was last seen so, under this table of regions. A device that nobody has seen has
    /// no policy, and its configuration is not known: nothing of it is asked for.
    #[must_use]
    pub fn of(record: &Record, seen: Option<&Seen>, regions: &Regions) -> Self {
        use Effect::{
            Announce, Audit, CloseLive, DeviceState, FetchDevice, ReleaseMedia, RestoreMedia, RetireMedia, StopCapture,
            Unlink,
        };
        let is_of_a_device = record.device_id.is_some();
        let mut effects = match record.kind {
            EventKind::AppIntegrationRemoved => vec![],
            _ if !is_of_a_device => vec![],
            EventKind::DeviceAdded => vec![DeviceState, FetchDevice, RestoreMedia, ReleaseMedia, Audit],
            // What waits for the device is given up by whoever fetches it.
            EventKind::DeviceRemoved => vec![DeviceState, StopCapture, CloseLive, ReleaseMedia, RetireMedia, Audit],
            EventKind::DeviceOnline => vec![DeviceState, ReleaseMedia],
            EventKind::DeviceOffline => vec![DeviceState, StopCapture, CloseLive],
            // That it has a button is told once.
            EventKind::ButtonPress if !seen.is_some_and(|seen| seen.known.doorbell) => vec![DeviceState],
            EventKind::ButtonPress | EventKind::MotionDetected | EventKind::Other(_) => vec![],
        };
        if let Some(Seen { known, policy }) = seen.filter(|seen| is_of_a_device && seen.known.is_present()) {
            let actions = policy.actions(&record.kind, record.subtype.as_deref(), known, regions);
            let (duration, audio) = (policy.duration, policy.audio);
            effects.extend(actions.into_iter().map(|action| match action {
                Action::Snapshot => Effect::Snapshot,
                Action::Clip => Effect::Clip { duration, audio },
                Action::Capture => Effect::Capture { duration, audio },
            }));
        }
        effects.push(Announce);
        if record.kind == EventKind::AppIntegrationRemoved {
            // Last: without a link nobody is told of anything.
            effects.push(Unlink);
        }
        Self {
            effects,
            notify: seen.filter(|_| is_of_a_device).map(|seen| seen.policy.notify),
        }
    }
}

#[cfg(test)]
mod tests {
    use ring_partner::webhook::Webhook;
    use serde_json::{Value, json};

    use super::*;
    use crate::device::{Known, Told};
    use crate::event::{Delivery, LEAST_KEPT};
    use crate::policy::Policy;

    fn record(kind: &str, device: Value) -> Record {
        let body = json!({"meta": {"account_id": "a"},
                          "data": {"id": "1", "type": kind, "attributes": {"source": device, "timestamp": 1_000}}});
        let body = body.to_string();
        let delivery = Delivery {
            message: "m-1".to_owned(),
            received_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let webhook = Webhook::parse(body.as_bytes()).unwrap();
        Record::of(&webhook, body.as_bytes(), &delivery, LEAST_KEPT, delivery.received_at)
    }

    /// A device with a button, and a policy that asks for all there is.
    fn seen() -> Seen {
        let policy = json!({"on": {"motion_detected": {"default": ["snapshot", "clip", "capture"]},
                                   "button_press": ["snapshot", "clip", "capture"]}, "audio": true, "notify": false});
        let known = json!({"account_id": "a", "device_id": "d", "doorbell": true, "configurations": {}});
        Seen {
            known: serde_json::from_value::<Known>(known).unwrap(),
            policy: serde_json::from_value::<Policy>(policy).unwrap(),
        }
    }

    fn words(kind: &str, seen: Option<&Seen>) -> Vec<&'static str> {
        let plan = Plan::of(&record(kind, json!("d")), seen, &Regions::none());
        plan.effects.iter().map(Effect::as_str).collect()
    }

    #[test]
    fn each_kind_has_its_effects_and_is_announced() {
        let asked = ["snapshot", "clip", "capture", "announce"];
        for (kind, effects) in [
            ("motion_detected", &asked[..]),
            ("button_press", &asked),
            ("device_online", &["device_state", "release_media", "announce"]),
            (
                "device_offline",
                &["device_state", "stop_capture", "close_live", "announce"],
            ),
            (
                "device_added",
                &[
                    "device_state",
                    "fetch_device",
                    "restore_media",
                    "release_media",
                    "audit",
                    "announce",
                ],
            ),
            (
                "device_removed",
                &[
                    "device_state",
                    "stop_capture",
                    "close_live",
                    "release_media",
                    "retire_media",
                    "audit",
                    "announce",
                ],
            ),
            ("app_integration_removed", &["announce", "unlink"]),
            ("package_delivered", &["announce"]),
        ] {
            assert_eq!(words(kind, Some(&seen())), effects, "{kind}");
        }
    }

    #[test]
    fn an_event_of_no_device_is_announced_and_an_integration_ends_without_one() {
        let words = |kind| {
            let plan = Plan::of(&record(kind, json!(null)), None, &Regions::none());
            let words: Vec<_> = plan.effects.iter().map(Effect::as_str).collect();
            words
        };
        assert_eq!(words("device_removed"), ["announce"]);
        assert_eq!(words("app_integration_removed"), ["announce", "unlink"]);
    }

    #[test]
    fn a_button_is_told_once_and_nothing_is_asked_of_a_device_that_nobody_has_seen_or_that_is_gone() {
        let mut seen = seen();
        seen.known.doorbell = false;
        assert_eq!(words("button_press", Some(&seen))[0], "device_state");
        assert_eq!(words("button_press", None), ["device_state", "announce"]);
        seen.known.present = Some(Told {
            is: false,
            at: 1,
            by: "evt_1".to_owned(),
        });
        assert_eq!(words("motion_detected", Some(&seen)), ["announce"]);
    }

    #[test]
    fn what_is_asked_for_and_whether_to_tell_is_as_the_policy_says_and_stays_with_the_marker() {
        let plan = Plan::of(&record("motion_detected", json!("d")), Some(&seen()), &Regions::none());
        assert_eq!(plan.notify, Some(false));
        let clip = Effect::Clip {
            duration: 30_000,
            audio: true,
        };
        assert!(plan.effects.contains(&clip), "{plan:?}");
        let kept = serde_json::to_value(&plan.effects).unwrap();
        assert_eq!(kept[0], "snapshot");
        assert_eq!(kept[1], json!({"clip": {"duration": 30_000, "audio": true}}));
        assert_eq!(serde_json::from_value::<Vec<Effect>>(kept).unwrap(), plan.effects);
    }

    #[test]
    fn trap_65_what_follows_from_a_state_does_not_once_something_newer_was_told() {
        let follow = |kind| {
            let plan = Plan::of(&record(kind, json!("d")), Some(&seen()), &Regions::none());
            let follow = plan.effects.into_iter().filter(Effect::follows_the_state);
            follow.map(|effect| effect.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(
            follow("device_removed"),
            ["stop_capture", "close_live", "release_media", "retire_media"]
        );
        assert_eq!(follow("device_offline"), ["stop_capture", "close_live"]);
        assert_eq!(follow("device_added"), ["restore_media", "release_media"]);
        assert_eq!(follow("motion_detected"), [""; 0]);
    }
}
