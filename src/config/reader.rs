//! Takes the values of keys from one table of a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::Refusal;
use super::key::FILE_SUFFIX;
use super::rule::Rule;
use super::setting::Setting;

/// What a file may refer to outside itself.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// The folder that relative paths start from: that of the file.
    folder: PathBuf,
    /// The value of an environment variable.
    variable: fn(&str) -> Option<String>,
}

impl Surroundings {
    /// Of the file with this name, in this process.
    pub(super) fn of(file_name: &str) -> Self {
        Self::new(file_name, |name| std::env::var(name).ok())
    }

    /// Of the file with this name, with these environment variables.
    pub(super) fn new(file_name: &str, variable: fn(&str) -> Option<String>) -> Self {
        let folder = Path::new(file_name).parent().map(Path::to_path_buf).unwrap_or_default();
        Self { folder, variable }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    /// The text of a small file, without the line break at its end.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        let file = File::open(self.folder.join(path))?;
        let mut text = String::new();
        // What is no secret, such as a device, must not fill the memory.
        if file.take(SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text)? > SECRET_FILE_BYTES {
            let reason = format!("it is longer than {SECRET_FILE_BYTES} bytes");
            return Err(io::Error::other(reason));
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

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

/// More than any secret needs.
const SECRET_FILE_BYTES: usize = 65_536;
const SECRET_FILE_BYTES_MAX: u64 = SECRET_FILE_BYTES as u64;
