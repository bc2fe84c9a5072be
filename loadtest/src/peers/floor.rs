//! The floor: an echo server that keeps nothing for a connection but its descriptor in epoll.
//!
//! No table, no state, no buffer, no timer: the kernel hands the descriptor back with each event,
//! and whether bytes are a request or a frame is told by looking at them. What is left is what the
//! kernel itself costs. Nobody should serve with it: a client that sends half a frame is sent away,
//! and one that says nothing stays for ever.

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
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            outcome => outcome?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept_all(&listener, &epoll)?;
            } else if let Ok(descriptor) = RawFd::try_from(event.data())
                && !serve_readable(descriptor, &mut buffer)
            {
                // Takes it off epoll as well.
                close(descriptor)?;
            }
        }
    }
}

/// The descriptor of an accepted connection is known to epoll alone.
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

/// Answers what there is to read; tells whether the connection goes on.
fn serve_readable(descriptor: RawFd, buffer: &mut [u8]) -> bool {
    let input_bytes = match recv(descriptor, buffer, MsgFlags::empty()) {
        Ok(0) => return false,
        Ok(input_bytes) => input_bytes,
        Err(error) => return error == Errno::EAGAIN || error == Errno::EINTR,
    };
    let input = &mut buffer[..input_bytes];
    // No frame of a client begins like that: 'G' would be a reserved bit.
    if input.starts_with(b"GET ") {
        return accept_answer(input).is_some_and(|answer| send_all(descriptor, &answer));
    }
    answer_frames(input, |answer| send_all(descriptor, answer))
}

/// The 101 to a request that is there as a whole.
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

/// Answers the frames in `input`, which must be short and whole; tells whether the connection goes
/// on. The client's header leaves room for the server's: the answer is made where the frame lies.
fn answer_frames(mut input: &mut [u8], mut send: impl FnMut(&[u8]) -> bool) -> bool {
    while !input.is_empty() {
        let [first, second, a, b, c, d, rest @ ..] = input else {
            return false;
        };
        let (payload_bytes, mask) = (usize::from(*second & 0x7f), [*a, *b, *c, *d]);
        let (is_masked, opcode) = (*second & 0x80 != 0, *first & 0x0f);
        if !is_masked || payload_bytes > PAYLOAD_BYTES_MAX || rest.len() < payload_bytes {
            return false;
        }
        for (byte, mask) in rest[..payload_bytes].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        let (frame, others) = input.split_at_mut(HEADER_BYTES + payload_bytes);
        if opcode == PING {
            frame[0] ^= PING ^ PONG;
        }
        frame[HEADER_BYTES - 2] = frame[0];
        frame[HEADER_BYTES - 1] = frame[1] & 0x7f;
        if opcode != PONG && !send(&frame[HEADER_BYTES - 2..]) || opcode == CLOSE {
            return false;
        }
        input = others;
    }
    true
}

/// Small answers on idle connections always fit into the kernel's buffer.
fn send_all(descriptor: RawFd, bytes: &[u8]) -> bool {
    send(descriptor, bytes, MsgFlags::MSG_NOSIGNAL) == Ok(bytes.len())
}

/// No descriptor.
const LISTENER: u64 = u64::MAX;
const EVENTS_PER_WAIT: usize = 256;
const BUFFER_BYTES: usize = 16 * 1024;
/// Of a client's short frame: two bytes and the mask.
const HEADER_BYTES: usize = 6;
/// What fits the short length.
const PAYLOAD_BYTES_MAX: usize = 125;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![first, 0x80 | length];
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Whether the connection goes on, and what was sent.
    fn answers(mut input: Vec<u8>) -> (bool, Vec<u8>) {
        let mut sent = Vec::new();
        let goes_on = answer_frames(&mut input, |answer| {
            sent.extend_from_slice(answer);
            true
        });
        (goes_on, sent)
    }

    #[test]
    fn frames_are_answered_where_they_lie() {
        assert_eq!(answers(masked(0x81, b"hello")), (true, b"\x81\x05hello".to_vec()));
        assert_eq!(answers(masked(0x89, b"hi")), (true, b"\x8a\x02hi".to_vec()));
        assert_eq!(answers(masked(0x8a, b"hi")), (true, Vec::new()));
        assert_eq!(answers(masked(0x88, b"\x03\xe8")), (false, b"\x88\x02\x03\xe8".to_vec()));
        let two = [masked(0x81, b"a"), masked(0x82, b"")].concat();
        assert_eq!(answers(two), (true, b"\x81\x01a\x82\x00".to_vec()));
    }

    #[test]
    fn half_a_frame_is_the_end() {
        let mut half = masked(0x81, b"hello");
        half.pop();
        assert_eq!(answers(half), (false, Vec::new()));
        assert_eq!(answers(b"\x81\x05hello".to_vec()), (false, Vec::new()), "not masked");
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
