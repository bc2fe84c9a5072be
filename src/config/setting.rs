//! The types that keys may have: how each is read from a file, written to one, and checked.

use std::fmt;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use toml::Value;

use super::refusal::Refusal;
use super::rule::Rule;
use super::surroundings::Surroundings;
use super::word::Word;

/// A type that a key may have.
pub(super) trait Setting: Sized + PartialEq {
    /// Reads the value of a key.
    ///
    /// # Errors
    /// If it is of another type, or names a file or variable that does not exist.
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken>;

    /// Reads the value from the file at `path`. Only secrets are given so.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be read.
    fn read_file(path: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let _ = (path, around);
        Err(Broken::default())
    }

    /// The value as a file would hold it, a secret as `***`; `None` where no value expresses it.
    fn write(&self) -> Option<Value>;

    /// The path that the value was read from, as it was written.
    fn file(&self) -> Option<String> {
        None
    }

    /// What tells two values apart that are written alike; `None` where all that differ are written
    /// differently.
    fn hidden(&self) -> Option<Hidden> {
        None
    }

    /// Whether the value keeps the rule of its key.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, rule: Rule) -> Result<(), Broken>;

    /// Any value that the rule accepts.
    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self>;
}

/// What of a value is not written. It is shown nowhere: a short secret could be guessed from it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden([u8; 32]);

impl Hidden {
    /// Of these parts, in this order.
    pub(super) fn of<'p>(parts: impl Iterator<Item = &'p str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Broken {
    /// Which item of a list.
    position: Option<usize>,
    /// The rule, as "must …"; `None` where it is the rule of the key.
    rule: Option<String>,
    /// A number that TOML cannot express.
    number: Option<u64>,
}

impl Broken {
    pub(super) fn rule(rule: impl Into<String>) -> Self {
        Self { rule: Some(rule.into()), ..Self::default() }
    }

    pub(super) fn at(self, position: usize) -> Self {
        Self { position: Some(position), ..self }
    }

    /// The refusal of `key`, whose rule and whole value these are.
    pub(super) fn of(&self, key: &str, rule: Rule, value: &Value) -> Refusal {
        let (key, value) = match self.position {
            Some(position) => {
                (format!("{key}[{position}]"), value.get(position).unwrap_or(value).clone())
            }
            None => (key.to_owned(), value.clone()),
        };
        let rule_of_key = || {
            if let Rule::Integer { min, max } = rule
                && !value.is_integer()
            {
                return format!("must be a whole number between {min} and {max}");
            }
            rule.to_string()
        };
        let text = self.rule.clone().unwrap_or_else(rule_of_key);
        match self.number {
            Some(number) => Refusal::number(key, number, text),
            None => Refusal::new(key, &value, text),
        }
    }
}

macro_rules! number {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn read(value: &Value, _: &Surroundings) -> Result<Self, Broken> {
                let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(Broken::default)
            }

            fn write(&self) -> Option<Value> {
                Some(Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX)))
            }

            fn check(&self, rule: Rule) -> Result<(), Broken> {
                let Rule::Integer { min, max } = rule else { return Ok(()) };
                let number = u64::try_from(*self).unwrap_or(u64::MAX);
                if (min..=max).contains(&number) {
                    return Ok(());
                }
                Err(Broken { number: Some(number), ..Broken::default() })
            }

            #[cfg(test)]
            fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::prelude::*;
                let Rule::Integer { min, max } = rule else { panic!("{rule} is not for numbers") };
                // The ends more often than chance would have them.
                prop_oneof![1 => Just(min), 1 => Just(max), 6 => min..=max]
                    .prop_map(|number| Self::try_from(number).unwrap())
                    .boxed()
            }
        }
    )+};
}

number!(u32, u64, usize);

impl Setting for bool {
    fn read(value: &Value, _: &Surroundings) -> Result<Self, Broken> {
        value.as_bool().ok_or_else(Broken::default)
    }

    fn write(&self) -> Option<Value> {
        Some(Value::Boolean(*self))
    }

    fn check(&self, _: Rule) -> Result<(), Broken> {
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::bool::ANY)
    }
}

impl Setting for SocketAddr {
    fn read(value: &Value, _: &Surroundings) -> Result<Self, Broken> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(Broken::default)
    }

    fn write(&self) -> Option<Value> {
        Some(Value::from(self.to_string()))
    }

    fn check(&self, _: Rule) -> Result<(), Broken> {
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        any::<(std::net::IpAddr, u16)>().prop_map(Self::from).boxed()
    }
}

impl Setting for String {
    fn read(value: &Value, _: &Surroundings) -> Result<Self, Broken> {
        value.as_str().map(str::to_owned).ok_or_else(Broken::default)
    }

    fn write(&self) -> Option<Value> {
        Some(Value::from(self.as_str()))
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        rule.check_text(self).map_err(Broken::rule)
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        crate::config::arbitrary::text(rule)
    }
}

impl Setting for Vec<String> {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let items = value.as_array().ok_or_else(Broken::default)?.iter().enumerate();
        let read =
            |(position, item)| String::read(item, around).map_err(|broken| broken.at(position));
        items.map(read).collect()
    }

    fn write(&self) -> Option<Value> {
        Some(Value::Array(self.iter().map(|item| Value::from(item.as_str())).collect()))
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        for (position, item) in self.iter().enumerate() {
            item.check(rule).map_err(|broken| broken.at(position))?;
            if rule.is_of_distinct() && self[..position].contains(item) {
                return Err(Broken::rule("must not be listed twice").at(position));
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        proptest::collection::btree_set(crate::config::arbitrary::text(rule), 0..3)
            .prop_map(|items| items.into_iter().collect())
            .boxed()
    }
}

impl<T: Setting + Clone + fmt::Debug + 'static> Setting for Option<T> {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        T::read(value, around).map(Some)
    }

    fn read_file(path: &Value, around: &Surroundings) -> Result<Self, Broken> {
        T::read_file(path, around).map(Some)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }

    fn file(&self) -> Option<String> {
        self.as_ref().and_then(T::file)
    }

    fn hidden(&self) -> Option<Hidden> {
        self.as_ref().and_then(T::hidden)
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        self.as_ref().map_or(Ok(()), |value| value.check(rule))
    }

    #[cfg(test)]
    fn arbitrary(rule: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::option::of(T::arbitrary(rule)))
    }
}

impl<T: Word + fmt::Debug> Setting for T {
    fn read(value: &Value, _: &Surroundings) -> Result<Self, Broken> {
        let found = Self::WORDS.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|(_, value)| *value).ok_or_else(Broken::default)
    }

    fn write(&self) -> Option<Value> {
        Some(Value::from(self.name()))
    }

    fn check(&self, _: Rule) -> Result<(), Broken> {
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        let values: Vec<Self> = Self::WORDS.iter().map(|(_, value)| *value).collect();
        proptest::strategy::Strategy::boxed(proptest::sample::select(values))
    }
}
