//! A policy: what is done by itself when something happens at a device, and what of a device with privacy zones may be shown.
//! This file does no I/O; [`region`] says where the law asks for more, [`store`] keeps policies.

use std::collections::{BTreeMap, BTreeSet};

use ring_partner::devices::{Configurations, Toggle};
use ring_partner::object;
use ring_partner::webhook::EventKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::Known;

pub mod region;
pub mod store;

pub use region::Regions;

/// The shortest and the longest clip or capture that can be asked for, in milliseconds. The longest is Ring's for clips (Ring: Media
/// Clips, Request Parameters).
pub const DURATIONS: std::ops::RangeInclusive<i64> = 1_000..=900_000;
/// The most sub-types that a policy may name, and the longest word for one: Ring has five.
const MOST_SUBTYPES: usize = 32;
const LONGEST_SUBTYPE: usize = 64;
/// What stands for the sub-types of motion that a policy does not name.
const DEFAULT: &str = "default";

/// What is done by itself at one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(example = serde_json::json!({
    "on": { "motion_detected": { "human": ["snapshot", "clip"], "default": [] }, "button_press": ["capture"] },
    "duration": 30000, "audio": false, "notify": true, "privacy_zones": "obscure",
}))]
pub struct Policy {
    /// When what happens.
    #[serde(deserialize_with = "object::required")]
    pub on: On,
    /// How long clips and captures are, in milliseconds.
    #[schemars(range(min = 1_000, max = 900_000))]
    pub duration: i64,
    /// Whether clips and captures have sound.
    pub audio: bool,
    /// Whether whoever hears of the event, or of its media, is to be told: carried in what we publish.
    pub notify: bool,
    /// What is done about privacy zones.
    pub privacy_zones: PrivacyZones,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            on: On::default(),
            duration: 30_000,
            audio: false,
            notify: true,
            privacy_zones: PrivacyZones::default(),
        }
    }
}

/// What is asked for on what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct On {
    /// On motion, by its sub-type; `default` is for all that are not named.
    #[schemars(with = "BTreeMap<String, Vec<Action>>")]
    #[schemars(extend("maxProperties" = MOST_SUBTYPES, "propertyNames" = { "minLength": 1, "maxLength": LONGEST_SUBTYPE }))]
    pub motion_detected: BTreeMap<String, BTreeSet<Action>>,
    /// On a press of the button.
    #[schemars(with = "Vec<Action>")]
    pub button_press: BTreeSet<Action>,
}

/// One thing that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A still of that moment.
    Snapshot,
    /// A clip from that moment on.
    Clip,
    /// Live video from now on.
    Capture,
}

impl Action {
    /// In a word, which is the kind of medium, too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Clip => "clip",
            Self::Capture => "capture",
        }
    }
}

/// What is done about privacy zones, from the loosest to the strictest. Ring: Configurations, "always obscure or avoid
/// processing areas marked as privacy zones".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyZones {
    /// All is shown as it was recorded: the company states that the devices burn their zones in.
    Allow,
    /// Stills are masked; what moves is not to be had.
    #[default]
    Obscure,
    /// Nothing is to be had.
    Block,
}

/// What of a device may be shown, and what is done to it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All: it has no privacy zones.
    All,
    /// All, as it was recorded, although it has privacy zones, or they are not known.
    AsRecorded,
    /// Stills, masked.
    Masked,
    /// Nothing.
    Nothing,
}

impl Shown {
    /// Whether this may be had.
    #[must_use]
    pub fn takes(self, action: Action) -> bool {
        match self {
            Self::All | Self::AsRecorded => true,
            Self::Masked => action == Action::Snapshot,
            Self::Nothing => false,
        }
    }
}

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where, as a JSON pointer into the policy.
    pub pointer: String,
    /// What is wrong, for whoever wrote it.
    pub detail: String,
}

