//! The form of a line of the log: `[2026-01-31T12:00:00Z INFO  tidegate::cli] text`.

use std::io::{self, Write as _};
use std::time::SystemTime;

use env_logger::fmt::Formatter;
use env_logger::fmt::style::AnsiColor;
use log::Record;

/// Writes a record as a line, with the present time in UTC. The formatter leaves the colours out where
/// the log has none.
///
/// # Errors
/// Those of the formatter's buffer.
pub(super) fn format_record(formatter: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = humantime::format_rfc3339_seconds(now());
    let level_style = formatter.default_level_style(record.level());
    let subtle = AnsiColor::BrightBlack.on_default();
    let (level, target) = (record.level(), record.target());
    let text = indented(&record.args().to_string());
    writeln!(
        formatter,
        "{subtle}[{subtle:#}{time} {level_style}{level:<5}{level_style:#} {target}{subtle}]{subtle:#} {text}"
    )
}

/// The text with its further lines set in, so that none can be taken for a record of its own.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log names the time of day, which no loop asks for"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use env_logger::{Builder, Target, WriteStyle};
    use log::{Level, Log as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line_of(text: &str, style: WriteStyle) -> String {
        let written = Written::default();
        let mut builder = Builder::new();
        builder.target(Target::Pipe(Box::new(written.clone()))).write_style(style);
        builder.filter_level(log::LevelFilter::Info).format(format_record);
        let record = format_args!("{text}").to_string();
        builder.build().log(
            &Record::builder()
                .level(Level::Info)
                .target("tidegate::cli")
                .args(format_args!("{record}"))
                .build(),
        );
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_has_the_time_the_level_the_module_and_the_text() {
        let line = line_of("listening", WriteStyle::Never);
        let (time, rest) = line.split_at("[2026-01-31T12:00:00Z".len());
        assert!(humantime::parse_rfc3339(&time[1..]).is_ok(), "{line}");
        assert_eq!(rest, " INFO  tidegate::cli] listening\n");
    }

    #[test]
    fn only_a_log_with_colours_has_escapes() {
        assert!(!line_of("text", WriteStyle::Never).contains('\x1b'));
        assert!(line_of("text", WriteStyle::Always).contains("\x1b[32mINFO "));
    }

    #[test]
    fn further_lines_are_set_in() {
        let line = line_of("one\ntwo", WriteStyle::Never);
        assert!(line.ends_with("] one\n    two\n"), "{line}");
    }
}
