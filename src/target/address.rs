//! Which addresses are of the public internet (IANA's special-purpose registries).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 that are not: address and length of the prefix.
const NOT_PUBLIC_V4: [([u8; 4], u32); 18] = [
    // "This network", and the unspecified address, which reaches this machine.
    ([0, 0, 0, 0], 8),
    // Private.
    ([10, 0, 0, 0], 8),
    // Shared by customers of one carrier (RFC 6598); a cloud's metadata is at 100.100.100.200.
    ([100, 64, 0, 0], 10),
    // Loopback.
    ([127, 0, 0, 0], 8),
    // A cloud's metadata and name service, at an address that looks public.
    ([168, 63, 129, 16], 32),
    // Link-local; most clouds' metadata is at 169.254.169.254.
    ([169, 254, 0, 0], 16),
    // Private.
    ([172, 16, 0, 0], 12),
    // Protocol assignments; a cloud's metadata is at 192.0.0.192.
    ([192, 0, 0, 0], 24),
    // Documentation.
    ([192, 0, 2, 0], 24),
    // AS112: reverse lookups of private addresses.
    ([192, 31, 196, 0], 24),
    // Automatic multicast tunnels.
    ([192, 52, 193, 0], 24),
    // Relays of 6to4.
    ([192, 88, 99, 0], 24),
    // Private.
    ([192, 168, 0, 0], 16),
    // AS112.
    ([192, 175, 48, 0], 24),
    // Benchmarks.
    ([198, 18, 0, 0], 15),
    // Documentation.
    ([198, 51, 100, 0], 24),
    // Documentation.
    ([203, 0, 113, 0], 24),
    // Multicast, reserved, and broadcast.
    ([224, 0, 0, 0], 3),
];

/// What is public of IPv6.
const GLOBAL_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// IPv4 behind a translator (RFC 6052): public if what it holds is.
const TRANSLATED_V6: ([u16; 8], u32) = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// Blocks of [`GLOBAL_V6`] that are not public.
const NOT_PUBLIC_V6: [([u16; 8], u32); 4] = [
    // Protocol assignments: Teredo, benchmarks, identifiers that are no addresses.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    // Documentation.
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    // 6to4, which holds any IPv4 address; nobody is reached by it any more.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    // Documentation.
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Whether an address is of the public internet, also by what it holds of IPv4.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in = |(block, len): &([u8; 4], u32)| {
        let differing = address.to_bits() ^ Ipv4Addr::from(*block).to_bits();
        differing.leading_zeros() >= *len
    };
    !NOT_PUBLIC_V4.iter().any(is_in)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_in = |(block, len): &([u16; 8], u32)| {
        let differing = address.to_bits() ^ Ipv6Addr::from(*block).to_bits();
        differing.leading_zeros() >= *len
    };
    if is_in(&TRANSLATED_V6) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    is_in(&GLOBAL_V6) && !NOT_PUBLIC_V6.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of blocks, or one within.
    const INSIDE: &str = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 \
        127.0.0.1 127.255.255.255 168.63.129.16 169.254.0.0 169.254.255.255 172.16.0.0 \
        172.31.255.255 192.0.0.192 192.0.2.255 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 \
        198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 \
        255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 \
        64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 100::1 2001::1 2001:1ff:ffff::1 2001:db8::1 \
        2002:7f00:1::1 2002:808:808::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 \
        fe80::1 fec0::1 ff02::1";
    /// Their neighbours.
    const OUTSIDE: &str = "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 \
        126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 \
        172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 \
        198.20.0.0 223.255.255.255 ::ffff:8.8.8.8 64:ff9b::808:808 2001:200::1 2001:db7::1 \
        2001:db9::1 2003::1 2606:4700::1 2a00::1 3ffe::1";

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    /// Blocks begin and end where they do.
    #[test]
    fn blocks_end_where_they_end() {
        for text in INSIDE.split_whitespace() {
            assert!(!public(text), "{text}");
        }
        for text in OUTSIDE.split_whitespace() {
            assert!(public(text), "{text}");
        }
    }
}
