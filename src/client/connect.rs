//! Connecting: name look-up, TCP connection and handshake, the latter two within a deadline.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use rustls::ClientConnection;
use tungstenite::WebSocket;
use tungstenite::handshake::client::{Request, generate_request};
use tungstenite::protocol::{Role, WebSocketConfig};

use super::ending::Ending;
use super::reply::{Expected, Refusal, Reply, ReplyError, parse_reply};
use super::tls::is_alert;
use super::transport::Transport;
use super::url::ServerUrl;
use super::waiting::wait_ready;
use crate::os::SystemClock;
use crate::timer::{Clock as _, Millis};

/// The moment by which the connection must be open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    clock: SystemClock,
    at: Millis,
}

impl Deadline {
    /// The deadline of a connection that is started now.
    pub(super) fn start(clock: SystemClock) -> Self {
        Self { clock, at: clock.now().plus(CONNECT_MS) }
    }

    fn left_ms(self) -> u64 {
        self.at.since(self.clock.now())
    }

    /// Waits until the socket is ready to be read or, after a blocked write, written. False when
    /// the deadline has passed.
    fn wait(self, transport: &Transport) -> Result<bool, Ending> {
        let left_ms = self.left_ms();
        wait_ready([Some(transport.watched())], Some(left_ms)).map_err(not_connected)?;
        Ok(left_ms > 0)
    }
}

/// Resolves the host of the URL. The system's resolver decides how long that takes.
pub(super) fn look_up(url: &ServerUrl) -> Result<Vec<SocketAddr>, Ending> {
    let (host, port) = url.host_and_port();
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| not_connected(format!("{host}: {error}")))?
        .collect();
    if addresses.is_empty() {
        Err(not_connected(format!("{host} has no address")))
    } else {
        Ok(addresses)
    }
}

/// Connects to the first address that accepts.
pub(super) fn connect(addresses: &[SocketAddr], deadline: Deadline) -> Result<Transport, Ending> {
    let mut failures = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        // Each address gets an equal share of the time left, so that a silent one leaves time for
        // the others.
        let addresses_left = u64::try_from(addresses.len() - tried).unwrap_or(u64::MAX);
        let share_ms = (deadline.left_ms() / addresses_left).max(1);
        let stream = TcpStream::connect_timeout(address, Duration::from_millis(share_ms));
        match stream.and_then(Transport::over) {
            Ok(transport) => return Ok(transport),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(not_connected(failures.join("; ")))
}

/// Performs the TLS handshake.
pub(super) fn secure(
    transport: &mut Transport,
    session: ClientConnection,
    deadline: Deadline,
) -> Result<(), Ending> {
    transport.start_tls(session);
    while let Err(error) = transport.shake_hands() {
        wait_after(&error, transport, deadline)?;
    }
    Ok(())
}

/// Performs the handshake. Returns the subprotocol too.
pub(super) fn upgrade(
    transport: &mut Transport,
    request: Request,
    deadline: Deadline,
) -> Result<(WebSocket<&mut Transport>, Option<String>), HandshakeFailure> {
    let offers = request.headers().clone();
    let (bytes, key) = generate_request(request).map_err(not_connected)?;
    let expected = Expected::new(&offers, &key);
    send(transport, &bytes, deadline)?;
    transport.allow_read(HEAD_BYTES_MAX);
    let mut received = Vec::new();
    let (head_bytes, reply) = loop {
        let behind = received.len();
        receive(transport, &mut received, deadline)?;
        // Only the end of a line can complete the reply, and one that comes byte by byte is not to
        // be parsed for each of them.
        if received.iter().skip(behind).any(|&byte| byte == b'\n')
            && let Some(reply) =
                parse_reply(&received, &expected).map_err(|error| not_a_reply(&error))?
        {
            break reply;
        }
    };
    let behind = received.split_off(head_bytes);
    match reply {
        Reply::Upgraded { subprotocol } => {
            let config = WebSocketConfig::default()
                .max_message_size(Some(RECEIVED_BYTES_MAX))
                .max_frame_size(Some(RECEIVED_BYTES_MAX));
            let config = Some(config);
            let websocket = WebSocket::from_partially_read(transport, behind, Role::Client, config);
            Ok((websocket, subprotocol))
        }
        Reply::Refused(refusal) => Err(HandshakeFailure::Refused(refusal, behind)),
    }
}

fn send(transport: &mut Transport, mut bytes: &[u8], deadline: Deadline) -> Result<(), Ending> {
    while !bytes.is_empty() {
        match transport.write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) => wait_after(&error, transport, deadline)?,
        }
    }
    Ok(())
}

