//! A check of one server over a connection of its own.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::exchange::{Exchange, REPLY_BYTES_MAX};
use crate::upstream::{HealthSettings, HealthTarget, ServerTls};

/// Checks a server.
///
/// # Errors
/// Why it is not healthy, as the end of a sentence.
pub(super) async fn check(
    server: &HealthTarget,
    tls: Option<ServerTls>,
    settings: &HealthSettings,
) -> Result<(), String> {
    let host = match server {
        HealthTarget::Tcp(address) => address.to_string(),
        HealthTarget::Unix(_) => "localhost".to_owned(),
    };
    let exchange = Exchange::new(settings, &host, nonce());
    let checked = async {
        match server {
            HealthTarget::Tcp(address) => {
                secure(&exchange, TcpStream::connect(address).await, tls).await
            }
            HealthTarget::Unix(path) => {
                secure(&exchange, UnixStream::connect(path).await, tls).await
            }
        }
    };
    match timeout(Duration::from_millis(settings.timeout_ms), checked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} ms", settings.timeout_ms)),
    }
}

async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &Exchange,
    connected: io::Result<S>,
    tls: Option<ServerTls>,
) -> Result<(), String> {
    match (connected, tls) {
        (Ok(socket), Some(ServerTls { config, name })) => {
            let connector = TlsConnector::from(config);
            ask(exchange, connector.connect(name, socket).await).await
        }
        (connected, _) => ask(exchange, connected).await,
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &Exchange,
    connected: io::Result<S>,
) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let mut socket = connected.map_err(failed)?;
    socket.write_all(exchange.request()).await.map_err(failed)?;
    let mut input = Vec::with_capacity(1024);
    loop {
        let count = socket.read_buf(&mut input).await.map_err(failed)?;
        if let Some(outcome) = exchange.judge(&input, count == 0) {
            if outcome.is_ok() {
                // A server that is gone by now has answered all the same.
                let _ = socket.write_all(exchange.farewell()).await;
            }
            return outcome;
        }
        // One that has ended, or says more than this, has been judged.
        if count == 0 || input.len() > REPLY_BYTES_MAX {
            return Err("it sends no end of a reply".to_owned());
        }
    }
}

/// Another one each time, as RFC 6455 §4.1 wants it. It keeps no secret.
fn nonce() -> [u8; 16] {
    let (first, second) = (RandomState::new().hash_one(0), RandomState::new().hash_one(1));
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}
