//! Frames of clients that speak the Centrifugo protocol: whatever they are, commands are taken or refused, and
//! what was raw JSON in them is one line of JSON still.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::centrifugo::{Method, commands, is_json};
use tidegate::channels::ChannelName;

fuzz_target!(|data: &[u8]| {
    let mut has_failed = false;
    for command in commands(data) {
        assert!(!has_failed, "nothing comes behind an error");
        let Ok(command) = command else {
            has_failed = true;
            continue;
        };
        let (channel, raw) = match &command.method {
            Method::Publish(own) => (Some(&own.channel), own.data.as_ref()),
            Method::Subscribe(own) => (Some(&own.channel), own.data.as_ref()),
            Method::Rpc(own) => (None, own.data.as_ref()),
            _ => (None, None),
        };
        if let Some(raw) = raw {
            assert!(is_json(raw) && !raw.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        }
        if let Some(Ok(name)) = channel.map(|own| ChannelName::parse(own)) {
            assert!(!name.admits(""));
        }
    }
});
