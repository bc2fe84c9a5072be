//! A listener for HTTP on a control thread: a socket that stays while the thread is started again, and its
//! connections.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
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

use super::tasks::Tasks;
use super::write_deadline::WriteDeadline;

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenPlace {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At the path of a Unix socket.
    Unix(PathBuf),
}

impl ListenPlace {
    /// Whether only programs of this machine reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// The socket of a listener.
#[derive(Debug)]
pub(super) struct HttpListener {
    /// The table of the configuration that it is from.
    name: &'static str,
    socket: Socket,
    connections: Arc<Semaphore>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, OwnPath),
}

/// The path of our socket, which goes with it.
#[derive(Debug)]
struct OwnPath {
    path: PathBuf,
    inode: u64,
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        // A process that has taken over has put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// What a process has of the one that it takes over from.
#[derive(Debug, Default)]
pub struct InheritedSocket {
    /// Its socket, which is used if the configuration asks for its address.
    pub socket: Option<TcpListener>,
    /// Whether there is one, so that its Unix socket is replaced.
    pub replaces: bool,
}

/// The address of a listener cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has it.
    #[error("{name}.address = {place}: in use by another process")]
    Taken {
        /// The table of the configuration.
        name: &'static str,
        /// The address.
        place: String,
    },
    /// The system refuses it.
    #[error("{name}.address = {place}: {error}")]
    Refused {
        /// The table of the configuration.
        name: &'static str,
        /// The address.
        place: String,
        /// Why.
        error: io::Error,
    },
}

impl HttpListener {
    /// Listens, with at most `connections_max` connections at once; others wait in the kernel's queue.
    ///
    /// # Errors
    /// If the address is taken, or the system refuses it.
    pub(super) fn bind(
        name: &'static str,
        place: &ListenPlace,
        connections_max: usize,
        inherited: InheritedSocket,
    ) -> Result<Self, BindError> {
        let (place, bound) = match place {
            ListenPlace::Tcp(address) => {
                let socket = inherited.socket.filter(|socket| is_at(socket, *address));
                (address.to_string(), bind_tcp(*address, socket))
            }
            ListenPlace::Unix(path) => {
                (path.display().to_string(), bind_unix(path, inherited.replaces))
            }
        };
        let socket = bound.map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                BindError::Taken { name, place }
            } else {
                BindError::Refused { name, place, error }
            }
        })?;
        Ok(Self { name, socket, connections: Arc::new(Semaphore::new(connections_max)) })
    }

    /// Where it is, with the port that was found for port 0.
    pub(super) fn place(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}/"),
                Err(_) => "an address that the system does not tell".to_owned(),
            },
            Socket::Unix(_, OwnPath { path, .. }) => path.display().to_string(),
        }
    }

    /// The socket, for a process that takes over. One of a path is made anew by it.
    pub(super) fn share_socket(&self) -> Option<TcpListener> {
        match &self.socket {
            Socket::Tcp(listener) => listener.try_clone().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Serves this for the rest of the run.
    pub(super) fn serve(&self, tasks: &Tasks, router: Router) {
        if let Err(error) = self.spawn(tasks, router) {
            log::error!("the listener of [{}] cannot be served: {error}", self.name);
        }
    }

    fn spawn(&self, tasks: &Tasks, router: Router) -> io::Result<()> {
        let (name, connections) = (self.name, Arc::clone(&self.connections));
        let own = tasks.clone();
        match &self.socket {
            Socket::Tcp(listener) => {
                let listener = listener.try_clone()?;
                tasks.spawn_vital(async move {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                    accept(name, &own, &router, &connections, &listener).await;
                });
            }
            Socket::Unix(listener, _) => {
                let listener = listener.try_clone()?;
                tasks.spawn_vital(async move {
                    let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
                    accept(name, &own, &router, &connections, &listener).await;
                });
            }
        }
        Ok(())
    }
}

/// Whether the socket is where the configuration wants it.
fn is_at(socket: &TcpListener, wanted: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|own| {
        own.ip() == wanted.ip() && (own.port() == wanted.port() || wanted.port() == 0)
    })
}

fn bind_tcp(address: SocketAddr, inherited: Option<TcpListener>) -> io::Result<Socket> {
    let listener = match inherited {
        Some(listener) => listener,
        None => TcpListener::bind(address)?,
    };
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(listener))
}

fn bind_unix(path: &Path, replaces: bool) -> io::Result<Socket> {
    let is_left_behind = || replaces || UnixStream::connect(path).is_err();
    let listener = match UnixListener::bind(path) {
        // A process that was killed leaves its socket behind, and nothing answers there.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind() => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let own = OwnPath { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
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
    name: &'static str,
    tasks: &Tasks,
    router: &Router,
    connections: &Arc<Semaphore>,
    listener: &impl Accept,
) {
    loop {
        let Ok(permit) = Arc::clone(connections).acquire_owned().await else { return };
        match listener.next().await {
            Ok(stream) => {
                tasks.spawn(serve_connection(name, stream, router.clone(), permit));
            }
            // Descriptors may have run out, which an immediate retry would not mend.
            Err(error) => {
                log::debug!("the listener of [{name}] accepts nothing for a moment: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    name: &'static str,
    stream: S,
    router: Router,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(WriteDeadline::new(stream, WRITE_STALL_MAX)),
            TowerToHyperService::new(router),
        );
    // One that is read a byte at a time, or is kept open for nothing, gives its place back in the end.
    match tokio::time::timeout(CONNECTION_AGE_MAX, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => log::debug!("a connection to the listener of [{name}] failed: {error}"),
    }
}

const HEADERS_MAX: usize = 64;
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Who asks here reads the reply, or is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// A trace is resumed by its reader after that.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(15 * 60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
