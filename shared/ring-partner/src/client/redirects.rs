//! Where a redirect may lead, and what may go along. Pure; `addresses` holds the same line once a name has resolved.
//!
//! Ring: Media Clips, 301 Redirect; Image Snapshots, Download Flow. The documentation names no host for the target, so
//! any public one is taken unless the settings say more; a bearer goes to none of them.

use std::net::IpAddr;

use http::{HeaderMap, Method, StatusCode, header};
use url::{Host, Origin, Url};

use super::addresses::is_public;
use crate::error::RedirectRefused;

/// How many redirects are followed for one request.
pub(super) const MOST: usize = 3;

/// What to ask next, and whether the bearer goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) bearer: bool,
}

/// Who may be asked for media, and who may see the bearer.
#[derive(Debug)]
pub(super) struct Policy {
    api: Origin,
    bearer_hosts: Vec<NamedHost>,
    media_hosts: Vec<NamedHost>,
}

impl Policy {
    pub(super) fn new(api: &Url, bearer_hosts: &[String], media_hosts: &[String]) -> Self {
        let named = |entries: &[String]| entries.iter().filter_map(|entry| NamedHost::parse(entry)).collect();
        Self {
            api: api.origin(),
            bearer_hosts: named(bearer_hosts),
            media_hosts: named(media_hosts),
        }
    }

    /// Whether this is Ring's API itself.
    pub(super) fn is_api(&self, url: &Url) -> bool {
        url.origin() == self.api
    }

    /// The step after an answer; `None` if the answer is no redirect.
    pub(super) fn follow(
        &self,
        step: &Step,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Step>, RedirectRefused> {
        let method = match status.as_u16() {
            // Most clients turn a POST into a GET at 301 and 302. The body of ours is what is asked for.
            301 | 302 | 307 | 308 => step.method.clone(),
            303 => Method::GET,
            _ => return Ok(None),
        };
        let location = headers
            .get(header::LOCATION)
            .and_then(|location| location.to_str().ok());
        let mut url = location
            .and_then(|location| step.url.join(location).ok())
            .ok_or(RedirectRefused::NoLocation)?;
        url.set_fragment(None);
        self.permit(&url)?;
        // What is fetched by GET is presigned: a bearer would leak, and can spoil it.
        let bearer = step.bearer && method != Method::GET && self.may_see_bearer(&url);
        Ok(Some(Step { method, url, bearer }))
    }

    fn may_see_bearer(&self, url: &Url) -> bool {
        self.is_api(url) || self.bearer_hosts.iter().any(|named| named.is(url))
    }

    fn permit(&self, url: &Url) -> Result<(), RedirectRefused> {
        let host = url.host_str().ok_or(RedirectRefused::NoLocation)?.to_owned();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !anonymous || !matches!(url.scheme(), "http" | "https") {
            return Err(RedirectRefused::NotHttps { host });
        }
        if self.may_see_bearer(url) || self.media_hosts.iter().any(|named| named.is(url)) {
            return Ok(());
        }
        if url.scheme() != "https" || url.port_or_known_default() != Some(443) {
            return Err(RedirectRefused::NotHttps { host });
        }
        let public = match url.host() {
            Some(Host::Ipv4(ip)) => is_public(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => is_public(IpAddr::V6(ip)),
            Some(Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
            None => false,
        };
        if !public {
            return Err(RedirectRefused::NotPublic { host });
        }
        if !self.media_hosts.is_empty() && !self.media_hosts.iter().any(|named| named.is_suffix_of(&host)) {
            return Err(RedirectRefused::NotAllowed { host });
        }
        Ok(())
    }
}

/// An entry of `bearer_hosts` or `media_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedHost {
    host: String,
    port: Option<u16>,
}

impl NamedHost {
    /// Reads `host`, `.host` or `host:port`; `None` if it is none of them.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        // The URL parser knows what a host is, IPv6 in brackets too. A scheme of no meaning has no default port, which
        // the parser would leave out.
        let url = Url::parse(&format!("host://{}", entry.strip_prefix('.').unwrap_or(entry))).ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && url.path().is_empty();
        let host = Host::parse(url.host_str()?).ok()?.to_string();
        (bare && url.query().is_none() && url.fragment().is_none()).then(|| Self { host, port: url.port() })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether this names the URL's host whole, and its port if it has one.
    pub(super) fn is(&self, url: &Url) -> bool {
        url.host_str() == Some(&self.host) && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    /// Whether a host ends in this one, at the border of a label.
    fn is_suffix_of(&self, host: &str) -> bool {
        self.port.is_none()
            && host
                .strip_suffix(&self.host)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }
}
