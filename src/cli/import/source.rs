//! What stands in the file of another program, option by option, and what of it was taken.

use std::collections::BTreeMap;

use serde_json::Value;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Toml,
    Yaml,
}

/// Options by their paths with dots, which are taken out one by one: what is left has no counterpart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Source {
    options: BTreeMap<String, Value>,
}

/// What is found under a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// The name under which it stands.
    pub(super) name: String,
    pub(super) value: Value,
}

impl Source {
    /// Reads a file.
    pub(super) fn parse(text: &str, format: Format) -> Result<Self, String> {
        let value: Value = match format {
            Format::Json => serde_json::from_str(text).map_err(|error| error.to_string())?,
            Format::Toml => toml::from_str(text).map_err(|error| error.to_string())?,
            Format::Yaml => serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?,
        };
        match value {
            Value::Null => Ok(Self::default()),
            Value::Object(_) => Ok(Self::of(value)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err("it is no table of options".to_owned())
            }
        }
    }

    /// The options of a table.
    pub(super) fn of(table: Value) -> Self {
        let mut source = Self::default();
        source.add(String::new(), table);
        source
    }

    fn add(&mut self, path: String, value: Value) {
        match value {
            Value::Object(table) => {
                for (name, value) in table {
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    self.add(path, value);
                }
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.options.insert(path, value);
            }
        }
    }

    /// Takes an option out that has one of these names in one version or another. The first counts; others are
    /// left, and so are named.
    pub(super) fn take(&mut self, names: &[&str]) -> Option<Found> {
        let name = names.iter().find(|name| self.options.contains_key(**name))?;
        let value = self.options.remove(*name)?;
        Some(Found { name: (*name).to_owned(), value })
    }

    /// Takes out all options below a path, as a source of their own.
    pub(super) fn take_below(&mut self, path: &str) -> Self {
        let prefix = format!("{path}.");
        let names: Vec<String> =
            self.options.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        let mut below = Self::default();
        for name in names {
            if let Some(value) = self.options.remove(&name) {
                below.options.insert(name[prefix.len()..].to_owned(), value);
            }
        }
        below
    }

    /// Puts options back that were not taken, below a path.
    pub(super) fn put_back(&mut self, path: &str, rest: Self) {
        for (name, value) in rest.options {
            self.options.insert(format!("{path}.{name}"), value);
        }
    }

    /// A copy of all options below a path.
    pub(super) fn copy_below(&self, path: &str) -> Self {
        self.clone().take_below(path)
    }

    /// An option, which is left.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.options.get(name)
    }

    /// Adds an option.
    pub(super) fn insert(&mut self, name: &str, value: Value) {
        self.options.insert(name.to_owned(), value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// The names of what is left.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.options.keys()
    }
}

impl Found {
    pub(super) fn bool(&self) -> Result<bool, String> {
        let text = self.value.as_str();
        let written = match text {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) | None => None,
        };
        self.value.as_bool().or(written).ok_or_else(|| self.strange("true or false"))
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        self.value.as_str().ok_or_else(|| self.strange("a text"))
    }

    pub(super) fn number(&self) -> Result<u64, String> {
        let written = self.value.as_str().and_then(|own| own.parse().ok());
        self.value.as_u64().or(written).ok_or_else(|| self.strange("a number"))
    }

    /// A list of texts, or one text of words.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        match &self.value {
            Value::Array(items) => items
                .iter()
                .map(|own| own.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| self.strange("a list of texts")),
            Value::String(words) => Ok(words.split_whitespace().map(str::to_owned).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                Err(self.strange("a list of texts"))
            }
        }
    }

    /// Milliseconds of a duration such as `1h30m`, or of a number of seconds.
    pub(super) fn milliseconds(&self) -> Result<u64, String> {
        if let Some(seconds) = self.value.as_u64() {
            return Ok(seconds.saturating_mul(1000));
        }
        let text = self.value.as_str().and_then(duration_ms);
        text.ok_or_else(|| self.strange("a duration such as 25s"))
    }

    fn strange(&self, wanted: &str) -> String {
        format!("{}: expected {wanted}, so it was left out", self.name)
    }
}

/// The tables of a list of such.
pub(super) fn tables(found: Found) -> Vec<Value> {
    match found.value {
        Value::Array(tables) => tables,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Vec::new()
        }
    }
}

/// Milliseconds of a duration as Go writes it: numbers, perhaps with a fraction, each with its unit.
fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut ms = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|own: char| !own.is_ascii_digit() && own != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|own: char| own.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            _ => return None,
        };
        ms += number * unit;
        rest = &rest[end..];
    }
    let is_sensible = !text.is_empty() && ms <= MS_MAX;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and MS_MAX"
    )]
    is_sensible.then_some(ms.round() as u64)
}

/// A thousand years.
const MS_MAX: f64 = 3.2e13;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}|([0-9.]{0,4}(ms|s|h|m|x)?){0,3}") {
            let _ = duration_ms(&text);
            for format in [Format::Json, Format::Toml, Format::Yaml] {
                let _ = Source::parse(&text, format);
            }
        }
    }

    #[test]
    fn the_same_options_are_read_from_every_format() {
        let json = Source::parse("{\"a\": {\"b\": 1, \"c\": [\"x\"]}, \"d\": null}", Format::Json);
        let toml = Source::parse("[a]\nb = 1\nc = [\"x\"]\n", Format::Toml);
        let yaml = Source::parse("a:\n  b: 1\n  c: [x]\nd:\n", Format::Yaml);
        assert_eq!((&json, &json), (&toml, &yaml));
        let mut own = json.unwrap();
        assert_eq!(own.take(&["x", "a.b"]).map(|own| own.number()), Some(Ok(1)));
        assert_eq!(own.names().collect::<Vec<_>>(), ["a.c"]);
        assert!(Source::parse("[1]", Format::Json).is_err());
        assert_eq!(Source::parse("", Format::Yaml), Ok(Source::default()));
    }

    #[test]
    fn durations_are_those_of_go() {
        let all = ["25s", "1h30m", "1.5s", "500ms", "0s", "", "5", "5x", "s", "-5s"];
        let wanted = [Some(25_000), Some(5_400_000), Some(1500), Some(500), Some(0)];
        let found: Vec<_> = all.iter().map(|text| duration_ms(text)).collect();
        assert_eq!(found[..5], wanted);
        assert!(found[5..].iter().all(Option::is_none), "{found:?}");
    }
}
