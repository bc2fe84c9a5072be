//! Takes the values of keys from one table of a file.

use toml::{Table, Value};

use super::key::FILE_SUFFIX;
use super::refusal::Refusal;
use super::rule::Rule;
use super::setting::Setting;
use super::surroundings::Surroundings;

/// One table of a file.
#[derive(Clone, Debug)]
pub(super) struct TableReader<'t> {
    /// What stands before the name of a key in messages: nothing, `limits.`, `route[1].`.
    path: String,
    table: &'t Table,
    around: &'t Surroundings,
}

impl<'t> TableReader<'t> {
    pub(super) fn new(path: String, table: &'t Table, around: &'t Surroundings) -> Self {
        Self { path, table, around }
    }

    /// The name of a key of this table in messages.
    pub(super) fn key(&self, leaf: &str) -> String {
        format!("{}{leaf}", self.path)
    }

    /// The value of a key as it is written.
    pub(super) fn value(&self, leaf: &str) -> Option<&'t Value> {
        self.table.get(leaf)
    }

    /// The tables with this name: those of `[[leaf]]`, or the one of `[leaf]`.
    pub(super) fn tables(&self, leaf: &str) -> Vec<Self> {
        let inner = |path, table| Self::new(path, table, self.around);
        match self.table.get(leaf) {
            Some(Value::Table(table)) => vec![inner(format!("{}.", self.key(leaf)), table)],
            Some(Value::Array(items)) => {
                let tables = items.iter().enumerate().filter_map(|(index, item)| {
                    Some(inner(format!("{}[{index}].", self.key(leaf)), item.as_table()?))
                });
                tables.collect()
            }
            _ => Vec::new(),
        }
    }

    /// The value of a key, or its default.
    ///
    /// # Errors
    /// If there is neither, or the value cannot be read.
    pub(super) fn take<T: Setting>(
        &self,
        leaf: &str,
        rule: Rule,
        default: Option<T>,
    ) -> Result<T, Refusal> {
        let file_leaf = format!("{leaf}{FILE_SUFFIX}");
        let path = self.table.get(&file_leaf).filter(|_| rule.is_secret());
        match (self.table.get(leaf), path) {
            (Some(value), None) => T::read(value, self.around)
                .map_err(|broken| broken.of(&self.key(leaf), rule, value)),
            (None, Some(path)) => T::read_file(path, self.around)
                .map_err(|broken| broken.of(&self.key(&file_leaf), rule, path)),
            (Some(_), Some(path)) => {
                let rule = format!("must be left out where {leaf} is given");
                Err(Refusal::new(self.key(&file_leaf), path, rule))
            }
            (None, None) => default.ok_or_else(|| {
                Refusal::missing(self.key(leaf), format!("is required, and {rule}"))
            }),
        }
    }
}
