//! Configurations whose deadlines no test reaches by being slow: on a busy machine a client of a test, or a
//! backend, may get no processor time for seconds.

use crate::wait::NEVER_MS;

/// Keys and their values.
type Keys = &'static [(&'static str, u64)];

/// The keys that a table gets unless it has them, where it has this text.
const DEADLINES: [(&str, &str, Keys); 10] = [
    (
        "[timeouts]",
        "",
        &[
            // Look-ups have to end before handshakes do.
            ("handshake_ms", 2 * NEVER_MS),
            ("ping_idle_ms", NEVER_MS),
            ("write_stall_ms", NEVER_MS),
            ("handover_ms", NEVER_MS),
        ],
    ),
    ("[engine]", "kind", &[("request_ms", 60_000)]),
    ("[webhooks]", "", &[("request_ms", NEVER_MS)]),
    // Without pings: many clients of tests read only what they have asked for.
    ("[channels]", "", &[("ping_ms", 0), ("stale_ms", NEVER_MS)]),
    ("[[channels.proxy]]", "", &[("timeout_ms", NEVER_MS)]),
    ("[[upstream]]", "", &[("connect_ms", NEVER_MS), ("reply_ms", NEVER_MS)]),
    ("[[upstream]]", "health =", &[("health_timeout_ms", NEVER_MS)]),
    ("[[identity]]", "\"redis\"", &[("lookup_ms", NEVER_MS)]),
    ("[[identity]]", "\"callback\"", &[("callback_ms", NEVER_MS)]),
    ("[[identity]]", "jwks_url", &[("jwks_fetch_ms", NEVER_MS)]),
];

/// The configuration with these deadlines, each behind the last line of its table, so that no line before has
/// another number. What is no TOML stays as it is.
pub(crate) fn unhurried(toml: &str) -> String {
    let mut text = String::new();
    let mut table = Vec::new();
    for line in toml.lines() {
        if line.trim_start().starts_with('[') && line.trim_end().ends_with(']') {
            text.push_str(&with_deadlines(&table));
            table.clear();
        }
        table.push(line);
    }
    text.push_str(&with_deadlines(&table));
    let lacks = |header: &&str| !toml.lines().any(|line| line.trim() == *header);
    let needed = [("[timeouts]", ""), ("[channels]", "[[channels.")];
    for (header, text_of_need) in needed {
        if lacks(&header) && toml.contains(text_of_need) {
            text.push_str(&with_deadlines(&[header]));
        }
    }
    if toml::from_str::<toml::Table>(&text).is_ok() { text } else { toml.to_owned() }
}

/// The lines of a table, the first of which is its header, and those that it lacks.
fn with_deadlines(table: &[&str]) -> String {
    let header = table.first().map_or("", |line| line.trim());
    let body: String = table.iter().map(|line| format!("{line}\n")).collect();
    let is_named = |key: &str| table.iter().any(|line| line.trim_start().starts_with(key));
    let keys = DEADLINES.iter().filter(|(own, text, _)| *own == header && body.contains(text));
    let lacking = keys.flat_map(|(_, _, keys)| *keys).filter(|(key, _)| !is_named(key));
    let added: String = lacking.map(|(key, ms)| format!("{key} = {ms}\n")).collect();
    body + &added
}
