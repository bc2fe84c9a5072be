//! Headers that are for the next hop only, which a gateway must not pass on (RFC 9110 §7.6.1).

use super::list::list_elements;

/// The headers that belong to one connection, and the options that a message's `Connection` names.
#[derive(Clone, Copy, Debug)]
pub(super) struct HopByHop<'c, 'b> {
    /// The values of `Connection`.
    pub(super) connection: &'c [&'b [u8]],
}

impl HopByHop<'_, '_> {
    /// Whether a header is not passed on. `Host` is for all recipients, whatever `Connection` says.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if NAMES.iter().any(|own| is(own.as_bytes())) {
            return true;
        }
        !is(b"Host") && list_elements(self.connection.iter().copied()).any(is)
    }
}

/// Those of RFC 9110 §7.6.1 and its forerunners. `Alt-Svc` speaks of the backend's own address.
const NAMES: [&str; 11] = [
    "Alt-Svc",
    "Connection",
    "HTTP2-Settings",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// The usual spelling of a header of the WebSocket handshake, which some servers compare by case;
/// other names as they are.
pub(super) fn canonical(name: &[u8]) -> &[u8] {
    let known = WEBSOCKET_NAMES.iter().map(|own| own.as_bytes());
    known.into_iter().find(|own| own.eq_ignore_ascii_case(name)).unwrap_or(name)
}

const WEBSOCKET_NAMES: [&str; 5] = [
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
];

/// Appends a header line.
pub(super) fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_is_for_the_next_hop_only() {
        let values: [&[u8]; 2] = [b"Upgrade, X-A,", b"x-b , Host"];
        let hop_by_hop = HopByHop { connection: &values };
        for name in ["upgrade", "x-a", "X-B", "TE", "keep-alive", "transfer-encoding"] {
            assert!(hop_by_hop.has(name.as_bytes()), "{name}");
        }
        for name in ["Host", "X-C", "Sec-WebSocket-Key", "Cookie"] {
            assert!(!hop_by_hop.has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_of_the_handshake_have_one_spelling() {
        assert_eq!(canonical(b"sec-websocket-key"), b"Sec-WebSocket-Key");
        assert_eq!(canonical(b"SEC-WEBSOCKET-EXTENSIONS"), b"Sec-WebSocket-Extensions");
        assert_eq!(canonical(b"x-sec-websocket-key"), b"x-sec-websocket-key");
    }
}
