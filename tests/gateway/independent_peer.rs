//! Conversations with yawc, whose handshake, frames and compression others have written: random ones,
//! and the same again for the same seed (`PROPTEST_RNG_SEED`).

use std::net::SocketAddr;

use futures_util::SinkExt as _;
use proptest::prelude::*;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time::timeout;
use yawc::frame::OpCode;
use yawc::{CompressionLevel, Frame, Options, WebSocket};

use crate::gateway::Gateway;
use crate::patience::PATIENCE;

/// How yawc goes about it.
#[derive(Clone, Debug)]
struct Terms {
    level: u32,
    /// Shorter messages are sent as they are.
    bytes_min: usize,
    fragment_bytes: Option<usize>,
    server_window_bits: Option<u8>,
    client_window_bits: Option<u8>,
    /// Whether it asks for no context takeover, by the server and by itself.
    without_takeover: (bool, bool),
}

#[derive(Clone, Debug)]
struct Said {
    opcode: OpCode,
    payload: Vec<u8>,
}

fn terms() -> impl Strategy<Value = Terms> {
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
            )| Terms {
                level,
                bytes_min,
                fragment_bytes,
                server_window_bits,
                client_window_bits,
                without_takeover,
            },
        )
}

fn said() -> impl Strategy<Value = Said> {
    let text = prop_oneof![
        Just(String::new()),
        "([a-d]{1,9}|the same again, é張😀 ){0,300}",
        "[ -~]{0,2000}",
        (0..20_000_usize).prop_map(|len| "price: 12.25, ".repeat(len / 14)),
    ];
    let noise = prop::collection::vec(any::<u8>(), 0..5000);
    let run = (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        3 => text.prop_map(|text| Said { opcode: OpCode::Text, payload: text.into_bytes() }),
        2 => prop_oneof![noise, run].prop_map(|payload| Said { opcode: OpCode::Binary, payload }),
    ]
}

fn options(terms: &Terms) -> Options {
    let mut options = Options::default()
        .with_compression_level(CompressionLevel::new(terms.level))
        .with_compression_threshold(terms.bytes_min)
        .with_utf8();
    if let Some(bytes) = terms.fragment_bytes {
        options = options.with_max_fragment_size(bytes);
    }
    if let Some(bits) = terms.server_window_bits {
        options = options.with_server_max_window_bits(bits);
    }
    if let Some(bits) = terms.client_window_bits {
        options = options.with_client_max_window_bits(bits);
    }
    if terms.without_takeover.0 {
        options = options.server_no_context_takeover();
    }
    if terms.without_takeover.1 {
        options = options.client_no_context_takeover();
    }
    options
}

/// Says all of it, some messages at a time, and gives what came back.
async fn converse(
    address: SocketAddr,
    terms: &Terms,
    talk: &[Said],
    at_a_time: usize,
) -> yawc::Result<Vec<Said>> {
    let stream = TcpStream::connect(address).await?;
    let url = format!("ws://{address}/echo").parse().unwrap();
    let mut socket = WebSocket::handshake(url, stream, options(terms)).await?;
    let mut echoes = Vec::new();
    for group in talk.chunks(at_a_time) {
        for Said { opcode, payload } in group {
            let payload = payload.clone();
            let frame =
                if *opcode == OpCode::Text { Frame::text(payload) } else { Frame::binary(payload) };
            socket.send(frame).await?;
        }
        for _ in group {
            let frame = socket.next_frame().await?;
            echoes.push(Said { opcode: frame.opcode(), payload: frame.payload().to_vec() });
        }
    }
    socket.close().await?;
    Ok(echoes)
}

#[test]
fn whatever_yawc_says_comes_back() {
    let gateway = Gateway::with_config(
        "loops = 2\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\ndeflate_bytes_min = 20",
    );
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(
        terms in terms(),
        talk in prop::collection::vec(said(), 1..8),
        at_a_time in 1..4_usize,
    )| {
        let conversation = converse(gateway.address(), &terms, &talk, at_a_time);
        let echoes = runtime.block_on(async { timeout(PATIENCE, conversation).await }).unwrap();
        let echoes = echoes.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(echoes.len(), talk.len());
        for (echo, said) in echoes.iter().zip(&talk) {
            prop_assert_eq!(echo.opcode, said.opcode);
            prop_assert!(echo.payload == said.payload, "{} bytes", said.payload.len());
        }
    });
    assert!(gateway.counter("inflated_messages") > 0);
    assert!(gateway.counter("deflated_messages") > 0);
}
