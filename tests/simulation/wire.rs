//! Requests and masked frames as a client sends them, and a strict parser of what the server sends.
//! Written from the RFCs, without code of the crate, so that it does not share its mistakes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// The sample key of RFC 6455 §1.3 and what the server must make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// What the operator of the sweep sends, at any time.
pub(crate) const OPERATORS_TEXT: &str = "an operator says so, at any time";
pub(crate) const FIN: u8 = 0x80;
/// Set on the first frame of a compressed message.
pub(crate) const RSV1: u8 = 0x40;

/// A request to open a WebSocket on `path`.
pub(crate) fn upgrade_request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: sim.example\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// A request to open a WebSocket on `path` that offers compression with these parameters.
pub(crate) fn upgrade_request_offering_deflate(path: &str, parameters: &str) -> Vec<u8> {
    let mut request = upgrade_request(path);
    request.truncate(request.len() - 2);
    let offer = format!("permessage-deflate{parameters}");
    request.extend(format!("Sec-WebSocket-Extensions: {offer}\r\n\r\n").into_bytes());
    request
}

/// A client's compressor with context takeover.
#[derive(Debug)]
pub(crate) struct Sender(Compress);

impl Sender {
    pub(crate) fn new(window_bits: u8) -> Self {
        Self(Compress::new_with_window_bits(Compression::fast(), false, window_bits))
    }

    /// Compresses a message. The result must be sent, or [`Sender::forget`] called, since the next
    /// message may refer to it.
    pub(crate) fn deflated(&mut self, message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            return vec![0];
        }
        let mut output = Vec::with_capacity(message.len() + message.len() / 100 + 100);
        self.0.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.truncate(output.len() - DEFLATE_END.len());
        output
    }

    /// Clears the context: the next message refers to none before it.
    pub(crate) fn forget(&mut self) {
        self.0.reset();
    }
}

/// Compresses one message without context (RFC 7692 §7.2.1).
pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut stream = Compress::new(Compression::fast(), false);
    let mut output = Vec::with_capacity(message.len() + message.len() / 100 + 100);
    stream.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
    assert_eq!(stream.total_in(), message.len() as u64);
    output.truncate(output.len() - DEFLATE_END.len());
    output
}

/// Decompresses a message of the server (RFC 7692 §7.2.2).
fn inflated(stream: &mut Decompress, payload: &[u8]) -> Result<Vec<u8>, String> {
    let input = [payload, &DEFLATE_END].concat();
    let start = stream.total_in();
    let mut message = Vec::new();
    loop {
        message.reserve(4096);
        let used = usize::try_from(stream.total_in() - start).unwrap();
        let before = message.len();
        let status = stream.decompress_vec(&input[used..], &mut message, FlushDecompress::Sync);
        status.map_err(|error| error.to_string())?;
        if stream.total_in() - start == input.len() as u64 && message.len() == before {
            return Ok(message);
        }
    }
}

const DEFLATE_END: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// A request to open a WebSocket on `path` that offers a subprotocol.
pub(crate) fn upgrade_request_offering(path: &str, subprotocol: &str) -> Vec<u8> {
    let mut request = upgrade_request(path);
    request.truncate(request.len() - 2);
    request.extend(format!("Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n").into_bytes());
    request
}

/// The header of a client frame; `first` holds FIN, RSV and opcode.
pub(crate) fn client_header(first: u8, payload_len: u64, mask: [u8; 4]) -> Vec<u8> {
    let mut header = vec![first];
    match payload_len {
        0..=125 => header.push(0x80 | u8::try_from(payload_len).unwrap()),
        126..=0xFFFF => {
            header.push(0x80 | 126);
            header.extend(u16::try_from(payload_len).unwrap().to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(payload_len.to_be_bytes());
        }
    }
    header.extend(mask);
    header
}

/// A client frame with this first byte.
pub(crate) fn client_frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = client_header(first, payload.len() as u64, mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// An unfragmented client frame with a fixed mask.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    client_frame(FIN | opcode, payload, [0x5A, 0x01, 0xFE, 0x77])
}

/// A close frame.
pub(crate) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.as_bytes());
    frame(CLOSE, &payload)
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(opcode: u8, payload: &[u8]) -> Self {
        Self { opcode, payload: payload.to_vec() }
    }

    /// The code of a close frame, `None` if it has none.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// Everything one client has received: an HTTP reply, then frames if it was a 101. Bytes that are
