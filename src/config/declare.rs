//! How keys are declared: each once, with its type, default, rule and documentation.
//!
//! A group of keys is a struct inside [`keys!`]:
//!
//! ```text
//! keys! {
//!     /// What the group is about.
//!     "limits." pub struct Limits {
//!         /// Connections served at once.                   the sentence in docs and rustdoc
//!         pub connections_max: Option<usize> {              name and type
//!             default: None,                                left out where the key is required
//!             shown: "derived",                             only where no value expresses it
//!             rule: CONNECTIONS,                            what is accepted
//!             needs: Self::is_on => "deflate is false",     only where other keys can make it idle
//!             reload: true,                                 whether a reload changes it
//!             reached: "The client gets 503.",              only for limits and deadlines
//!         }
//!     }
//! }
//! ```
//!
//! The macro makes of it the struct, its `Default` (if no key is required), and the trait [`Keys`]:
//! the rows of the table of keys, reading from a file, writing for `--check`, and the rules. To add
//! a key is to add it there, and to run the tests with `TIDEGATE_RECORD=1`, which writes it into
//! `docs/configuration.md`. A new group is listed in [`SECTIONS`](super::sections::SECTIONS) and in
//! `Config::tables`.
//!
//! The words that a key accepts are declared in the same on_connect, by [`words!`](super::word::words).

use toml::Value;

use super::key::Key;
use super::reader::TableReader;
use super::refusal::Refusal;
use super::setting::{Broken, Hidden, Setting};

/// A struct whose fields are keys.
pub(super) trait Keys: Sized {
    /// Every key, in the order of the fields.
    const KEYS: &'static [Key];

    /// Takes every key from a table of the file.
    ///
    /// # Errors
    /// The first key that is missing or has a value of another type.
    fn read(table: &TableReader<'_>) -> Result<Self, Refusal>;

    /// Every key with its value, in the order of the fields.
    fn entries(&self) -> Vec<Entry>;

    /// Keeps what a running process has of the keys that no reload changes.
    fn keep(&mut self, running: &Self);

    /// Any values that the rules accept, each key by itself.
    #[cfg(test)]
    fn arbitrary() -> proptest::strategy::BoxedStrategy<Self>;
}

/// One key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    /// The value as a file would hold it, a secret as `***`; `None` where the key is left out.
    pub(super) value: Option<Value>,
    /// Whether the value is a path to read from, under [`Key::file_leaf`].
    pub(super) is_file: bool,
    /// The value, also where it has no effect.
    whole: Option<Value>,
    /// What of the value is not written.
    hidden: Option<Hidden>,
    /// What is wrong with the value by itself.
    pub(super) broken: Option<Broken>,
    /// Why the key has no effect here although it is given.
    pub(super) idle: Option<&'static str>,
}

impl Entry {
    /// The name inside its table.
    pub(super) fn leaf(&self) -> String {
        let file_leaf = self.key.file_leaf().filter(|_| self.is_file);
        file_leaf.unwrap_or_else(|| self.key.leaf().to_owned())
    }

    /// Whether both have the same value, given in the same on_connect.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let parts = |own: &Self| (own.is_file, own.hidden.clone());
        self.whole == other.whole && parts(self) == parts(other)
    }

    pub(super) fn new<T: Setting>(
        key: &'static Key,
        value: &T,
        default: Option<&T>,
        unmet: Option<&'static str>,
    ) -> Self {
        // A default that is written and a key that is left out are the same value here.
        let is_default = default.is_some_and(|default| default == value);
        let file = value.file();
        let is_file = file.is_some();
        let written = file.map(Value::from).or_else(|| value.write());
        Self {
            key,
            value: written.clone().filter(|_| unmet.is_none() || !is_default),
            is_file,
            whole: written,
            hidden: value.hidden(),
            broken: value.check(key.rule).err(),
            idle: unmet.filter(|_| !is_default),
        }
    }
}

/// The default of a key in the table of keys.
pub(super) fn default_text<T: Setting>(default: Option<T>, shown: Option<&str>) -> String {
    let value = default.and_then(|default| default.write());
    match (shown, value) {
        (Some(shown), _) => shown.to_owned(),
        (None, Some(Value::String(text))) => text,
        (None, Some(value)) => value.to_string(),
        (None, None) => "required".to_owned(),
    }
}

/// Declares keys: see the module documentation.
macro_rules! keys {
    (
        $(#[$attribute:meta])*
        $prefix:literal $visibility:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field_visibility:vis $field:ident: $type:ty {
                    $(default: $default:expr,)?
                    $(shown: $shown:literal,)?
                    rule: $rule:expr,
                    $(needs: $needs:expr => $otherwise:literal,)?
                    reload: $reload:literal,
                    $(reached: $reached:literal,)?
                }
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $visibility struct $name {
            $(
                $(#[doc = $doc])+
                $field_visibility $field: $type,
            )+
        }

        $crate::config::declare::default_impl!($name { $($field: [$($default)?],)+ });

        impl $crate::config::declare::Keys for $name {
            const KEYS: &'static [$crate::config::Key] = &[$($crate::config::Key {
                name: concat!($prefix, stringify!($field)),
                rule: $rule,
                doc: concat!($($doc),+).trim_ascii(),
                reached: concat!($($reached)?),
                reloadable: $reload,
                is_required: [$(stringify!($default),)? ""].len() == 1,
                default: || $crate::config::declare::default_text::<$type>(
                    $crate::config::declare::optional!($($default)?),
                    $crate::config::declare::optional!($($shown)?),
                ),
            }),+];

            fn read(
                table: &$crate::config::reader::TableReader<'_>,
            ) -> Result<Self, $crate::config::refusal::Refusal> {
                Ok(Self {
                    $($field: table.take(
                        stringify!($field),
                        $rule,
                        $crate::config::declare::optional!($($default)?),
                    )?,)+
                })
            }

            fn entries(&self) -> Vec<$crate::config::declare::Entry> {
                let mut entries = Vec::new();
                let mut keys = Self::KEYS.iter();
                $(
                    let default: Option<$type> =
                        $crate::config::declare::optional!($($default)?);
                    let unmet: &[Option<&str>] =
                        &[$((!$needs(self)).then_some($otherwise))?];
                    let unmet = unmet.first().copied().flatten();
                    entries.extend(keys.next().map(|key| {
                        $crate::config::declare::Entry::new(
                            key, &self.$field, default.as_ref(), unmet,
                        )
                    }));
                )+
                entries
            }

            fn keep(&mut self, running: &Self) {
                $(if !$reload {
                    self.$field.clone_from(&running.$field);
                })+
            }

            #[cfg(test)]
            fn arbitrary() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                let values = $crate::config::declare::nested!($(
                    (<$type as $crate::config::setting::Setting>::arbitrary($rule))
                )+ (proptest::strategy::Just(())));
                values.prop_map(
                    |$crate::config::declare::nested!($($field)+ ())| Self { $($field),+ }
                ).boxed()
            }
        }
    };
}

/// `Default` for a struct, unless one of its keys has none.
macro_rules! default_impl {
    ($name:ident { $($field:ident: [$default:expr],)+ }) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
    ($($other:tt)*) => {};
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// Pairs of pairs, because tuples of any length have no traits.
#[cfg(test)]
macro_rules! nested {
    ($last:tt) => { $last };
    ($first:tt $($rest:tt)+) => { ($first, $crate::config::declare::nested!($($rest)+)) };
}

#[cfg(test)]
pub(super) use nested;
pub(super) use {default_impl, keys, optional};
