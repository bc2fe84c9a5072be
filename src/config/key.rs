//! One key of the configuration file, as its declaration says.

use super::rule::Rule;

/// One key of the configuration file. The macro `keys!` of `declare` writes these; nothing
/// else does.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted name without array positions, such as `limits.head_bytes_max` or `route.path`.
    pub name: &'static str,
    /// What a value must be.
    pub rule: Rule,
    /// What the key does, in one sentence.
    pub doc: &'static str,
    /// What happens when a limit or a deadline is reached; empty where nothing can be.
    pub reached: &'static str,
    /// Whether a reload changes it in a running process; if not, a restart does.
    pub reloadable: bool,
    /// Whether every table of its kind must hold the key.
    pub is_required: bool,
    pub(super) default: fn() -> String,
}

impl Key {
    /// The table the key belongs to (`limits`), empty for keys at the top of the file.
    pub fn section(&self) -> &'static str {
        split(self.name).0
    }

    /// The name inside its table (`head_bytes_max`).
    pub fn leaf(&self) -> &'static str {
        split(self.name).1
    }

    /// The default as it would be written in the file, text without its quotes; `required` where
    /// there is none, and other plain words where no value can express what leaving the key out
    /// means.
    pub fn default(&self) -> String {
        (self.default)()
    }

    /// The other name under which the file may give this key's value: a path to read it from. Only
    /// a secret has one.
    pub fn file_leaf(&self) -> Option<String> {
        self.rule.is_secret().then(|| format!("{}{FILE_SUFFIX}", self.leaf()))
    }
}

/// Splits a dotted name into its table and the name inside it.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The end of the key that names a file with the value of a secret.
pub(super) const FILE_SUFFIX: &str = "_file";
