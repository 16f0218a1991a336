//! Which client addresses count as one. No I/O.

use std::net::{IpAddr, Ipv6Addr};

/// What one customer of a network gets of IPv6 at least: all of it counts as one address.
const IPV6_CUSTOMER: u128 = !(u64::MAX as u128);

/// Whoever has this address may have others that count as the same.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_CUSTOMER).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_counts_as_one_address() {
        let check = |address: &str, want: &str| {
            assert_eq!(customer(address.parse().expect("an address")).to_string(), want);
        };
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("2001:db8:1:3::1", "2001:db8:1:3::");
    }
}
