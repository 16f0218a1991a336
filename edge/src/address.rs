//! Whose call it is, as far as the network knows: the peer's address, or what a proxy that we
//! trust says it was.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Addresses with a common prefix, as in 10.0.0.0/8; without a length, one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    mask: u128,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("want a network as in 10.0.0.0/8, not {text:?}");
        let (address, length) = match text.trim().split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let own_bits = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.map_or(Ok(own_bits), str::parse).map_err(|_| fault())?;
        let free = own_bits.checked_sub(length).ok_or_else(fault)?;
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        Ok(Self { bits: bits(address) & mask, mask })
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.bits
    }
}

/// Both families in one space: IPv4 lies where IPv6 maps it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The proxies whose word about the client is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address: from the peer outwards, the first that is not a trusted proxy. What
    /// a stranger wrote to the left of it is not read.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let entries = lines
            .iter()
            .rev()
            // A line that is no text is an entry that is no address: reading ends there.
            .map(|line| line.to_str().unwrap_or_default())
            .flat_map(|line| line.rsplit(',').map(str::trim));
        let mut client = peer;
        for entry in entries {
            let Some(address) = parse_entry(entry) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// An entry is an address, for some proxies with a port.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let address = entry.parse().ok();
    let address =
        address.or_else(|| entry.parse().map(|socket: std::net::SocketAddr| socket.ip()).ok());
    address.map(|address: IpAddr| address.to_canonical())
}

/// By what an address is counted: one household or office has a whole IPv6 /64 to choose from.
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn networks_read_and_hold_what_they_should() {
        let table = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "1.2.3.4", true),
        ];
        for (network, address, holds) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), holds, "{network:?} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_as_far_as_trust_goes() {
        let proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let table: [(&str, &[&str], &str); 10] = [
            ("9.9.9.9", &["1.1.1.1"], "9.9.9.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("127.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("127.0.0.1", &["6.6.6.6", "1.1.1.1, 127.0.0.2"], "1.1.1.1"),
            ("127.0.0.1", &["1.1.1.1:443"], "1.1.1.1"),
            ("127.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("127.0.0.1", &["6.6.6.6, rubbish"], "127.0.0.1"),
            ("127.0.0.1", &["6.6.6.6", "\u{e9}"], "127.0.0.1"),
            ("::1", &["1.1.1.1"], "::1"),
        ];
        for (peer, lines, client) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let found = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_ipv6_household_counts_as_one() {
        let table = [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:1.2.3.4", "1.2.3.4", true),
        ];
        for (one, other, same) in table {
            let (one, other): (IpAddr, IpAddr) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(counted_as(one) == counted_as(other), same, "{one} {other}");
        }
    }
}
