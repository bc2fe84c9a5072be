//! The section of the project's docs that holds the report, between two marks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// An error if the docs have no section for the report.
pub(super) fn require_section() -> Result<(), CommandError> {
    read().map(|_| ())
}

/// Replaces the report in the docs; returns their path.
pub(super) fn write_section(report: &str) -> Result<PathBuf, CommandError> {
    let (path, text) = read()?;
    if let Some(text) = replaced(&text, report) {
        fs::write(&path, text)?;
    }
    Ok(path)
}

fn read() -> Result<(PathBuf, String), CommandError> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = package.parent().unwrap_or(package).join(DOCS);
    let text = fs::read_to_string(&path)?;
    if replaced(&text, "").is_none() {
        let path = path.display();
        return Err(CommandError::Usage(format!("{path} lacks `{BEGIN}` and `{END}`")));
    }
    Ok((path, text))
}

fn replaced(text: &str, report: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", report.trim_end()))
}

const DOCS: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- written by loadtest compare -->";
const END: &str = "<!-- end of what loadtest compare writes -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert_eq!(replaced("no marks", "new"), None);
    }

    #[test]
    fn the_docs_have_the_marks() {
        require_section().unwrap();
    }
}
