//! HTTP messages: requests that a test can vary, and replies with the checks that all must pass.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::wait::TIMEOUT;

/// A request. Its parts are sent as they are, valid or not.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A valid upgrade request for this path.
    pub(crate) fn upgrade(path: &str) -> Self {
        Self::get(path)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Version", "13")
            .with("Sec-WebSocket-Key", KEY)
    }

    /// A plain request for this path.
    pub(crate) fn get(path: &str) -> Self {
        Self::of_line(&format!("GET {path} HTTP/1.1")).with("Host", "localhost")
    }

    /// A request with this first line and no headers.
    pub(crate) fn of_line(line: &str) -> Self {
        Self { line: line.to_owned(), headers: Vec::new() }
    }

    /// The same with another first line.
    pub(crate) fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without this header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// The same with another value for this header.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// The bytes of the request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n", self.line).into_bytes()
    }
}

/// A parsed reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Parses one reply; what follows the head is the body.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let head_end = find(bytes, b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no reply head in {:?}", String::from_utf8_lossy(bytes)));
        let head = str::from_utf8(&bytes[..head_end]).unwrap();
        let (status_line, lines) = head.split_once("\r\n").unwrap();
        let words: Vec<&str> = status_line.splitn(3, ' ').collect();
        let &[version, status, reason] = &words[..] else { panic!("status line {status_line}") };
        assert_eq!(version, "HTTP/1.1");
        assert!(!reason.is_empty());
        let headers = lines.split("\r\n").map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            assert!(!value.contains(['\r', '\n']), "{line}");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: bytes[head_end + 4..].to_vec(),
        }
    }

    /// The value of a header, which must not occur twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The reply without its date, which changes each second.
    pub(crate) fn undated(mut self) -> Self {
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Date"));
        self
    }

    /// Checks what every reply but a 101 must have (RFC 9112 §6, §9.6): a length that is true and
    /// the announcement that the connection closes.
    pub(crate) fn assert_is_last(&self, head_only: bool) {
        let connection = self.header("Connection").expect("Connection");
        assert!(connection.split(", ").any(|token| token == "close"), "{self:?}");
        let length: usize = self.header("Content-Length").expect("length").parse().unwrap();
        assert!(length > 0);
        assert_eq!(self.body.len(), if head_only { 0 } else { length }, "{self:?}");
        assert!(self.header("Content-Type").is_some());
        assert!(self.header("Date").is_some_and(|date| date.len() == 29), "{self:?}");
        if self.status == 426 {
            // RFC 9110 §15.5.22, §7.8 and RFC 6455 §4.4.
            assert_eq!(connection, "upgrade, close");
            assert_eq!(self.header("Upgrade"), Some("websocket"));
            assert_eq!(self.header("Sec-WebSocket-Version"), Some("13"));
        } else {
            assert_eq!(self.header("Upgrade"), None);
        }
        assert_eq!(self.header("Allow").is_some(), self.status == 405);
        assert_eq!(self.header("Retry-After").is_some(), self.status == 503);
    }
}

/// What a client does after its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It shuts its sending side down.
    HalfClose,
    /// It keeps its sending side open.
    Open,
}

/// Sends the bytes and returns everything received until the end of the connection. Panics on a
/// reset.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8], ending: Ending) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("the gateway takes all that is sent");
    if ending == Ending::HalfClose {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("an orderly end");
    received
}

/// A connection whose reads and writes fail after [`TIMEOUT`].
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// As [`connect`], from this address of the machine.
pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The first position of `needle`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The key of RFC 6455 §1.3 and the accept value for it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
