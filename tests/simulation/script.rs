//! The bytes that a client of the sweep sends, made from a seed, and the replies that it must
//! receive for them.

use tidegate::sim::Random;

use crate::wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, NO_STATUS, PING, PONG, RSV1, Sender, TEXT,
    client_frame, client_header, deflated, upgrade_request, upgrade_request_offering_deflate,
};

/// What one client sends and must receive.
#[derive(Debug)]
pub(crate) struct Script {
    /// All bytes that the client sends, in order.
    pub(crate) bytes: Vec<u8>,
    /// Where the HTTP request ends.
    pub(crate) head_end: usize,
    /// Frame boundaries, at which a pong may be inserted.
    pub(crate) gaps: Vec<usize>,
    pub(crate) answer: Answer,
}

/// What the client must receive if no disturbance prevents it.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing, because the request is never complete.
    Nothing,
    /// An HTTP reply with this status.
    Reply(u16),
    /// A 101, then these replies. Echo returns every message, the relay answers only pings.
    Socket { is_relay: bool, replies: Vec<Frame>, end: End },
}

/// How the conversation ends by what the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client sends a close frame and receives the same code after all replies.
    Closed(Option<u16>),
    /// The client breaks a rule and receives this code after some of the replies.
    Broken(u16),
    /// The client asks the relay to close it with 1000.
    Dismissed,
    /// The client sends no close frame and breaks no rule.
    Open,
}

/// Bounds of a script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) message_bytes_max: usize,
    /// No message is larger than this, even where the limit would allow it.
    pub(crate) payload_bytes_max: usize,
    /// The window of context takeover, `None` where it is off.
    pub(crate) context_bits: Option<u8>,
}

impl Script {
    /// A random script.
    pub(crate) fn random(random: &mut Random, bounds: Bounds) -> Self {
        match random.below(20) {
            0 => Self::unfinished(random),
            1 | 2 => Self::refused(random),
            3 => Self::page(),
            4..=13 => Self::socket(random, bounds, false),
            _ => Self::socket(random, bounds, true),
        }
    }

    fn unfinished(random: &mut Random) -> Self {
        let mut bytes = upgrade_request("/echo");
        bytes.truncate(random.below(bytes.len()));
        Self { head_end: bytes.len(), bytes, gaps: Vec::new(), answer: Answer::Nothing }
    }

    fn page() -> Self {
        let bytes = b"GET / HTTP/1.1\r\nHost: sim.example\r\n\r\n".to_vec();
        Self { head_end: bytes.len(), bytes, gaps: Vec::new(), answer: Answer::Reply(200) }
    }

    fn refused(random: &mut Random) -> Self {
        let valid = String::from_utf8(upgrade_request("/echo")).unwrap();
        let (request, status) = match random.below(9) {
            0 => (valid.replace("/echo", "/nowhere"), 404),
            1 => (valid.replace("GET /echo", "POST /echo"), 405),
            2 => (valid.replace("Version: 13", "Version: 8"), 426),
            3 => (valid.replace("Key: dGhl", "Key: x"), 400),
            4 => (valid.replace("Host: sim.example\r\n", ""), 400),
            5 => (valid.replace("Upgrade: websocket\r\n", "Origin: https://a.example\r\n"), 426),
            6 => (valid.replace("Upgrade: web", "Origin: https://a.example\r\nUpgrade: web"), 403),
            7 => ("\u{16}\u{3}\u{1}\0".repeat(40), NO_STATUS),
            _ => (valid.replace("Host:", &format!("X: {}\r\nHost:", "y".repeat(9_000))), 431),
        };
        let mut bytes = request.into_bytes();
        let head_end = bytes.len();
        let body_bytes = random.below(3) * random.below(3) * 40_000;
        bytes.resize(head_end + body_bytes, b'b');
        Self { bytes, head_end, gaps: Vec::new(), answer: Answer::Reply(status) }
    }

    fn socket(random: &mut Random, bounds: Bounds, is_relay: bool) -> Self {
        let path = if is_relay { "/relay" } else { "/echo" };
        let is_compressed = random.percent(40);
        let (offer, sender) = offer(random, bounds);
        let mut bytes = match is_compressed {
            true => upgrade_request_offering_deflate(path, &offer),
            false => upgrade_request(path),
        };
        let head_end = bytes.len();
        let message_bytes_max = bounds.message_bytes_max;
        let compressed_bytes_max = if is_compressed { message_bytes_max } else { 0 };
        let mut script = Writer {
            gaps: vec![head_end],
            bytes,
            replies: Vec::new(),
            compressed_bytes_max,
            sender,
        };
        for _ in 0..random.below(12) {
            if is_relay {
                script.relay_text(random, bounds);
            } else {
                script.message(random, bounds);
            }
        }
        let end = match random.below(10) {
            0..=2 => script.close(random),
            3..=4 => script.broken(random, bounds),
            5 if is_relay => {
                script.frames(random, TEXT, b"bye", 1);
                End::Dismissed
            }
            _ => End::Open,
        };
        let Writer { gaps, replies, .. } = script;
        bytes = script.bytes;
        Self { bytes, head_end, gaps, answer: Answer::Socket { is_relay, replies, end } }
    }
}

