//! A line of the log, in each format.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use log::Level;

use super::fields::{FieldValue, push_json, push_key_value};
use super::settings::LogFormat;
use crate::timer::WallTime;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogLine {
    pub(super) level: Level,
    /// The module that says it.
    pub(super) target: String,
    /// The connection that it is about.
    pub(super) connection: Option<String>,
    pub(super) message: String,
    /// Lines of the same kind that this one stands for besides itself.
    pub(super) more: u64,
}

impl LogLine {
    /// Appends the line with a line break at the end. Only the format for people has colours.
    pub(super) fn push(
        &self,
        format: LogFormat,
        has_colours: bool,
        time: WallTime,
        line: &mut Vec<u8>,
    ) {
        match format {
            LogFormat::Human => self.push_human(has_colours, time, line),
            LogFormat::Json => self.push_fields(time, |fields| push_json(fields, line)),
            LogFormat::KeyValue => self.push_fields(time, |fields| push_key_value(fields, line)),
        }
    }

    fn push_human(&self, has_colours: bool, time: WallTime, line: &mut Vec<u8>) {
        let Self { level, target, connection, message, more } = self;
        let time = humantime::format_rfc3339_seconds(date(time));
        let (subtle, own, end) =
            if has_colours { (SUBTLE, colour(*level), RESET) } else { ("", "", "") };
        let separator = if connection.is_some() { ": " } else { "" };
        let connection = connection.as_deref().unwrap_or_default();
        let message = indented(message);
        let more = match more {
            0 => String::new(),
            more => format!(" (and {} more in the last second)", thousands(*more)),
        };
        // Writing to a vector cannot fail.
        let _ = writeln!(
            line,
            "{subtle}[{end}{time} {own}{level:<5}{end} {target}{subtle}]{end} \
             {connection}{separator}{message}{more}"
        );
    }

    fn push_fields(
        &self,
        time: WallTime,
        push: impl FnOnce(&mut dyn Iterator<Item = (&'static str, FieldValue<'_>)>),
    ) {
        let Self { level, target, connection, message, more } = self;
        let time = rfc3339_millis(time);
        let level = level.as_str().to_ascii_lowercase();
        let fields = [
            Some(("time", FieldValue::Text(&time))),
            Some(("level", FieldValue::Text(&level))),
            Some(("target", FieldValue::Text(target))),
            connection.as_deref().map(|own| ("connection", FieldValue::Text(own))),
            Some(("message", FieldValue::Text(message))),
            (*more > 0).then_some(("more", FieldValue::Number(*more))),
        ];
        push(&mut fields.into_iter().flatten());
    }
}

/// The date as machines read it: `2026-01-31T12:00:00.000Z` (RFC 3339).
pub(super) fn rfc3339_millis(time: WallTime) -> String {
    humantime::format_rfc3339_millis(date(time)).to_string()
}

fn date(WallTime(unix_ms): WallTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms.min(DATE_MS_MAX))
}

/// A number with commas between its thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The text with its further lines set in, so that none can be taken for a record of its own.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[1m\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[36m",
    }
}

const SUBTLE: &str = "\x1b[90m";
const RESET: &str = "\x1b[0m";
/// The end of the year 9999, the last that RFC 3339 can express: humantime panics beyond.
const DATE_MS_MAX: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logging::fields::tests::{any_text, parse_key_value};

    const NOON: WallTime = WallTime(1_769_860_800_123);

    fn line_of(message: &str) -> LogLine {
        LogLine {
            level: Level::Info,
            target: "tidegate::cli".to_owned(),
            connection: None,
            message: message.to_owned(),
            more: 0,
        }
    }

    fn text(line: &LogLine, format: LogFormat, has_colours: bool) -> String {
        let mut bytes = Vec::new();
        line.push(format, has_colours, NOON, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_for_people_has_the_time_the_level_the_module_and_the_text() {
        let line = text(&line_of("listening"), LogFormat::Human, false);
        assert_eq!(line, "[2026-01-31T12:00:00Z INFO  tidegate::cli] listening\n");
    }

    #[test]
    fn only_a_log_with_colours_has_escapes() {
        assert!(!text(&line_of("text"), LogFormat::Human, false).contains('\x1b'));
        assert!(text(&line_of("text"), LogFormat::Human, true).contains("\x1b[32mINFO "));
        assert!(!text(&line_of("text"), LogFormat::Json, true).contains('\x1b'));
    }

    #[test]
    fn further_lines_are_set_in() {
        let line = text(&line_of("one\ntwo"), LogFormat::Human, false);
        assert!(line.ends_with("] one\n    two\n"), "{line}");
    }

    #[test]
    fn a_line_names_its_connection_and_how_many_it_stands_for() {
        let line = LogLine { connection: Some("0.5.1".to_owned()), more: 1204, ..line_of("ended") };
        let human = text(&line, LogFormat::Human, false);
        assert!(human.ends_with("] 0.5.1: ended (and 1,204 more in the last second)\n"), "{human}");
        assert_eq!(
            text(&line, LogFormat::Json, false),
            "{\"time\":\"2026-01-31T12:00:00.123Z\",\"level\":\"info\",\"target\":\"tidegate::cli\",\
             \"connection\":\"0.5.1\",\"message\":\"ended\",\"more\":1204}\n"
        );
        assert_eq!(
            text(&line, LogFormat::KeyValue, false),
            "time=2026-01-31T12:00:00.123Z level=info target=tidegate::cli connection=0.5.1 \
             message=ended more=1204\n"
        );
    }

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [(0, "0"), (999, "999"), (1204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(thousands(number), text);
        }
    }

    proptest! {
        #[test]
        fn any_message_at_any_date_parses_back(
            message in any_text(),
            connection in prop::option::of(any_text()),
            time: u64,
            more: u64,
        ) {
            let line = LogLine { connection, more, ..line_of(&message) };
            let mut json = Vec::new();
            line.push(LogFormat::Json, false, WallTime(time), &mut json);
            let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(parsed["message"].as_str(), Some(message.as_str()));
            prop_assert_eq!(parsed["connection"].as_str(), line.connection.as_deref());
            prop_assert!(humantime::parse_rfc3339(parsed["time"].as_str().unwrap()).is_ok());

            let mut pairs = Vec::new();
            line.push(LogFormat::KeyValue, false, WallTime(time), &mut pairs);
            let pairs = parse_key_value(&String::from_utf8(pairs).unwrap()).unwrap();
            prop_assert!(pairs.contains(&("message".to_owned(), message)));

            let mut human = Vec::new();
            line.push(LogFormat::Human, false, WallTime(time), &mut human);
            prop_assert!(human.ends_with(b"\n"));
        }
    }
}
