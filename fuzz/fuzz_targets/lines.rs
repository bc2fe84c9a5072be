//! Lines of a TCP client in parts of any size: the lines are those of the whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::line::{last_line, next_line};

const LINE_BYTES_MAX: usize = 100;

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, part) = input;
    assert_eq!(lines(&bytes, usize::MAX), lines(&bytes, usize::from(part) + 1));
});

/// The lines, and whether all of them are valid.
fn lines(bytes: &[u8], part: usize) -> (Vec<String>, bool) {
    let (mut found, mut start, mut scanned, mut arrived) = (Vec::new(), 0, 0, 0);
    let text = |range| str::from_utf8(&bytes[range]).expect("lines are UTF-8").to_owned();
    while arrived < bytes.len() {
        arrived = bytes.len().min(arrived.saturating_add(part));
        loop {
            match next_line(&bytes[..arrived], start, &mut scanned, LINE_BYTES_MAX) {
                Ok(Some(line)) => {
                    start = line.next;
                    found.push(text(line.text));
                }
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    match last_line(bytes, start, LINE_BYTES_MAX) {
        Ok(last) => found.extend(last.map(text)),
        Err(_) => return (found, false),
    }
    (found, true)
}