/// Writes frames and records the replies that they must get.
struct Writer {
    bytes: Vec<u8>,
    gaps: Vec<usize>,
    replies: Vec<Frame>,
    /// The largest compressed message; 0 if compression was not offered.
    compressed_bytes_max: usize,
    /// The compressor, where context takeover was offered.
    sender: Option<Sender>,
}

impl Writer {
    fn message(&mut self, random: &mut Random, bounds: Bounds) {
        let length = length(random, bounds);
        let opcode = if random.percent(50) { TEXT } else { BINARY };
        let payload = if opcode == TEXT { text(random, length) } else { filler(random, length) };
        let pieces = 1 + random.below(2) * random.below(4);
        self.frames(random, opcode, &payload, pieces);
        self.replies.push(Frame { opcode, payload });
    }

    fn relay_text(&mut self, random: &mut Random, bounds: Bounds) {
        let text = match random.below(12) {
            0 => b"close".to_vec(),
            1 => b"pair".to_vec(),
            2 => format!("push {} {}", random.below(150), random.below(1_500)).into_bytes(),
            _ => {
                let length = length(random, bounds).saturating_sub(30);
                let filler = text(random, length);
                let mut cast = format!("cast {} {} ", random.below(6), self.bytes.len());
                cast.truncate(bounds.message_bytes_max);
                [cast.into_bytes(), filler].concat()
            }
        };
        let pieces = 1 + random.below(3);
        self.frames(random, TEXT, &text, pieces);
    }

    /// One message in frames, with pings in between.
    fn frames(&mut self, random: &mut Random, opcode: u8, payload: &[u8], pieces: usize) {
        let compressed = match self.compressed_bytes_max {
            0 => None,
            _ if random.percent(30) => None,
            max => self.compressed(payload, max),
        };
        let mut opcode = if compressed.is_some() { opcode | RSV1 } else { opcode };
        let mut rest = compressed.as_deref().unwrap_or(payload);
        for piece in 1..=pieces {
            let length = if piece == pieces { rest.len() } else { random.below(rest.len() + 1) };
            let (now, later) = rest.split_at(length);
            let fin = if piece == pieces { FIN } else { 0 };
            self.frame(random, fin | opcode, now);
            (opcode, rest) = (CONTINUATION, later);
            if piece < pieces && random.percent(25) {
                let length = random.below(126);
                let payload = filler(random, length);
                self.frame(random, FIN | PING, &payload);
                self.replies.push(Frame { opcode: PONG, payload });
            }
            if random.percent(5) {
                self.frame(random, FIN | PONG, b"unasked");
            }
        }
    }

    /// The message compressed, if that takes at most `max` bytes.
    fn compressed(&mut self, payload: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let Some(sender) = &mut self.sender else {
            return Some(deflated(payload)).filter(|compressed| compressed.len() <= bytes_max);
        };
        let compressed = sender.deflated(payload);
        if compressed.len() > bytes_max {
            sender.forget();
            return None;
        }
        Some(compressed)
    }

    fn frame(&mut self, random: &mut Random, first: u8, payload: &[u8]) {
        let mask = if random.percent(10) { [0; 4] } else { mask(random) };
        self.bytes.extend(client_frame(first, payload, mask));
        self.gaps.push(self.bytes.len());
    }

    /// A close frame, well-formed or not, and more that must be ignored.
    fn close(&mut self, random: &mut Random) -> End {
        let (payload, end): (&[u8], End) = match random.below(8) {
            0 => (b"", End::Closed(None)),
            1 => (b"\x03\xe8", End::Closed(Some(1000))),
            2 => (b"\x0f\xa1because", End::Closed(Some(4001))),
            3 => (b"\x03\xe9\xe2\x82\xac", End::Closed(Some(1001))),
            4 => (b"\x03", End::Broken(1002)),
            5 => (b"\x03\xed", End::Broken(1002)),
            6 => (b"\x03\xe8\xff", End::Broken(1007)),
            _ => (b"\x27\x0f", End::Broken(1002)),
        };
        self.bytes.extend(client_frame(FIN | CLOSE, payload, mask(random)));
        self.afterwards(random);
        end
    }

