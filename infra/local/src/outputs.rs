//! `outputs.json`: where the local stack is and what is in it, for tools and other people's clients.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};
use crate::place::Place;

/// What a client of the local stack needs to know. The names are a contract: more may come, none changes its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    /// Put before a route of the API.
    pub api_url: String,
    /// The `Host` to send with it.
    pub api_host: String,
    /// The emulator, for any AWS SDK or tool.
    pub aws_endpoint_url: String,
    /// The region that everything is in.
    pub aws_region: String,
    /// The emulator's root key.
    pub aws_access_key_id: String,
    /// The secret of that key.
    pub aws_secret_access_key: String,
    /// The stack's name.
    pub stack_name: String,
    /// The stack's own outputs, by key.
    pub outputs: BTreeMap<String, String>,
    /// Package name -> name of the function.
    pub functions: BTreeMap<String, String>,
    /// Noun -> name of its table.
    pub tables: BTreeMap<String, String>,
    /// `events`, `events_dlq`, … -> URL of the queue.
    pub queues: BTreeMap<String, String>,
    /// The Ring that the stack talks to.
    pub ring: RingUrls,
}

/// Where Ring is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingUrls {
    /// The base of Ring's API.
    pub api_url: String,
    /// Ring's token endpoint.
    pub oauth_url: String,
    /// The simulator's control API; another Ring has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_url: Option<String>,
}

impl Outputs {
    /// Reads what the running stack wrote.
    pub fn read(place: &Place) -> Result<Self, Failure> {
        let path = &place.outputs()[0];
        let absent = || "No local stack is up".to_owned();
        let advice = "start one with `cargo run -p local`, and keep it running";
        let text = fs::read(path)
            .or_fail(absent)
            .map_err(|failure| failure.advise(advice))?;
        serde_json::from_slice(&text).or_fail(|| format!("{} can't be understood", path.display()))
    }

    pub(crate) fn write(&self, place: &Place) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).or_fail(|| "The outputs can't be written as JSON".into())?;
        for path in place.outputs() {
            let beside = path.with_extension("part");
            let written = fs::create_dir_all(path.parent().unwrap_or(&path))
                .and_then(|()| fs::write(&beside, &text))
                .and_then(|()| fs::rename(&beside, &path));
            written.or_fail(|| format!("{} can't be written", path.display()))?;
        }
        Ok(())
    }
}

/// `TokenRefresh` -> `token-refresh`.
pub(crate) fn package_of(resource: &str) -> String {
    let mut package = String::new();
    for letter in resource.chars() {
        if letter.is_ascii_uppercase() && !package.is_empty() {
            package.push('-');
        }
        package.push(letter.to_ascii_lowercase());
    }
    package
}

/// `GrantsTable` -> `grant`.
pub(crate) fn noun_of(resource: &str) -> String {
    let plural = resource.strip_suffix("Table").unwrap_or(resource).to_ascii_lowercase();
    plural.strip_suffix('s').map(str::to_owned).unwrap_or(plural)
}

/// `EventsQueue` -> `events`, `EventsDlq` -> `events_dlq`.
pub(crate) fn queue_of(resource: &str) -> String {
    package_of(resource.strip_suffix("Queue").unwrap_or(resource)).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_as_the_contract_has_them() {
        fn check(name: fn(&str) -> String, resource: &str, named: &str) {
            assert_eq!(name(resource), named);
        }
        check(package_of, "TokenRefresh", "token-refresh");
        check(package_of, "PartnerApi", "partner-api");
        check(noun_of, "GrantsTable", "grant");
        check(noun_of, "MediaTable", "media");
        check(queue_of, "EventsQueue", "events");
        check(queue_of, "EventsDlq", "events_dlq");
        check(queue_of, "QuarantineQueue", "quarantine");
    }
}
