//! The client's opening handshake (RFC 6455 §4.1): encodes the request, verifies the response.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest as _, Sha1};
use thiserror::Error;

use crate::random::mix;

/// A `Sec-WebSocket-Key`. It is a function of the run's seed and the connection's serial number, so
/// the connection does not store it until the response arrives.
#[derive(Debug)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn derive(seed: u64, serial: u64) -> Self {
        let first = mix(seed ^ serial);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&first.to_le_bytes());
        nonce[8..].copy_from_slice(&mix(first).to_le_bytes());
        Self(BASE64_STANDARD.encode(nonce))
    }

    /// The `Sec-WebSocket-Accept` that proves that the server read this key (§4.2.2).
    fn accept(&self) -> String {
        let mut hash = Sha1::new();
        hash.update(self.0.as_bytes());
        hash.update(ACCEPT_GUID);
        BASE64_STANDARD.encode(hash.finalize())
    }
}

/// What a client offers in its request. The server must agree to compression, and may choose the
/// subprotocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offer {
    pub(crate) deflate: bool,
    pub(crate) subprotocol: Option<&'static str>,
}

/// Why a response does not accept the upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HandshakeError {
    #[error("the answer's head exceeds {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    #[error("the answer is not HTTP: {line:?}")]
    Malformed { line: String },
    #[error("the 101 answer has no `{header}` header with the value that RFC 6455 demands")]
    MissingHeader { header: &'static str },
    #[error("expected 101, the server answered {line:?}")]
    Refused { line: String, has_retry_after: bool },
    #[error("the server chose {header} {value:?}, which was not offered")]
    Unoffered { header: &'static str, value: String },
    #[error("wrong accept key: expected {expected:?}, the server sent {found:?}")]
    WrongAcceptKey { expected: String, found: String },
}

/// Appends the upgrade request.
pub(crate) fn encode_request(
    authority: &str,
    path: &str,
    key: &Key,
    offer: Offer,
    out: &mut Vec<u8>,
) {
    let key = &key.0;
    let extensions = if offer.deflate { DEFLATE_OFFER } else { "" };
    let subprotocol = offer
        .subprotocol
        .map_or_else(String::new, |subprotocol| format!("{PROTOCOL}: {subprotocol}\r\n"));
    out.extend_from_slice(
        format!(
            "GET {path} HTTP/1.1\r\n\
             Host: {authority}\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Version: 13\r\n\
             {extensions}{subprotocol}\r\n"
        )
        .as_bytes(),
    );
}

/// Verifies the response at the front of `input`: the length of its head in bytes, or `None` while
/// it is incomplete. The server must agree to compression if it was offered, without context
/// takeover. The bytes after the head are frames.
pub(crate) fn verify_response(
    input: &[u8],
    key: &Key,
    offer: Offer,
) -> Result<Option<usize>, HandshakeError> {
    let Some(end) = input.windows(HEAD_END.len()).position(|window| window == HEAD_END) else {
        return if input.len() > HEAD_BYTES_MAX {
            Err(HandshakeError::HeadTooLong)
        } else {
            Ok(None)
        };
    };
    let head = String::from_utf8_lossy(&input[..end]);
    let mut lines = head.split("\r\n");
    verify_status(lines.next().unwrap_or_default(), lines.clone())?;
    verify_headers(lines, key, offer)?;
    Ok(Some(end + HEAD_END.len()))
}

fn verify_status<'a>(
    line: &str,
    mut headers: impl Iterator<Item = &'a str>,
) -> Result<(), HandshakeError> {
    let Some(status) = line.strip_prefix("HTTP/1.1 ") else {
        return Err(HandshakeError::Malformed { line: excerpt(line) });
    };
    if status != "101" && !status.starts_with("101 ") {
        let has_retry_after = headers.any(|header| {
            header.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(RETRY_AFTER))
        });
        return Err(HandshakeError::Refused { line: excerpt(status), has_retry_after });
    }
    Ok(())
}

/// §4.1, the checks 2 to 6 of the server's response.
fn verify_headers<'a>(
    lines: impl Iterator<Item = &'a str>,
    key: &Key,
    offer: Offer,
) -> Result<(), HandshakeError> {
    // Lines of one name form one list (RFC 9110 §5.3).
    let (mut extensions, mut protocols) = (Vec::new(), Vec::new());
    let (mut upgrade, mut connection, mut accepts) = (false, false, Vec::new());
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(HandshakeError::Malformed { line: excerpt(line) });
        };
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case(UPGRADE) {
            upgrade |= list(value).any(|protocol| protocol.eq_ignore_ascii_case("websocket"));
        } else if name.eq_ignore_ascii_case(CONNECTION) {
            connection |= list(value).any(|option| option.eq_ignore_ascii_case("upgrade"));
        } else if name.eq_ignore_ascii_case(ACCEPT) {
            accepts.push(value);
        } else if name.eq_ignore_ascii_case(EXTENSIONS) {
            extensions.extend(list(value));
        } else if name.eq_ignore_ascii_case(PROTOCOL) {
            protocols.extend(list(value));
        }
    }
    verify_offers(&extensions, &protocols, offer)?;
    if !upgrade {
        return Err(HandshakeError::MissingHeader { header: UPGRADE });
    }
    if !connection {
        return Err(HandshakeError::MissingHeader { header: CONNECTION });
    }
    // Not a list, and once only (§11.3.3).
    let &[found] = accepts.as_slice() else {
        return Err(HandshakeError::MissingHeader { header: ACCEPT });
    };
    let expected = key.accept();
    if found != expected {
        return Err(HandshakeError::WrongAcceptKey { expected, found: excerpt(found) });
    }
    Ok(())
}

