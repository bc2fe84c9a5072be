//! Which hosts the requests of a listener may name.

use std::net::SocketAddr;

use toml::Value;

use super::rule::Rule;
use super::setting::{Broken, Setting};
use super::surroundings::Surroundings;
use crate::http::HostRule;

/// Which `Host` a request may have.
///
/// In the file: left out, `"*"`, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// Any host, except on a loopback address: there IP addresses and `localhost`.
    #[default]
    ByAddress,
    /// Any host.
    Any,
    /// Exactly these names and addresses, on any port. An empty list refuses every request that names
    /// a host.
    List(Vec<String>),
}

impl Hosts {
    /// The rule for a listener with this address.
    #[must_use]
    pub fn rule(&self, address: SocketAddr) -> HostRule {
        match self {
            Self::ByAddress if address.ip().to_canonical().is_loopback() => HostRule::Local,
            Self::ByAddress | Self::Any => HostRule::Any,
            Self::List(hosts) => HostRule::List(hosts.clone()),
        }
    }
}

impl Setting for Hosts {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        if value.as_str() == Some("*") {
            return Ok(Self::Any);
        }
        Vec::read(value, around).map(Self::List)
    }

    fn write(&self) -> Option<Value> {
        match self {
            Self::Any => Some(Value::from("*")),
            Self::List(hosts) => hosts.write(),
            Self::ByAddress => None,
        }
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        match self {
            Self::List(hosts) => hosts.check(rule),
            Self::Any | Self::ByAddress => Ok(()),
        }
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        prop_oneof![
            Just(Self::Any),
            Just(Self::ByAddress),
            <Vec<String> as Setting>::arbitrary(rule).prop_map(Self::List),
        ]
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_listeners_tell_hosts_apart_by_default() {
        for (address, rule) in [
            ("127.0.0.1:8080", HostRule::Local),
            ("127.9.9.9:0", HostRule::Local),
            ("[::1]:8080", HostRule::Local),
            ("[::ffff:127.0.0.1]:8080", HostRule::Local),
            ("0.0.0.0:8080", HostRule::Any),
            ("[::]:8080", HostRule::Any),
            ("192.0.2.1:80", HostRule::Any),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Hosts::default().rule(address), rule, "{address}");
            assert_eq!(Hosts::Any.rule(address), HostRule::Any);
            let list = vec!["a.example".to_owned()];
            assert_eq!(Hosts::List(list.clone()).rule(address), HostRule::List(list));
        }
    }

    #[test]
    fn every_way_to_write_hosts_is_understood() {
        for (text, hosts) in [
            ("\"*\"", Hosts::Any),
            ("[]", Hosts::List(vec![])),
            ("[\"a.example\"]", Hosts::List(vec!["a.example".to_owned()])),
        ] {
            let value = hosts.write().unwrap();
            assert_eq!(value.to_string(), text);
            assert_eq!(Hosts::read(&value, &Surroundings::of("")), Ok(hosts));
        }
        assert_eq!(Hosts::ByAddress.write(), None);
    }
}