    /// Something against the rules.
    fn broken(&mut self, random: &mut Random, bounds: Bounds) -> End {
        let too_long = bounds.message_bytes_max as u64 + 1;
        let mask = mask(random);
        if self.compressed_bytes_max > 0 && random.percent(50) {
            return self.broken_compressed(random, bounds);
        }
        let (bytes, code) = match random.below(15) {
            // With compression it would be the start of a message.
            1 if self.compressed_bytes_max > 0 => (client_frame(FIN | 3, b"", mask), 1002),
            0 => (b"\x81\x02hi".to_vec(), 1002),
            1 => (client_frame(FIN | 0x40 | TEXT, b"rsv1", mask), 1002),
            2 => (client_frame(FIN | 0x10 | TEXT, b"rsv3", mask), 1002),
            3 => (client_frame(FIN | 3, b"reserved", mask), 1002),
            4 => (client_frame(PING, b"fragmented", mask), 1002),
            5 => (client_frame(FIN | PING, &[0; 126], mask), 1002),
            6 => (client_frame(FIN | CONTINUATION, b"of nothing", mask), 1002),
            7 => {
                let first = client_frame(TEXT, b"one", mask);
                ([first, client_frame(FIN | TEXT, b"two", mask)].concat(), 1002)
            }
            8 => (b"\x82\xfe\x00\x01abcdx".to_vec(), 1002),
            9 => (b"\x82\xff\x80\0\0\0\0\0\0\0abcd".to_vec(), 1002),
            10 => (client_header(FIN | BINARY, too_long, mask), 1009),
            11 => (client_header(FIN | TEXT, 1 << 62, mask), 1009),
            12 => (client_frame(FIN | TEXT, b"caf\xe9 au lait", mask), 1007),
            13 => (client_frame(FIN | TEXT, b"cut \xe2\x82", mask), 1007),
            _ => {
                // Certain at the surrogate, though its frame goes on.
                let long = [b"ok \xed\xa0".to_vec(), vec![b'x'; 500]].concat();
                (client_frame(TEXT, &long, mask), 1007)
            }
        };
        self.bytes.extend(bytes);
        self.afterwards(random);
        End::Broken(code)
    }

    /// Something against the rules of compression.
    fn broken_compressed(&mut self, random: &mut Random, bounds: Bounds) -> End {
        let mask = mask(random);
        let text = deflated(&b"again and again and again ".repeat(20));
        let message = |payload: &[u8]| client_frame(FIN | RSV1 | TEXT, payload, mask);
        let (bytes, code) = match random.below(6) {
            0 => (message(&text[..text.len() / 2]), 1007),
            1 => (message(b"\xff\xff\xff"), 1007),
            2 => (message(&deflated(b"caf\xe9 au lait")), 1007),
            3 => (message(&deflated(&vec![b'x'; bounds.message_bytes_max + 1])), 1009),
            4 => (client_frame(FIN | RSV1 | PING, b"", mask), 1002),
            _ => {
                let first = client_frame(RSV1 | TEXT, &text[..5], mask);
                let last = client_frame(FIN | RSV1 | CONTINUATION, &text[5..], mask);
                ([first, last].concat(), 1002)
            }
        };
        self.bytes.extend(bytes);
        self.afterwards(random);
        End::Broken(code)
    }

    /// Up to 300,000 bytes after the end of the conversation, which the server must ignore.
    fn afterwards(&mut self, random: &mut Random) {
        let length = random.below(2) * random.below(2) * random.below(300_000);
        self.bytes.extend(filler(random, length));
    }
}

/// Parameters of an offer, and what compresses if they are answered as they must be.
fn offer(random: &mut Random, bounds: Bounds) -> (String, Option<Sender>) {
    let mut offer = format!("; server_max_window_bits={}", 9 + random.below(7));
    if random.percent(30) {
        offer.push_str("; server_no_context_takeover");
    }
    let sender = match bounds.context_bits {
        Some(bits) if random.percent(60) => {
            offer.push_str("; client_max_window_bits");
            Some(Sender::new(bits))
        }
        _ => None,
    };
    (offer, sender)
}

fn mask(random: &mut Random) -> [u8; 4] {
    let bytes = random.next_u64().to_le_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

/// Mostly short, sometimes at a boundary, now and then long.
fn length(random: &mut Random, bounds: Bounds) -> usize {
    let length = match random.below(20) {
        0 => 0,
        1 => 125 + random.below(2),
        2 => 65_535 + random.below(2),
        3 => random.below(200 << 10),
        4 => bounds.message_bytes_max,
        5..=8 => random.below(5_000),
        _ => random.below(200),
    };
    length.min(bounds.message_bytes_max).min(bounds.payload_bytes_max)
}

/// Bytes that differ between messages and within one.
fn filler(random: &mut Random, length: usize) -> Vec<u8> {
    let pattern: Vec<u8> = (0..31).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    let mut bytes = pattern.repeat(length.div_ceil(pattern.len()));
    bytes.truncate(length);
    bytes
}

/// Text of exactly `length` bytes with characters of all lengths.
fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let start = random.below(26);
    let pattern: String = (start..start + 7)
        .flat_map(|at| [char::from(b'a' + u8::try_from(at % 26).unwrap()), 'é', '€', '𝄞'])
        .collect();
    let mut text = pattern.repeat(length / pattern.len() + 1);
    text.truncate(text.floor_char_boundary(length));
    let mut bytes = text.into_bytes();
    bytes.resize(length, b'.');
    bytes
}
