//! Output: messages on standard output, everything about them on standard error.

use std::fmt;
use std::io::{self, Write as _};

use crate::visible::visible;

/// Standard output until it fails.
#[derive(Debug, Default)]
pub(super) struct Output {
    error: Option<io::Error>,
}

impl Output {
    /// Prints a message as a line and flushes it. After an error this does nothing.
    pub(super) fn print(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = try_print(text).err();
        }
    }

    /// The error that ended the output.
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

/// Prints a line on standard error. An error is ignored, because there is nowhere to report it.
pub(super) fn report(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "tidegate: {line}");
}
