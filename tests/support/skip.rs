//! Tests that need a program which is not there: skipped loudly, or failed where nothing may be.

use std::io::Write as _;

/// Says that a test is skipped for want of `missing`, past the test runner's capture, or fails it
/// where nothing may be skipped.
pub(crate) fn skip_without(missing: &str) {
    let text = format!("!! SKIPPED for want of {missing}");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    say(&text);
}

/// Writes a line past the test runner's capture.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
