//! Where in a file a value stands: `route[1].origins`.

use std::fmt;

use toml::{Table, Value};

/// The way from the top of the file to a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyPath(Vec<Segment>);

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Index(usize),
    Key(String),
}

impl KeyPath {
    /// The dotted name without array positions, as in [`super::KEYS`].
    pub(super) fn name(&self) -> String {
        let keys = self.0.iter().filter_map(|segment| match segment {
            Segment::Index(_) => None,
            Segment::Key(key) => Some(key.as_str()),
        });
        keys.collect::<Vec<_>>().join(".")
    }

    /// The value at the end of the path.
    pub(super) fn find<'t>(&self, file: &'t Table) -> Option<&'t Value> {
        let (first, rest) = self.0.split_first()?;
        let Segment::Key(first) = first else { return None };
        rest.iter().try_fold(file.get(first)?, |value, segment| match segment {
            Segment::Index(index) => value.get(*index),
            Segment::Key(key) => value.get(key.as_str()),
        })
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

impl From<&serde_path_to_error::Path> for KeyPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment as Source;

        // An enum's variant is part of the value, not of the way to it.
        let segments = path.iter().map_while(|segment| match segment {
            Source::Seq { index } => Some(Segment::Index(*index)),
            Source::Map { key } => Some(Segment::Key(key.clone())),
            Source::Enum { .. } | Source::Unknown => None,
        });
        Self(segments.collect())
    }
}

impl From<&serde_ignored::Path<'_>> for KeyPath {
    fn from(path: &serde_ignored::Path<'_>) -> Self {
        use serde_ignored::Path as Source;

        let mut segments = Vec::new();
        let mut path = path;
        loop {
            path = match path {
                Source::Root => break,
                Source::Seq { parent, index } => {
                    segments.push(Segment::Index(*index));
                    parent
                }
                Source::Map { parent, key } => {
                    segments.push(Segment::Key(key.clone()));
                    parent
                }
                Source::Some { parent }
                | Source::NewtypeStruct { parent }
                | Source::NewtypeVariant { parent } => parent,
            };
        }
        segments.reverse();
        Self(segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_displays_finds_and_names() {
        let path = KeyPath(vec![
            Segment::Key("route".to_owned()),
            Segment::Index(1),
            Segment::Key("path".to_owned()),
        ]);
        let file: Table = "[[route]]\npath = 1\n[[route]]\npath = 2\n".parse().unwrap();
        assert_eq!(path.to_string(), "route[1].path");
        assert_eq!(path.name(), "route.path");
        assert_eq!(path.find(&file), Some(&Value::from(2)));
        assert_eq!(KeyPath(vec![]).find(&file), None);
    }
}
