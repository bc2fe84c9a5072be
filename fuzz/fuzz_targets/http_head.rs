//! A request head in parts of any size: what is found in parts is what is found in the whole, and
//! everything that a service may ask of a head can be asked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::{
    HeadLimits, find_head_end, looks_like_http, parse_head_within, quoted_list_elements,
};

fuzz_target!(|input: (Vec<u8>, u8, u16, u16)| {
    let (bytes, part, bytes_max, lines_max) = input;
    let (mut scanned, mut end) = (0, None);
    while end.is_none() && scanned < bytes.len() {
        let received = &bytes[..bytes.len().min(scanned + usize::from(part) + 1)];
        assert_eq!(looks_like_http(received, scanned), looks_like_http(received, 0));
        end = find_head_end(received, scanned);
        if end.is_none() && !looks_like_http(received, scanned) {
            return;
        }
        scanned = received.len();
    }
    assert_eq!(end, find_head_end(&bytes[..scanned], 0));
    let head = &bytes[..end.unwrap_or(bytes.len())];
    let limits = HeadLimits { bytes_max: bytes_max.into(), lines_max: lines_max.into() };
    let Ok(parsed) = parse_head_within(head, limits) else { return };
    assert!(head.len() <= limits.bytes_max && parsed.headers().count() <= limits.lines_max);
    assert!(looks_like_http(head, 0));
    for segment in parsed.path().segments() {
        let _ = segment.decode();
    }
    for (name, value) in parsed.query().pairs() {
        let _ = (name.decode(), value.decode());
    }
    let _ = parsed.query().value("user");
    for (name, _) in parsed.headers() {
        let name = str::from_utf8(name).expect("names are tokens");
        let _ = quoted_list_elements(parsed.header_values(name)).count();
    }
});
