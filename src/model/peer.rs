//! Peers: the addresses that limits are counted by.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::HeaderMap;

/// An address that limits are counted by. One customer has a whole /64 of IPv6 (RFC 6177), so addresses within it
/// are one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address.to_bits().wrapping_shr(64) as u64),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => write!(f, "{}/64", std::net::Ipv6Addr::from_bits(u128::from(*prefix) << 64)),
        }
    }
}

/// A range of addresses, such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u8| (a ^ b).checked_shr(u32::from(width - self.bits)).unwrap_or(0) == 0;
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address or a range of addresses; write e.g. 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = IpAddr::from_str(address.trim()).map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |it| it.trim().parse().map_err(|_| wrong()))?;
        if bits > width { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl<'de> serde::Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The proxies whose `X-Forwarded-For` header is trusted.
#[derive(Debug, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    complained: AtomicBool,
}

impl Proxies {
    /// Creates a set of trusted proxies.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks, complained: AtomicBool::new(false) }
    }

    /// Returns whether this address belongs to a trusted proxy.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|it| it.has(address.to_canonical()))
    }

    /// Returns the peer that sent a request from this address. Behind a trusted proxy, it is the last address in
    /// `X-Forwarded-For` that is not a trusted proxy's; the sender may have invented the addresses before it. If
    /// there is none, it is the proxy itself.
    #[must_use]
    pub fn peer(&self, address: IpAddr, headers: &HeaderMap) -> Peer {
        if self.networks.is_empty() || !self.trust(address) {
            return address.into();
        }
        let forwarded: Vec<&[u8]> = headers
            .get_all("x-forwarded-for")
            .iter()
            .flat_map(|it| it.as_bytes().split(|&byte| byte == b','))
            .collect();
        for entry in forwarded.into_iter().rev() {
            match std::str::from_utf8(entry).ok().and_then(address_of) {
                Some(client) if self.trust(client) => {}
                Some(client) => return client.into(),
                None => {
                    if !self.complained.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            proxy = %address,
                            "a trusted proxy sends an X-Forwarded-For header without addresses; limits per peer use the proxy's address"
                        );
                    }
                    break;
                }
            }
        }
        address.into()
    }
}

/// Returns the address in an entry of `X-Forwarded-For`; some proxies add a port.
fn address_of(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(entry);
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|it| it.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(trusted: &[&str], address: &str, forwarded: &[&'static str]) -> String {
        let proxies = Proxies::new(trusted.iter().map(|it| it.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", hyper::header::HeaderValue::from_static(value));
        }
        proxies.peer(address.parse().unwrap(), &headers).to_string()
    }

    /// If unauthenticated senders could choose the address that limits are counted by, they would have no limits.
    #[test]
    fn only_a_trusted_proxy_says_who_the_peer_is() {
        assert_eq!(peer(&[], "127.0.0.1", &["192.0.2.7"]), "127.0.0.1");
        assert_eq!(peer(&["10.0.0.0/8"], "192.0.2.1", &["192.0.2.7"]), "192.0.2.1");
        for (forwarded, who) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.9.9.9 ,10.1.1.1"], "192.0.2.7"),
            (&["198.51.100.1", "192.0.2.7", "10.1.1.1"], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:db8:1:2:3:4:5:6]:4711"], "2001:db8:1:2::/64"),
            (&["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, unknown"], "10.0.0.1"),
            (&["192.0.2.7,"], "10.0.0.1"),
            (&["10.2.2.2"], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(peer(&["10.0.0.0/8"], "10.0.0.1", forwarded), who, "{forwarded:?}");
        }
        assert_eq!(peer(&["10.0.0.0/8"], "::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(peer(&["2001:db8::/32"], "2001:db8::1", &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn networks_are_read_strictly() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.8"));
        assert!(has("172.16.0.0/12", "172.31.255.255") && !has("172.16.0.0/12", "172.32.0.0"));
        assert!(has("0.0.0.0/0", "192.0.2.7") && !has("0.0.0.0/0", "::1") && has("::/0", "2001:db8::1"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "proxy.example", "10.0.0.0/8/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
