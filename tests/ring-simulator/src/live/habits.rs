//! How a device behaves in a live session: well, unless it is told otherwise.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::devices::merge;

/// What a device draws on. The documentation limits sessions by it, and shows it nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Power {
    /// Sessions of 30 s.
    Battery,
    /// Sessions of 60 s.
    Mains,
}

/// The behaviour of sessions. Those under way follow a change, but for what their answer said already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Habits {
    /// The film that is sent, in place of the usual one: a file with an Annex B stream of the session's codec, which begins with a
    /// key frame, for 15 frames a second.
    pub(super) film: Option<PathBuf>,
    /// The share of packets that is lost on the way, retransmitted ones too: from 0 to 1.
    pub(super) loss: f64,
    /// So many packets go before each frame that are rightly encrypted, and make no sense within; and as many of control.
    pub(super) garbage: u32,
    /// Packets that the viewer misses are sent again.
    pub(super) retransmit: bool,
    /// A key frame follows when the viewer asks for one.
    pub(super) answer_pli: bool,
    /// Connects, and sends nothing.
    pub(super) silent: bool,
    /// The answer says `a=inactive`.
    pub(super) inactive: bool,
    /// The answer has the fingerprint of another certificate.
    pub(super) wrong_fingerprint: bool,
    /// What `Location` says.
    pub(super) location: Location,
    /// So long after connecting nothing is sent …
    pub(super) stall_after_ms: Option<u64>,
    /// … for so long; null: for good.
    pub(super) stall_ms: Option<u64>,
    /// So long after connecting the parameter sets change.
    pub(super) change_after_ms: Option<u64>,
    /// So long after connecting the sender is gone, though Ring holds the session to be open.
    pub(super) vanish_after_ms: Option<u64>,
    /// How long a session may last, in place of 20, 30 or 60 s.
    pub(super) limit_ms: Option<u64>,
    /// What was shown can be had as a clip afterwards; not every device records its live view.
    pub(super) records: bool,
    /// So long after the end until that clip can be had.
    pub(super) record_ready_ms: u64,
}

/// What the `Location` of a new session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Location {
    /// The whole URL.
    Absolute,
    /// The path alone.
    Relative,
    /// A place at the origin of presigned media, where the journal shows whether a bearer came.
    Hostile,
    /// Nothing.
    Missing,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            film: None,
            loss: 0.0,
            garbage: 0,
            retransmit: true,
            answer_pli: true,
            silent: false,
            inactive: false,
            wrong_fingerprint: false,
            location: Location::Absolute,
            stall_after_ms: None,
            stall_ms: None,
            change_after_ms: None,
            vanish_after_ms: None,
            limit_ms: None,
            records: true,
            record_ready_ms: 0,
        }
    }
}

impl Habits {
    /// These, with some of them changed; null sets one back.
    pub(crate) fn changed(&self, change: &Value) -> Result<Self, String> {
        if !change.is_object() {
            return Err("live must be an object: {\"loss\": 0.05}".into());
        }
        let mut changed = json!(self);
        merge(&mut changed, change);
        let habits: Self = serde_json::from_value(changed).map_err(|error| format!("live: {error}"))?;
        if !(0.0..=1.0).contains(&habits.loss) {
            return Err("live: loss is a share, from 0 to 1".into());
        }
        Ok(habits)
    }

    /// Whether nothing is to be sent so long after connecting.
    pub(super) fn is_quiet(&self, since: Duration) -> bool {
        let stalled = self.stall_after_ms.is_some_and(|after| {
            let begin = Duration::from_millis(after);
            let end = self.stall_ms.map(|length| begin + Duration::from_millis(length));
            since >= begin && end.is_none_or(|end| since < end)
        });
        self.silent || stalled
    }

    /// Whether so long after connecting a moment is reached that may be ordered.
    pub(super) fn is_reached(moment: Option<u64>, since: Duration) -> bool {
        moment.is_some_and(|after| since >= Duration::from_millis(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_what_it_changes_and_null_sets_it_back() {
        let lossy = Habits::default()
            .changed(&json!({"loss": 0.05, "location": "relative"}))
            .expect("good");
        assert_eq!((lossy.loss, lossy.location), (0.05, Location::Relative));
        let back = lossy.changed(&json!({"loss": null})).expect("good");
        assert_eq!((back.loss, back.location), (0.0, Location::Relative));
        for bad in [
            json!({"los": 1}),
            json!({"loss": 2}),
            json!("loss"),
            json!({"location": "moon"}),
        ] {
            assert!(lossy.changed(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stall_has_a_beginning_and_may_have_an_end() {
        let ms = Duration::from_millis;
        let stall = Habits {
            stall_after_ms: Some(100),
            stall_ms: Some(50),
            ..Habits::default()
        };
        assert_eq!(
            [99, 100, 149, 150].map(|since| stall.is_quiet(ms(since))),
            [false, true, true, false]
        );
        let for_good = Habits {
            stall_ms: None,
            ..stall
        };
        assert!(for_good.is_quiet(ms(1_000_000)));
    }
}
