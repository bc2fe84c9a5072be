//! The decoders of tidegate, tungstenite and fastwebsockets on the same bytes.
//!
//! Each gets a batch of messages that arrived in one read, with one copy: tidegate into its receive
//! buffer, the others from their stream.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fastwebsockets::FragmentCollector;
use support::{BINARY, TEXT, Tape, ascii, chinese, client_frame, noise, run_to_end};
use tidegate::ws::{Decoder, DecoderState, Event, Progress};
use tungstenite::WebSocket;

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    for (name, opcode, payload, messages) in [
        ("64 × 16 B binary", BINARY, noise(16), 64),
        ("64 × 128 B binary", BINARY, noise(128), 64),
        ("64 × 128 B ascii", TEXT, ascii(128), 64),
        ("4 × 64 KiB binary", BINARY, noise(65_536), 4),
        ("4 × 64 KiB ascii", TEXT, ascii(65_536), 4),
        ("4 × 64 KiB chinese", TEXT, chinese(65_536), 4),
    ] {
        let batch = client_frame(opcode, &payload).repeat(messages);
        let mut group = criterion.benchmark_group("decoder");
        group.throughput(Throughput::Elements(messages as u64));

        let mut own = Own { received: batch.clone(), buffer: batch.clone() };
        own.read(messages, |message| assert_eq!(message, payload));
        group.bench_function(BenchmarkId::new("tidegate", name), |bencher| {
            bencher.iter(|| own.read(messages, discard));
        });

        let mut tungstenite = Tungstenite::new(&batch);
        tungstenite.read(messages, |message| assert_eq!(message, payload));
        group.bench_function(BenchmarkId::new("tungstenite", name), |bencher| {
            bencher.iter(|| tungstenite.read(messages, discard));
        });

        let mut fastwebsockets = Fastwebsockets::new(&batch);
        fastwebsockets.read(messages, |message| assert_eq!(message, payload));
        group.bench_function(BenchmarkId::new("fastwebsockets", name), |bencher| {
            bencher.iter(|| fastwebsockets.read(messages, discard));
        });
        group.finish();
    }
}

fn discard(message: &[u8]) {
    black_box(message);
}

/// tidegate's decoder with the buffer that it works in.
struct Own {
    received: Vec<u8>,
    buffer: Vec<u8>,
}

impl Own {
    fn read(&mut self, messages: usize, mut take: impl FnMut(&[u8])) {
        // The copy of a read from the socket.
        self.buffer.copy_from_slice(&self.received);
        let (mut state, mut progress) = (DecoderState::default(), Progress::default());
        let mut decoder = Decoder::new(&mut state, &mut progress, MESSAGE_BYTES_MAX);
        let mut count = 0;
        while let Some(event) = decoder.next(&mut self.buffer).unwrap() {
            if let Event::Message { payload, .. } = event {
                take(&self.buffer[payload]);
                count += 1;
            }
        }
        assert_eq!(count, messages);
    }
}

struct Tungstenite(WebSocket<Tape>);

impl Tungstenite {
    fn new(batch: &[u8]) -> Self {
        let role = tungstenite::protocol::Role::Server;
        Self(WebSocket::from_raw_socket(Tape::over_and_over(batch), role, None))
    }

    fn read(&mut self, messages: usize, mut take: impl FnMut(&[u8])) {
        for _ in 0..messages {
            take(&self.0.read().unwrap().into_data());
        }
    }
}

struct Fastwebsockets(FragmentCollector<Tape>);

impl Fastwebsockets {
    fn new(batch: &[u8]) -> Self {
        let (tape, role) = (Tape::over_and_over(batch), fastwebsockets::Role::Server);
        let websocket = fastwebsockets::WebSocket::after_handshake(tape, role);
        Self(FragmentCollector::new(websocket))
    }

    fn read(&mut self, messages: usize, mut take: impl FnMut(&[u8])) {
        run_to_end(async {
            for _ in 0..messages {
                take(&self.0.read_frame().await.unwrap().payload);
            }
        });
    }
}

const MESSAGE_BYTES_MAX: usize = 1 << 20;
