//! The lower bound for an echo server: it keeps nothing for a connection but its descriptor in
//! epoll.
//!
//! It has no table, no state, no buffer and no timer. The kernel returns the descriptor with each
//! event, and the first bytes show whether the input is a request or a frame. What remains is the
//! cost of the kernel. For the broadcast it keeps the descriptors of the connections to
//! `/broadcast`. It is not a server for real clients: it drops a client that sends half of a frame,
//! and keeps a silent one for ever.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, IntoRawFd as _, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::close;
use tungstenite::handshake::derive_accept_key;

use super::listener::listen;

/// Serves until the process is ended.
pub(super) fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_WAIT];
    let mut buffer = [0; BUFFER_BYTES];
    let mut subscribers = BTreeSet::new();
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            outcome => outcome?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept_all(&listener, &epoll)?;
            } else if let Ok(descriptor) = RawFd::try_from(event.data())
                && !serve_readable(descriptor, &mut buffer, &mut subscribers)
            {
                subscribers.remove(&descriptor);
                // Also removes the descriptor from epoll.
                close(descriptor)?;
            }
        }
    }
}

/// Accepts all waiting connections. Only epoll keeps their descriptors.
fn accept_all(listener: &TcpListener, epoll: &Epoll) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        // A descriptor is never negative.
        let data = stream.as_raw_fd().unsigned_abs().into();
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, data))?;
        let _ = stream.into_raw_fd();
    }
}

/// Answers the input of a connection; returns whether to keep it.
fn serve_readable(descriptor: RawFd, buffer: &mut [u8], subscribers: &mut BTreeSet<RawFd>) -> bool {
    let input_bytes = match recv(descriptor, buffer, MsgFlags::empty()) {
        Ok(0) => return false,
        Ok(input_bytes) => input_bytes,
        Err(error) => return error == Errno::EAGAIN || error == Errno::EINTR,
    };
    let input = &mut buffer[..input_bytes];
    // No frame begins with a 'G', in which a reserved bit is set.
    if input.starts_with(b"GET ") {
        if input.starts_with(b"GET /broadcast ") {
            subscribers.insert(descriptor);
        }
        return accept_answer(input).is_some_and(|answer| send_all(descriptor, &answer));
    }
    let Some(answers) = answer_frames(input) else {
        return false;
    };
    let bytes = &input[..answers.bytes];
    if answers.has_data && subscribers.contains(&descriptor) {
        for subscriber in &*subscribers {
            // A subscriber whose buffer is full loses a part, which its client reports.
            send_all(*subscriber, bytes);
        }
        return !answers.has_control;
    }
    send_all(descriptor, bytes) && !answers.is_end
}

/// The 101 response to a complete request.
fn accept_answer(request: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(request).ok()?.strip_suffix("\r\n\r\n")?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Sec-WebSocket-Key").then_some(value.trim())
    })?;
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Some(answer.into_bytes())
}

/// The answers to a batch of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answers {
    bytes: usize,
    has_data: bool,
    has_control: bool,
    /// The last frame is a Close.
    is_end: bool,
}

/// Writes the answers over the front of `input`, where they fit because a client's header is longer
/// than a server's. `None` unless `input` consists of whole frames.
fn answer_frames(input: &mut [u8]) -> Option<Answers> {
    let mut answers = Answers::default();
    let mut at = 0;
    while at < input.len() && !answers.is_end {
        let (first, second) = (input[at], *input.get(at + 1)?);
        let (header_bytes, payload_bytes) = match second & 0x7f {
            LENGTH_IN_TWO_BYTES => {
                let length = input.get(at + 2..at + 4)?;
                (4, usize::from(length[0]) << 8 | usize::from(length[1]))
            }
            length if usize::from(length) <= PAYLOAD_BYTES_MAX => (2, usize::from(length)),
            _ => return None,
        };
        let payload_at = at + header_bytes + MASK_BYTES;
        let end = payload_at + payload_bytes;
        if second & 0x80 == 0 || input.len() < end {
            return None;
        }
        let opcode = first & 0x0f;
        answers.has_data |= opcode < CLOSE;
        answers.has_control |= opcode >= CLOSE;
        answers.is_end = opcode == CLOSE;
        if opcode != PONG {
            unmask(&mut input[payload_at - MASK_BYTES..end]);
            let answer_at = answers.bytes;
            input.copy_within(at..at + header_bytes, answer_at);
            input.copy_within(payload_at..end, answer_at + header_bytes);
            input[answer_at + 1] &= 0x7f;
            if opcode == PING {
                input[answer_at] ^= PING ^ PONG;
            }
            answers.bytes += header_bytes + payload_bytes;
        }
        at = end;
    }
    Some(answers)
}

