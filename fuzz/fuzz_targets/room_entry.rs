//! What another gateway says of a room, as the engine gives it out: whatever it is, it is refused or read, and what
//! was read is written as it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::services::room::rewrite_room_entry;

fuzz_target!(|data: &[u8]| {
    if let Some(written) = rewrite_room_entry(data) {
        assert_eq!(rewrite_room_entry(&written), Some(written));
    }
});
