//! What can be set about the log.

use log::LevelFilter;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people: `[2026-01-31T12:00:00Z INFO  tidegate::cli] text`, in colours at a terminal.
    #[default]
    Human,
    /// `key=value` pairs, separated by spaces; values are quoted where they need it.
    KeyValue,
    /// One JSON object (RFC 8259).
    Json,
}

/// The settings of the log. All can be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines are written.
    pub format: LogFormat,
    /// The least grave level that is written, unless `RUST_LOG` says otherwise.
    pub level: LevelFilter,
    /// Lines in a second before further ones of the same kind are summed up.
    pub lines_per_s: u32,
}

impl Default for LogSettings {
    /// The defaults of the configuration.
    fn default() -> Self {
        Self { format: LogFormat::Human, level: LevelFilter::Info, lines_per_s: 50 }
    }
}
