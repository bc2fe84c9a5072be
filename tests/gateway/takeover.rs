//! Context takeover over real sockets, with streams that are kept for the whole connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tidegate::output::context_bytes_max;

use crate::compression::{OFFER, RSV1, json, open};
use crate::frames::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT, client_frame, sample_bytes};
use crate::gateway::Gateway;
use crate::socket::{Frame, Socket};
use crate::wait::{NEVER_MS, until};

const TAKEOVER: &str = "[[route]]\npath = \"/echo\"\nservice = \"echo\"\n\
    deflate_bytes_min = 1\ndeflate_context_takeover = true\n";
const TAKEN_OVER: &str = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";

/// The compressor and decompressor of a client, kept for the whole connection.
struct Streams {
    out: Compress,
    back: Decompress,
}

impl Streams {
    fn new(window_bits: u8) -> Self {
        let level = Compression::default();
        Self {
            out: Compress::new_with_window_bits(level, false, window_bits),
            back: Decompress::new_with_window_bits(false, window_bits),
        }
    }

    fn deflated(&mut self, message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() * 2 + 100);
        self.out.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.truncate(output.len() - 4);
        output
    }

    fn inflated(&mut self, frame: &Frame) -> Vec<u8> {
        if frame.first & RSV1 == 0 {
            return frame.payload.clone();
        }
        let mut output = Vec::with_capacity(1 << 20);
        let input = [&frame.payload[..], &[0, 0, 0xFF, 0xFF]].concat();
        self.back.decompress_vec(&input, &mut output, FlushDecompress::Sync).unwrap();
        output
    }
}

fn tick(serial: usize) -> Vec<u8> {
    let price = serial * 7919 % 9973;
    format!(
        "{{\"type\":\"tick\",\"symbol\":\"EURUSD\",\"serial\":{serial},\"price\":1.{price:04}}}"
    )
    .into_bytes()
}

#[test]
fn contexts_survive_pings_fragments_and_uncompressed_messages() {
    let gateway = Gateway::with_config(&format!("loops = 1\n{TAKEOVER}"));
    let mut socket = open(&gateway, "/echo", OFFER, Some(TAKEN_OVER));
    let mut streams = Streams::new(12);
    let (mut plain_bytes, mut compressed_bytes) = (0, 0);
    for serial in 0..300 {
        let message = tick(serial);
        let compressed = streams.deflated(&message);
        let (head, tail) = compressed.split_at(compressed.len() / 2);
        if serial % 3 == 0 {
            socket.send(&client_frame((TEXT & !FIN) | RSV1, head));
            socket.send(&client_frame(PING, b"between"));
            assert_eq!(socket.receive_frame(), Frame { first: PONG, payload: b"between".to_vec() });
            socket.send(&client_frame(CONTINUATION | FIN, tail));
        } else {
            socket.send(&client_frame(TEXT | RSV1, &compressed));
        }
        let frame = socket.receive_frame();
        assert_eq!(streams.inflated(&frame), message);
        plain_bytes += message.len();
        compressed_bytes += frame.payload.len();
        // Noise, which is sent uncompressed, and a message longer than the window.
        for message in [sample_bytes(serial * 13), json(serial * 31)] {
            socket.send(&client_frame(BINARY, &message));
            assert!(streams.inflated(&socket.receive_frame()) == message);
        }
    }
    assert!(compressed_bytes * 3 < plain_bytes * 2, "{compressed_bytes} of {plain_bytes}");
    gateway.assert_counter("contexts_in_now", 1);
    gateway.assert_counter("contexts_out_now", 1);
    socket.close();
    until_contexts_are_freed(&gateway);
}

fn until_contexts_are_freed(gateway: &Gateway) {
    until("contexts are freed", || (gateway.counter("context_bytes_now") == 0).then_some(()));
}

