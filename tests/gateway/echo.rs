//! `/echo` returns messages of every size, kind and fragmentation, in order.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use proptest::prelude::*;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use crate::frames::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, client_frame, close_payload, sample_bytes,
    sample_text,
};
use crate::gateway::Gateway;
use crate::messages::{Request, connect};
use crate::socket::{Frame, Socket};

/// Both sides of each boundary between the length encodings, and of the message limit.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65_535, 65_536, (1 << 20) - 1, 1 << 20];

/// tungstenite on a connection that it upgraded itself.
fn client(address: SocketAddr) -> WebSocket<TcpStream> {
    let (client, response) =
        tungstenite::client(format!("ws://{address}/echo"), connect(address)).unwrap();
    assert_eq!(response.status(), 101);
    client
}

#[test]
fn messages_of_every_size_come_back() {
    let gateway = Gateway::start();
    let mut client = client(gateway.address());
    for size in SIZES {
        for message in [Message::binary(sample_bytes(size)), Message::text(sample_text(size))] {
            client.send(message.clone()).unwrap();
            assert!(client.read().unwrap() == message, "{size} bytes");
        }
    }
    client.close(None).unwrap();
    while client.read().is_ok() {}
}

#[test]
fn messages_in_fragments_come_back_whole() {
    let gateway = Gateway::start();
    let mut socket = Socket::open(gateway.address());
    for size in SIZES {
        let text = sample_text(size);
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size.div_ceil(5).max(1)).collect();
        let mut bytes = client_frame(TEXT & !FIN, b"");
        for piece in &pieces {
            bytes.extend(client_frame(CONTINUATION, piece));
            bytes.extend(client_frame(PING, b"between"));
        }
        bytes.extend(client_frame(CONTINUATION | FIN, b""));
        socket.send(&bytes);
        for _ in &pieces {
            assert_eq!(socket.receive_frame(), Frame { first: PONG, payload: b"between".to_vec() });
        }
        let frame = socket.receive_frame();
        assert!(frame.first == TEXT && frame.payload == text.as_bytes(), "{size} bytes");
    }
    socket.close();
}

#[test]
fn frames_may_come_byte_by_byte() {
    let gateway = Gateway::start();
    let mut socket = Socket::open(gateway.address());
    for size in [0, 1, 125, 126, 400] {
        for byte in client_frame(BINARY, &sample_bytes(size)) {
            socket.stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(socket.receive_frame().payload, sample_bytes(size));
    }
    socket.close();
}

#[test]
fn a_message_over_the_limit_is_refused_with_1009() {
    let gateway = Gateway::start();
    let mut socket = Socket::open(gateway.address());
    socket.send(&client_frame(BINARY, &sample_bytes((1 << 20) + 1)));
    socket.assert_closed_with(1009);

    let mut socket = Socket::open(gateway.address());
    let half = sample_bytes((1 << 19) + 1);
    socket.send(&client_frame(BINARY & !FIN, &half));
    socket.send(&client_frame(CONTINUATION | FIN, &half));
    socket.assert_closed_with(1009);
}

#[test]
fn close_frame_is_answered_with_the_same_code_and_the_gateway_closes_first() {
    let gateway = Gateway::start();
    for code in [1000, 1001, 1003, 1014, 3000, 4999] {
        let mut socket = Socket::open(gateway.address());
        socket.assert_echoes(b"before");
        let mut bytes = client_frame(BINARY, b"last");
        bytes.extend(client_frame(CLOSE, &close_payload(code, "bye")));
        // What follows a close frame must not be answered (RFC 6455 §5.5.1).
        bytes.extend(client_frame(BINARY, b"too late"));
        socket.send(&bytes);
        assert_eq!(socket.receive_frame().payload, b"last");
        socket.assert_close_answered(code);
    }
    let mut socket = Socket::open(gateway.address());
    socket.send(&client_frame(CLOSE, b""));
    assert_eq!(socket.receive_frame(), Frame { first: CLOSE, payload: vec![] });
    socket.assert_ended();
}

#[test]
fn a_violation_is_closed_with_the_code_of_rfc_6455() {
    let gateway = Gateway::start();
    let half_a_character = &"張".as_bytes()[..2];
    for (code, bytes) in [
        (1002, crate::frames::server_frame(TEXT, b"not masked")),
        (1002, client_frame(TEXT | 0x40, b"RSV1")),
        (1002, client_frame(0x83, b"reserved opcode")),
        (1002, client_frame(CONTINUATION | FIN, b"of nothing")),
        (1002, client_frame(PING & !FIN, b"in pieces")),
        (1002, client_frame(PING, &[0; 126])),
        (1002, client_frame(CLOSE, &close_payload(1005, ""))),
        (1002, client_frame(CLOSE, b"\x03")),
        (1007, client_frame(CLOSE, b"\x03\xe8\xff")),
        (1007, client_frame(TEXT, half_a_character)),
        (1007, client_frame(TEXT & !FIN, b"certain \xff at once")),
    ] {
        let mut socket = Socket::open(gateway.address());
        // Messages before the violation are answered, messages after it are not.
        let mut stream = client_frame(TEXT, b"fine");
        stream.extend(&bytes);
        stream.extend(client_frame(TEXT, b"too late"));
        socket.send(&stream);
        assert_eq!(socket.receive_frame().payload, b"fine");
        socket.assert_closed_with(code);
    }
}

#[test]
fn clients_of_several_loops_receive_only_their_own_messages() {
    let gateway = Gateway::with_config("loops = 4");
    thread::scope(|scope| {
        for number in 0..8_u32 {
            let address = gateway.address();
            scope.spawn(move || {
                for _ in 0..4 {
                    let mut client = client(address);
                    for at in 0..50 {
                        let message = Message::text(format!("client {number}, message {at}"));
                        client.send(message.clone()).unwrap();
                        assert_eq!(client.read().unwrap(), message);
                    }
                    let bye = CloseFrame { code: 4000.into(), reason: "enough".into() };
                    client.close(Some(bye)).unwrap();
                    assert!(matches!(client.read(), Ok(Message::Close(Some(frame)))
                        if frame.code == 4000.into()));
                }
            });
        }
    });
    gateway.assert_counter("upgrades", 32);
    gateway.assert_counter("messages_in", 32 * 50);
    gateway.assert_counter("closed_by_peer", 32);
}

/// One step of a client.
#[derive(Clone, Debug)]
enum Act {
    Ping(Vec<u8>),
    /// A message, fragmented at these positions.
    Send(Message, Vec<prop::sample::Index>),
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![4 => 0..300_usize, 1 => 60_000..70_000_usize, 1 => 0..200_000_usize];
    let message = (size, any::<bool>()).prop_map(|(size, is_text)| {
        if is_text { sample_text(size).into() } else { sample_bytes(size).into() }
    });
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(Act::Ping),
        3 => (message, prop::collection::vec(any::<prop::sample::Index>(), 0..4))
            .prop_map(|(message, cuts)| Act::Send(message, cuts)),
    ]
}

