//! Lists of networks.

use std::net::IpAddr;

use ipnet::IpNet;
use toml::Value;

use super::rule::Rule;
use super::setting::{Broken, Setting};
use super::surroundings::Surroundings;

impl Setting for Vec<IpNet> {
    fn read(value: &Value, _: &Surroundings) -> Result<Self, Broken> {
        let items = value.as_array().ok_or_else(Broken::default)?.iter().enumerate();
        items.map(|(position, item)| read(item).map_err(|broken| broken.at(position))).collect()
    }

    fn write(&self) -> Option<Value> {
        Some(Value::Array(self.iter().map(|own| Value::from(own.to_string())).collect()))
    }

    fn check(&self, _: Rule) -> Result<(), Broken> {
        let stray = self.iter().position(|own| *own != own.trunc());
        match stray {
            Some(at) => Err(broken_prefix(&self[at]).at(at)),
            None if self.len() > NETWORKS_MAX => {
                Err(Broken::rule(format!("must have at most {NETWORKS_MAX} networks")))
            }
            None => Ok(()),
        }
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        let network = (any::<IpAddr>(), any::<u8>()).prop_map(|(address, bits)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, bits % (longest + 1)).map(|own| own.trunc()).unwrap()
        });
        prop::collection::vec(network, 0..4).boxed()
    }
}

/// A network, or an address, which is a network of one.
fn read(value: &Value) -> Result<IpNet, Broken> {
    let rule = || Broken::rule(NETWORK);
    let text = value.as_str().ok_or_else(rule)?;
    let network = text.parse().ok();
    network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(rule)
}

fn broken_prefix(network: &IpNet) -> Broken {
    Broken::rule(format!("must have no bits behind its prefix, as {} has none", network.trunc()))
}

const NETWORK: &str =
    "must be a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address";
/// A list that is looked up within a fraction of a microsecond, and takes 2 MiB.
const NETWORKS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Result<Vec<IpNet>, Broken> {
        let value = Value::Array(items.iter().map(|own| Value::from(*own)).collect());
        let own = <Vec<IpNet>>::read(&value, &Surroundings::of(""))?;
        own.check(Rule::Networks).map(|()| own)
    }

    #[test]
    fn networks_and_addresses_are_read() {
        let own = list(&["10.0.0.0/8", "192.0.2.1", "::1", "2001:db8::/32"]).unwrap();
        let written = own.write().unwrap().to_string();
        assert_eq!(written, r#"["10.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::/32"]"#);
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_place() {
        let rule = |text: &str| Broken::rule(text).at(1);
        for text in ["10.0.0.0/33", "10.0.0/8", "a.example", "", "10.0.0.0/8 "] {
            assert_eq!(list(&["::1", text]), Err(rule(NETWORK)), "{text}");
        }
        let expected = "must have no bits behind its prefix, as 10.0.0.0/8 has none";
        assert_eq!(list(&["::1", "10.0.0.1/8"]), Err(rule(expected)));
        assert_eq!(
            <Vec<IpNet>>::read(&Value::from("::1"), &Surroundings::of("")),
            Err(Broken::default())
        );
        let many = vec!["10.0.0.0/8"; NETWORKS_MAX + 1];
        assert!(list(&many).is_err());
    }
}
