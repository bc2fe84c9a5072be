//! The headers of a handshake with any values: lists, extensions, subprotocols, origin and host.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::{
    HostRule, OriginRule, Subprotocol, UpgradePolicy, accept_deflate, check_upgrade, is_host,
    is_origin, parse_head,
};

/// Values of `Host`, `Origin`, `Connection`, `Upgrade`, `Sec-WebSocket-Extensions` and
/// `Sec-WebSocket-Protocol`.
type Values<'b> = (&'b [u8], &'b [u8], &'b [u8], &'b [u8], &'b [u8], &'b [u8]);

fuzz_target!(|values: Values<'_>| {
    let (host, origin, connection, upgrade, extensions, protocol) = values;
    let mut bytes = b"GET /chat HTTP/1.1\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\n"
        .to_vec();
    for (name, value) in [
        ("Host", host),
        ("Origin", origin),
        ("Connection", connection),
        ("Upgrade", upgrade),
        ("Sec-WebSocket-Extensions", extensions),
        ("Sec-WebSocket-Protocol", protocol),
    ] {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    let _ = (is_origin(origin), accept_deflate([extensions].into_iter(), Some(15)));
    let Ok(head) = parse_head(&bytes) else { return };
    if let Some(host) = head.host() {
        let listed = HostRule::List(vec![host.host().to_owned()]);
        assert!(listed.permits(Some(host)), "a host that is listed is permitted");
        let _ = (HostRule::Local.permits(Some(host)), is_host(host.host()));
    }
    let subprotocols = [Subprotocol::new("a").expect("a token")];
    for origins in [OriginRule::Any, OriginRule::SameHost, OriginRule::List(vec!["null".into()])] {
        let policy = UpgradePolicy { origins: &origins, subprotocols: &subprotocols };
        if let Ok(request) = check_upgrade(&head, &policy) {
            let _ = (request.accept_key(), request.deflate(Some(9)), request.deflate(None));
        }
    }
});
