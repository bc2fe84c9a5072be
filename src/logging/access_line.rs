//! A line of the access log, in each format.

use std::io::Write as _;

use super::fields::{FieldValue, push_json, push_key_value, push_quoted};
use super::line::rfc3339_millis;
use super::settings::LogFormat;
use crate::access::AccessEntry;
use crate::effects::CloseReason;
use crate::timer::WallTime;

/// Appends the line of a connection that ended at `time`, with a line break at the end.
pub(super) fn push_access(
    entry: &AccessEntry<'_>,
    format: LogFormat,
    time: WallTime,
    line: &mut Vec<u8>,
) {
    match format {
        LogFormat::Human => push_human(entry, time, line),
        LogFormat::Json => push_fields(entry, time, |fields| push_json(fields, line)),
        LogFormat::KeyValue => push_fields(entry, time, |fields| push_key_value(fields, line)),
    }
}

/// Close to the common log format: address, connection, user, date, path, status or close code, and the
/// bytes that were sent come as there.
fn push_human(entry: &AccessEntry<'_>, time: WallTime, line: &mut Vec<u8>) {
    let AccessEntry { peer, address, user, path, duration_ms, received, sent, .. } = entry;
    // Writing to a vector cannot fail.
    let _ = write!(line, "{} {peer} ", address.ip());
    match user {
        Some(user) if is_word(user) => line.extend_from_slice(user.as_bytes()),
        Some(user) => push_quoted(user, line),
        None => line.push(b'-'),
    }
    let _ = write!(line, " [{}] ", common_date(time));
    push_quoted(path.unwrap_or("-"), line);
    match number(entry) {
        Some((_, number)) => {
            let _ = write!(line, " {number} {} ", sent.bytes);
        }
        None => {
            let _ = write!(line, " - {} ", sent.bytes);
        }
    }
    push_quoted(&reason(entry), line);
    let _ = writeln!(
        line,
        " {duration_ms}ms in={}/{} out={}/{}",
        received.messages, received.bytes, sent.messages, sent.bytes
    );
}

fn push_fields(
    entry: &AccessEntry<'_>,
    time: WallTime,
    push: impl FnOnce(&mut dyn Iterator<Item = (&'static str, FieldValue<'_>)>),
) {
    let AccessEntry { peer, address, user, path, duration_ms, received, sent, .. } = entry;
    let (time, peer, address) = (rfc3339_millis(time), peer.to_string(), address.to_string());
    let reason = reason(entry);
    let text = |name, text| Some((name, FieldValue::Text(text)));
    let count = |name, number| Some((name, FieldValue::Number(number)));
    let fields = [
        text("time", &time),
        text("connection", &peer),
        text("address", &address),
        user.map(|user| ("user", FieldValue::Text(user))),
        path.map(|path| ("route", FieldValue::Text(path))),
        count("duration_ms", *duration_ms),
        count("messages_in", received.messages),
        count("bytes_in", received.bytes),
        count("messages_out", sent.messages),
        count("bytes_out", sent.bytes),
        number(entry).map(|(name, number)| (name, FieldValue::Number(number.into()))),
        text("reason", &reason),
    ];
    push(&mut fields.into_iter().flatten());
}

/// The status of the reply, or else the code of the close frame, if there was one.
fn number(entry: &AccessEntry<'_>) -> Option<(&'static str, u16)> {
    let code = || entry.reason.close_code().filter(|_| entry.was_open);
    match entry.status {
        Some(status) => Some(("status", status.code())),
        None => code().map(|code| ("code", code.number())),
    }
}

fn reason(entry: &AccessEntry<'_>) -> String {
    match (entry.status, entry.reason) {
        (Some(status), _) => status.reason().to_owned(),
        (None, CloseReason::Gone) if !entry.was_open => "no request".to_owned(),
        (None, reason) => reason.to_string(),
    }
}

/// Whether a user can stand without quotes.
fn is_word(user: &str) -> bool {
    !user.is_empty() && user.chars().all(|own| own.is_alphanumeric() || "@._+-".contains(own))
}