/// The elements of a list without the empty ones (RFC 9110 §5.6.1). No list here has quotes.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|own| !own.is_empty())
}

/// Whether the server chose what was offered: compression or nothing, and the subprotocol or none,
/// as it need not choose one (RFC 6455 §4.2.2).
fn verify_offers(
    extensions: &[&str],
    protocols: &[&str],
    Offer { deflate, subprotocol }: Offer,
) -> Result<(), HandshakeError> {
    if let Some(protocol) = protocols.iter().find(|own| subprotocol != Some(**own)) {
        return Err(HandshakeError::Unoffered { header: PROTOCOL, value: excerpt(protocol) });
    }
    match extensions {
        [only] if deflate && is_wanted_answer(only) => Ok(()),
        [other, ..] if !deflate => {
            Err(HandshakeError::Unoffered { header: EXTENSIONS, value: excerpt(other) })
        }
        [] if !deflate => Ok(()),
        _ => Err(HandshakeError::MissingHeader { header: EXTENSIONS }),
    }
}

/// Whether the server agrees to exactly the offer. The order of the parameters is the server's
/// choice.
fn is_wanted_answer(extensions: &str) -> bool {
    let mut parts: Vec<&str> = extensions.split(';').map(str::trim).collect();
    parts.sort_unstable();
    parts == DEFLATE_ANSWER
}

/// The beginning of a text from the server, long enough to recognise it.
fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS_MAX).collect()
}

const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEAD_END: &[u8] = b"\r\n\r\n";
const HEAD_BYTES_MAX: usize = 8 * 1024;
const EXCERPT_CHARS_MAX: usize = 80;
const UPGRADE: &str = "Upgrade";
const CONNECTION: &str = "Connection";
const ACCEPT: &str = "Sec-WebSocket-Accept";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
const DEFLATE_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
                             server_no_context_takeover; client_no_context_takeover\r\n";
