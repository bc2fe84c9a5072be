//! A tokio task for each connection, on tokio-tungstenite.

use std::io;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async_with_config;
use tungstenite::Message;
use tungstenite::protocol::WebSocketConfig;

use super::listener::listen_async;
use super::tls::Stream;

/// Serves until the process is ended.
pub(super) async fn serve(
    address: SocketAddr,
    config: WebSocketConfig,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<()> {
    let listener = listen_async(address)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let Some(acceptor) = acceptor.clone() else {
            tokio::spawn(echo(stream, config));
            continue;
        };
        tokio::spawn(async move {
            // An error means that the client did not go through with the handshake.
            if let Ok(stream) = acceptor.accept(stream).await {
                echo(stream, config).await;
            }
        });
    }
}

async fn echo(stream: impl Stream, config: WebSocketConfig) {
    let Ok(mut websocket) = accept_async_with_config(stream, Some(config)).await else {
        return;
    };
    // The stream answers pings and the closing handshake.
    while let Some(Ok(message)) = websocket.next().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && websocket.send(message).await.is_err()
        {
            return;
        }
    }
}
