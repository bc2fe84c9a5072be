//! `Sec-WebSocket-Accept`, the proof that a server understood the handshake (RFC 6455 §4.2.2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

/// The value of `Sec-WebSocket-Accept` for the value `key` of `Sec-WebSocket-Key`: the base64 of
/// the SHA-1 of the key and a fixed GUID, in ASCII. Does not allocate.
pub fn accept_key(key: &[u8; 24]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(WEBSOCKET_GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 characters of base64");
    accept
}

/// The GUID of the WebSocket protocol (RFC 6455 §1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::handshake::derive_accept_key;

    use super::*;

    #[test]
    fn answers_known_keys() {
        let vectors: [(&[u8; 24], &[u8; 28]); 3] = [
            // RFC 6455 §1.3.
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            (b"m3xNMIzhueJyd3N66EAK6w==", b"qgWIKoKflyd9H8L/jCNa8XP4CYQ="),
            (b"duR0pUQxNgBJsRQKj2Jxsw==", b"a1y2oy1zvgHsVyHMx+hZ1AYrEHI="),
        ];
        for (key, accept) in vectors {
            assert_eq!(&accept_key(key), accept);
        }
    }

    proptest! {
        #[test]
        fn answers_like_tungstenite(nonce: [u8; 16]) {
            let key = STANDARD.encode(nonce);
            let key: &[u8; 24] = key.as_bytes().try_into().unwrap();
            prop_assert_eq!(accept_key(key).to_vec(), derive_accept_key(key).into_bytes());
        }
    }
}
