//! Which addresses may be connected to. A redirect's name may resolve to anything, and to something else a moment
//! later: so it is the addresses that are about to be connected to which are looked at.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A resolver that gives public addresses alone, but for the hosts that the settings name.
#[derive(Debug)]
pub(super) struct PublicAddresses {
    named: HashSet<String>,
}

/// A name has addresses, and none of them is public.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
pub(super) struct NotPublic;

impl PublicAddresses {
    pub(super) fn except(named: impl IntoIterator<Item = String>) -> Self {
        Self {
            named: named.into_iter().collect(),
        }
    }
}

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let named = self.named.contains(name.as_str());
        Box::pin(async move {
            // The port is the URL's; the client puts it in.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let taken: Vec<SocketAddr> = found.filter(|address| named || is_public(address.ip())).collect();
            if taken.is_empty() {
                Err(NotPublic.into())
            } else {
                Ok(Box::new(taken.into_iter()) as Addrs)
            }
        })
    }
}

/// Whether an address is of the public internet: not of this host, a private or shared network, a link (where clouds
/// keep their metadata), a group, a test or a reserved range. RFC 6890 and its registries.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let reserved = match ip.octets() {
        [0 | 240..=255, ..] => true, // "this" network; reserved, broadcast
        [100, 64..=127, ..] => true, // shared by carriers
        [192, 0, 0, _] => true,      // protocol assignments
        [192, 88, 99, _] => true,    // 6to4 relays, withdrawn
        [198, 18 | 19, ..] => true,  // benchmarks
        _ => false,
    };
    !(reserved
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low), // IPv4, mapped
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low), // IPv4, by NAT64
        [0x2001, 0..=0x1ff, ..] => false,                          // protocol assignments, Teredo among them
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,    // documentation
        [0x2002, high, low, ..] => embedded(high, low),            // IPv4, by 6to4
        // All that has been given out to be global so far; private, link and group addresses lie outside.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_101_only_addresses_of_the_public_internet_are_public() {
        for ip in [
            "1.1.1.1",
            "52.94.236.248",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2600:1f18::1",
            "2a05:d018::1",
            "::ffff:52.94.236.248",
            "64:ff9b::52.94.236.248",
            "2002:345e:ecf8::1",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_resolves_for_those_who_are_named_alone() {
        let localhost = || "localhost".parse::<Name>().unwrap();
        let guarded = PublicAddresses::except([]).resolve(localhost()).await;
        assert!(guarded.err().unwrap().is::<NotPublic>());
        let named = PublicAddresses::except(["localhost".to_owned()])
            .resolve(localhost())
            .await;
        assert!(named.unwrap().all(|address| address.ip().is_loopback()));
    }
}
