//! A message of `/broadcast` from another gateway, as the engine gives it out: whatever it is, it is refused or read,
//! and what was read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::services::rewrite_broadcast_message;

fuzz_target!(|data: &[u8]| {
    if let Some(written) = rewrite_broadcast_message(data) {
        assert_eq!(written, data);
        assert!(data[0] != 1 || std::str::from_utf8(&data[9..]).is_ok(), "a text is one");
    }
});
