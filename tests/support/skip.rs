//! Tests that need a program which is not installed: skipped with a note, or failed under `CI`.

use std::io::Write as _;

/// Prints, past the test runner's capture, that a test is skipped for want of `missing`. Panics if
/// the variable `CI` is set.
pub(crate) fn skip_without(missing: &str) {
    let text = format!("!! SKIPPED for want of {missing}");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    say(&text);
}

/// Writes a line past the test runner's capture.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
