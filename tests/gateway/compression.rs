//! Compressed messages over real sockets, compressed and decompressed here with flate2.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::frames::{
    BINARY, CONTINUATION, FIN, PING, PONG, TEXT, client_frame, sample_bytes, sample_text,
};
use crate::gateway::Gateway;
use crate::messages::Request;
use crate::socket::{Frame, Socket};
use crate::wait::until;

/// Set on the first frame of a compressed message (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// A connection on `path` whose offer of extensions got this answer.
pub(crate) fn open(gateway: &Gateway, path: &str, offer: &str, answer: Option<&str>) -> Socket {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade(path).with("Sec-WebSocket-Extensions", offer).bytes());
    let reply = socket.receive_head();
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(reply.header("Sec-WebSocket-Extensions"), answer);
    socket
}

fn open_echo(gateway: &Gateway) -> Socket {
    open(gateway, "/echo", OFFER, Some(AGREED))
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut stream = Compress::new(Compression::default(), false);
    let mut output = Vec::with_capacity(message.len() + message.len() / 100 + 100);
    stream.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
    output.truncate(output.len() - 4);
    output
}

/// The message in a frame, decompressed with a window of `window_bits` if RSV1 is set.
fn inflated(frame: &Frame, window_bits: u8) -> Vec<u8> {
    if frame.first & RSV1 == 0 {
        return frame.payload.clone();
    }
    let mut stream = Decompress::new_with_window_bits(false, window_bits);
    let mut output = Vec::with_capacity(4 << 20);
    let input = [&frame.payload[..], &[0, 0, 0xFF, 0xFF]].concat();
    stream.decompress_vec(&input, &mut output, FlushDecompress::Sync).unwrap();
    assert_eq!(stream.total_in(), input.len() as u64);
    output
}

/// JSON of about `len` bytes.
pub(crate) fn json(len: usize) -> Vec<u8> {
    let mut text = String::from("[");
    for number in 0.. {
        if text.len() >= len {
            break;
        }
        text += &format!("{{\"id\":{number},\"price\":{}.25}},", number * 7919 % 1000);
    }
    text.into_bytes()
}

#[test]
fn messages_of_every_size_come_back_compressed_or_not() {
    let gateway = Gateway::start();
    let mut socket = open_echo(&gateway);
    for len in [0, 1, 125, 126, 1023, 1024, 65_535, 65_536, 1 << 20] {
        for (first, message) in [
            (BINARY, json(len)),
            (TEXT, sample_text(len).into_bytes()),
            (BINARY, sample_bytes(len)),
        ] {
            let message = &message[..len.min(message.len())];
            let compressed = deflated(message);
            let mut ways = vec![client_frame(first, message)];
            if compressed.len() <= 1 << 20 {
                ways.push(client_frame(first | RSV1, &compressed));
            }
            for bytes in ways {
                socket.send(&bytes);
                let reply = socket.receive_frame();
                assert_eq!(reply.first & !RSV1, first);
                assert!(inflated(&reply, 15) == message, "{len} bytes");
                // Messages below deflate_bytes_min stay uncompressed, and noise does not shrink.
                assert!(reply.payload.len() <= message.len());
                assert!(message.len() >= 1024 || reply.first & RSV1 == 0);
            }
        }
    }
    assert!(gateway.counter("deflated_messages") > 0);
    assert!(gateway.counter("inflated_messages") > 0);
    socket.close();
}

#[test]
fn compressed_messages_come_back_from_fragments_and_from_one_segment() {
    let gateway = Gateway::start();
    let mut socket = open_echo(&gateway);
    let message = json(100_000);
    let compressed = deflated(&message);
    let (head, rest) = compressed.split_at(100);
    let (middle, tail) = rest.split_at(5000);
    let mut bytes = client_frame((TEXT & !FIN) | RSV1, head);
    bytes.extend(client_frame(PING, b"between"));
    bytes.extend(client_frame(CONTINUATION, middle));
    bytes.extend(client_frame(CONTINUATION, b""));
    bytes.extend(client_frame(CONTINUATION | FIN, tail));
    for _ in 0..20 {
        bytes.extend(client_frame(TEXT | RSV1, &deflated(b"one of many")));
        bytes.extend(client_frame(TEXT | RSV1, &compressed));
    }
    // An uncompressed message behind compressed ones.
    bytes.extend(client_frame(TEXT, b"plain"));
    socket.send(&bytes);
    assert_eq!(socket.receive_frame(), Frame { first: PONG, payload: b"between".to_vec() });
    assert_eq!(inflated(&socket.receive_frame(), 15), message);
    for _ in 0..20 {
        assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"one of many".to_vec() });
        assert_eq!(inflated(&socket.receive_frame(), 15), message);
    }
    assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"plain".to_vec() });
    // A byte at a time.
    for byte in client_frame(TEXT | RSV1, &deflated(b"slowly")) {
        socket.send(&[byte]);
    }
    assert_eq!(socket.receive_frame(), Frame { first: TEXT, payload: b"slowly".to_vec() });
    socket.close();
}

