//! Everything the program says: progress on standard error, reports on standard output.
//!
//! On a terminal a step shows a bar while it runs. Anywhere else it leaves one plain line when it
//! is over, so that logs stay readable. Standard output carries the report alone.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How reports are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
    /// What the steps are part of, if there is more than one such thing.
    title: Option<&'static str>,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, title: None }
    }

    /// For one part of many: its bars are titled, and its steps leave no line.
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

    /// Writes the report: for people, or as one JSON document.
    pub(crate) fn report(self, report: &(impl Display + Serialize)) -> io::Result<()> {
        let text = if self.is_json {
            serde_json::to_string_pretty(report)? + "\n"
        } else {
            report.to_string()
        };
        match io::stdout().lock().write_all(text.as_bytes()) {
            // The reader, `head` perhaps, has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

/// A step that is under way; dropped without [`Step::end`], it leaves no line.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
    leaves_line: bool,
}

impl Step {
    /// Shown nowhere: for one of several processes that do the same.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), leaves_line: false }
    }

    pub(crate) fn reach(&self, done: usize) {
        self.bar.set_position(done as u64);
    }

    /// Ends the step and says how it went.
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

/// Says something beside the report.
pub(crate) fn note(line: impl Display) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

const REDRAWS_PER_SECOND: u8 = 10;
const BAR_TEMPLATE: &str = "{msg:32} {wide_bar} {human_pos}/{human_len} {elapsed}";
