//! The log.

use log::LevelFilter;

use super::access::AccessTarget;
use super::declare::keys;
use super::rule::{Rule, integer};
use super::word::{one_of, words};
use crate::logging::{LogFormat, LogSettings};

keys! {
    /// What is logged, and how.
    "log." pub struct LogOptions {
        /// How lines are written: for people, as `key=value` pairs, or as JSON, one object for each line.
        pub format: LogFormat {
            default: LogFormat::Human,
            rule: one_of::<LogFormat>(),
            reload: true,
        }
        /// The least grave lines that are written. `RUST_LOG` wins over it.
        pub level: LevelFilter {
            default: LevelFilter::Info,
            rule: one_of::<LevelFilter>(),
            reload: true,
        }
        /// Lines in a second before further ones of the same kind are summed up; errors are not counted.
        pub lines_per_s: u32 {
            default: 50,
            rule: integer(1, 1_000_000),
            reload: true,
            reached: "One line of each kind says at the end of the second how many more there were.",
        }
        /// Where the access log goes, a line for each connection when it ends: a file, which `SIGHUP` has
        /// opened again, `stdout`, or `off`.
        pub access: AccessTarget {
            default: AccessTarget::Off,
            rule: Rule::LogFile,
            reload: false,
        }
    }
}

impl LogOptions {
    /// The settings of the log.
    #[must_use]
    pub fn settings(&self) -> LogSettings {
        let Self { format, level, lines_per_s, .. } = *self;
        LogSettings { format, level, lines_per_s }
    }
}

words! { LogFormat: "human" = Human, "key_value" = KeyValue, "json" = Json }
words! {
    LevelFilter: "off" = Off, "error" = Error, "warn" = Warn, "info" = Info, "debug" = Debug,
    "trace" = Trace
}
