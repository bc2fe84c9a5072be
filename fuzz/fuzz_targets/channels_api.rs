//! What backends ask of channels over HTTP: whatever the body is, it is a call or none, by every method.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::centrifugo::{BATCH_MAX, parse_batch, parse_call, parse_commands};

fuzz_target!(|data: &[u8]| {
    let methods = ["publish", "broadcast", "history", "subscribe", "refresh", "disconnect", "rpc"];
    for method in methods {
        let _ = parse_call(method, data);
    }
    let calls = [parse_batch(data).map(|own| own.0), parse_commands(data)];
    for calls in calls.into_iter().flatten() {
        assert!(calls.len() <= BATCH_MAX);
        for (method, body) in calls {
            let _ = parse_call(&method, body.get().as_bytes());
        }
    }
});
