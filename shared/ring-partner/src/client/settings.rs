//! How the client behaves: where Ring is, who else may be talked to, and the bound on each wait and body.

use std::time::Duration;

use url::{Host, Url};

use super::redirects::NamedHost;
use crate::error::DEFAULT_WAIT;

/// How a [`Ring`](crate::Ring) behaves. Start from [`Settings::new`], and change what has to differ.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ring's API, `https://api.amazonvision.com`. Plain http is taken for a loopback or private host alone, or for
    /// one that `bearer_hosts` names.
    pub api_url: Url,
    /// Ring's token endpoint, `https://oauth.ring.com/oauth/token`.
    pub oauth_url: Url,
    /// Further hosts that may see the bearer when a redirect leads there, each `host` or `host:port`.
    pub bearer_hosts: Vec<String>,
    /// Where media may come from: a host is taken if it is one of these or ends in one (`example.com` takes
    /// `cdn.example.com` too). None at all: any public host by https. Plain http, other ports than 443, and hosts that
    /// are not public are taken only if they are named here whole, as `host` or `host:port`.
    pub media_hosts: Vec<String>,
    /// Requests a second of all the processes that share this budget. Ring allows 100 to a partner, over all of its
    /// processes and users.
    pub budget_per_second: u32,
    /// How many processes those are at most: this one takes its even part.
    pub budget_shared_by: u32,
    /// The time for a connection, its name and handshake included.
    pub connect_timeout: Duration,
    /// The time for a whole exchange, each attempt for itself; of media, the time until its headers are there.
    pub timeout: Duration,
    /// The time for Ring to open a live session: a device on a battery has to wake up first.
    pub live_timeout: Duration,
    /// The longest wait for the next bytes of media.
    pub media_idle_timeout: Duration,
    /// The longest that one piece of media may take.
    pub media_timeout: Duration,
    /// The largest piece of media, in bytes.
    pub media_limit: u64,
    /// The largest answer that is not media, in bytes.
    pub body_limit: usize,
    /// How often an idempotent request is made at most.
    pub attempts: usize,
    /// The wait before the second attempt where Ring names none; it doubles, with jitter. Ring: Rate Limiting.
    pub first_wait: Duration,
    /// The longest wait before another attempt, or for the budget. What would take longer is an error that says how
    /// long: a Lambda function must not sleep a minute.
    pub longest_wait: Duration,
    /// How many failures in a row open a circuit.
    pub circuit_failures: u32,
    /// How long an open circuit lets nothing through.
    pub circuit_cool_down: Duration,
}

impl Settings {
    /// The defaults for a function that answers people.
    pub fn new(api_url: Url, oauth_url: Url) -> Self {
        Self {
            api_url,
            oauth_url,
            bearer_hosts: Vec::new(),
            media_hosts: Vec::new(),
            // A quarter of Ring's limit, as other processes have the same client id.
            budget_per_second: 25,
            budget_shared_by: 1,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            live_timeout: Duration::from_secs(15),
            media_idle_timeout: Duration::from_secs(15),
            media_timeout: Duration::from_secs(14 * 60),
            // Fifteen minutes of 1080p at a rate that no doorbell has (9 Mbit/s).
            media_limit: 1 << 30,
            body_limit: 8 << 20,
            attempts: 3,
            first_wait: DEFAULT_WAIT,
            longest_wait: Duration::from_secs(3),
            circuit_failures: 5,
            circuit_cool_down: Duration::from_secs(15),
        }
    }
}

/// Why there can be no client with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A URL can't be used.
    #[error("{0} has to be https (plain http for loopback, private and named hosts alone), without user or query")]
    Url(&'static str),
    /// A host has not the form `host` or `host:port`.
    #[error("{list} has {entry:?}, which is no host")]
    Host {
        /// Which list.
        list: &'static str,
        /// Its entry.
        entry: String,
    },
    /// A bound is zero, which would let nothing through.
    #[error("{0} can't be zero")]
    Zero(&'static str),
    /// The HTTP client could not be made: mostly, the system has no root certificates.
    #[error("the HTTP client could not be made")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (name, url) in [("api_url", &self.api_url), ("oauth_url", &self.oauth_url)] {
            let secure = match url.scheme() {
                "https" => true,
                "http" => self.may_be_plain(url),
                _ => false,
            };
            let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
            if !secure || !bare || url.host().is_none() {
                return Err(SettingsError::Url(name));
            }
        }
        for (list, entries) in [("bearer_hosts", &self.bearer_hosts), ("media_hosts", &self.media_hosts)] {
            if let Some(entry) = entries.iter().find(|entry| NamedHost::parse(entry).is_none()) {
                return Err(SettingsError::Host {
                    list,
                    entry: entry.clone(),
                });
            }
        }
        for (name, zero) in [
            ("budget_per_second", self.budget_per_second == 0),
            ("budget_shared_by", self.budget_shared_by == 0),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("timeout", self.timeout.is_zero()),
            ("live_timeout", self.live_timeout.is_zero()),
            ("media_idle_timeout", self.media_idle_timeout.is_zero()),
            ("media_timeout", self.media_timeout.is_zero()),
            ("media_limit", self.media_limit == 0),
            ("body_limit", self.body_limit == 0),
            ("attempts", self.attempts == 0),
            ("circuit_failures", self.circuit_failures == 0),
        ] {
            if zero {
                return Err(SettingsError::Zero(name));
            }
        }
        Ok(())
    }

    /// Tokens in clear on a wire are taken only where somebody has said so, or where there is no wire.
    fn may_be_plain(&self, url: &Url) -> bool {
        let inside = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private(),
            Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        };
        inside
            || self
                .bearer_hosts
                .iter()
                .filter_map(|entry| NamedHost::parse(entry))
                .any(|named| named.is(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(api_url: &str) -> Settings {
        Settings::new(
            Url::parse(api_url).unwrap(),
            Url::parse("https://oauth.ring.com/oauth/token").unwrap(),
        )
    }

    #[test]
    fn tokens_go_in_clear_only_where_there_is_no_wire_or_somebody_said_so() {
        for url in [
            "https://api.amazonvision.com",
            "https://api.amazonvision.com:8443/base/",
            "http://127.0.0.1:4000",
            "http://[::1]:4000",
            "http://localhost:4000",
            "http://10.1.2.3",
        ] {
            assert!(settings(url).check().is_ok(), "{url}");
        }
        for url in [
            "http://api.amazonvision.com",
            "http://1.1.1.1",
            "ftp://api.amazonvision.com",
            "https://user@api.amazonvision.com",
            "https://api.amazonvision.com?x=1",
            "data:,x",
        ] {
            assert!(
                matches!(settings(url).check(), Err(SettingsError::Url("api_url"))),
                "{url}"
            );
        }
        let named = Settings {
            bearer_hosts: vec!["ring.test".to_owned()],
            ..settings("http://ring.test:81")
        };
        assert!(named.check().is_ok());
    }

    #[test]
    fn a_host_that_is_none_and_a_bound_of_zero_are_named() {
        let hosts = Settings {
            media_hosts: vec!["https://x".to_owned()],
            ..settings("https://a")
        };
        assert!(matches!(
            hosts.check(),
            Err(SettingsError::Host {
                list: "media_hosts",
                ..
            })
        ));
        let none = Settings {
            attempts: 0,
            ..settings("https://a")
        };
        assert!(matches!(none.check(), Err(SettingsError::Zero("attempts"))));
    }
}
