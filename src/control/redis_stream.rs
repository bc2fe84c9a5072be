//! A stream of bytes to a Redis server.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::trust::Trust;

/// A connected socket.
pub(super) struct RedisStream(Pin<Box<dyn Socket>>);

trait Socket: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Socket for T {}

impl RedisStream {
    /// Connects to a host, which may be a name.
    pub(super) async fn tcp(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self(Box::pin(connect(host, port).await?)))
    }

    /// Connects to a host with TLS, where the certificate has to be for this host.
    pub(super) async fn tls(host: &str, port: u16, trust: Trust) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let socket = connect(host, port).await?;
        let connector = TlsConnector::from(trust.config);
        Ok(Self(Box::pin(connector.connect(name, socket).await?)))
    }

    /// Connects to a socket of the file system.
    pub(super) async fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self(Box::pin(UnixStream::connect(path).await?)))
    }
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    // What is written at once belongs together, and is waited for.
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl AsyncRead for RedisStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for RedisStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}

impl fmt::Debug for RedisStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RedisStream")
    }
}