/// Unmasks a payload that follows its mask, in words of 8 bytes: the lower bound must not be slower
/// than the servers that it is compared with.
fn unmask(masked: &mut [u8]) {
    let Some((mask, payload)) = masked.split_first_chunk_mut::<MASK_BYTES>() else { return };
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= mask;
    }
}

/// Returns whether the kernel took all bytes, which it does for small answers to clients that read.
fn send_all(descriptor: RawFd, bytes: &[u8]) -> bool {
    send(descriptor, bytes, MsgFlags::MSG_NOSIGNAL) == Ok(bytes.len())
}

/// The data of the listener's events: no descriptor has this number.
const LISTENER: u64 = u64::MAX;
const EVENTS_PER_WAIT: usize = 256;
const BUFFER_BYTES: usize = 16 * 1024;
/// The most bytes that a client may have in flight, so that one read takes them all.
pub(crate) const BYTES_AT_ONCE_MAX: usize = BUFFER_BYTES - 1;
const MASK_BYTES: usize = 4;
/// Announces a length in the two bytes that follow.
const LENGTH_IN_TWO_BYTES: u8 = 126;
/// The longest payload whose length fits into the second byte.
const PAYLOAD_BYTES_MAX: usize = 125;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = match u8::try_from(payload.len()) {
            Ok(length @ ..=125) => vec![first, 0x80 | length],
            _ => {
                let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
                vec![first, 0x80 | LENGTH_IN_TWO_BYTES, high, low]
            }
        };
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// The answers, and whether the connection is kept.
    fn answers(mut input: Vec<u8>) -> Option<(Vec<u8>, bool)> {
        let answers = answer_frames(&mut input)?;
        input.truncate(answers.bytes);
        Some((input, !answers.is_end))
    }

    #[test]
    fn frames_are_answered_in_place() {
        let goes_on = |answer: &[u8]| Some((answer.to_vec(), true));
        assert_eq!(answers(masked(0x81, b"hello")), goes_on(b"\x81\x05hello"));
        assert_eq!(answers(masked(0x89, b"hi")), goes_on(b"\x8a\x02hi"));
        assert_eq!(answers(masked(0x8a, b"hi")), goes_on(b""));
        let end = Some((b"\x88\x02\x03\xe8".to_vec(), false));
        assert_eq!(answers(masked(0x88, b"\x03\xe8")), end);
        let three = [masked(0x81, b"a"), masked(0x8a, b"pong"), masked(0x82, b"")].concat();
        assert_eq!(answers(three), goes_on(b"\x81\x01a\x82\x00"));
    }

    #[test]
    fn longer_frames_are_answered_too() {
        let payload = [7; 300];
        let answer = [&b"\x82\x7e\x01\x2c"[..], &payload].concat();
        assert_eq!(answers(masked(0x82, &payload)), Some((answer, true)));
    }

    #[test]
    fn half_a_frame_is_refused() {
        for payload in [&b"hello"[..], &[7; 300]] {
            let whole = masked(0x81, payload);
            for bytes in 1..whole.len() {
                assert_eq!(answers(whole[..bytes].to_vec()), None, "{bytes} bytes");
            }
        }
        assert_eq!(answers(b"\x81\x05hello".to_vec()), None, "not masked");
    }

    #[test]
    fn a_whole_request_is_accepted() {
        let request = b"GET / HTTP/1.1\r\nsec-websocket-key: m3xNMIzhueJyd3N66EAK6w==\r\n\r\n";
        let answer = String::from_utf8(accept_answer(request).unwrap()).unwrap();
        assert!(answer.contains("Accept: qgWIKoKflyd9H8L/jCNa8XP4CYQ=\r\n\r\n"), "{answer}");
        assert_eq!(accept_answer(&request[..request.len() - 1]), None);
        assert_eq!(accept_answer(b"GET / HTTP/1.1\r\n\r\n"), None);
    }
}