/// The parts of the answer, sorted.
const DEFLATE_ANSWER: [&str; 3] =
    ["client_no_context_takeover", "permessage-deflate", "server_no_context_takeover"];
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const RETRY_AFTER: &str = "Retry-After";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use tungstenite::handshake::derive_accept_key;

    use super::*;

    const NOTHING: Offer = Offer { deflate: false, subprotocol: None };
    const DEFLATE: Offer = Offer { deflate: true, subprotocol: None };

    fn vector_key() -> Key {
        Key("m3xNMIzhueJyd3N66EAK6w==".to_owned())
    }

    fn response(headers: &str) -> Vec<u8> {
        format!("HTTP/1.1 101 Switching Protocols\r\n{headers}\r\n\r\n").into_bytes()
    }

    const GOOD: &str = "upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                        Sec-Websocket-Accept: qgWIKoKflyd9H8L/jCNa8XP4CYQ=";

    #[test]
    fn a_valid_response_is_accepted_and_leaves_the_frames_after_it() {
        let mut bytes = response(GOOD);
        let head_bytes = bytes.len();
        bytes.extend_from_slice(&[0x81, 0x00]);
        assert_eq!(verify_response(&bytes, &vector_key(), NOTHING), Ok(Some(head_bytes)));
        for cut in 0..head_bytes {
            assert_eq!(verify_response(&bytes[..cut], &vector_key(), NOTHING), Ok(None));
        }
    }

    #[test]
    fn lists_may_hold_more_than_what_is_looked_for() {
        for (from, to) in [
            ("keep-alive, Upgrade", "keep-alive\r\nConnection: upgrade"),
            ("keep-alive, Upgrade", ", UPGRADE,\tclose"),
            ("upgrade: WebSocket", "Upgrade: h2c, websocket"),
            ("upgrade: WebSocket", "Upgrade: websocket\r\nUpgrade: h2c"),
            ("upgrade: ", "Sec-WebSocket-Protocol: \r\nSec-WebSocket-Extensions: ,\r\nupgrade: "),
        ] {
            let bytes = response(&GOOD.replace(from, to));
            assert_eq!(
                verify_response(&bytes, &vector_key(), NOTHING),
                Ok(Some(bytes.len())),
                "{to}"
            );
        }
        let split = response(&format!("{GOOD}\r\n{EXTENSIONS}:\r\n{EXTENSIONS}: {AGREED},"));
        assert_eq!(verify_response(&split, &vector_key(), DEFLATE), Ok(Some(split.len())));
        let twice = response(&format!("{GOOD}\r\n{EXTENSIONS}: {AGREED}, {AGREED}"));
        let missing = HandshakeError::MissingHeader { header: EXTENSIONS };
        assert_eq!(verify_response(&twice, &vector_key(), DEFLATE), Err(missing));
    }

    const AGREED: &str =
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

    #[test]
    fn each_wrong_response_has_its_own_error() {
        let missing = |header| HandshakeError::MissingHeader { header };
        let answers = [
            (response(&GOOD.replace("upgrade: ", "x: ")), missing(UPGRADE)),
            (response(&GOOD.replace("keep-alive, Upgrade", "close")), missing(CONNECTION)),
            (response(&GOOD.replace("Sec-Websocket-Accept", "x")), missing(ACCEPT)),
            (
                response(&GOOD.replace("qgWI", "xxxx")),
                HandshakeError::WrongAcceptKey {
                    expected: "qgWIKoKflyd9H8L/jCNa8XP4CYQ=".to_owned(),
                    found: "xxxxKoKflyd9H8L/jCNa8XP4CYQ=".to_owned(),
                },
            ),
            (
                response(&format!("{GOOD}\r\nSec-WebSocket-Protocol: chat")),
                HandshakeError::Unoffered { header: PROTOCOL, value: "chat".to_owned() },
            ),
            (
                b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\n\r\n".to_vec(),
                HandshakeError::Refused { line: "503 Busy".to_owned(), has_retry_after: true },
            ),
            (
                b"HTTP/1.1 404 No\r\n\r\n".to_vec(),
                HandshakeError::Refused { line: "404 No".to_owned(), has_retry_after: false },
            ),
            (b"SSH-2.0\r\n\r\n".to_vec(), HandshakeError::Malformed { line: "SSH-2.0".into() }),
            (vec![b'x'; HEAD_BYTES_MAX + 1], HandshakeError::HeadTooLong),
        ];
        for (bytes, refusal) in answers {
            assert_eq!(verify_response(&bytes, &vector_key(), NOTHING), Err(refusal));
        }
    }

    #[test]
    fn the_server_must_agree_to_compression_as_offered() {
        let mut agreed = Vec::new();
        for [first, second] in [["client", "server"], ["server", "client"]] {
            agreed = response(&format!(
                "{GOOD}\r\n{EXTENSIONS}: permessage-deflate; {first}_no_context_takeover;\
                 {second}_no_context_takeover"
            ));
            assert_eq!(verify_response(&agreed, &vector_key(), DEFLATE), Ok(Some(agreed.len())));
        }
        let unoffered = verify_response(&agreed, &vector_key(), NOTHING);
        assert!(matches!(unoffered, Err(HandshakeError::Unoffered { .. })));
        let takeover = response(&format!("{GOOD}\r\n{EXTENSIONS}: permessage-deflate"));
        for refused in [response(GOOD), takeover] {
            let verified = verify_response(&refused, &vector_key(), DEFLATE);
            assert_eq!(verified, Err(HandshakeError::MissingHeader { header: EXTENSIONS }));
        }
    }

    #[test]
    fn the_server_may_choose_the_subprotocol_that_is_offered() {
        let offer = Offer { deflate: false, subprotocol: Some("b.example") };
        let mut request = Vec::new();
        encode_request("localhost", "/", &vector_key(), offer, &mut request);
        let request = String::from_utf8(request).unwrap();
        assert!(request.contains("\r\nSec-WebSocket-Protocol: b.example\r\n"), "{request}");
        let chosen = response(&format!("{GOOD}\r\nsec-websocket-protocol: b.example"));
        assert_eq!(verify_response(&chosen, &vector_key(), offer), Ok(Some(chosen.len())));
        let none = response(GOOD);
        assert_eq!(verify_response(&none, &vector_key(), offer), Ok(Some(none.len())));
        let other = response(&format!("{GOOD}\r\n{PROTOCOL}: c.example"));
        let unoffered =
            HandshakeError::Unoffered { header: PROTOCOL, value: "c.example".to_owned() };
        assert_eq!(verify_response(&other, &vector_key(), offer), Err(unoffered));
    }

    #[test]
    fn keys_are_distinct() {
        let keys: HashSet<String> = (0..10_000).map(|serial| Key::derive(3, serial).0).collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn the_request_has_all_headers() {
        let mut request = Vec::new();
        encode_request("localhost:1", "/echo", &vector_key(), NOTHING, &mut request);
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /echo HTTP/1.1\r\nHost: localhost:1\r\n"));
        assert!(request.contains("\r\nSec-WebSocket-Key: m3xNMIzhueJyd3N66EAK6w==\r\n"));
        assert!(request.ends_with("\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn accept_keys_agree_with_tungstenite(seed: u64, serial: u64) {
            let key = Key::derive(seed, serial);
            prop_assert_eq!(key.0.len(), 24);
            prop_assert_eq!(key.accept(), derive_accept_key(key.0.as_bytes()));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = verify_response(&bytes, &vector_key(), NOTHING);
        }
    }
}
