//! Which web pages may connect.

use toml::Value;

use crate::config::rule::Rule;
use crate::config::setting::{Broken, Setting};
use crate::config::surroundings::Surroundings;

/// Which `Origin` an upgrade request may name. A request without one is not from a web page and
/// is always allowed.
///
/// In the file: left out, `"*"`, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Any origin.
    Any,
    /// Exactly these, each as the `Origin` header has it (see [`is_origin`](crate::http::is_origin)). An empty list
    /// refuses every web page.
    List(Vec<String>),
    /// Only pages of the host that the request itself names.
    #[default]
    SameHost,
}

impl Origins {
    /// Whether this is [`Origins::SameHost`], which a file expresses by leaving the key out.
    pub fn is_same_host(&self) -> bool {
        *self == Self::SameHost
    }
}

impl Setting for Origins {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        if value.as_str() == Some("*") {
            return Ok(Self::Any);
        }
        Vec::read(value, around).map(Self::List)
    }

    fn write(&self) -> Option<Value> {
        match self {
            Self::Any => Some(Value::from("*")),
            Self::List(origins) => origins.write(),
            Self::SameHost => None,
        }
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        match self {
            Self::List(origins) => origins.check(rule),
            Self::Any | Self::SameHost => Ok(()),
        }
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        prop_oneof![
            Just(Self::Any),
            Just(Self::SameHost),
            <Vec<String> as Setting>::arbitrary(rule).prop_map(Self::List),
        ]
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_origins_is_understood() {
        for (text, origins) in [
            ("\"*\"", Origins::Any),
            ("[]", Origins::List(vec![])),
            ("[\"null\"]", Origins::List(vec!["null".to_owned()])),
        ] {
            let value = origins.write().unwrap();
            assert_eq!(value.to_string(), text);
            assert_eq!(Origins::read(&value, &Surroundings::of("")), Ok(origins));
        }
        assert_eq!(Origins::SameHost.write(), None);
    }
}
