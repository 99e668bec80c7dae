//! What a webhook says. Pure: the raw body in, a typed value out.
//!
//! Ring: Notifications, Webhook v1.1 Payload Structure. The documentation has bodies of version 1.0 without an account,
//! ids of more than one form, and one field under two names, and new kinds may come at any time. A body is therefore
//! refused only when it is no JSON or names no type; whatever else can't be used is left out and named in
//! [`Webhook::oddities`].

use std::fmt;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::opaque::opaque_id;
use crate::{AccountId, DeviceId};

opaque_id! {
    /// `meta.request_id`: one for each webhook, repeated when Ring delivers it again. Opaque.
    RequestId
}

/// The longest `data.id` that is taken, in bytes.
const LONGEST_EVENT_ID: usize = 1024;

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `meta.version`: `1.1`, or `1.0` for bodies without an account.
    pub version: Option<String>,
    /// `meta.time`: when Ring made the webhook, with nanoseconds. It is signed, as part of the body.
    pub sent_at: Option<Timestamp>,
    /// `meta.request_id`.
    pub request_id: Option<RequestId>,
    /// `meta.account_id`. Without it the account is to be found by the device.
    pub account_id: Option<AccountId>,
    /// `data.id`, of whatever form: it is compared, never taken apart.
    pub id: Option<String>,
    /// `data.type`.
    pub kind: EventKind,
    /// `data.subType`, or one of the other places where it has been seen.
    pub sub_type: Option<SubType>,
    /// The device it is about: `data.attributes.source`, else the link to the device.
    pub device_id: Option<DeviceId>,
    /// `data.attributes.timestamp`: when it happened.
    pub occurred_at: Option<Timestamp>,
    /// The fields that were there and could not be used, by their paths.
    pub oddities: Vec<&'static str>,
}

/// Why a body can't be read as a webhook at all.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It has no `data.type`, or one that is no text.
    #[error("the body names no event type")]
    NoType,
}

impl Webhook {
    /// Reads a body whose signature has been verified.
    pub fn parse(body: &[u8]) -> Result<Self, WebhookError> {
        let body: Value = serde_json::from_slice(body).map_err(WebhookError::NotJson)?;
        let kind = body
            .pointer("/data/type")
            .and_then(Value::as_str)
            .filter(|kind| !kind.is_empty());
        let kind = EventKind::from(kind.ok_or(WebhookError::NoType)?);
        let mut fields = Fields {
            body: &body,
            oddities: Vec::new(),
        };
        Ok(Self {
            version: fields.read("/meta/version", text),
            sent_at: fields.read("/meta/time", |value| value.as_str()?.parse().ok()),
            request_id: fields.read("/meta/request_id", |value| RequestId::new(value.as_str()?).ok()),
            account_id: fields.read("/meta/account_id", |value| AccountId::new(value.as_str()?).ok()),
            id: fields.read("/data/id", |value| {
                text(value).filter(|id| (1..=LONGEST_EVENT_ID).contains(&id.len()))
            }),
            kind,
            sub_type: fields.sub_type(),
            device_id: fields.device(),
            occurred_at: fields.read("/data/attributes/timestamp", epoch_millis),
            oddities: fields.oddities,
        })
    }
}

struct Fields<'v> {
    body: &'v Value,
    oddities: Vec<&'static str>,
}

impl Fields<'_> {
    /// The field at this path. One that is there and is of no use is noted; `null` counts as not there.
    fn read<T>(&mut self, path: &'static str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.body.pointer(path).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.oddities.push(path);
        }
        read
    }

    /// The documentation has `subType` beside the type; live bodies have been seen with `sub_type` in the attributes.
    fn sub_type(&mut self) -> Option<SubType> {
        [
            "/data/subType",
            "/data/sub_type",
            "/data/attributes/subType",
            "/data/attributes/sub_type",
        ]
        .into_iter()
        .fold(None, |found, path| {
            let sub_type = self.read(path, |value| {
                value.as_str().filter(|word| !word.is_empty()).map(SubType::from)
            });
            found.or(sub_type)
        })
    }

    /// A source of another type than a device is no device id. The link is looked at when the source is of no use.
    fn device(&mut self) -> Option<DeviceId> {
        let of_a_device = self
            .body
            .pointer("/data/attributes/source_type")
            .is_none_or(|kind| kind == "devices");
        let source = of_a_device
            .then(|| self.read("/data/attributes/source", |value| DeviceId::new(value.as_str()?).ok()))
            .flatten();
        source.or_else(|| self.read("/data/relationships/devices/links/self", device_of_link))
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Milliseconds are more than an `i32` holds. A number with a fraction of zero is as good as a whole one.
fn epoch_millis(value: &Value) -> Option<Timestamp> {
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    Timestamp::from_millisecond(value.as_i64().or_else(|| value.as_f64().and_then(whole))?).ok()
}

/// The id in `/v1/devices/<id>`, which is one percent-encoded segment after `devices`.
fn device_of_link(link: &Value) -> Option<DeviceId> {
    let path = link.as_str()?.split(['?', '#']).next()?;
    let mut segments = path.rsplit('/');
    let id = segments.next()?;
    if segments.next()? != "devices" {
        return None;
    }
    DeviceId::new(percent_decode_str(id).decode_utf8().ok()?).ok()
}

/// Declares an open list of Ring's words: those that are documented by name, and any other as a value.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that Ring's documentation does not list.
            Other(String),
        }

        impl $name {
            /// Ring's word for it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                Self::from(word.as_str())
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What happened. Ring: Notifications, Event Types.
    EventKind {
        /// A camera saw motion; its [`SubType`] says of what.
        MotionDetected = "motion_detected",
        /// A doorbell was pressed.
        ButtonPress = "button_press",
        /// A device came within the partner's reach.
        DeviceAdded = "device_added",
        /// A device went out of the partner's reach.
        DeviceRemoved = "device_removed",
        /// A device has a connection again.
        DeviceOnline = "device_online",
        /// A device lost its connection.
        DeviceOffline = "device_offline",
        /// A user removed the integration. Not in the documentation, and sent nevertheless.
        AppIntegrationRemoved = "app_integration_removed",
    }
}

words! {
    /// What moved. Ring: Motion Detection, Valid subType values.
    SubType {
        /// Motion of no further description.
        Motion = "motion",
        /// A person.
        Human = "human",
        /// A vehicle.
        Vehicle = "vehicle",
        /// An animal.
        Animal = "animal",
        /// Motion that could not be put into a category.
        OtherMotion = "other_motion",
    }
}
