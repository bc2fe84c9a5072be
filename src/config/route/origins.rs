//! Which web pages may connect.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which `Origin` an upgrade request may name. A request without one is not from a web page and
/// is always allowed.
///
/// In the file: left out, `"*"`, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Any origin.
    Any,
    /// Exactly these, each `scheme://host[:port]` as browsers write it, or `null`. An empty list
    /// turns every web page away.
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

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("*"),
            Self::List(origins) => origins.serialize(serializer),
            Self::SameHost => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<String>),
        }

        match Option::deserialize(deserializer)? {
            None => Ok(Self::SameHost),
            Some(Written::List(origins)) => Ok(Self::List(origins)),
            Some(Written::Word(word)) if word == "*" => Ok(Self::Any),
            Some(Written::Word(_)) => Err(D::Error::custom("expected \"*\" or a list of origins")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_origins_is_understood() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Holder {
            #[serde(default, skip_serializing_if = "Origins::is_same_host")]
            origins: Origins,
        }
        for (text, origins) in [
            ("", Origins::SameHost),
            ("origins = \"*\"\n", Origins::Any),
            ("origins = []\n", Origins::List(vec![])),
            ("origins = [\"null\"]\n", Origins::List(vec!["null".to_owned()])),
        ] {
            let holder = Holder { origins };
            assert_eq!(toml::from_str::<Holder>(text).unwrap(), holder);
            assert_eq!(toml::to_string(&holder).unwrap(), text);
        }
    }
}
