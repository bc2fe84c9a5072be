//! Where the access log goes.

use std::path::PathBuf;

use toml::Value;

use super::file_path::FilePath;
use super::rule::Rule;
use super::setting::{Broken, Hidden, Setting};
use super::surroundings::Surroundings;
use crate::logging::AccessOutput;

/// Where the access log goes: a word, or the path of a file. A file with the name of a word is `./off`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessTarget {
    /// There is none.
    #[default]
    Off,
    /// To standard output.
    Stdout,
    /// To this file.
    File(FilePath),
}

impl AccessTarget {
    /// The output, if there is one.
    #[must_use]
    pub fn output(&self) -> Option<AccessOutput> {
        match self {
            Self::Off => None,
            Self::Stdout => Some(AccessOutput::Stdout),
            Self::File(path) => Some(AccessOutput::File(PathBuf::from(path.path()))),
        }
    }
}

impl Setting for AccessTarget {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        match value.as_str() {
            Some(OFF) => Ok(Self::Off),
            Some(STDOUT) => Ok(Self::Stdout),
            Some(_) => FilePath::read(value, around).map(Self::File),
            None => Err(Broken::default()),
        }
    }

    fn write(&self) -> Option<Value> {
        match self {
            Self::Off => Some(Value::from(OFF)),
            Self::Stdout => Some(Value::from(STDOUT)),
            Self::File(path) => path.write(),
        }
    }

    fn hidden(&self) -> Option<Hidden> {
        match self {
            Self::Off | Self::Stdout => None,
            Self::File(path) => path.hidden(),
        }
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        match self {
            Self::Off | Self::Stdout => Ok(()),
            Self::File(path) => path.check(rule),
        }
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        let file = FilePath::arbitrary(rule).prop_map(Self::File);
        let file = file.prop_filter("words", |own| {
            ![OFF, STDOUT].map(Value::from).map(Some).contains(&own.write())
        });
        prop_oneof![Just(Self::Off), Just(Self::Stdout), file].boxed()
    }
}

const OFF: &str = "off";
const STDOUT: &str = "stdout";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_path_and_a_path_is_no_word() {
        let around = Surroundings::of("/etc/tidegate/tidegate.toml");
        let read = |text| AccessTarget::read(&Value::from(text), &around).unwrap();
        assert_eq!(read("off").output(), None);
        assert_eq!(read("stdout").output(), Some(AccessOutput::Stdout));
        for (written, path) in
            [("./off", "/etc/tidegate/./off"), ("/var/log/access.log", "/var/log/access.log")]
        {
            assert_eq!(read(written).output(), Some(AccessOutput::File(path.into())));
        }
        assert!(AccessTarget::read(&Value::from(7), &around).is_err());
        assert!(read("").check(Rule::LogFile).is_err());
    }
}
