//! The log lines of the library, from all tests of this program.

use std::sync::{Mutex, Once, PoisonError};

/// Installs the logger, once.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// The lines of level INFO and above that contain `text`, such as the port of one test.
pub(crate) fn notable(text: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let notable =
        lines.iter().filter(|(level, line)| *level <= log::Level::Info && line.contains(text));
    notable.map(|(level, line)| format!("{level} {line}")).collect()
}

/// Whether any line of any level holds `text`.
pub(crate) fn ever_said(text: &str) -> bool {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().any(|(_, line)| line.contains(text))
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = (record.level(), record.args().to_string());
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());
