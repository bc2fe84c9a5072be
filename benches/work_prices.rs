//! What the prices of `src/work/prices.rs` are by measurement: `cargo bench --bench work_prices`.
//!
//! Each line is the median of several rounds on this machine, in nanoseconds, and the constant beside
//! it. A constant that is within half and twice the figure is right: a unit is about a nanosecond of a
//! usual machine, whatever that is. Where bytes can be more or less expensive it is to be the worst.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

#[path = "work_prices/jwt.rs"]
mod jwt;
#[path = "work_prices/parsed.rs"]
mod parsed;
mod support;
#[path = "work_prices/tls.rs"]
mod tls;

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use support::whole_loop::WholeLoop;
use support::{BINARY, ascii, client_frame, noise};
use tidegate::http::{UpgradePolicy, check_upgrade, parse_head};
use tidegate::timer::Millis;
use tidegate::work::prices;
use tidegate::ws::{Compressors, DeflateTerms, FillState, Inflater};

#[expect(clippy::print_stdout, reason = "it prints a table")]
fn main() {
    println!("| what | measured, ns | price |\n|---|--:|--:|");
    let line = |what: &str, measured: f64, price: f64| {
        println!("| {what} | {measured:.2} | {price:.2} |");
    };
    let sockets = sockets();
    line("READ", sockets.read, prices::READ as f64);
    line("WRITE", sockets.write, prices::WRITE as f64);
    line("ACCEPT", sockets.accept, prices::ACCEPT as f64);
    line("CLOSE", sockets.close, prices::CLOSE as f64);
    line(
        "a byte read and written",
        sockets.byte,
        prices::bytes(1 << 20) as f64 / f64::from(1 << 20),
    );
    line("HEAD", head(), prices::HEAD as f64);
    let (message, byte) = messages();
    line("MESSAGE", message, prices::MESSAGE as f64);
    line("a byte of a message", byte, prices::bytes(1 << 20) as f64 / f64::from(1 << 20));
    line("DELIVERY", delivery(), prices::DELIVERY as f64);
    for (what, block) in [
        ("stored, empty", &[0, 0, 0, 0xFF, 0xFF][..]),
        ("fixed, empty, the last", &[3, 0]),
        ("dynamic, empty", &EMPTY_DYNAMIC),
    ] {
        let mut payload = block.repeat((1 << 20) / block.len());
        if block.len() > 2 {
            // What is left of the empty block behind a message (RFC 7692 §7.2.1).
            payload.push(0);
        }
        let per_byte = inflating(&payload, &[]) / payload.len() as f64;
        line(&format!("a byte to inflate: {what}"), per_byte, prices::inflated(1, 0) as f64);
    }
    for (what, message) in
        [("text", ascii(1 << 20)), ("zeros", vec![0; 1 << 20]), ("JSON", json(1 << 20))]
    {
        let payload = deflated(&message, 6);
        let per_byte = inflating(&payload, &[]) / message.len() as f64;
        line(&format!("a byte inflated: {what}"), per_byte, prices::inflated(0, 1) as f64);
    }
    let window = json(32 << 10);
    let short = deflated(b"x", 6);
    let per_byte = (inflating(&short, &window) - inflating(&short, &[])) / window.len() as f64;
    line("a byte of a dictionary, inflating", per_byte, prices::dictionary(1) as f64);
    let alone = compressing(&json(64), 3, None);
    let per_byte = (compressing(&json(64), 3, Some(&window)) - alone) / window.len() as f64;
    line("a byte of a dictionary, compressing", per_byte, prices::dictionary(1) as f64);
    tokens_and_commands(&line);
    tls(&line);
    line("COMPRESSOR", compressing(b"0", 3, None), prices::COMPRESSOR as f64);
    for level in 1..=9 {
        for (what, message) in [
            ("JSON", json(64 << 10)),
            ("zeros", vec![0; 64 << 10]),
            ("text", ascii(64 << 10)),
            ("noise", noise(64 << 10)),
        ] {
            let bytes_out = deflated(&message, u32::from(level)).len();
            let measured = compressing(&message, level, None);
            let price = prices::compressed(message.len(), bytes_out, level);
            line(
                &format!("64 KiB of {what} at level {level}, to {bytes_out} bytes"),
                measured,
                price as f64,
            );
        }
    }
}

/// The processor time of this thread: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// Nanoseconds of processor time since then.
fn since(began: Duration) -> f64 {
    (cpu_time() - began).as_nanos() as f64
}

