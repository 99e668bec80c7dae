//! The audit trail: who linked, who was refused, who unlinked, which devices came and went, who watched, what was fetched, recorded and
//! deleted and why, what was taken away or erased, and when. A user stands in it under a name that is drawn for them, and whatever else could tell whose an entry is, is sealed
//! ([`seal`]). Programs can add to it and can't change it: only its retention deletes.

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::edge::key;

pub mod seal;
pub mod store;

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who, as a pseudonym.
    pub user_id: String,
    /// What.
    pub deed: Deed,
    /// With which Ring account, where it is known.
    pub account_id: Option<AccountId>,
    /// By which link, where there is one.
    pub link_id: Option<String>,
    /// With which device, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// Because of what, where nobody asked for it: the id of the event whose policy did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Linked an account.
    Linked,
    /// Tried to link an account that is another user's.
    LinkRefusedTaken,
    /// Unlinked an account.
    Unlinked,
    /// Removed the app at Ring, which ended the link.
    RemovedAtRing,
    /// Gave access to a device, at Ring.
    DeviceAdded,
    /// Took access to a device back, at Ring.
    DeviceRemoved,
    /// Watched live video.
    Viewed,
    /// Asked for a clip or a snapshot, or had one asked for by a policy.
    Fetched,
    /// Had live video recorded.
    Recorded,
    /// Deleted a clip, a snapshot or a recording.
    MediumDeleted,
    /// Asked for all that there is of them.
    Exported,
    /// Had all that there is of them erased.
    Erased,
}

impl Deed {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::LinkRefusedTaken => "link_refused_taken",
            Self::Unlinked => "unlinked",
            Self::RemovedAtRing => "removed_at_ring",
            Self::DeviceAdded => "device_added",
            Self::DeviceRemoved => "device_removed",
            Self::Viewed => "viewed",
            Self::Fetched => "fetched",
            Self::Recorded => "recorded",
            Self::MediumDeleted => "medium_deleted",
            Self::Exported => "exported",
            Self::Erased => "erased",
        }
    }
}

impl Entry {
    /// Its id: the same entry has the same, so that it stands in the trail once, however often it is written.
    #[must_use]
    pub fn id(&self) -> String {
        let account = self.account_id.as_ref().map_or("", AccountId::as_str);
        let link = self.link_id.as_deref().unwrap_or_default();
        let (deed, at) = (format!("{:?}", self.deed), self.at.to_string());
        let device = self.device_id.as_ref().map_or("", DeviceId::as_str);
        let why = self.why.as_deref().unwrap_or_default();
        key::derived("aud", &[&self.user_id, &deed, account, link, device, &at, why])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deeds_word_is_what_it_is_stored_as() {
        for deed in [
            Deed::Linked,
            Deed::LinkRefusedTaken,
            Deed::Unlinked,
            Deed::RemovedAtRing,
            Deed::DeviceAdded,
            Deed::DeviceRemoved,
            Deed::Viewed,
            Deed::Fetched,
            Deed::Recorded,
            Deed::MediumDeleted,
            Deed::Exported,
            Deed::Erased,
        ] {
            assert_eq!(serde_json::to_value(deed).unwrap(), deed.as_str());
        }
    }

    #[test]
    fn what_is_written_twice_has_one_id_and_each_part_tells_entries_apart() {
        let entry = Entry {
            at: Timestamp::from_second(1_770_000_000).unwrap(),
            user_id: "usr_1".to_owned(),
            deed: Deed::Linked,
            account_id: AccountId::new("account").ok(),
            link_id: Some("lnk_1".to_owned()),
            device_id: DeviceId::new("device").ok(),
            why: Some("evt_1".to_owned()),
        };
        let others = [
            Entry {
                at: entry.at + jiff::Span::new().milliseconds(1),
                ..entry.clone()
            },
            Entry {
                user_id: "usr_2".to_owned(),
                ..entry.clone()
            },
            Entry {
                deed: Deed::Unlinked,
                ..entry.clone()
            },
            Entry {
                account_id: None,
                ..entry.clone()
            },
            Entry {
                link_id: None,
                ..entry.clone()
            },
            Entry {
                device_id: None,
                ..entry.clone()
            },
            Entry {
                why: None,
                ..entry.clone()
            },
        ];
        assert_eq!(entry.id(), entry.clone().id());
        for other in others {
            assert_ne!(entry.id(), other.id(), "{other:?}");
        }
    }
}
