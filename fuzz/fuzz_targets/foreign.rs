//! The first bytes of a client in parts of any size: it is taken for the same as by the whole, and
//! answered with something.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::foreign::{FIRST_BYTES_MAX, FirstBytes, Port, Protocol};

fuzz_target!(|input: (Vec<u8>, bool)| {
    let (bytes, is_ended) = input;
    let whole = FirstBytes::of(&bytes);
    assert!(bytes.len() < FIRST_BYTES_MAX || whole != FirstBytes::Undecided);
    for end in 0..bytes.len().min(FIRST_BYTES_MAX) {
        let part = FirstBytes::of(&bytes[..end]);
        assert!(part == FirstBytes::Undecided || part == whole);
    }
    let told = match whole {
        FirstBytes::Foreign(protocol) => Some(protocol),
        FirstBytes::Undecided | FirstBytes::Other => None,
    };
    for protocol in [told, Protocol::instead_of_lines(&bytes, is_ended)].into_iter().flatten() {
        for port in [Port::Http, Port::Tls] {
            let mut out = Vec::new();
            protocol.answer(port, &mut out);
            assert!(!out.is_empty());
        }
    }
});