#[test]
fn invalid_messages_are_refused_with_takeover_too() {
    let gateway =
        Gateway::with_config(&format!("loops = 1\nlimits.message_bytes_max = 10000\n{TAKEOVER}"));
    for (message, code) in [(vec![0; 10_001], 1009), (b"caf\xE9".to_vec(), 1007)] {
        let mut socket = open(&gateway, "/echo", OFFER, Some(TAKEN_OVER));
        let mut streams = Streams::new(12);
        for serial in 0..5 {
            socket.send(&client_frame(TEXT | RSV1, &streams.deflated(&tick(serial))));
            assert_eq!(streams.inflated(&socket.receive_frame()), tick(serial));
        }
        socket.send(&client_frame(TEXT | RSV1, &streams.deflated(&message)));
        socket.assert_closed_with(code);
    }
    // A window of 15 bits, where 12 were agreed.
    let mut socket = open(&gateway, "/echo", OFFER, Some(TAKEN_OVER));
    let mut streams = Streams::new(15);
    let noise = sample_bytes(6000);
    for message in [&noise[..1000], &noise[1000..]] {
        socket.send(&client_frame(BINARY | RSV1, &streams.deflated(message)));
        streams.inflated(&socket.receive_frame());
    }
    socket.send(&client_frame(BINARY | RSV1, &streams.deflated(&noise[..1000])));
    socket.assert_closed_with(1007);
    until_contexts_are_freed(&gateway);
}

const CONNECTIONS: usize = 300;

fn open_many(gateway: &Gateway) -> Vec<Socket> {
    (0..CONNECTIONS).map(|_| open(gateway, "/echo", OFFER, Some(TAKEN_OVER))).collect()
}

fn exchange_with_each(sockets: &mut [Socket]) {
    let message = json(20_000);
    for socket in sockets {
        let mut streams = Streams::new(12);
        socket.send(&client_frame(BINARY | RSV1, &streams.deflated(&message)));
        assert!(streams.inflated(&socket.receive_frame()) == message);
    }
}

#[test]
fn contexts_cost_at_most_what_check_prints() {
    let gateway = Gateway::with_config(&format!(
        "loops = 1\n[timeouts]\npool_idle_ms = {NEVER_MS}\n{TAKEOVER}"
    ));
    let bytes_max = context_bytes_max(12);
    let mut sockets = open_many(&gateway);
    assert_eq!(gateway.counter("context_bytes_now"), 0);
    let before = gateway.anonymous_bytes();
    exchange_with_each(&mut sockets);
    // A gauge is updated at the end of the turn, after the last reply was written.
    until("all contexts are counted", || {
        let bytes = gateway.counter("context_bytes_now");
        (bytes == (CONNECTIONS * bytes_max) as u64).then_some(())
    });
    // All memory is counted in the pool, except for the touched pages of the receive buffer and the
    // allocator's rounding.
    let grown = gateway.anonymous_bytes().saturating_sub(before);
    let pool_bytes = gateway.counter("pool_bytes_now");
    assert!(grown < pool_bytes + (1 << 20), "{grown} for {pool_bytes}");
}

#[test]
fn idle_contexts_are_freed_after_pool_idle_ms() {
    let gateway =
        Gateway::with_config(&format!("loops = 1\n[timeouts]\npool_idle_ms = 300\n{TAKEOVER}"));
    let bytes_max = context_bytes_max(12);
    let mut sockets = open_many(&gateway);
    let before = gateway.anonymous_bytes();
    exchange_with_each(&mut sockets);
    // Idle contexts of our messages and idle compressors are freed; those of the clients stay.
    until("idle contexts are freed", || {
        let bytes = gateway.counter("context_bytes_now");
        let is_all = bytes == gateway.counter("pool_bytes_now");
        (bytes == (CONNECTIONS * bytes_max / 2) as u64 && is_all).then_some(())
    });
    for socket in sockets {
        socket.close();
    }
    until_contexts_are_freed(&gateway);
    until("memory is released", || {
        (gateway.anonymous_bytes() <= before + (512 << 10)).then_some(())
    });
}
