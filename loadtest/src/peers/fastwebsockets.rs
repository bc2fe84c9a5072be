//! A tokio task for each connection, on fastwebsockets and hyper's upgrade, as in its README.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsAcceptor;

use super::listener::listen_async;
use super::tls::Stream;

/// Serves until the process is ended.
pub(super) async fn serve(address: SocketAddr, acceptor: Option<TlsAcceptor>) -> io::Result<()> {
    let listener = listen_async(address)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let Some(acceptor) = acceptor.clone() else {
            tokio::spawn(shake_hands(stream));
            continue;
        };
        tokio::spawn(async move {
            // An error means that the client did not go through with the handshake.
            if let Ok(stream) = acceptor.accept(stream).await {
                shake_hands(stream).await;
            }
        });
    }
}

/// Ends when the echo task has taken the connection over.
async fn shake_hands(stream: impl Stream + 'static) {
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    // An error means that the client left during the handshake.
    let _ = connection.await;
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    if is_upgrade_request(&request)
        && let Ok((response, upgraded)) = upgrade(&mut request)
    {
        tokio::spawn(echo(upgraded));
        return Ok(response);
    }
    let mut refusal = Response::new(Empty::new());
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Ok(refusal)
}

/// Ends with an error when the client has left.
async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut websocket = FragmentCollector::new(upgraded.await?);
    loop {
        // `read_frame` answers pings and the closing handshake.
        let frame = websocket.read_frame().await?;
        match frame.opcode {
            OpCode::Binary | OpCode::Text => websocket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}