impl Policy {
    /// All that is wrong with it.
    pub fn check(&self) -> Result<(), Vec<Wrong>> {
        let mut wrong = Vec::new();
        let mut say = |pointer: String, detail: String| wrong.push(Wrong { pointer, detail });
        if !DURATIONS.contains(&self.duration) {
            let (shortest, longest) = (DURATIONS.start(), DURATIONS.end());
            say(
                "/duration".to_owned(),
                format!("{shortest} to {longest}, in milliseconds"),
            );
        }
        if self.on.motion_detected.len() > MOST_SUBTYPES {
            say(
                "/on/motion_detected".to_owned(),
                format!("{MOST_SUBTYPES} sub-types at most"),
            );
        }
        for subtype in self.on.motion_detected.keys() {
            if !(1..=LONGEST_SUBTYPE).contains(&subtype.chars().count()) {
                say(
                    "/on/motion_detected".to_owned(),
                    format!("a sub-type has 1 to {LONGEST_SUBTYPE} characters"),
                );
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// What it asks for on such an event, whatever may be shown.
    fn asks(&self, kind: &EventKind, subtype: Option<&str>) -> BTreeSet<Action> {
        match kind {
            EventKind::MotionDetected => {
                let motion = &self.on.motion_detected;
                let named = subtype.and_then(|subtype| motion.get(subtype));
                named.or_else(|| motion.get(DEFAULT)).cloned().unwrap_or_default()
            }
            EventKind::ButtonPress => self.on.button_press.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// What is done by itself about such an event of this device. Nothing is on motion that the device's owner has not
    /// switched on, although Ring told of it; and nothing is of what may not be shown.
    #[must_use]
    pub fn actions(
        &self,
        kind: &EventKind,
        subtype: Option<&str>,
        known: &Known,
        regions: &Regions,
    ) -> BTreeSet<Action> {
        if *kind == EventKind::MotionDetected && motion_is_off(known.configurations.as_ref()) {
            return BTreeSet::new();
        }
        let shown = self.shows(known, regions);
        let mut asked = self.asks(kind, subtype);
        asked.retain(|action| shown.takes(*action));
        asked
    }

    /// What of this device may be shown. Zones that are not known are taken to be there.
    #[must_use]
    pub fn shows(&self, known: &Known, regions: &Regions) -> Shown {
        let none = known
            .configurations
            .as_ref()
            .is_some_and(|set| set.privacy_zones().is_empty());
        if none {
            return Shown::All;
        }
        match self.privacy_zones.max(regions.least(known.location.as_ref())) {
            PrivacyZones::Allow => Shown::AsRecorded,
            PrivacyZones::Obscure => Shown::Masked,
            PrivacyZones::Block => Shown::Nothing,
        }
    }
}

fn motion_is_off(configurations: Option<&Configurations>) -> bool {
    let motion = configurations.and_then(|set| set.motion_detection.as_ref());
    motion.is_some_and(|motion| motion.enabled == Some(Toggle::Off))
}

#[cfg(test)]
mod tests {
    use ring_partner::devices::DeviceId;
    use ring_partner::users::AccountId;
    use serde_json::{Value, json};

    use super::*;

    /// A device of this configuration and location, as Ring tells them.
    fn device(configurations: Value, location: Value) -> Known {
        Known {
            account_id: AccountId::new("a").unwrap(),
            device_id: DeviceId::new("d").unwrap(),
            name: None,
            present: None,
            online: None,
            doorbell: false,
            capabilities: None,
            location: serde_json::from_value(location).unwrap(),
            configurations: serde_json::from_value(configurations).unwrap(),
            listed_at: None,
            policy: None,
            awaited: false,
            captured: false,
            watched: false,
        }
    }

    fn zoned() -> Value {
        json!({"image_enhancements": {"privacy_zones": [{"id": "z", "vertices": []}]}})
    }

    fn policy(privacy_zones: &str) -> Policy {
        serde_json::from_value(json!({
            "on": {
                "motion_detected": {"human": ["snapshot", "clip"], "vehicle": [], "default": ["capture"]},
                "button_press": ["snapshot", "clip", "capture"],
            },
            "privacy_zones": privacy_zones,
        }))
        .unwrap()
    }

    fn words(actions: BTreeSet<Action>) -> Value {
        serde_json::to_value(actions).unwrap()
    }

    #[test]
    fn motion_is_told_apart_by_its_sub_type_and_default_is_for_the_others() {
        let (policy, device) = (policy("obscure"), device(json!({}), json!(null)));
        let on = |kind, subtype| words(policy.actions(&kind, subtype, &device, &Regions::none()));
        assert_eq!(
            on(EventKind::MotionDetected, Some("human")),
            json!(["snapshot", "clip"])
        );
        assert_eq!(on(EventKind::MotionDetected, Some("vehicle")), json!([]));
        assert_eq!(on(EventKind::MotionDetected, Some("a_new_word")), json!(["capture"]));
        assert_eq!(on(EventKind::MotionDetected, None), json!(["capture"]));
        assert_eq!(on(EventKind::ButtonPress, None), json!(["snapshot", "clip", "capture"]));
        for other in [
            EventKind::DeviceAdded,
            EventKind::DeviceOnline,
            EventKind::Other("human".to_owned()),
        ] {
            assert_eq!(on(other, Some("human")), json!([]));
        }
    }

    #[test]
    fn nothing_is_done_by_itself_unless_a_policy_says_so() {
        let (none, device) = (Policy::default(), device(json!({}), json!(null)));
        for kind in [EventKind::MotionDetected, EventKind::ButtonPress] {
            assert_eq!(
                none.actions(&kind, Some("human"), &device, &Regions::none()),
                BTreeSet::new()
            );
        }
        assert_eq!(
            serde_json::to_value(none).unwrap(),
            json!({"on": {"motion_detected": {}, "button_press": []}, "duration": 30_000, "audio": false,
                   "notify": true, "privacy_zones": "obscure"})
        );
    }

    #[test]
    fn trap_68_where_motion_detection_is_off_motion_starts_nothing_and_the_button_does() {
        let off = device(json!({"motion_detection": {"enabled": "off"}}), json!(null));
        let policy = policy("obscure");
        let on = |kind| policy.actions(&kind, Some("human"), &off, &Regions::none());
        assert_eq!(on(EventKind::MotionDetected), BTreeSet::new());
        assert_eq!(on(EventKind::ButtonPress).len(), 3);
        // Neither a word that nobody knows nor none at all is "off".
        for enabled in [json!({"enabled": "perhaps"}), json!({}), json!({"enabled": "on"})] {
            let device = device(json!({ "motion_detection": enabled }), json!(null));
            let actions = policy.actions(&EventKind::MotionDetected, Some("human"), &device, &Regions::none());
            assert_eq!(actions.len(), 2);
        }
    }

    #[test]
    fn trap_120_zones_or_an_unknown_configuration_leave_what_the_policy_says() {
        let atlanta = json!({"country": "US", "state": "GA"});
        for (configurations, word, shown) in [
            (json!({}), "block", Shown::All),
            (json!({}), "obscure", Shown::All),
            (json!({}), "allow", Shown::All),
            (zoned(), "block", Shown::Nothing),
            (zoned(), "obscure", Shown::Masked),
            (zoned(), "allow", Shown::AsRecorded),
            (json!(null), "block", Shown::Nothing),
            (json!(null), "obscure", Shown::Masked),
            (json!(null), "allow", Shown::AsRecorded),
        ] {
            let device = device(configurations.clone(), atlanta.clone());
            let regions: Regions = "EEA,UK,US-CA,US-IL".parse().unwrap();
            assert_eq!(policy(word).shows(&device, &regions), shown, "{configurations}, {word}");
        }
        let masked = policy("obscure").actions(
            &EventKind::ButtonPress,
            None,
            &device(zoned(), atlanta.clone()),
            &Regions::none(),
        );
        assert_eq!(words(masked), json!(["snapshot"]), "what moves is not masked");
        let blocked = policy("block").actions(
            &EventKind::ButtonPress,
            None,
            &device(zoned(), atlanta),
            &Regions::none(),
        );
        assert_eq!(blocked, BTreeSet::new());
    }

    #[test]
    fn trap_86_a_region_of_the_table_forces_what_is_stricter_and_an_unknown_place_the_strictest() {
        let regions: Regions = "EEA,UK,US-CA,US-IL".parse().unwrap();
        for (location, word, shown) in [
            (json!({"country": "DE"}), "allow", Shown::Masked),
            (json!({"country": "DE"}), "block", Shown::Nothing),
            (json!({"country": "GB"}), "allow", Shown::Masked),
            (json!({"country": "US", "state": "CA"}), "allow", Shown::Masked),
            (json!({"country": "US", "state": "GA"}), "allow", Shown::AsRecorded),
            (json!(null), "allow", Shown::Nothing),
            (json!({"country": "US"}), "allow", Shown::Nothing),
        ] {
            let device = device(zoned(), location.clone());
            assert_eq!(policy(word).shows(&device, &regions), shown, "{location}, {word}");
            assert_eq!(
                policy("allow").shows(&device, &Regions::none()),
                Shown::AsRecorded,
                "without a table nothing is forced"
            );
        }
    }

    #[test]
    fn trap_85_no_policy_asks_by_zone_since_no_webhook_says_where_it_was() {
        for by_zone in [
            json!({"zones": ["drive"]}),
            json!({"on": {"motion_detected": {}, "zones": {}}}),
        ] {
            assert!(serde_json::from_value::<Policy>(by_zone).is_err());
        }
        // Motion outside of every zone that its owner drew is motion all the same.
        let zones = json!({"motion_detection": {"enabled": "on", "motion_zones": [{"id": "z", "vertices": []}]}});
        let device = device(zones, json!(null));
        let actions = policy("obscure").actions(&EventKind::MotionDetected, Some("human"), &device, &Regions::none());
        assert_eq!(actions.len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_named_by_its_place() {
        for (change, pointer) in [
            (json!({"duration": 0}), "/duration"),
            (json!({"duration": 900_001}), "/duration"),
            (json!({"on": {"motion_detected": {"": []}}}), "/on/motion_detected"),
        ] {
            let policy: Policy = serde_json::from_value(change).unwrap();
            let wrong = policy.check().unwrap_err();
            assert_eq!(wrong[0].pointer, pointer);
        }
        assert_eq!(policy("obscure").check(), Ok(()));
        for unknown in [
            json!({"colour": 1}),
            json!({"on": {"device_online": []}}),
            json!({"on": {"button_press": ["dance"]}}),
        ] {
            assert!(serde_json::from_value::<Policy>(unknown).is_err());
        }
    }
}