/// The bytes of these steps, and the expected answers.
fn script(acts: Vec<Act>) -> (Vec<u8>, Vec<Message>) {
    let (mut bytes, mut answers) = (Vec::new(), Vec::new());
    for act in acts {
        match act {
            Act::Ping(payload) => {
                bytes.extend(client_frame(PING, &payload));
                answers.push(Message::Pong(payload.into()));
            }
            Act::Send(message, cuts) => {
                let payload = message.clone().into_data();
                let mut cuts: Vec<usize> =
                    cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
                cuts.sort_unstable();
                let ends = cuts.iter().copied().chain([payload.len()]);
                let starts = [0].into_iter().chain(cuts.iter().copied());
                let mut first = if message.is_text() { TEXT & !FIN } else { BINARY & !FIN };
                for (number, (start, end)) in starts.zip(ends).enumerate() {
                    let fin = if number == cuts.len() { FIN } else { 0 };
                    bytes.extend(client_frame(first | fin, &payload[start..end]));
                    first = CONTINUATION;
                }
                answers.push(message);
            }
        }
    }
    (bytes, answers)
}

#[test]
fn any_script_in_any_segments_is_answered_in_order() {
    let gateway = Gateway::start();
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() };
    let acts = prop::collection::vec(act(), 1..12);
    let segments = prop::collection::vec(1..40_000_usize, 1..20);
    proptest!(config, |(acts in acts, segments in segments)| {
        let (bytes, answers) = script(acts);
        let mut socket = Socket::open(gateway.address());
        let mut writer = socket.stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut rest = &bytes[..];
                for segment in segments.iter().cycle() {
                    let (now, later) = rest.split_at(rest.len().min(*segment));
                    writer.write_all(now).unwrap();
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
            });
            // tungstenite reads the frames, so that a fault in the helpers of this file shows.
            let config = WebSocketConfig::default();
            let stream = &mut socket.stream;
            let mut client = WebSocket::from_raw_socket(stream, Role::Client, Some(config));
            for answer in answers {
                assert!(client.read().unwrap() == answer, "{} bytes", answer.len());
            }
        });
        socket.close();
    });
}

#[test]
fn a_client_that_half_closes_still_receives_its_answer() {
    let gateway = Gateway::start();
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade("/echo").bytes());
    socket.send(&client_frame(TEXT, b"last message"));
    socket.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(socket.receive_head().status, 101);
    assert_eq!(socket.receive_frame().payload, b"last message");
    socket.assert_ended();
}