/// not well-formed are an error as soon as that is certain.
#[derive(Debug, Default)]
pub(crate) struct Received {
    unparsed: Vec<u8>,
    pub(crate) bytes: usize,
    pub(crate) status: Option<u16>,
    /// The lines of the reply's head.
    pub(crate) headers: Vec<String>,
    /// The decompressor, with a window no larger than what was agreed.
    stream: Option<Box<Decompress>>,
    /// Bytes of the reply's body that have not arrived yet.
    body_bytes_left: usize,
    /// All frames but the pings, and but what an operator sends.
    pub(crate) frames: Vec<Frame>,
    pub(crate) pings: usize,
    /// Messages of [`OPERATORS_TEXT`], which are not among the frames.
    pub(crate) from_operator: usize,
}

impl Received {
    /// Parses newly received bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len();
        self.unparsed.extend(bytes);
        let mut unparsed = std::mem::take(&mut self.unparsed);
        let mut at = 0;
        while let Some(used) = self.parse(&unparsed[at..])? {
            at += used;
        }
        unparsed.drain(..at);
        self.unparsed = unparsed;
        Ok(())
    }

    /// Whether the received bytes end at the end of a reply or frame.
    pub(crate) fn is_whole(&self) -> bool {
        self.unparsed.is_empty() && self.body_bytes_left == 0
    }

    /// The close frame, if one was received.
    pub(crate) fn close(&self) -> Option<&Frame> {
        self.frames.last().filter(|frame| frame.opcode == CLOSE)
    }

    /// The code of the close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.close().and_then(Frame::close_code)
    }

    /// The frames before the close frame.
    pub(crate) fn data(&self) -> &[Frame] {
        &self.frames[..self.frames.len() - usize::from(self.close().is_some())]
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn parse(&mut self, input: &[u8]) -> Result<Option<usize>, String> {
        if input.is_empty() {
            return Ok(None);
        }
        match self.status {
            None => self.parse_head(input),
            Some(101) if self.close().is_some() => Err(format!("{input:?} after the close frame")),
            Some(101) => self.parse_frame(input),
            Some(_) if self.body_bytes_left == 0 => Err(format!("{input:?} after the reply")),
            Some(_) => {
                let used = input.len().min(self.body_bytes_left);
                self.body_bytes_left -= used;
                Ok(Some(used))
            }
        }
    }

    fn parse_head(&mut self, input: &[u8]) -> Result<Option<usize>, String> {
        for words in [ALERT, NOT_SSH] {
            if input.starts_with(words) {
                self.status = Some(NO_STATUS);
                return Ok(Some(words.len()));
            }
            if words.starts_with(input) {
                return Ok(None);
            }
        }
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            let is_start = input.iter().zip(b"HTTP/1.1 ").all(|(byte, must)| byte == must);
            return if is_start { Ok(None) } else { Err(format!("no reply: {input:?}")) };
        };
        let head = std::str::from_utf8(&input[..end]).map_err(|error| error.to_string())?;
        let mut lines = head.split("\r\n").map(str::to_owned);
        let status = lines.next().unwrap_or_default();
        let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        self.status = Some(code.ok_or_else(|| format!("status line {status:?}"))?);
        self.headers = lines.collect();
        if self.headers.iter().any(|line| !line.contains(": ")) {
            return Err(format!("headers {:?}", self.headers));
        }
        if self.status == Some(101) {
            if self.header("Sec-WebSocket-Accept") != Some(ACCEPT) {
                return Err(format!("wrong accept key in {:?}", self.headers));
            }
        } else {
            let length = self.header("Content-Length").and_then(|value| value.parse().ok());
            self.body_bytes_left = length.ok_or("a reply without Content-Length")?;
            let connection = self.header("Connection").unwrap_or_default();
            if connection.split(", ").all(|token| token != "close") {
                return Err(format!("no `Connection: close` in {:?}", self.headers));
            }
        }
        Ok(Some(end + 4))
    }

    /// Whether the server agreed to compress each message without context.
    fn is_on_its_own(&self) -> bool {
        let agreed = self.header("Sec-WebSocket-Extensions").unwrap_or_default();
        agreed.contains("server_no_context_takeover")
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let agreed = self.header("Sec-WebSocket-Extensions").unwrap_or_default();
        let window_bits = agreed.split("server_max_window_bits=").nth(1).map_or(15, |rest| {
            rest.split(';').next().unwrap_or_default().parse().expect("a number of bits")
        });
        let make = || Box::new(Decompress::new_with_window_bits(false, window_bits));
        let is_on_its_own = self.is_on_its_own();
        let stream = self.stream.get_or_insert_with(make);
        if is_on_its_own {
            stream.reset(false);
        }
        inflated(stream, payload)
    }

    fn parse_frame(&mut self, input: &[u8]) -> Result<Option<usize>, String> {
        let &[first, second, ..] = input else { return Ok(None) };
        let opcode = first & 0x0F;
        let may_be_compressed = opcode < CLOSE && self.header("Sec-WebSocket-Extensions").is_some();
        let is_compressed = may_be_compressed && first & RSV1 != 0;
        let allowed = if is_compressed { FIN | RSV1 } else { FIN };
        if first & 0xF0 != allowed || ![TEXT, BINARY, CLOSE, PING, PONG].contains(&opcode) {
            return Err(format!("frame begins with {first:#x}"));
        }
        let (payload_at, payload_len) = match second {
            0..=125 => (2, usize::from(second)),
            126 => match input.get(2..4) {
                Some(bytes) => (4, usize::from(u16::from_be_bytes(bytes.try_into().unwrap()))),
                None => return Ok(None),
            },
            127 => match input.get(2..10) {
                Some(bytes) => {
                    let length = u64::from_be_bytes(bytes.try_into().unwrap());
                    (10, usize::try_from(length).map_err(|error| error.to_string())?)
                }
                None => return Ok(None),
            },
            _ => return Err("masked server frame".into()),
        };
        let is_minimal = match payload_at {
            2 => true,
            4 => payload_len > 125,
            _ => payload_len > 0xFFFF,
        };
        if !is_minimal || payload_len > 1 << 30 || (opcode >= CLOSE && payload_len > 125) {
            return Err(format!("opcode {opcode} with length {payload_len} in {payload_at} bytes"));
        }
        let Some(payload) = input.get(payload_at..payload_at + payload_len) else {
            return Ok(None);
        };
        let end = payload_at + payload_len;
        let inflated = if is_compressed { Some(self.inflate(payload)?) } else { None };
        let payload = inflated.as_deref().unwrap_or(payload);
        // With context takeover the first message may be a little longer than the plain one.
        let growth_max = if self.is_on_its_own() { 0 } else { 12 };
        if is_compressed && payload_len >= payload.len() + growth_max {
            return Err(format!("{} bytes compressed to {payload_len}", payload.len()));
        }
        let text = if opcode == CLOSE { payload.get(2..).unwrap_or(&[]) } else { payload };
        if matches!(opcode, TEXT | CLOSE) && std::str::from_utf8(text).is_err() {
            return Err(format!("opcode {opcode} with text that is not UTF-8"));
        }
        if opcode == PING {
            self.pings += 1;
        } else if opcode == TEXT && payload == OPERATORS_TEXT.as_bytes() {
            self.from_operator += 1;
        } else {
            self.frames.push(Frame::new(opcode, payload));
        }
        Ok(Some(end))
    }
}

/// What a client of TLS gets where none is spoken: a fatal alert `protocol_version` (RFC 8446 §6.2).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 70];
/// What a client of SSH gets.
const NOT_SSH: &[u8] = b"This port speaks HTTP/1.1 and WebSocket, not SSH.\r\n";
/// What stands for these in place of a status of HTTP.
pub(crate) const NO_STATUS: u16 = 0;

/// Headers of the PROXY protocol: for 192.0.2.1, port 4711, and one that names no client.
pub(crate) const PROXY_V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n";
pub(crate) const PROXY_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x67\x01\xbb";
pub(crate) const PROXY_V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