/// Reads once, when there is something to read.
fn receive(
    transport: &mut Transport,
    received: &mut Vec<u8>,
    deadline: Deadline,
) -> Result<(), Ending> {
    let mut buffer = [0; 4096];
    loop {
        if received.len() >= HEAD_BYTES_MAX {
            return Err(not_connected(format!("{NOT_THE_REPLY}: it is too long")));
        }
        match transport.read(&mut buffer) {
            Ok(0) if is_alert(received) => return Err(not_connected(SPEAKS_TLS)),
            Ok(0) => return Err(not_connected("Handshake not finished: the server has ended it")),
            Ok(count) => {
                received.extend(buffer.iter().take(count));
                return Ok(());
            }
            Err(error) => wait_after(&error, transport, deadline)?,
        }
    }
}

/// Waits until the socket is ready, if that is what the error says.
fn wait_after(error: &io::Error, transport: &Transport, deadline: Deadline) -> Result<(), Ending> {
    if error.kind() == ErrorKind::Interrupted {
        Ok(())
    } else if error.kind() != ErrorKind::WouldBlock {
        Err(not_connected(error))
    } else if deadline.wait(transport)? {
        Ok(())
    } else {
        Err(not_connected(format!("the handshake took longer than {CONNECT_MS} ms")))
    }
}

/// Why a connection could not be upgraded.
#[derive(Debug)]
pub(super) enum HandshakeFailure {
    /// The server replied with another status; and what arrived behind the head.
    Refused(Refusal, Vec<u8>),
    /// Anything else.
    Failed(Ending),
}

impl From<Ending> for HandshakeFailure {
    fn from(ending: Ending) -> Self {
        Self::Failed(ending)
    }
}

/// Reads the body of a refusal until its first line is complete or the deadline passes. `body` is
/// what has arrived of it.
pub(super) fn refusal(
    transport: &mut Transport,
    refusal: &Refusal,
    mut body: Vec<u8>,
    deadline: Deadline,
) -> Ending {
    let status = format!("HTTP {}", refusal.status);
    let body_bytes = refusal.body_bytes.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
    let is_chunked = refusal.is_chunked;
    transport.allow_read(body_bytes.saturating_sub(body.len()));
    let mut buffer = [0; 1024];
    while body.len() < body_bytes && line(&body, is_chunked, false).is_none() {
        match transport.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => body.extend(buffer.iter().take(count)),
            Err(error) => {
                if wait_after(&error, transport, deadline).is_err() {
                    break;
                }
            }
        }
    }
    Ending::Refused { status, body_line: line(&body, is_chunked, true) }
}

/// The first line of a body that is not blank. In a chunked body the first line is the size of the
/// chunk (RFC 9112 §7.1) and is skipped. A line without its end counts only if the body `is_whole`.
fn line(body: &[u8], is_chunked: bool, is_whole: bool) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let mut lines = text.split_inclusive('\n').skip(usize::from(is_chunked));
    let line = lines.find(|line| !line.trim().is_empty())?;
    let is_ended = is_whole || line.ends_with('\n');
    is_ended.then(|| line.trim().chars().take(LINE_CHARACTERS_MAX).collect())
}

fn not_a_reply(error: &ReplyError) -> Ending {
    not_connected(format!("{NOT_THE_REPLY}: {error}"))
}

fn not_connected(why: impl fmt::Display) -> Ending {
    Ending::NotConnected { why: why.to_string() }
}

/// How long connecting and the handshake may take together.
const CONNECT_MS: u64 = 10_000;
/// The longest message that is accepted.
const RECEIVED_BYTES_MAX: usize = 16 << 20;
/// How much is read during the handshake.
const HEAD_BYTES_MAX: usize = 64 << 10;
const SPEAKS_TLS: &str = "the server answers with TLS: its URL begins with wss://";
const NOT_THE_REPLY: &str = "not the answer of a WebSocket server";
/// How much of the body of a refusal is read.
const BODY_BYTES_MAX: usize = 4096;
/// How much of its first line is printed.
const LINE_CHARACTERS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_refusal_that_is_not_blank_is_taken() {
        for (body, is_chunked, expected) in [
            ("no buffer\n", false, Some("no buffer")),
            ("no buffer", false, Some("no buffer")),
            ("\r\n  <html>\r\n<head>", false, Some("<html>")),
            ("1c\r\nno buffer\r\n0\r\n\r\n", true, Some("no buffer")),
            ("", false, None),
            ("\n\n", false, None),
            ("1c\r\n", true, None),
        ] {
            assert_eq!(line(body.as_bytes(), is_chunked, true).as_deref(), expected, "{body}");
        }
        assert_eq!(line(&[b'x'; 5000], false, true).map(|line| line.len()), Some(200));
        assert_eq!(line(b"\xff!", false, true).as_deref(), Some("\u{fffd}!"));
    }

    #[test]
    fn an_unfinished_line_counts_only_in_a_whole_body() {
        assert_eq!(line(b"no roo", false, false), None);
        assert_eq!(line(b"no buffer\nan", false, false).as_deref(), Some("no buffer"));
    }
}
