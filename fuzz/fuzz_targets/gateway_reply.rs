//! Replies of backends in the style of API Gateway, and expressions that select routes: whatever they are,
//! what a client is sent as a text is one, and a status is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::events::ClientEvent;
use tidegate::events::api_gateway::{GatewayReply, RouteSelection};

fuzz_target!(|data: &[u8]| {
    for status in [200, 204, 302, 403, 502] {
        let reply = GatewayReply::parse(status, data);
        assert!((100..=599).contains(&reply.status));
        if !(200..300).contains(&status) {
            assert_eq!(
                (reply.status, &*reply.body),
                (status, data),
                "the reply is the status alone"
            );
            assert!(!reply.is_success());
        }
        // JSON may be longer than it is written, as other JSON in `body` is written anew.
        assert!(reply.body.len() <= 8 * data.len());
        if let Some((event, content)) = reply.message() {
            assert!(!content.is_empty());
            assert!(event == ClientEvent::Binary || std::str::from_utf8(&content).is_ok());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = RouteSelection::parse(text);
    }
});
