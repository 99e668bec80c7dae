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
        // A pattern would match nothing, as its star stands for itself.
        (bare && !host.contains('*') && url.query().is_none() && url.fragment().is_none())
            .then(|| Self { host, port: url.port() })
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const API: &str = "https://api.amazonvision.com/v1/devices/a/media/video/download";

    fn policy(bearer_hosts: &[&str], media_hosts: &[&str]) -> Policy {
        let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let api = Url::parse("https://api.amazonvision.com").unwrap();
        Policy::new(&api, &owned(bearer_hosts), &owned(media_hosts))
    }

    fn post() -> Step {
        Step {
            method: Method::POST,
            url: Url::parse(API).unwrap(),
            bearer: true,
        }
    }

    fn follow(policy: &Policy, step: &Step, status: u16, location: &str) -> Result<Option<Step>, RedirectRefused> {
        let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_str(location).unwrap())]);
        policy.follow(step, StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn trap_99_the_method_and_the_bearer_go_where_they_should() {
        let policy = policy(&["eu.amazonvision.com"], &[]);
        for (status, location, method, bearer) in [
            (301, "https://api.amazonvision.com/v2?x=1", Method::POST, true),
            (302, "/v2", Method::POST, true),
            (307, "v2", Method::POST, true),
            (308, "https://eu.amazonvision.com/v2", Method::POST, true),
            (301, "https://cdn.example.com/v2", Method::POST, false),
            (308, "https://api.amazonvision.com.example.com/v2", Method::POST, false),
            // Trap 100: nothing that is fetched by GET gets the bearer, not even at Ring's own door.
            (
                303,
                "https://download-eu.example.com/v1/download?security_token=x",
                Method::GET,
                false,
            ),
            (303, "https://api.amazonvision.com/v2", Method::GET, false),
        ] {
            let step = follow(&policy, &post(), status, location).unwrap().unwrap();
            assert_eq!((step.method, step.bearer), (method, bearer), "{status} {location}");
            assert_eq!(step.url, post().url.join(location).unwrap());
        }
        for status in [200, 206, 300, 304, 305, 400] {
            assert_eq!(follow(&policy, &post(), status, "https://cdn.example.com"), Ok(None));
        }
    }

    #[test]
    fn trap_99_a_bearer_that_was_left_behind_stays_behind() {
        let policy = policy(&[], &[]);
        let away = follow(&policy, &post(), 307, "https://cdn.example.com/a")
            .unwrap()
            .unwrap();
        let back = follow(&policy, &away, 307, API).unwrap().unwrap();
        assert!(!back.bearer);
        let fetched = follow(&policy, &post(), 303, "https://cdn.example.com/a")
            .unwrap()
            .unwrap();
        let again = follow(&policy, &fetched, 301, "https://cdn.example.com/b")
            .unwrap()
            .unwrap();
        assert_eq!(again.method, Method::GET);
    }

    #[test]
    fn trap_101_a_target_is_public_https_on_its_own_port() {
        let policy = policy(&[], &[]);
        let host = |url: &str| Url::parse(url).unwrap().host_str().unwrap().to_owned();
        for location in [
            "http://cdn.example.com/a",
            "http://api.amazonvision.com/a",
            "https://cdn.example.com:8443/a",
            "https://api.amazonvision.com:444/a",
            "https://user@cdn.example.com/a",
            "https://user:secret@api.amazonvision.com/a",
            "ftp://cdn.example.com/a",
        ] {
            let expected = RedirectRefused::NotHttps { host: host(location) };
            assert_eq!(follow(&policy, &post(), 303, location), Err(expected), "{location}");
        }
        for location in [
            "https://127.0.0.1/a",
            "https://2130706433/a",
            "https://0x7f.1/a",
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/a",
            "https://[::1]/a",
            "https://[::ffff:a9fe:a9fe]/a",
            "https://[fd00:ec2::254]/a",
            "https://localhost/a",
            "https://x.localhost/a",
        ] {
            let expected = RedirectRefused::NotPublic { host: host(location) };
            assert_eq!(follow(&policy, &post(), 303, location), Err(expected), "{location}");
        }
        for location in ["https://", "https://[::", "data:text/plain,x", "javascript:x"] {
            assert_eq!(
                follow(&policy, &post(), 303, location),
                Err(RedirectRefused::NoLocation),
                "{location}"
            );
        }
        let none = policy.follow(&post(), StatusCode::SEE_OTHER, &HeaderMap::new());
        assert_eq!(none, Err(RedirectRefused::NoLocation));
    }

    #[test]
    fn trap_101_a_list_of_hosts_holds_for_their_subdomains_alone() {
        let policy = policy(
            &[],
            &[
                "example.com",
                ".ring.example",
                "cdn.test:8443",
                "127.0.0.1:9000",
                "media.internal",
            ],
        );
        for location in [
            "https://example.com/a",
            "https://download-eu.example.com/a",
            "https://a.b.example.com/a",
            "https://x.ring.example/a",
            "https://cdn.test:8443/a",
            "http://127.0.0.1:9000/a",
            // Named whole: then plain http and any port are meant.
            "http://media.internal:81/a",
            "http://example.com/a",
            // Ring's own API needs no naming.
            "https://api.amazonvision.com/a",
        ] {
            assert!(follow(&policy, &post(), 303, location).is_ok(), "{location}");
        }
        for location in [
            "https://badexample.com/a",
            "https://example.com.evil.test/a",
            "https://cdn.test/a",
            "https://x.cdn.test/a",
            "https://evil.test/a",
            "https://1.1.1.1/a",
        ] {
            let result = follow(&policy, &post(), 303, location);
            assert!(
                matches!(result, Err(RedirectRefused::NotAllowed { .. })),
                "{location}: {result:?}"
            );
        }
        for location in [
            "http://x.example.com/a",
            "https://x.example.com:8443/a",
            "https://127.0.0.1:9001/a",
        ] {
            let result = follow(&policy, &post(), 303, location);
            assert!(
                matches!(result, Err(RedirectRefused::NotHttps { .. })),
                "{location}: {result:?}"
            );
        }
    }

    #[test]
    fn media_hosts_never_see_the_bearer() {
        let policy = policy(&[], &["media.internal"]);
        let step = follow(&policy, &post(), 307, "https://media.internal/a")
            .unwrap()
            .unwrap();
        assert!(!step.bearer);
    }

    #[test]
    fn a_fragment_is_not_asked_for_and_an_error_tells_the_host_alone() {
        let policy = policy(&[], &["example.com"]);
        let step = follow(&policy, &post(), 303, "https://example.com/a?token=x#part")
            .unwrap()
            .unwrap();
        assert_eq!(step.url.as_str(), "https://example.com/a?token=x");
        let error = follow(&policy, &post(), 303, "https://evil.test/a?token=s3cret").unwrap_err();
        assert_eq!(error.to_string(), "evil.test is not a host that media may come from");
    }

    #[test]
    fn a_named_host_is_a_host_with_or_without_a_port() {
        for entry in [
            "example.com",
            " Example.COM ",
            ".example.com",
            "example.com:443",
            "127.0.0.1",
            "[::1]:8080",
        ] {
            assert!(NamedHost::parse(entry).is_some(), "{entry}");
        }
        for entry in [
            "",
            ".",
            "https://example.com",
            "example.com/a",
            "u@example.com",
            "a b",
            "x:99999",
            "?x",
            "*",
        ] {
            assert!(
                NamedHost::parse(entry).is_none(),
                "{entry:?}: {:?}",
                NamedHost::parse(entry)
            );
        }
        assert_eq!(NamedHost::parse("EXAMPLE.com:443").unwrap().host(), "example.com");
    }
}
