//! Replies of backends that are asked about connections of channels: whatever they are, they are taken or
//! refused, and what is kept of them is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::centrifugo::{PROXY_INFO_BYTES_MAX, ProxyKind, ProxyReply, is_json, parse_proxy_reply};

fuzz_target!(|data: &[u8]| {
    for kind in [
        ProxyKind::Connect,
        ProxyKind::Refresh,
        ProxyKind::SubRefresh,
        ProxyKind::Subscribe,
        ProxyKind::Publish,
        ProxyKind::Rpc,
    ] {
        match parse_proxy_reply(kind, data) {
            Ok(ProxyReply::Disconnect(own)) => {
                assert!(!own.reason.is_empty() && !is_json(own.reason.as_bytes()));
            }
            Ok(ProxyReply::Connect(Some(own))) => {
                for kept in [&own.info, &own.meta].into_iter().flatten() {
                    assert!(kept.len() <= PROXY_INFO_BYTES_MAX && is_json(kept));
                }
            }
            Ok(_) | Err(_) => {}
        }
    }
});
