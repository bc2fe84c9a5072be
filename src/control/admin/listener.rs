//! The listener itself: a socket that stays while the thread is started again, and its connections.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::gateway::Gateway;
use super::router::router;
use super::settings::{AdminPlace, AdminSettings};
use super::shared::Shared;
use crate::control::tasks::{Job, Tasks};

/// The socket of the admin listener.
#[derive(Debug)]
pub struct AdminListener {
    socket: Socket,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, OwnPath),
}

/// The path of our socket, which goes with it.
#[derive(Debug)]
struct OwnPath(PathBuf);

impl Drop for OwnPath {
    fn drop(&mut self) {
        // A successor may have put its own there; then it is not ours to remove, and it is gone already.
        drop(fs::remove_file(&self.0));
    }
}

/// The address of the admin listener cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindAdminError {
    /// Another process has it.
    #[error("admin.address = {place}: in use by another process")]
    Taken {
        /// The address.
        place: String,
    },
    /// The system refuses it.
    #[error("admin.address = {place}: {error}")]
    Refused {
        /// The address.
        place: String,
        /// Why.
        error: io::Error,
    },
}

impl AdminListener {
    /// Listens. The requests are served on a control thread, once it is given this.
    ///
    /// # Errors
    /// If the address is taken, or the system refuses it.
    pub fn bind(
        settings: AdminSettings,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Self, BindAdminError> {
        let (place, bound) = match &settings.place {
            AdminPlace::Tcp(address) => (address.to_string(), bind_tcp(*address)),
            AdminPlace::Unix(path) => (path.display().to_string(), bind_unix(path)),
        };
        let socket = bound.map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                BindAdminError::Taken { place }
            } else {
                BindAdminError::Refused { place, error }
            }
        })?;
        Ok(Self {
            socket,
            shared: Arc::new(Shared::new(gateway, settings)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Where it is, with the port that was found for port 0.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}/"),
                Err(_) => "an address that the system does not tell".to_owned(),
            },
            Socket::Unix(_, OwnPath(path)) => path.display().to_string(),
        }
    }

    fn serve(&self, tasks: &Tasks) -> io::Result<()> {
        let (router, connections) = (router(&self.shared), Arc::clone(&self.connections));
        let own = tasks.clone();
        match &self.socket {
            Socket::Tcp(listener) => {
                let listener = listener.try_clone()?;
                tasks.spawn_vital(async move {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                    accept(&own, &router, &connections, &listener).await;
                });
            }
            Socket::Unix(listener, _) => {
                let listener = listener.try_clone()?;
                tasks.spawn_vital(async move {
                    let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
                    accept(&own, &router, &connections, &listener).await;
                });
            }
        }
        Ok(())
    }
}

impl Job for AdminListener {
    fn begin(&self, tasks: &Tasks) {
        if let Err(error) = self.serve(tasks) {
            log::error!("the admin listener cannot be served: {error}");
        }
    }

    fn end(&self) {}
}

fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(listener))
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    let listener = match UnixListener::bind(path) {
        // A process that was killed leaves its socket behind, and nothing answers there.
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() =>
        {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let own = OwnPath(path.to_owned());
    listener.set_nonblocking(true)?;
    // Only those who may write to it may connect (unix(7)).
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(Socket::Unix(listener, own))
}

/// A listener of either kind.
trait Accept: Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts connections for ever, a bounded number at a time. Others wait in the kernel's queue.
async fn accept(
    tasks: &Tasks,
    router: &Router,
    connections: &Arc<Semaphore>,
    listener: &impl Accept,
) {
    loop {
        let Ok(permit) = Arc::clone(connections).acquire_owned().await else { return };
        match listener.next().await {
            Ok(stream) => {
                tasks.spawn(serve_connection(stream, router.clone(), permit));
            }
            // Descriptors may have run out, which an immediate retry would not mend.
            Err(error) => {
                log::debug!("the admin listener accepts nothing for a moment: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // One that is not read, or is kept open for nothing, gives its place back in the end.
    match tokio::time::timeout(CONNECTION_AGE_MAX, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => log::debug!("a connection to the admin listener failed: {error}"),
    }
}

const CONNECTIONS_MAX: usize = 64;
const HEADERS_MAX: usize = 64;
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// A trace is resumed by its reader after that.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(15 * 60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
