//! From the text of a file to a [`Config`], or to the one line that says why not.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::declare::Keys;
use super::error::ConfigError;
use super::identity::Identity;
use super::reader::TableReader;
use super::refusal::Refusal;
use super::route::Route;
use super::sections::{self, Section};
use super::surroundings::Surroundings;
use super::{
    CertificateFiles, Config, Listener, NamespaceOptions, ProcessOptions, ProxyOptions, RpcOptions,
    Rule, UpstreamOptions, key, suggest,
};

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, and as [`Config::from_toml`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file_name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|error| ConfigError::read(&file_name, &error))?;
        Self::from_toml(&text, &file_name)
    }

    /// Checks the text of a configuration file. `file_name` is for messages, and the folder in it
    /// is where the paths of secrets start.
    ///
    /// # Errors
    ///
    /// The first thing found wrong: syntax, then names, then types and what is missing, then rules.
    pub fn from_toml(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        Self::from_toml_in(text, file_name, &Surroundings::of(file_name))
    }

    pub(super) fn from_toml_in(
        text: &str,
        file_name: &str,
        around: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let file: Table =
            toml::from_str(text).map_err(|error| ConfigError::syntax(file_name, text, &error))?;
        let config = check_names(&file)
            .and_then(|()| Self::read(&TableReader::new(String::new(), &file, around)))
            .and_then(|config| config.check_rules().map(|()| config));
        config.map_err(|refusal| refusal.of(file_name, Some(text)))
    }

    fn read(file: &TableReader<'_>) -> Result<Self, Refusal> {
        let default = Self::default();
        Ok(Self {
            process: ProcessOptions::read(file)?,
            listeners: read_all(file, "listener", Listener::read)?.unwrap_or(default.listeners),
            certificates: read_all(file, "certificate", CertificateFiles::read)?
                .unwrap_or_default(),
            acme: read_one(file, "acme")?,
            tls: read_one(file, "tls")?,
            admin: read_one(file, "admin")?,
            api: read_one(file, "api")?,
            webhooks: read_one(file, "webhooks")?,
            log: read_one(file, "log")?,
            limits: read_one(file, "limits")?,
            addresses: read_one(file, "addresses")?,
            overload: read_one(file, "overload")?,
            timeouts: read_one(file, "timeouts")?,
            turn: read_one(file, "turn")?,
            socket: read_one(file, "socket")?,
            routes: read_all(file, "route", Route::read)?.unwrap_or(default.routes),
            identities: read_all(file, "identity", Identity::read)?.unwrap_or_default(),
            upstreams: read_all(file, "upstream", UpstreamOptions::read)?.unwrap_or_default(),
            channels: read_one(file, "channels")?,
            namespaces: read_channels(file, "namespace", NamespaceOptions::read)?,
            proxies: read_channels(file, "proxy", ProxyOptions::read)?,
            rpcs: read_channels(file, "rpc", RpcOptions::read)?,
            engine: read_one(file, "engine")?,
        })
    }
}

/// The keys of the table with this name, or their defaults if the file has none.
fn read_one<T: Keys + Default>(file: &TableReader<'_>, name: &str) -> Result<T, Refusal> {
    file.tables(name).first().map_or_else(|| Ok(T::default()), T::read)
}

