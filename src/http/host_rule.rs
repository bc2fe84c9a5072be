//! The rule of a listener on the host that a request names (RFC 9110 §7.2).
//!
//! A page of another site can have its own name resolve to an address of this gateway (DNS
//! rebinding). The browser then takes the gateway for that site: `Origin` and `Host` agree, and only
//! the name itself tells that the request is not meant for here (RFC 9110 §17.1).

// Of `core`, which has addresses and no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::authority::Authority;

/// The hosts that a request may name. Ports are not looked at: what a listener is reached by may be
/// mapped on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRule {
    /// Any host.
    #[default]
    Any,
    /// IP addresses, which no name server can give another meaning, and `localhost`, which browsers
    /// do not look up (RFC 6761 §6.3).
    Local,
    /// Only these names and addresses, an IPv6 address in brackets.
    List(Vec<String>),
}

impl HostRule {
    /// Whether a request to `host` (see [`RequestHead::host`](super::RequestHead::host)) is for this
    /// gateway. Names compare in any letter case, addresses by their value. A request that names no
    /// host is: no browser sends one, and only HTTP/1.0, which cannot upgrade, may leave it out.
    pub fn permits(&self, host: Option<Authority<'_>>) -> bool {
        let Some(host) = host.as_ref().map(Authority::host) else { return true };
        match self {
            Self::Any => true,
            Self::Local => host.eq_ignore_ascii_case("localhost") || address(host).is_some(),
            Self::List(hosts) => {
                let own = address(host);
                hosts.iter().any(|listed| {
                    listed.eq_ignore_ascii_case(host) || (own.is_some() && address(listed) == own)
                })
            }
        }
    }
}

/// Whether `text` can be listed: a name or an address, an IPv6 address in brackets, without a port.
/// A pattern such as `*.example.com` cannot.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let host = Authority::parse(text.as_bytes()).map(|authority| authority.host());
    host == Some(text) && !text.contains('*')
}

/// The address that a host is, if it is one.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|literal| literal.strip_suffix(']')) {
        Some(literal) => literal.parse().ok().map(|address: Ipv6Addr| address.to_canonical()),
        None => host.parse().ok().map(|address: Ipv4Addr| IpAddr::V4(address)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permits(rule: &HostRule, host: &str) -> bool {
        rule.permits(Some(Authority::parse(host.as_bytes()).unwrap()))
    }

    fn list(hosts: &[&str]) -> HostRule {
        HostRule::List(hosts.iter().map(|&host| host.to_owned()).collect())
    }

    #[test]
    fn local_permits_addresses_and_localhost() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "192.0.2.7", "[::1]:80"] {
            assert!(permits(&HostRule::Local, host), "{host}");
            assert!(permits(&HostRule::Any, host), "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.",
            "127.1",
            "0x7f000001",
            "2130706433",
            "localhost.",
            "my.localhost",
            "1.2.3.4.5",
            "%6cocalhost",
        ] {
            assert!(!permits(&HostRule::Local, host), "{host}");
            assert!(permits(&HostRule::Any, host), "{host}");
        }
    }

    #[test]
    fn a_list_permits_its_hosts_on_any_port() {
        let rule = list(&["chat.example.com", "192.0.2.7", "[2001:DB8::1]"]);
        for host in [
            "chat.example.com",
            "CHAT.example.com:8443",
            "192.0.2.7:1",
            "[2001:db8:0::1]",
            "[2001:db8::0.0.0.1]:80",
            "[::ffff:192.0.2.7]",
        ] {
            assert!(permits(&rule, host), "{host}");
        }
        for host in ["example.com", "a.chat.example.com", "localhost", "127.0.0.1", "[::1]"] {
            assert!(!permits(&rule, host), "{host}");
        }
        assert!(!permits(&list(&[]), "localhost"));
    }

    #[test]
    fn a_request_without_a_host_is_permitted() {
        for rule in [HostRule::Any, HostRule::Local, list(&[])] {
            assert!(rule.permits(None), "{rule:?}");
        }
    }

    #[test]
    fn hosts_are_listed_without_port_and_pattern() {
        for host in ["localhost", "chat.example.com", "xn--bcher-kva.example", "10.0.0.1", "[::1]"]
        {
            assert!(is_host(host), "{host}");
        }
        for other in [
            "",
            "a:80",
            "a:",
            "::1",
            "*",
            "*.example.com",
            "http://a",
            "a/",
            "user@a",
            "b\u{fc}cher.example",
            "a b",
        ] {
            assert!(!is_host(other), "{other}");
        }
    }

    proptest! {
        /// Whatever name a page has that is rebound to this gateway.
        #[test]
        fn local_permits_no_name_that_can_be_looked_up(
            name in "([a-z0-9-]{1,8}\\.){0,3}[a-z][a-z0-9-]{0,8}\\.?",
            port in prop::option::of(any::<u16>()),
        ) {
            prop_assume!(name != "localhost");
            let host = port.map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
            prop_assert!(!permits(&HostRule::Local, &host));
        }

        #[test]
        fn addresses_are_permitted_however_they_are_written(address: IpAddr, port: Option<u16>) {
            let host = match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            prop_assert!(is_host(&host));
            let rule = HostRule::List(vec![host.to_uppercase()]);
            let host = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
            prop_assert!(permits(&HostRule::Local, &host) && permits(&rule, &host));
        }

        #[test]
        fn what_can_be_listed_matches_itself(host in "[a-zA-Z0-9._~!-]{1,20}|\\[[0-9a-f:]{2,20}\\]") {
            prop_assume!(is_host(&host));
            prop_assert!(permits(&HostRule::List(vec![host.clone()]), &host));
        }
    }
}
