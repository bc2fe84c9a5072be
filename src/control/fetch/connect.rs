//! A connection to a server, with TLS where its URL asks for it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::error::FetchError;
use super::url::Server;
use crate::control::tasks::Tasks;
use crate::control::trust::Trust;

/// Takes requests for one connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// Connects, and has a task drive the connection until either side drops it.
pub(super) async fn connect(
    server: &Server,
    trust: Option<&Trust>,
    tasks: &Tasks,
) -> Result<Sender, FetchError> {
    let failed = |error: std::io::Error| FetchError::Connect(error.to_string());
    let secured = match (trust, server) {
        (Some(Trust { config, name: Some(name) }), _) => Some((config, name.clone())),
        (trust, Server::Tcp { host, has_tls: true, .. }) => {
            let name = ServerName::try_from(host.clone()).map_err(|_| {
                FetchError::Connect("no certificate can be for its host".to_owned())
            })?;
            let trust = trust.ok_or_else(|| FetchError::Connect("no authorities".to_owned()))?;
            Some((&trust.config, name))
        }
        (_, Server::Tcp { .. } | Server::Unix(_)) => None,
    };
    match server {
        Server::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            secure(socket, secured, tasks).await
        }
        Server::Tcp { host, port, .. } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            // A request is one write, whose reply is waited for.
            socket.set_nodelay(true).map_err(failed)?;
            secure(socket, secured, tasks).await
        }
    }
}

/// Speaks TLS where that is asked for, by these settings and with a server of this name.
async fn secure(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    secured: Option<(&Arc<ClientConfig>, ServerName<'static>)>,
    tasks: &Tasks,
) -> Result<Sender, FetchError> {
    let Some((config, name)) = secured else { return speak(socket, tasks).await };
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, socket).await;
    speak(stream.map_err(|error| FetchError::Connect(error.to_string()))?, tasks).await
}

async fn speak(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    tasks: &Tasks,
) -> Result<Sender, FetchError> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(REPLY_HEAD_BYTES_MAX)
        .max_headers(REPLY_HEADERS_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| FetchError::Broken(error.to_string()))?;
    tasks.spawn(async move {
        // What becomes of a request is told to its sender.
        let _ = connection.await;
    });
    Ok(sender)
}

/// The longest head of a reply, in bytes.
const REPLY_HEAD_BYTES_MAX: usize = 32 << 10;
/// The most header lines of a reply.
const REPLY_HEADERS_MAX: usize = 100;
