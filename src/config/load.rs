//! From the text of a file to a [`Config`], or to the one line that says why not.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::error::{ConfigError, Refusal};
use super::key_path::KeyPath;
use super::keys::{self, KEYS, SECTIONS, Section};
use super::{Config, Rule, suggest};

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

    /// Checks the text of a configuration file; `file_name` is only for messages.
    ///
    /// # Errors
    ///
    /// The first thing found wrong: syntax, then unknown keys, then missing ones, then values.
    pub fn from_toml(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        let file: Table =
            toml::from_str(text).map_err(|error| ConfigError::syntax(file_name, text, &error))?;
        for section in SECTIONS {
            check_shape(&file, *section).map_err(|refusal| refusal.of(file_name))?;
        }
        let config = deserialize(&file, file_name)?;
        config.validate(file_name)?;
        Ok(config)
    }
}

/// A table must be written as a table. Without this check, serde would also fill its keys from
/// the items of an array, in the order of the fields.
fn check_shape(file: &Table, section: Section) -> Result<(), Refusal> {
    let Some(value) = file.get(section.name) else { return Ok(()) };
    let well_formed = if section.is_array {
        value.as_array().is_some_and(|items| items.iter().all(Value::is_table))
    } else {
        value.is_table()
    };
    if well_formed {
        return Ok(());
    }
    let rule = format!("must be written as {}", section.header());
    Err(Refusal::new(section.name, value, rule))
}

fn deserialize(file: &Table, file_name: &str) -> Result<Config, ConfigError> {
    let mut unknown = None;
    let mut track = serde_path_to_error::Track::new();
    let values = Value::Table(file.clone());
    let tracked = serde_path_to_error::Deserializer::new(values, &mut track);
    let mut note_unknown = |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert_with(|| KeyPath::from(&path));
    };
    let result = Config::deserialize(serde_ignored::Deserializer::new(tracked, &mut note_unknown));

    // A misspelt key comes first: it may be the very reason why another one is missing.
    if let Some(path) = unknown {
        let hint = suggest::hint(&path.name());
        return Err(ConfigError::unknown_key(file_name, &path.to_string(), path.find(file), hint));
    }
    result.map_err(|error| {
        let refusal = missing_key(file)
            .unwrap_or_else(|| wrong_value(file, &KeyPath::from(&track.path()), &error));
        refusal.of(file_name)
    })
}

/// The first required key that its table does not hold.
fn missing_key(file: &Table) -> Option<Refusal> {
    KEYS.iter().filter(|key| key.is_required()).find_map(|key| {
        let tables = file.get(key.section())?.as_array()?;
        let index = tables.iter().position(|table| table.get(key.leaf()).is_none())?;
        let path = format!("{}[{index}].{}", key.section(), key.leaf());
        Some(Refusal::missing(path, format!("is required, and {}", key.rule)))
    })
}

/// A value that is not of the type of its key.
fn wrong_value(file: &Table, path: &KeyPath, error: &toml::de::Error) -> Refusal {
    let value = path.find(file);
    let rule = match (keys::find(&path.name()), value) {
        (Some(key), Some(value)) => rule_for(key.rule, value),
        // Not reached as long as every leaf of the types has a key; still a useful sentence.
        _ => error.message().to_owned(),
    };
    match value {
        Some(value) => Refusal::new(path.to_string(), value, rule),
        None => Refusal::missing(path.to_string(), rule),
    }
}

/// The rule, mentioning the type if it is the type that is wrong.
fn rule_for(rule: Rule, value: &Value) -> String {
    if let Rule::Integer { min, max } = rule
        && !value.is_integer()
    {
        return format!("must be a whole number between {min} and {max}");
    }
    rule.to_string()
}

#[cfg(test)]
mod tests;
