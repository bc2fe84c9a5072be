//! The output of a process, kept in a file for the case that it fails.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The log of one process.
#[derive(Clone, Debug)]
pub(super) struct ProcessLog {
    path: PathBuf,
}

impl ProcessLog {
    /// Directs standard output and standard error of `command` to a file of this name.
    pub(super) fn attach(command: &mut Command, directory: &Path, name: &str) -> io::Result<Self> {
        let (log, file) = Self::create(directory, name)?;
        command.stdout(Stdio::from(file.try_clone()?)).stderr(Stdio::from(file));
        Ok(log)
    }

    /// Directs only standard error of `command` to a file of this name.
    pub(super) fn attach_errors(
        command: &mut Command,
        directory: &Path,
        name: &str,
    ) -> io::Result<Self> {
        let (log, file) = Self::create(directory, name)?;
        command.stderr(Stdio::from(file));
        Ok(log)
    }

    fn create(directory: &Path, name: &str) -> io::Result<(Self, File)> {
        let path = directory.join(format!("{name}.log"));
        let file = File::create(&path)?;
        Ok((Self { path }, file))
    }

    /// Whether the process has written `text`.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    pub(super) fn last_lines(&self) -> Vec<String> {
        last_lines(&self.text())
    }

    fn text(&self) -> String {
        // The output need not be UTF-8.
        fs::read(&self.path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LINES_MAX);
    lines[from..].iter().map(|line| line.chars().take(LINE_CHARS_MAX).collect()).collect()
}

const LINES_MAX: usize = 5;
const LINE_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_limited_in_number_and_length() {
        assert_eq!(last_lines("a\n\nb\n"), ["a", "b"]);
        assert_eq!(last_lines("1\n2\n3\n4\n5\n6\n7"), ["3", "4", "5", "6", "7"]);
        assert_eq!(last_lines(&"ü".repeat(300))[0].chars().count(), 200);
        assert!(last_lines("").is_empty());
    }
}
