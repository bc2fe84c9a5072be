//! The section of the project's docs that holds the report, between two marks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// An error if the docs have no section for the report.
pub(super) fn require_section(is_encrypted: bool) -> Result<(), CommandError> {
    read(marks(is_encrypted)).map(|_| ())
}

/// Replaces the report in the docs; returns their path.
pub(super) fn write_section(report: &str, is_encrypted: bool) -> Result<PathBuf, CommandError> {
    let marks = marks(is_encrypted);
    let (path, text) = read(marks)?;
    if let Some(text) = replaced(&text, report, marks) {
        fs::write(&path, text)?;
    }
    Ok(path)
}

/// The marks before and after the report: of the plain run or of the one over TLS.
fn marks(is_encrypted: bool) -> [&'static str; 2] {
    if is_encrypted { [BEGIN_TLS, END_TLS] } else { [BEGIN, END] }
}

fn read(marks: [&str; 2]) -> Result<(PathBuf, String), CommandError> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = package.parent().unwrap_or(package).join(DOCS);
    let text = fs::read_to_string(&path)?;
    if replaced(&text, "", marks).is_none() {
        let path = path.display();
        return Err(CommandError::Usage(format!("{path} lacks `{}` and `{}`", marks[0], marks[1])));
    }
    Ok((path, text))
}

fn replaced(text: &str, report: &str, [begin, end]: [&str; 2]) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", report.trim_end()))
}

const DOCS: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- written by loadtest compare -->";
const BEGIN_TLS: &str = "<!-- written by loadtest compare --tls -->";
const END_TLS: &str = "<!-- end of what loadtest compare --tls writes -->";
const END: &str = "<!-- end of what loadtest compare writes -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new\n", marks(false)).unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new\n", marks(false)).unwrap(), new);
        assert_eq!(replaced("no marks", "new", marks(false)), None);
    }

    #[test]
    fn the_docs_have_the_marks() {
        require_section(false).unwrap();
        require_section(true).unwrap();
    }
}
