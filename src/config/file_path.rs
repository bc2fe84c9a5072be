//! The path of a file that the gateway reads by itself, and reads again when it changes.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::rule::Rule;
use super::setting::{Broken, Hidden, Setting};
use super::surroundings::Surroundings;

/// The path of a file. One that is relative starts at the folder of the configuration file, or at
/// the working directory if it was given elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    written: String,
    path: PathBuf,
}

impl FilePath {
    /// A path that starts at the working directory.
    pub fn new(path: &Path) -> Self {
        Self { written: path.display().to_string(), path: path.to_owned() }
    }

    /// The path of this name in the folder with this path.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let written = Path::new(&self.written).join(name).display().to_string();
        Self { written, path: self.path.join(name) }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for FilePath {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Setting for FilePath {
    fn read(value: &Value, around: &Surroundings) -> Result<Self, Broken> {
        let written = value.as_str().ok_or_else(Broken::default)?;
        Ok(Self { written: written.to_owned(), path: around.path(written) })
    }

    fn write(&self) -> Option<Value> {
        Some(Value::from(self.written.as_str()))
    }

    fn hidden(&self) -> Option<Hidden> {
        // One path may be given from two places: by a flag and in a file.
        self.path.to_str().map(|path| Hidden::of(std::iter::once(path)))
    }

    fn check(&self, rule: Rule) -> Result<(), Broken> {
        rule.check_text(&self.written).map_err(Broken::rule)
    }

    #[cfg(test)]
    fn arbitrary(_: Rule) -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        "[a-z0-9./-]{1,16}".prop_map(|path| Self::new(Path::new(&path))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_starts_at_the_folder_of_the_file() {
        let around = Surroundings::of("/etc/tidegate/tidegate.toml");
        for (written, path) in [("a.pem", "/etc/tidegate/a.pem"), ("/b/c.pem", "/b/c.pem")] {
            let read = FilePath::read(&Value::from(written), &around).unwrap();
            assert_eq!(read.path(), Path::new(path));
            assert_eq!(read.write(), Some(Value::from(written)));
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a\nb", "-----BEGIN CERTIFICATE-----\nMIIB\n"] {
            let path = FilePath { written: text.to_owned(), path: PathBuf::new() };
            assert_eq!(path.check(Rule::File), Err(Broken::rule(Rule::File.to_string())));
        }
    }
}
