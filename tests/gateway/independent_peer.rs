//! Random messages exchanged with yawc, a client with a handshake, framing and compression of its
//! own; `PROPTEST_RNG_SEED` repeats a run.

use std::net::SocketAddr;

use futures_util::SinkExt as _;
use proptest::prelude::*;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time::timeout;
use yawc::frame::OpCode;
use yawc::{CompressionLevel, Frame, Options, WebSocket};

use crate::gateway::Gateway;
use crate::wait::TIMEOUT;

/// Options of the yawc client.
#[derive(Clone, Debug)]
struct ClientOptions {
    level: u32,
    /// Shorter messages are sent as they are.
    bytes_min: usize,
    fragment_bytes: Option<usize>,
    server_window_bits: Option<u8>,
    client_window_bits: Option<u8>,
    /// Whether it offers `server_no_context_takeover` and `client_no_context_takeover`.
    without_takeover: (bool, bool),
}

#[derive(Clone, Debug)]
struct SentMessage {
    opcode: OpCode,
    payload: Vec<u8>,
}

fn client_options() -> impl Strategy<Value = ClientOptions> {
    let fragment_bytes = prop_oneof![1..300_usize, 300..9000_usize];
    (
        1..=9_u32,
        prop_oneof![Just(0), Just(usize::MAX), 0..2000_usize],
        prop::option::of(fragment_bytes),
        prop::option::of(9..=15_u8),
        prop::option::of(9..=15_u8),
        any::<(bool, bool)>(),
    )
        .prop_map(
            |(
                level,
                bytes_min,
                fragment_bytes,
                server_window_bits,
                client_window_bits,
                without_takeover,
            )| ClientOptions {
                level,
                bytes_min,
                fragment_bytes,
                server_window_bits,
                client_window_bits,
                without_takeover,
            },
        )
}

fn message() -> impl Strategy<Value = SentMessage> {
    let text = prop_oneof![
        Just(String::new()),
        "([a-d]{1,9}|the same again, é張😀 ){0,300}",
        "[ -~]{0,2000}",
        (0..20_000_usize).prop_map(|len| "price: 12.25, ".repeat(len / 14)),
    ];
    let noise = prop::collection::vec(any::<u8>(), 0..5000);
    let run = (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        3 => text.prop_map(|text| SentMessage { opcode: OpCode::Text, payload: text.into_bytes() }),
        2 => prop_oneof![noise, run].prop_map(|payload| SentMessage { opcode: OpCode::Binary, payload }),
    ]
}

fn options(client_options: &ClientOptions) -> Options {
    let mut options = Options::default()
        .with_compression_level(CompressionLevel::new(client_options.level))
        .with_compression_threshold(client_options.bytes_min)
        .with_utf8();
    if let Some(bytes) = client_options.fragment_bytes {
        options = options.with_max_fragment_size(bytes);
    }
    if let Some(bits) = client_options.server_window_bits {
        options = options.with_server_max_window_bits(bits);
    }
    if let Some(bits) = client_options.client_window_bits {
        options = options.with_client_max_window_bits(bits);
    }
    if client_options.without_takeover.0 {
        options = options.server_no_context_takeover();
    }
    if client_options.without_takeover.1 {
        options = options.client_no_context_takeover();
    }
    options
}

/// One step of a conversation, each of which has [`TIMEOUT`] for itself.
async fn in_time<T>(step: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, step).await.expect("the gateway answers")
}

/// Sends the messages, `at_a_time` at once, and returns the echoes.
async fn exchange(
    address: SocketAddr,
    client_options: &ClientOptions,
    messages: &[SentMessage],
    at_a_time: usize,
) -> yawc::Result<Vec<SentMessage>> {
    let stream = TcpStream::connect(address).await?;
    let url = format!("ws://{address}/echo").parse().unwrap();
    let mut socket =
        in_time(async { WebSocket::handshake(url, stream, options(client_options)).await }).await?;
    let mut echoes = Vec::new();
    for group in messages.chunks(at_a_time) {
        for SentMessage { opcode, payload } in group {
            let payload = payload.clone();
            let frame =
                if *opcode == OpCode::Text { Frame::text(payload) } else { Frame::binary(payload) };
            in_time(socket.send(frame)).await?;
        }
        for _ in group {
            let frame = in_time(socket.next_frame()).await?;
            echoes.push(SentMessage { opcode: frame.opcode(), payload: frame.payload().to_vec() });
        }
    }
    in_time(socket.close()).await?;
    Ok(echoes)
}

#[test]
fn messages_of_yawc_are_echoed_with_any_client_options() {
    let gateway = Gateway::with_config(
        "loops = 2\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\ndeflate_bytes_min = 20",
    );
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(
        client_options in client_options(),
        messages in prop::collection::vec(message(), 1..8),
        at_a_time in 1..4_usize,
    )| {
        let conversation = exchange(gateway.address(), &client_options, &messages, at_a_time);
        let echoes = runtime.block_on(conversation);
        let echoes = echoes.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(echoes.len(), messages.len());
        for (echo, sent) in echoes.iter().zip(&messages) {
            prop_assert_eq!(echo.opcode, sent.opcode);
            prop_assert!(echo.payload == sent.payload, "{} bytes", sent.payload.len());
        }
    });
    assert!(gateway.counter("inflated_messages") > 0);
    assert!(gateway.counter("deflated_messages") > 0);
}