/// The median of several rounds of `times` calls, in nanoseconds for a call.
fn median(times: u32, mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = cpu_time();
            (0..times).for_each(|_| call());
            since(began) / f64::from(times)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

struct Sockets {
    read: f64,
    write: f64,
    byte: f64,
    accept: f64,
    close: f64,
}

/// Loopback, with a client that takes and gives what is needed in between.
fn sockets() -> Sockets {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut here = TcpStream::connect(address).unwrap();
    let mut there = listener.accept().unwrap().0;
    let (mut read, mut write) = (Vec::new(), Vec::new());
    let mut buffer = vec![7; LARGE_BYTES];
    let mut timed = |bytes: usize, read: &mut Vec<f64>, write: &mut Vec<f64>| {
        let began = cpu_time();
        there.write_all(&buffer[..bytes]).unwrap();
        write.push(since(began));
        here.read_exact(&mut buffer[..bytes]).unwrap();
        here.write_all(&buffer[..bytes]).unwrap();
        let began = cpu_time();
        there.read_exact(&mut buffer[..bytes]).unwrap();
        read.push(since(began));
    };
    for _ in 0..10_000 {
        timed(16, &mut read, &mut write);
    }
    let (mut read_large, mut write_large) = (Vec::new(), Vec::new());
    for _ in 0..1_000 {
        timed(LARGE_BYTES, &mut read_large, &mut write_large);
    }
    let middle = |mut each: Vec<f64>| {
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let (read, write) = (middle(read), middle(write));
    let byte = (middle(read_large) - read).max(middle(write_large) - write) / LARGE_BYTES as f64;
    let (mut accept, mut close) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let client = TcpStream::connect(address).unwrap();
        let began = cpu_time();
        let accepted = listener.accept().unwrap().0;
        accepted.set_nonblocking(true).unwrap();
        accept.push(since(began));
        let began = cpu_time();
        drop(accepted);
        close.push(since(began));
        drop(client);
    }
    Sockets { read, write, byte, accept: middle(accept), close: middle(close) }
}

fn head() -> f64 {
    let request =
        b"GET /echo HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n\
        Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nOrigin: http://bench.example\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Accept-Language: en\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n\r\n";
    let options = tidegate::services::RouteOptions::default();
    let policy = UpgradePolicy { origins: &options.origins, subprotocols: &options.subprotocols };
    median(2_000, || {
        let head = parse_head(black_box(request)).unwrap();
        let upgrade = check_upgrade(&head, &policy).unwrap();
        black_box(upgrade.accept_key());
    })
}

/// A message of 16 bytes through a loop that echoes it, beyond the first of a read; and a byte of a
/// large one.
fn messages() -> (f64, f64) {
    let mut whole_loop = WholeLoop::new();
    let wires = whole_loop.open(1, "/echo").unwrap();
    whole_loop.turn_until_written(0).unwrap();
    let mut timed = |payload: usize, count: usize| {
        let frames: Rc<[u8]> = client_frame(BINARY, &noise(payload)).repeat(count).into();
        median(200, || {
            whole_loop.deliver(&wires[0], &frames).unwrap();
            whole_loop.turn_until_written(count * payload).unwrap();
        })
    };
    let message = (timed(16, 256) - timed(16, 1)) / 255.0;
    let byte = (timed(60_000, 1) - timed(16, 1)) / 60_000.0;
    (message, byte)
}

/// Tokens of each kind, and commands of clients of channels.
fn tokens_and_commands(line: &impl Fn(&str, f64, f64)) {
    for sample in jwt::samples() {
        let price = sample.verify().work as f64;
        let measured = median(50, || assert!(black_box(sample.verify()).result.is_ok()));
        line(&format!("a token: {}", sample.name), measured, price);
    }
    for sample in parsed::samples(1 << 20) {
        let per_byte = median(5, || sample.parse()) / sample.bytes() as f64;
        line(&format!("a byte parsed: {}", sample.name), per_byte, prices::parsed(1) as f64);
    }
}

/// Handshakes with each kind of key, and records of each suite.
fn tls(line: &impl Fn(&str, f64, f64)) {
    for key in [tls::Key::Ed25519, tls::Key::EcdsaP256, tls::Key::Rsa2048] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let steps = tls::handshakes(key, version);
            let what = |step: &str| format!("{step}: {key:?}, {:?}", version.version);
            let full_price = match key {
                tls::Key::Ed25519 | tls::Key::EcdsaP256 => prices::TLS_FULL,
                tls::Key::Rsa2048 => prices::TLS_FULL_RSA,
            };
            line(&what("TLS_FULL"), steps.full, full_price as f64);
            line(&what("TLS_RESUMED"), steps.resumed, prices::TLS_RESUMED as f64);
            line(&what("TLS_STEP, the last"), steps.last, prices::TLS_STEP as f64);
        }
    }
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let price = prices::TLS_STEP + prices::TLS_CLIENT_CERTIFICATE;
        let what = format!("TLS_STEP and TLS_CLIENT_CERTIFICATE: {:?}", version.version);
        line(&what, tls::client_certificate(version), price as f64);
    }
    for suite in tls::suites() {
        let what = |what: &str| format!("{what}: {suite:?}");
        line(&what("TLS_KEY"), tls::key(suite), prices::TLS_KEY as f64);
        let (opened, sealed) = (tls::open(suite, 1), tls::seal(suite, 1));
        line(&what("RECORD, opened"), opened, prices::opened(24) as f64);
        line(&what("RECORD, sealed"), sealed, prices::sealed(1) as f64);
        let bytes = 1 << 14;
        line(&what("16 KiB opened"), tls::open(suite, bytes), prices::opened(bytes) as f64);
        line(&what("16 KiB sealed"), tls::seal(suite, bytes), prices::sealed(bytes) as f64);
    }
}

