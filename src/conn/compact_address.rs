//! The address of a peer, as short as it goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address of a peer in 20 bytes, where a [`SocketAddr`] takes 32. Flow labels and scopes, which mean
/// something on one link only, are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CompactAddress {
    /// In network order; of version 4, the first four.
    ip: [u8; 16],
    port: u16,
    family: Family,
    naming: Naming,
}

/// Who says that an address is that of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Naming {
    /// The kernel.
    #[default]
    Socket,
    /// A proxy, in a header of the PROXY protocol.
    ProxyHeader,
    /// A trusted proxy, in a header of the request.
    Request,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Family {
    /// No address.
    #[default]
    None,
    V4,
    V6,
}

impl CompactAddress {
    /// The address of a client whom its proxy has named so.
    pub(super) fn named(client: SocketAddr, naming: Naming) -> Self {
        Self { naming, ..client.into() }
    }

    /// Who says that it is the peer's.
    pub(super) fn naming(self) -> Naming {
        self.naming
    }

    /// The address, if there is one.
    pub(super) fn get(self) -> Option<SocketAddr> {
        let [a, b, c, d, ..] = self.ip;
        let ip = match self.family {
            Family::None => return None,
            Family::V4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.ip)),
        };
        Some(SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for CompactAddress {
    fn from(address: SocketAddr) -> Self {
        let (ip, family) = match address.ip() {
            IpAddr::V4(own) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&own.octets());
                (ip, Family::V4)
            }
            IpAddr::V6(own) => (own.octets(), Family::V6),
        };
        Self { ip, port: address.port(), family, naming: Naming::Socket }
    }
}

const _: () = assert!(size_of::<CompactAddress>() == 20);

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// One of version 4 within version 6 stays what it is.
        #[test]
        fn an_address_is_given_back(ip in any::<IpAddr>(), port in any::<u16>()) {
            let address = SocketAddr::new(ip, port);
            prop_assert_eq!(CompactAddress::from(address).get(), Some(address));
            prop_assert_eq!(CompactAddress::named(address, Naming::Request).get(), Some(address));
            let SocketAddr::V6(own) = address else { return Ok(()) };
            let scoped = SocketAddrV6::new(*own.ip(), port, 7, 3);
            prop_assert_eq!(CompactAddress::from(SocketAddr::V6(scoped)).get(), Some(address));
        }
    }

    #[test]
    fn no_address_is_none() {
        assert_eq!(CompactAddress::default().get(), None);
    }
}