/// The date as `31/Jan/2026:12:00:00 +0000`.
fn common_date(time: WallTime) -> String {
    let date = rfc3339_millis(time);
    let part = |range| date.get(range).unwrap_or_default();
    let month = part(5..7).parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?));
    let month = month.copied().unwrap_or_default();
    format!("{}/{month}/{}:{} +0000", part(8..10), part(0..4), part(11..19))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::Traffic;
    use crate::effects::Peer;
    use crate::http::Status;
    use crate::key::ConnKey;
    use crate::logging::fields::tests::{any_text, parse_key_value};
    use crate::ws::CloseCode;

    const NOON: WallTime = WallTime(1_769_860_800_123);

    fn entry<'e>(user: Option<&'e str>, path: Option<&'e str>) -> AccessEntry<'e> {
        AccessEntry {
            peer: Peer { loop_index: 0, key: ConnKey { index: 5, generation: 1 } },
            address: "192.0.2.7:51234".parse().unwrap(),
            user,
            path,
            duration_ms: 1200,
            received: Traffic { messages: 12, bytes: 340 },
            sent: Traffic { messages: 13, bytes: 5321 },
            status: None,
            reason: CloseReason::Peer(Some(CloseCode::NORMAL)),
            was_open: true,
        }
    }

    fn text(entry: &AccessEntry<'_>, format: LogFormat) -> String {
        let mut line = Vec::new();
        push_access(entry, format, NOON, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_connection_that_was_open_has_its_close_code() {
        let entry = entry(Some("alice"), Some("/chat"));
        assert_eq!(
            text(&entry, LogFormat::Human),
            "192.0.2.7 0.5.1 alice [31/Jan/2026:12:00:00 +0000] \"/chat\" 1000 5321 \
             \"closed by the peer (1000)\" 1200ms in=12/340 out=13/5321\n"
        );
        assert_eq!(
            text(&entry, LogFormat::Json),
            "{\"time\":\"2026-01-31T12:00:00.123Z\",\"connection\":\"0.5.1\",\
             \"address\":\"192.0.2.7:51234\",\"user\":\"alice\",\"route\":\"/chat\",\
             \"duration_ms\":1200,\"messages_in\":12,\"bytes_in\":340,\"messages_out\":13,\
             \"bytes_out\":5321,\"code\":1000,\"reason\":\"closed by the peer (1000)\"}\n"
        );
        assert_eq!(
            text(&entry, LogFormat::KeyValue),
            "time=2026-01-31T12:00:00.123Z connection=0.5.1 address=192.0.2.7:51234 user=alice \
             route=/chat duration_ms=1200 messages_in=12 bytes_in=340 messages_out=13 \
             bytes_out=5321 code=1000 reason=\"closed by the peer (1000)\"\n"
        );
    }

    #[test]
    fn a_refused_request_has_its_status_instead() {
        let status = Some(Status::Forbidden);
        let refused = AccessEntry {
            status,
            reason: CloseReason::Gone,
            was_open: false,
            ..entry(None, Some("/chat"))
        };
        let line = text(&refused, LogFormat::Human);
        assert!(line.contains(" - [31/Jan/2026:12:00:00 +0000] \"/chat\" 403 "), "{line}");
        let line = text(&refused, LogFormat::KeyValue);
        assert!(line.contains(" status=403 reason=Forbidden\n"), "{line}");
        let silent = AccessEntry { status: None, ..refused };
        let line = text(&silent, LogFormat::KeyValue);
        assert!(line.ends_with(" bytes_out=5321 reason=\"no request\"\n"), "{line}");
    }

    #[test]
    fn a_user_with_spaces_is_quoted_for_people_too() {
        let line = text(&entry(Some("Ann \"A\"\n"), None), LogFormat::Human);
        assert!(
            line.contains(" \"Ann \\\"A\\\"\\n\" [31/Jan/2026:12:00:00 +0000] \"-\" "),
            "{line}"
        );
    }

    proptest! {
        #[test]
        fn any_user_and_path_parse_back(user in any_text(), path in any_text(), time: u64) {
            let entry = entry(Some(&user), Some(&path));
            let mut line = Vec::new();
            push_access(&entry, LogFormat::Json, WallTime(time), &mut line);
            let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(parsed["user"].as_str(), Some(user.as_str()));
            prop_assert_eq!(parsed["route"].as_str(), Some(path.as_str()));
            let pairs = parse_key_value(&text(&entry, LogFormat::KeyValue)).unwrap();
            prop_assert!(pairs.contains(&("route".to_owned(), path.clone())));
            let human = text(&entry, LogFormat::Human);
            prop_assert_eq!(human.lines().count(), 1);
        }
    }
}
