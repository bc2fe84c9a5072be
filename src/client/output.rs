//! What is printed: messages on standard output, everything about them on standard error.

use std::fmt;
use std::io::{self, Write as _};

use super::visible::visible;

/// Standard output, until it fails.
#[derive(Debug, Default)]
pub(super) struct Output {
    error: Option<io::Error>,
}

impl Output {
    /// Prints a message as a line, at once. After an error no more is tried.
    pub(super) fn print(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = try_print(text).err();
        }
    }

    /// What went wrong.
    pub(super) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }
}

fn try_print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(visible(text).as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Says a line on standard error. If nobody takes it there is nobody to tell.
pub(super) fn say(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "tidegate: {line}");
}
