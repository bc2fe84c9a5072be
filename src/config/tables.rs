//! A configuration as the tables of a file, for everything that walks all keys: `--check`, the
//! rules, the tests.

use std::fmt;

use super::Config;
use super::declare::{Entry, Keys};
use super::identity::IdentityKind;
use super::secret::MASK;

/// One table with its keys.
#[derive(Debug)]
pub(super) struct FileTable {
    /// As a file holds it: nothing, `[limits]`, `[[route]]`.
    header: String,
    /// What stands before the name of a key in messages: nothing, `limits.`, `route[1].`.
    path: String,
    pub(super) entries: Vec<Entry>,
}

impl FileTable {
    fn section(name: &str, keys: &impl Keys) -> Self {
        Self { header: format!("[{name}]"), path: format!("{name}."), entries: keys.entries() }
    }

    fn item(name: &str, path: &str, index: usize, entries: Vec<Entry>) -> Self {
        Self { header: format!("[[{name}]]"), path: format!("{path}[{index}]."), entries }
    }

    /// The name of an entry in messages.
    pub(super) fn key(&self, entry: &Entry) -> String {
        format!("{}{}", self.path, entry.leaf())
    }
}

impl Config {
    /// Every table with every key, in the order of the file.
    pub(super) fn tables(&self) -> Vec<FileTable> {
        let Self {
            process,
            listeners,
            certificates,
            tls,
            admin,
            log,
            limits,
            timeouts,
            turn,
            socket,
            routes,
            identities,
        } = self;
        let top =
            FileTable { header: String::new(), path: String::new(), entries: process.entries() };
        let mut tables = vec![top];
        for (index, listener) in listeners.iter().enumerate() {
            tables.push(FileTable::item("listener", "listener", index, listener.entries()));
        }
        for (index, pair) in certificates.iter().enumerate() {
            tables.push(FileTable::item("certificate", "certificate", index, pair.entries()));
        }
        tables.push(FileTable::section("tls", tls));
        tables.push(FileTable::section("admin", admin));
        tables.push(FileTable::section("log", log));
        tables.push(FileTable::section("limits", limits));
        tables.push(FileTable::section("timeouts", timeouts));
        tables.push(FileTable::section("turn", turn));
        tables.push(FileTable::section("socket", socket));
        for (index, route) in routes.iter().enumerate() {
            tables.push(FileTable::item("route", "route", index, route.entries()));
        }
        for (index, identity) in identities.iter().enumerate() {
            let mut entries = identity.keys().entries();
            match &identity.kind {
                IdentityKind::Redis(redis) => {
                    entries.extend(redis.entries());
                    tables.push(FileTable::item("identity", "identity", index, entries));
                }
                IdentityKind::Tokens(tokens) => {
                    tables.push(FileTable::item("identity", "identity", index, entries));
                    let path = format!("identity[{index}].tokens");
                    let token = |(index, token): (usize, &super::Token)| {
                        FileTable::item("identity.tokens", &path, index, token.entries())
                    };
                    tables.extend(tokens.iter().enumerate().map(token));
                }
            }
        }
        tables
    }

    /// Whether `--check` prints `***` in place of a secret.
    pub(super) fn holds_masked(&self) -> bool {
        let is_masked = |entry: &Entry| {
            let text = entry.value.as_ref().map(ToString::to_string);
            entry.key.rule.is_secret() && text.is_some_and(|text| text.contains(MASK))
        };
        self.tables().iter().any(|table| table.entries.iter().any(is_masked))
    }
}

impl fmt::Display for FileTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.header.is_empty() {
            writeln!(f, "\n{}", self.header)?;
        }
        for entry in &self.entries {
            if let Some(value) = &entry.value {
                writeln!(f, "{} = {value}", entry.leaf())?;
            }
        }
        Ok(())
    }
}
