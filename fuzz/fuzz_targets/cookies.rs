//! The cookies of a request: what is found is what a walk over all pairs finds, and a cookie that is sent
//! twice has no value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::parse_head;

fuzz_target!(|input: (Vec<Vec<u8>>, String)| {
    let (lines, name) = input;
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for line in &lines {
        head.extend_from_slice(b"cookie:");
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let Ok(parsed) = parse_head(&head) else { return };
    let trim = |text: &[u8]| -> Vec<u8> {
        let text: Vec<u8> = text.iter().copied().skip_while(|byte| b" \t".contains(byte)).collect();
        let end = text.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |at| at + 1);
        text[..end].to_vec()
    };
    let mut values = Vec::new();
    for line in parsed.header_values("Cookie") {
        for pair in line.split(|byte| *byte == b';') {
            let Some(at) = pair.iter().position(|byte| *byte == b'=') else { continue };
            if trim(&pair[..at]) == name.as_bytes() {
                let value = trim(&pair[at + 1..]);
                let is_quoted = value.len() > 1 && value[0] == b'"' && value.ends_with(b"\"");
                values.push(if is_quoted { value[1..value.len() - 1].to_vec() } else { value });
            }
        }
    }
    match parsed.cookie(&name) {
        Ok(None) => assert!(values.is_empty()),
        Ok(Some(value)) => assert_eq!(values, [value]),
        Err(_) => assert!(values.len() > 1),
    }
});
