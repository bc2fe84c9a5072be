//! What the program prints: progress on standard error, the report on standard output.
//!
//! On a terminal a step shows a bar while it runs. Elsewhere it leaves one plain line at its end,
//! so that logs stay readable. Standard output carries nothing but the report.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// The format of reports and steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
    /// The name of the part that the steps belong to, where a command has several parts.
    title: Option<&'static str>,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, title: None }
    }

    /// The output of one part of several: its bars carry the title, and its steps leave no line.
    pub(crate) fn of_part(self, title: &'static str) -> Self {
        Self { title: Some(title), ..self }
    }

    /// Begins a step of `total` parts. The bar is hidden unless standard error is a terminal.
    pub(crate) fn begin(&self, name: &str, total: usize) -> Step {
        let bar = ProgressBar::with_draw_target(
            Some(total as u64),
            ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND),
        );
        if let Ok(style) = ProgressStyle::with_template(BAR_TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_message(match self.title {
            Some(title) => format!("{title} · {name}"),
            None => name.to_owned(),
        });
        Step { bar, leaves_line: self.title.is_none() }
    }

    /// Writes the report as text, or as one JSON document.
    pub(crate) fn report(self, report: &(impl Display + Serialize)) -> io::Result<()> {
        let text = if self.is_json {
            serde_json::to_string_pretty(report)? + "\n"
        } else {
            report.to_string()
        };
        match io::stdout().lock().write_all(text.as_bytes()) {
            // The reader, perhaps `head`, has closed the pipe: it needs no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

/// A step that is running. Dropped without [`Step::end`], it leaves no line.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
    leaves_line: bool,
}

impl Step {
    /// A step without output, for one of several processes that do the same.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), leaves_line: false }
    }

    pub(crate) fn reach(&self, done: usize) {
        self.bar.set_position(done as u64);
    }

    /// Ends the step with a line about its result.
    pub(crate) fn end(self, line: impl Display) {
        self.bar.finish_and_clear();
        if self.leaves_line {
            note(line);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Writes a line to standard error.
pub(crate) fn note(line: impl Display) {
    // Without standard error there is no other place for the line.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

const REDRAWS_PER_SECOND: u8 = 10;
const BAR_TEMPLATE: &str = "{msg:32} {wide_bar} {human_pos}/{human_len} {elapsed}";
