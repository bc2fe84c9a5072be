//! A check as bytes: the request, and what the reply says. No sockets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::{Reply, ReplyLimits, accept_key, check_switched, read_reply};
use crate::upstream::{HealthKind, HealthSettings};

/// One check of one server.
#[derive(Debug)]
pub(super) struct Exchange {
    kind: HealthKind,
    accept: [u8; 28],
    request: Vec<u8>,
}

impl Exchange {
    /// A check with this `Host`, where the settings name none. The nonce is for `Sec-WebSocket-Key`.
    pub(super) fn new(settings: &HealthSettings, host: &str, nonce: [u8; 16]) -> Self {
        let key = STANDARD.encode(nonce);
        let upgrade = match settings.kind {
            HealthKind::Get => "Connection: close\r\n".to_owned(),
            HealthKind::WebSocket => format!(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: {key}\r\n"
            ),
        };
        let (path, host) = (&settings.path, settings.host.as_deref().unwrap_or(host));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-health\r\n{upgrade}\r\n"
        );
        let mut bytes = [0; 24];
        // 16 bytes are 24 characters of base64.
        bytes.copy_from_slice(key.as_bytes().get(..24).unwrap_or(&[0; 24]));
        Self { kind: settings.kind, accept: accept_key(&bytes), request: request.into_bytes() }
    }

    /// The request.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Whether the server is healthy by what it has answered so far; `None` if more is needed.
    /// `has_ended` says that nothing follows `input`.
    ///
    /// # Errors
    /// Why it is not, as the end of a sentence.
    pub(super) fn judge(&self, input: &[u8], has_ended: bool) -> Option<Result<(), String>> {
        // The body says nothing, so that its beginning suffices.
        let limits =
            ReplyLimits { head_bytes_max: REPLY_BYTES_MAX, lines_max: 100, body_bytes_max: 0 };
        let reply = match read_reply(input, has_ended, limits) {
            Ok(reply) => reply?,
            Err(fault) => return Some(Err(fault.to_string())),
        };
        Some(match (reply, self.kind) {
            (Reply::Switched { head, .. }, HealthKind::WebSocket) => {
                check_switched(&head, &self.accept).map_err(|fault| fault.to_string())
            }
            (Reply::Refused { head, .. }, HealthKind::Get) if head.code() < 400 => Ok(()),
            (Reply::Refused { head, .. } | Reply::Switched { head, .. }, _) => {
                Err(format!("it answers with {}", head.code()))
            }
        })
    }

    /// What is sent to a server that has opened a WebSocket: a close frame with code 1000, masked with
    /// zeros (RFC 6455 §5.3, §5.5.1).
    pub(super) fn farewell(&self) -> &'static [u8] {
        match self.kind {
            HealthKind::Get => &[],
            HealthKind::WebSocket => &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8],
        }
    }
}

/// The longest head of a reply, in bytes.
pub(super) const REPLY_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(kind: HealthKind, host: Option<&str>) -> Exchange {
        let settings = HealthSettings {
            kind,
            path: "/healthz".to_owned(),
            host: host.map(str::to_owned),
            every_ms: 1,
            timeout_ms: 1,
            fall: 1,
            rise: 1,
        };
        // That of RFC 6455 §1.3.
        Exchange::new(&settings, "10.0.0.1:80", *b"the sample nonce")
    }

    #[test]
    fn requests_name_the_server_or_the_host_that_is_configured() {
        let request = |own: &Exchange| String::from_utf8(own.request().to_vec()).unwrap();
        let get = request(&exchange(HealthKind::Get, None));
        let line = "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:80\r\n";
        assert!(get.starts_with(line) && get.ends_with("Connection: close\r\n\r\n"), "{get}");
        let upgrade = request(&exchange(HealthKind::WebSocket, Some("app")));
        assert!(upgrade.contains("\r\nHost: app\r\n"), "{upgrade}");
        assert!(upgrade.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    }

    #[test]
    fn statuses_below_400_are_healthy() {
        let own = exchange(HealthKind::Get, None);
        let judge = |text: &str| own.judge(text.as_bytes(), false);
        for line in ["HTTP/1.1 200 OK", "HTTP/1.0 204 No", "HTTP/1.1 302 Found"] {
            assert_eq!(judge(&format!("{line}\r\nContent-Length: 70000\r\n\r\n")), Some(Ok(())));
        }
        for line in ["HTTP/1.1 404 No", "HTTP/1.1 503 No", "HTTP/1.1 101 Switching Protocols"] {
            let why = judge(&format!("{line}\r\nContent-Length: 0\r\n\r\n")).unwrap().unwrap_err();
            assert!(why.starts_with("it answers with "), "{why}");
        }
        assert_eq!(judge("HTTP/1.1 200 OK\r\n"), None);
        assert!(own.judge(b"HTTP/1.1 200 OK\r\n", true).unwrap().is_err());
        assert!(judge("SSH-2.0\r\n\r\n").unwrap().is_err());
    }

    #[test]
    fn only_the_right_101_opens_a_websocket() {
        let own = exchange(HealthKind::WebSocket, None);
        let judge = |accept: &str| {
            let text = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            own.judge(text.as_bytes(), false).unwrap()
        };
        assert_eq!(judge("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Ok(()));
        assert!(judge("S3pPLMBiTxaQ9kYGzzhZRbK+xOo=").is_err());
        assert!(
            own.judge(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).unwrap().is_err()
        );
    }
}
