//! The connections to one server, and the way of a request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::connect::{Sender, connect};
use super::error::FetchError;
use super::url::Server;
use crate::control::tasks::Tasks;
use crate::control::trust::Trust;

/// Connections to one server, of one run of the control thread. As many are made as there are requests
/// at once.
pub(in crate::control) struct ServerConnections {
    server: Server,
    trust: Option<Trust>,
    /// For a new connection.
    connect: Duration,
    tasks: Tasks,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that waits for the next request.
struct Idle {
    sender: Sender,
    /// Until when it may be given a request.
    until: Instant,
}

/// A whole reply.
#[derive(Debug)]
pub(in crate::control) struct Reply {
    pub(in crate::control) status: StatusCode,
    pub(in crate::control) headers: HeaderMap,
    pub(in crate::control) body: Bytes,
}

impl ServerConnections {
    /// No connections yet, and each may take so long to stand. `trust` is given where the server is
    /// reached with TLS.
    pub(in crate::control) fn new(
        server: Server,
        trust: Option<Trust>,
        connect: Duration,
        tasks: &Tasks,
    ) -> Self {
        Self { server, trust, connect, tasks: tasks.clone(), idle: Mutex::default() }
    }

    /// Sends a request and takes the whole reply, with a body of at most `body_bytes_max`. To drop the future
    /// is to close the connection that it uses.
    ///
    /// # Errors
    /// [`FetchError`]; with [`FetchError::Connect`] the server has got nothing.
    pub(in crate::control) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        body_bytes_max: usize,
    ) -> Result<Reply, FetchError> {
        let broken = |error: hyper::Error| FetchError::Broken(describe(&error));
        // The ends of idle connections that have arrived are seen before one is chosen.
        yield_now().await;
        // A server closes idle connections when it likes. As long as nothing was written, the request
        // comes back and goes out on another one; the last one is new.
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(reply) => return self.receive(sender, reply, body_bytes_max).await,
                Err(mut unsent) => match unsent.take_message() {
                    Some(unwritten) => request = unwritten,
                    None => return Err(broken(unsent.into_error())),
                },
            }
        }
        let connected = connect(&self.server, self.trust.as_ref(), &self.tasks);
        let late = || FetchError::Connect(format!("not within {} ms", self.connect.as_millis()));
        let mut sender = timeout(self.connect, connected).await.map_err(|_| late())??;
        let reply = sender.send_request(request).await.map_err(broken)?;
        self.receive(sender, reply, body_bytes_max).await
    }

    /// Takes the whole reply, and keeps the connection for the next request.
    async fn receive(
        &self,
        sender: Sender,
        reply: Response<Incoming>,
        bytes_max: usize,
    ) -> Result<Reply, FetchError> {
        let (parts, body) = reply.into_parts();
        let body =
            Limited::new(body, bytes_max).collect().await.map_err(|error| match error
                .downcast::<LengthLimitError>(
            ) {
                Ok(_) => FetchError::TooLarge(bytes_max),
                Err(error) => FetchError::Broken(error.to_string()),
            })?;
        let idle_max = idle_max(&parts.headers);
        if !sender.is_closed() && !idle_max.is_zero() {
            self.idle().push(Idle { sender, until: now() + idle_max });
        }
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// The connection that was used last, so that those which are not needed grow old.
    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle();
        let now = now();
        idle.retain(|own| now < own.until && !own.sender.is_closed());
        idle.pop().map(|own| own.sender)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // No code panics while it holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with its cause, which says what happened.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// How long a connection may be idle by what the server says of it (`Keep-Alive: timeout=SECONDS`, RFC 2068
/// §19.7.1.1): a second less, as a request is under way for a while.
fn idle_max(headers: &HeaderMap) -> Duration {
    let said = headers.get("keep-alive").and_then(|value| value.to_str().ok());
    let mut parameters = said.unwrap_or_default().split(',').filter_map(|own| own.split_once('='));
    let timeout = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    let seconds = timeout.and_then(|(_, value)| value.trim().parse::<u64>().ok());
    seconds.map_or(IDLE_MAX, |seconds| IDLE_MAX.min(Duration::from_secs(seconds.saturating_sub(1))))
}

/// The runtime's clock: it measures how long connections are idle.
fn now() -> Instant {
    Instant::now()
}

/// Idle connections are not used any more after this: most servers close them after 5 seconds or more, and
/// a request on one that is being closed may be lost.
const IDLE_MAX: Duration = Duration::from_secs(4);