/// Every table of a list, or `None` if the file has no such list.
fn read_all<T>(
    file: &TableReader<'_>,
    name: &str,
    read: impl Fn(&TableReader<'_>) -> Result<T, Refusal>,
) -> Result<Option<Vec<T>>, Refusal> {
    if file.value(name).is_none() {
        return Ok(None);
    }
    file.tables(name).iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Every table of a list in the table `channels`.
fn read_channels<T>(
    file: &TableReader<'_>,
    name: &str,
    read: impl Fn(&TableReader<'_>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let channels = file.tables("channels");
    let found = channels.first().map(|own| read_all(own, name, read)).transpose()?;
    Ok(found.flatten().unwrap_or_default())
}

/// Checks that every name in the file is that of a table or a key, that tables are written as
/// tables, and that no table holds the keys of another kind.
fn check_names(file: &Table) -> Result<(), Refusal> {
    let Some(top) = sections::find_section("") else { return Ok(()) };
    check_known(top, "", file)?;
    check_taken(top, "", file)
}

/// Unknown names come first: a misspelt key may be the very reason why another one is missing.
fn check_known(section: &Section, path: &str, table: &Table) -> Result<(), Refusal> {
    for (leaf, value) in table {
        let key = format!("{path}{leaf}");
        let name = match section.name {
            "" => leaf.clone(),
            around => format!("{around}.{leaf}"),
        };
        let mut inner_sections = sections::inner_sections(section.name);
        if let Some(inner) = inner_sections.find(|inner| key::split(inner.name).1 == leaf) {
            check_shape(*inner, &key, value)?;
            for (path, table) in tables(&key, value) {
                check_known(inner, &path, table)?;
            }
        } else if section.key(leaf).is_none() {
            return Err(match sections::renamed(&name) {
                Some(new) => Refusal::renamed(key, new),
                None => Refusal::unknown(key, value, suggest::hint(&name)),
            });
        }
    }
    Ok(())
}

/// Refuses a key that its table does not take, because it is for another service or kind.
fn check_taken(section: &Section, path: &str, table: &Table) -> Result<(), Refusal> {
    // A word that does not exist is refused where it is read.
    let word = table.get(section.chosen_by).and_then(Value::as_str);
    let word = word.filter(|word| is_word(section, word));
    let check = |takers: &[&str], leaf: &str| match (word, table.get(leaf)) {
        (Some(word), Some(value)) if !takers.is_empty() && !takers.contains(&word) => {
            let hint = if leaf == "identity" { IDENTITY_TAKERS } else { "" };
            let rule =
                format!("must be left out where the {} is \"{word}\"{hint}", section.chosen_by);
            Err(Refusal::new(format!("{path}{leaf}"), value, rule))
        }
        _ => Ok(()),
    };
    for group in section.groups {
        for key in group.keys {
            check(group.takers, key.leaf())?;
            key.file_leaf().map_or(Ok(()), |leaf| check(group.takers, &leaf))?;
        }
    }
    for inner in sections::inner_sections(section.name) {
        let leaf = key::split(inner.name).1;
        check(inner.takers, leaf)?;
        let Some(value) = table.get(leaf) else { continue };
        for (path, table) in tables(&format!("{path}{leaf}"), value) {
            check_taken(inner, &path, table)?;
        }
    }
    Ok(())
}

/// Whether the key that chooses for this table has such a word.
fn is_word(section: &Section, word: &str) -> bool {
    let key = section.keys().find(|key| key.leaf() == section.chosen_by);
    matches!(key.map(|key| key.rule), Some(Rule::OneOf(words)) if words.contains(&word))
}

/// The tables that a value is or holds, with their paths.
fn tables<'v>(key: &str, value: &'v Value) -> Vec<(String, &'v Table)> {
    match value {
        Value::Table(table) => vec![(format!("{key}."), table)],
        Value::Array(items) => {
            let items = items.iter().filter_map(Value::as_table).enumerate();
            items.map(|(index, table)| (format!("{key}[{index}]."), table)).collect()
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => Vec::new(),
    }
}

/// A table must be written as a table.
fn check_shape(section: Section, key: &str, value: &Value) -> Result<(), Refusal> {
    let is_well_formed = if section.is_array {
        value.as_array().is_some_and(|items| items.iter().all(Value::is_table))
    } else {
        value.is_table()
    };
    if is_well_formed {
        return Ok(());
    }
    Err(Refusal::new(key, value, format!("must be written as {}", section.header())))
}

const IDENTITY_TAKERS: &str = ": only routes that speak WebSocket take an identity";

#[cfg(test)]
mod tests;
