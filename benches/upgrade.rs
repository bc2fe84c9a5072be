//! The handshake, from the request to the 101: tidegate, tungstenite, and fastwebsockets with hyper
//! on the same bytes.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod support;

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use support::{Tape, run_to_end};
use tidegate::http::{self, OriginRule, UpgradePolicy};

fn main() {
    support::run(bench);
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("upgrade");
    for (name, request) in [("a library", LIBRARY), ("a browser", BROWSER)] {
        group.bench_function(BenchmarkId::new("tidegate", name), |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                own(black_box(request), &mut out);
                assert!(out.starts_with(b"HTTP/1.1 101 "));
            });
        });
        let tape = Tape::once(request);
        group.bench_function(BenchmarkId::new("tungstenite", name), |bencher| {
            bencher.iter_with_large_drop(|| tungstenite::accept(tape.clone()).unwrap());
        });
        group.bench_function(BenchmarkId::new("fastwebsockets and hyper", name), |bencher| {
            bencher.iter(|| with_hyper(tape.clone()));
        });
    }
    group.finish();
    criterion.bench_function("upgrade/accept key", |bencher| {
        bencher.iter(|| http::accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")));
    });
}

fn own(received: &[u8], out: &mut Vec<u8>) {
    let end = http::find_head_end(received, 0).unwrap();
    let head = http::parse_head(&received[..end]).unwrap();
    assert!(head.path().matches("/chat"));
    let policy = UpgradePolicy { origins: &OriginRule::SameHost, subprotocols: &[] };
    let request = http::check_upgrade(&head, &policy).unwrap();
    let date = http::HttpDate::from_unix_seconds(0);
    http::write_switching_protocols(
        out,
        &date,
        &request.accept_key(),
        request.subprotocol(),
        None,
        &[],
    );
}

fn with_hyper(tape: Tape) {
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(tape), service_fn(answer))
        .with_upgrades();
    run_to_end(connection).unwrap();
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request).unwrap();
    drop(upgraded);
    Ok(response)
}

/// The request of a library.
const LIBRARY: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The request of a browser.
const BROWSER: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
