//! Messages in channels of Redis: whatever is published there, it is taken as it is written or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::control::engine::redis::{Message, parse_message};

fuzz_target!(|data: &[u8]| {
    match parse_message(data) {
        Some(Message::Kept(position, head)) => {
            let digits = std::str::from_utf8(&data[10..head - 1]).expect("an offset is digits");
            assert_eq!(digits.parse(), Ok(position.offset));
            assert_eq!(&data[..10], format!("p{}:", position.epoch).as_bytes());
            assert!(position.offset > 0 && data[head - 1] == b':');
        }
        Some(Message::Unkept(head)) => assert_eq!((head, data[0]), (1, b'u')),
        Some(Message::Note(head)) => assert_eq!((head, data[0]), (1, b'n')),
        None => {}
    }
});