#[test]
fn a_message_may_end_with_a_last_block_rfc_7692_section_7_2_3_4() {
    let gateway = Gateway::with_config(
        "[[route]]\npath = \"/echo\"\nservice = \"echo\"\ndeflate_context_takeover = true",
    );
    let mut socket = Socket::connect(gateway.address());
    let offer = "permessage-deflate; client_max_window_bits";
    socket.send(&Request::upgrade("/echo").with("Sec-WebSocket-Extensions", offer).bytes());
    assert_eq!(socket.receive_head().status, 101);
    let finished = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let hello = Frame { first: TEXT, payload: b"Hello".to_vec() };
    for payload in [
        &finished[..],
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        // It repeats the message before.
        b"\xf2\x00\x11\x00\x00",
        finished,
    ] {
        socket.send(&client_frame(TEXT | RSV1, payload));
        assert_eq!(socket.receive_frame(), hello, "{payload:x?}");
    }
    socket.send(&client_frame((TEXT & !FIN) | RSV1, &finished[..3]));
    socket.send(&client_frame(CONTINUATION | FIN, &finished[3..]));
    assert_eq!(socket.receive_frame(), hello);
    socket.close();
}

#[test]
fn replies_decompress_with_the_agreed_window() {
    let gateway = Gateway::start();
    // Repeats at a distance beyond a small window.
    let message = sample_bytes(20_000).repeat(3);
    for bits in 9..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let agreed = format!("{AGREED}; server_max_window_bits={bits}");
        let mut socket = open(&gateway, "/echo", &offer, Some(&agreed));
        for message in [&message, &json(50_000)] {
            socket.send(&client_frame(BINARY, message));
            assert!(inflated(&socket.receive_frame(), bits) == *message, "{bits} bits");
        }
        socket.close();
    }
}

#[test]
fn offers_that_cannot_be_accepted_leave_the_connection_uncompressed() {
    let gateway = Gateway::with_config(
        "[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
         [[route]]\npath = \"/plain\"\nservice = \"echo\"\ndeflate = false",
    );
    for (path, offer) in [
        ("/echo", "permessage-deflate; server_max_window_bits=8"),
        ("/echo", "permessage-deflate; nonsense, x-other; a=\"b\", c"),
        ("/plain", "permessage-deflate"),
    ] {
        let mut socket = open(&gateway, path, offer, None);
        socket.assert_echoes(&vec![b'a'; 5000]);
        socket.send(&client_frame(TEXT | RSV1, &deflated(b"unasked")));
        socket.assert_closed_with(1002);
    }
    let offer = "permessage-deflate; server_max_window_bits=8, permessage-deflate";
    open(&gateway, "/echo", offer, Some(AGREED)).close();
}

#[test]
fn violations_of_rfc_7692_are_closed_with_their_code() {
    let gateway = Gateway::start();
    let whole = deflated(&json(3000));
    let latin_1 = deflated(b"caf\xE9 caf\xE9 caf\xE9");
    let mut broken = whole.clone();
    broken[..20].fill(0xFF);
    for (bytes, code) in [
        (client_frame(TEXT | RSV1, &broken), 1007),
        (client_frame(TEXT | RSV1, &whole[..whole.len() / 2]), 1007),
        (client_frame(TEXT | RSV1, &latin_1), 1007),
        // A last block that is cut.
        (client_frame(TEXT | RSV1, b"\xf3\x48\xcd\xc9\xc9\x07"), 1007),
        (client_frame(PING | RSV1, b""), 1002),
        (client_frame(TEXT | 0x20, b""), 1002),
        (
            [
                client_frame((TEXT & !FIN) | RSV1, &whole[..10]),
                client_frame(CONTINUATION | FIN | RSV1, &whole[10..]),
            ]
            .concat(),
            1002,
        ),
        (client_frame(BINARY | RSV1, &deflated(&vec![0; (1 << 20) + 1])), 1009),
    ] {
        let mut socket = open_echo(&gateway);
        socket.send(&bytes);
        socket.assert_closed_with(code);
    }
    gateway.assert_counter("closed_not_deflate", 3);
}

