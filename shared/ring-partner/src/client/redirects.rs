//! Where a redirect may lead, and what may go along.

use url::{Host, Url};

/// An entry of `bearer_hosts` or `media_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedHost {
    host: String,
    port: Option<u16>,
}

impl NamedHost {
    /// Reads `host`, `host:port` or `.host`; `None` if it is neither.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().trim_start_matches('.');
        // The URL parser knows what a host is, IPv6 in brackets too, and writes it as it writes the hosts of targets.
        // `ws` has a default port that no entry means, which the parser would leave out.
        let url = Url::parse(&format!("x-host://{entry}/")).ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
        let host = Host::parse(url.host_str()?).ok()?.to_string();
        (bare && url.fragment().is_none() && !host.is_empty()).then(|| Self { host, port: url.port() })
    }

    /// Whether this names the URL's host whole.
    pub(super) fn is(&self, url: &Url) -> bool {
        url.host_str() == Some(self.host.as_str())
            && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}
