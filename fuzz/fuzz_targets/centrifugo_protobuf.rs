//! Frames of clients that speak the Centrifugo protocol in Protobuf: whatever they are, commands are taken or
//! refused, and what is taken lies in the frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::centrifugo::{COMMANDS_MAX, Method, is_json, protobuf_commands};
use tidegate::channels::ChannelName;

fuzz_target!(|data: &[u8]| {
    let (mut has_failed, mut count) = (false, 0);
    for command in protobuf_commands(data) {
        assert!(!has_failed, "nothing comes behind an error");
        count += 1;
        let Ok(command) = command else {
            has_failed = true;
            continue;
        };
        let (channel, raw) = match &command.method {
            Method::Publish(own) => (Some(&own.channel), own.data.as_ref()),
            Method::Subscribe(own) => (Some(&own.channel), own.data.as_ref()),
            Method::Rpc(own) => (None, own.data.as_ref()),
            Method::Connect(own) => {
                assert!(own.subs.len() <= data.len());
                (None, own.data.as_ref())
            }
            _ => (None, None),
        };
        if let Some(raw) = raw {
            assert!(!raw.is_empty() && raw.len() <= data.len());
            let _ = is_json(raw);
        }
        if let Some(Ok(name)) = channel.map(|own| ChannelName::parse(own)) {
            assert!(!name.admits(""));
        }
    }
    assert!((1..=COMMANDS_MAX + 1).contains(&count));
});
