//! What servers of NATS say: headers, statuses, and answers of JetStream. Whatever they are, nothing panics, and
//! what is read holds together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::control::engine::nats::read_any;

// The first byte selects a status; then come lines, each with a header; what is behind an empty one is the body.
fuzz_target!(|data: &[u8]| {
    let (selected, rest) = data.split_first().unwrap_or((&0, &[]));
    let status = [None, Some(204), Some(404), Some(503)][usize::from(selected % 4)];
    let end = rest.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = rest.split_at(end.unwrap_or(0));
    let head = String::from_utf8_lossy(head);
    let pairs: Vec<(&str, &str)> =
        head.lines().filter_map(|line| line.split_once(": ")).collect();
    read_any(status, &pairs, body.get(2..).unwrap_or_default());
    read_any(status, &pairs, body);
});