fn delivery() -> f64 {
    let mut whole_loop = WholeLoop::new();
    let wires = whole_loop.open(MEMBERS, "/broadcast").unwrap();
    whole_loop.turn_until_written(0).unwrap();
    let frames: Rc<[u8]> = client_frame(BINARY, &noise(128)).into();
    // With the write of each, which costs nothing here.
    median(200, || {
        whole_loop.deliver(&wires[0], &frames).unwrap();
        whole_loop.turn_until_written(MEMBERS * 132).unwrap();
    }) / MEMBERS as f64
}

fn inflating(payload: &[u8], dictionary: &[u8]) -> f64 {
    let mut inflater = Inflater::default();
    let mut output = vec![0; 1 << 20];
    median(20, || {
        let mut progress = inflater.start(dictionary, Millis(0));
        loop {
            let filled = inflater.fill(payload, &mut progress, &mut output, 4096).unwrap();
            if filled.state == FillState::Whole {
                break;
            }
        }
    })
}

fn compressing(message: &[u8], level: u8, dictionary: Option<&[u8]>) -> f64 {
    let mut compressors = Compressors::default();
    let terms = DeflateTerms { window_bits: 15, level, bytes_min: 0 };
    median(20, || {
        black_box(compressors.compress(message, terms, dictionary).map(<[u8]>::len));
    })
}

fn deflated(message: &[u8], level: u32) -> Vec<u8> {
    let mut stream = flate2::Compress::new(flate2::Compression::new(level), false);
    let mut output = Vec::with_capacity(message.len() + 1024);
    stream.compress_vec(message, &mut output, flate2::FlushCompress::Finish).unwrap();
    output
}

fn json(bytes: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut state = 1_u32;
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += &format!(r#"{{"symbol":"S{}","bid":1.{:05}}},"#, state >> 29, state >> 15);
    }
    text.truncate(bytes);
    text.into_bytes()
}

/// A dynamic block whose codes are as short as they can be and that ends at once (RFC 1951 §3.2.7),
/// then an empty stored one up to the next byte, so that it can be repeated.
const EMPTY_DYNAMIC: [u8; 16] = empty_dynamic();

const fn empty_dynamic() -> [u8; 16] {
    // Values and their widths, least significant bit first.
    let fields: [(u32, u32); 31] = [
        (0, 1),
        (2, 2),
        // 257 literal and length codes, one distance code, 18 lengths of codes.
        (0, 5),
        (0, 5),
        (14, 4),
        // In the order 16, 17, 18, 0, 8, 7, …, 1: only 18 and 1 are used.
        (0, 3),
        (0, 3),
        (1, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (0, 3),
        (1, 3),
        // Twice "18": 138 and 118 zeros; "1" for the end of the block, "1" for the distance.
        (1, 1),
        (127, 7),
        (1, 1),
        (107, 7),
        (0, 1),
        (0, 1),
        // The end of the block, then a stored block.
        (0, 1),
        (0, 3),
    ];
    let mut bytes = [0_u8; 16];
    let (mut at, mut bit) = (0, 0);
    while at < fields.len() {
        let (value, width) = fields[at];
        let mut own = 0;
        while own < width {
            if value >> own & 1 == 1 {
                bytes[bit / 8] |= 1 << (bit % 8);
            }
            own += 1;
            bit += 1;
        }
        at += 1;
    }
    bytes[14] = 0xFF;
    bytes[15] = 0xFF;
    bytes
}

const ROUNDS: usize = 11;
const LARGE_BYTES: usize = 64 << 10;
const MEMBERS: usize = 1_000;