#[test]
fn a_decompression_bomb_costs_no_more_than_the_largest_message() {
    let gateway = Gateway::with_config("loops = 1");
    // A gigabyte in just under a megabyte: zeros, ended by a flush, over and over.
    let mut unit = deflated(&vec![0; 8 << 20]);
    unit.extend([0, 0, 0xFF, 0xFF]);
    let mut bomb = unit.repeat(125);
    bomb.truncate(bomb.len() - 4);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let throw = || {
        let mut socket = open_echo(&gateway);
        socket.send(&client_frame(BINARY | RSV1, &bomb));
        socket.assert_closed_with(1009);
        gateway.anonymous_bytes()
    };
    let at_rest = gateway.anonymous_bytes();
    // The compressed bytes, the largest message, and the buffers that the pool keeps of both.
    let bytes_max = at_rest + (8 << 20);
    for _ in 0..21 {
        let bytes = throw();
        assert!(bytes < bytes_max, "{at_rest} bytes, then {bytes}");
    }
    gateway.assert_counter("closed_too_big", 21);
}

#[test]
fn a_publication_is_compressed_once_for_each_window() {
    let gateway = Gateway::with_config("loops = 1");
    let mut members: Vec<Socket> = (0..1000)
        .map(|number| match number % 3 {
            0 => open(&gateway, "/broadcast", OFFER, Some(AGREED)),
            1 => {
                let agreed = format!("{AGREED}; server_max_window_bits=10");
                let offer = "permessage-deflate; server_max_window_bits=10";
                open(&gateway, "/broadcast", offer, Some(&agreed))
            }
            _ => open(&gateway, "/broadcast", "", None),
        })
        .collect();
    let message = json(1024);
    members[0].send(&client_frame(TEXT | RSV1, &deflated(&message)));
    for (number, member) in members.iter_mut().enumerate() {
        let frame = member.receive_frame();
        assert_eq!(frame.first & RSV1 != 0, number % 3 < 2);
        let window_bits = if number % 3 == 1 { 10 } else { 15 };
        assert_eq!(inflated(&frame, window_bits), message);
    }
    gateway.assert_counter("deflated_messages", 2);
    gateway.assert_counter("deflated_shared", 665);
}

#[test]
fn members_with_all_windows_share_two_encodings() {
    let gateway = Gateway::with_config("loops = 1");
    let mut members: Vec<(Socket, u8)> = [12, 9, 15, 10, 13, 11, 14]
        .map(|bits| {
            let (offer, agreed) = match bits {
                15 => (OFFER.to_owned(), AGREED.to_owned()),
                _ => {
                    let window = format!("; server_max_window_bits={bits}");
                    (format!("permessage-deflate{window}"), format!("{AGREED}{window}"))
                }
            };
            (open(&gateway, "/broadcast", &offer, Some(&agreed)), bits)
        })
        .into();
    let message = json(1024);
    members[0].0.send(&client_frame(TEXT, &message));
    let mut compressed = 0;
    for (member, bits) in &mut members {
        let frame = member.receive_frame();
        assert_eq!(inflated(&frame, *bits), message, "{bits}");
        compressed += usize::from(frame.first & RSV1 != 0);
    }
    assert!(compressed >= 2, "{compressed}");
    gateway.assert_counter("deflated_messages", 2);
    gateway.assert_counter("deflated_shared", compressed as u64 - 2);
}

#[test]
fn compressors_are_freed_after_pool_idle_ms() {
    let gateway = Gateway::with_config("loops = 1\n[timeouts]\npool_idle_ms = 500");
    let mut socket = open_echo(&gateway);
    let before = gateway.anonymous_bytes();
    socket.send(&client_frame(BINARY | RSV1, &deflated(&json(100_000))));
    socket.receive_frame();
    // The touched pages of the receive buffer stay.
    until("memory is released", || {
        (gateway.anonymous_bytes() <= before + (256 << 10)).then_some(())
    });
    // A new compressor is made when it is needed.
    socket.send(&client_frame(BINARY | RSV1, &deflated(&json(100_000))));
    assert_eq!(inflated(&socket.receive_frame(), 15), json(100_000));
    socket.close();
}
