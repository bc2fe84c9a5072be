//! What `RUST_LOG` asks for, with its mistakes said instead of silently obeyed.

use log::LevelFilter;

/// The filter of the log, and what is wrong with the variable it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFilter {
    /// In the syntax of `env_filter`.
    pub(super) directives: String,
    /// One line for each part that is ignored.
    pub(super) mistakes: Vec<String>,
}

impl LogFilter {
    /// Reads the value of `RUST_LOG`. Empty is as if unset, and then `level` counts: that is how compose
    /// files leave it out.
    pub(super) fn parse(value: &str, level: LevelFilter) -> Self {
        let (directives, text) = match value.split_once('/') {
            Some((directives, text)) => (directives, Some(text)),
            None => (value, None),
        };
        let parts = directives.split(',').map(str::trim).filter(|part| !part.is_empty());
        let (valid, invalid): (Vec<&str>, Vec<&str>) = parts.partition(|part| is_valid(part));
        let mistakes = invalid.iter().map(|part| {
            format!(
                "RUST_LOG: `{part}` is ignored: it must be a level (off, error, warn, info, debug, \
                 trace), a module as in tidegate::services, or MODULE=LEVEL"
            )
        });
        let mut own = Self { mistakes: mistakes.collect(), directives: valid.join(",") };
        if own.directives.is_empty() {
            own.directives.push_str(&level.as_str().to_ascii_lowercase());
        }
        if let Some(text) = text {
            own.directives.push('/');
            own.directives.push_str(text);
        }
        own
    }
}

/// A word alone is a level or a module. Only modules that exist are taken for one, as every misspelt
/// level would be a module that logs nothing.
fn is_valid(part: &str) -> bool {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let is_module =
        |word: &str| word.split("::").next().is_some_and(|name| LOGGING_CRATES.contains(&name));
    match part.split_once('=') {
        // `tidegate=` is every level.
        Some((module, level)) => is_module(module) && (level.is_empty() || is_level(level)),
        None => is_level(part) || is_module(part),
    }
}

/// The crates in the program that log.
const LOGGING_CRATES: [&str; 6] = ["tidegate", "mio", "redis", "tokio", "tungstenite", "rustix"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_the_default() {
        for value in ["", " ", ",", " , "] {
            let filter = LogFilter::parse(value, LevelFilter::Info);
            assert_eq!((filter.directives.as_str(), filter.mistakes.len()), ("info", 0));
        }
    }

    #[test]
    fn the_configured_level_counts_where_the_variable_says_nothing() {
        assert_eq!(LogFilter::parse("", LevelFilter::Off).directives, "off");
        assert_eq!(LogFilter::parse("inof", LevelFilter::Debug).directives, "debug");
        assert_eq!(LogFilter::parse("warn", LevelFilter::Debug).directives, "warn");
    }

    #[test]
    fn what_is_right_stays_as_it_is() {
        for value in [
            "debug",
            "WARN",
            "off",
            "tidegate",
            "warn,tidegate::services=trace,mio=off",
            "info/room",
        ] {
            let filter = LogFilter::parse(value, LevelFilter::Info);
            assert_eq!((filter.directives.as_str(), filter.mistakes.len()), (value, 0));
        }
    }

    #[test]
    fn mistakes_are_named_and_the_rest_counts() {
        for (value, directives, mistake) in [
            ("inof", "info", "`inof`"),
            ("warning", "info", "`warning`"),
            ("warn,tidegate=debgu", "warn", "`tidegate=debgu`"),
            ("tidgate=debug", "info", "`tidgate=debug`"),
            ("debug=tidegate", "info", "`debug=tidegate`"),
            ("4,error", "error", "`4`"),
        ] {
            let filter = LogFilter::parse(value, LevelFilter::Info);
            assert_eq!(filter.directives, directives);
            assert_eq!(filter.mistakes.len(), 1, "{value}");
            assert!(filter.mistakes[0].contains(mistake), "{:?}", filter.mistakes);
        }
    }
}
