//! Who brings a code. Anybody who knows the Token Exchange URL may, so that each source has a budget of codes that Ring
//! refuses: who forges codes uses it up, and Ring's own addresses, whose codes are good, never do.

use std::net::IpAddr;
use std::time::Duration;

/// The window in which refused codes are counted.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The address that a code came from, as far as it tells one source from another: an IPv4 address, or the first 64 bits of
/// an IPv6 address, which one household or host has to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// The source of a request from this address, as the gateway names it. What is no address is one source together.
    #[must_use]
    pub fn of(address: &str) -> Self {
        Self(match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => address.to_string(),
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            Err(_) => "unknown".to_owned(),
        })
    }

    /// As a key to count by.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_1_a_source_is_an_ipv4_address_or_the_network_of_an_ipv6_one() {
        let check = |one: &str, other: &str, same: bool| {
            assert_eq!(Source::of(one) == Source::of(other), same, "{one} {other}");
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("::ffff:192.0.2.1", "192.0.2.1", true);
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1", true);
        check("2001:db8:1:2::1", "2001:db8:1:3::1", false);
        check("", "what?", true);
    }
}
