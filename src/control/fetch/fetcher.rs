//! The connections to one server, and the way of a request.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::connect::{Sender, connect};
use super::error::FetchError;
use super::trust::Trust;
use super::url::HttpUrl;
use crate::control::tasks::Tasks;

/// How a server is asked.
#[derive(Clone, Debug)]
pub(in crate::control) struct FetchSettings {
    pub(in crate::control) url: HttpUrl,
    /// Given where the URL asks for TLS.
    pub(in crate::control) trust: Option<Trust>,
    /// The longest time of a request, with the wait for a connection.
    pub(in crate::control) deadline: Duration,
    /// The most connections, and so requests, at once. Further requests wait.
    pub(in crate::control) connections_max: usize,
    /// The longest body of a reply.
    pub(in crate::control) body_bytes_max: usize,
}

/// Asks one server. Its connections belong to one run of the control thread.
pub(in crate::control) struct Fetcher {
    settings: FetchSettings,
    tasks: Tasks,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that waits for the next request.
struct Idle {
    sender: Sender,
    since: Instant,
}

/// A whole reply.
#[derive(Debug)]
pub(in crate::control) struct Reply {
    pub(in crate::control) status: StatusCode,
    pub(in crate::control) headers: HeaderMap,
    pub(in crate::control) body: Bytes,
}

impl Fetcher {
    pub(in crate::control) fn new(settings: FetchSettings, tasks: &Tasks) -> Self {
        let permits = Semaphore::new(settings.connections_max);
        Self { settings, tasks: tasks.clone(), permits, idle: Mutex::default() }
    }

    /// Gets the URL, with these headers. To drop the future is to close the connection that it uses.
    pub(in crate::control) async fn get(&self, headers: &HeaderMap) -> Result<Reply, FetchError> {
        let late = FetchError::Late(self.settings.deadline);
        timeout(self.settings.deadline, self.get_in_time(headers)).await.unwrap_or(Err(late))
    }

    async fn get_in_time(&self, headers: &HeaderMap) -> Result<Reply, FetchError> {
        let broken = |error: hyper::Error| FetchError::Broken(describe(&error));
        // It is never closed.
        let _permit = self.permits.acquire().await.ok();
        let mut request = self.request(headers)?;
        // The ends of idle connections that have arrived are seen before one is chosen.
        yield_now().await;
        // A server closes idle connections when it likes. As long as nothing was written, the request
        // comes back and goes out on another one; the last one is new.
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(reply) => return self.receive(sender, reply).await,
                Err(mut unsent) => match unsent.take_message() {
                    Some(unwritten) => request = unwritten,
                    None => return Err(broken(unsent.into_error())),
                },
            }
        }
        let url = &self.settings.url;
        let mut sender = connect(&url.server, self.settings.trust.as_ref(), &self.tasks).await?;
        let reply = sender.send_request(request).await.map_err(broken)?;
        self.receive(sender, reply).await
    }

    fn request(&self, headers: &HeaderMap) -> Result<Request<Full<Bytes>>, FetchError> {
        let invalid = |error: &dyn fmt::Display| FetchError::Broken(error.to_string());
        let url = &self.settings.url;
        let mut request = Request::get(url.target.as_str())
            .body(Full::default())
            .map_err(|error| invalid(&error))?;
        let host = HeaderValue::from_str(&url.authority).map_err(|error| invalid(&error))?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        request.headers_mut().remove(CONNECTION);
        Ok(request)
    }

    /// Takes the whole reply, and keeps the connection for the next request.
    async fn receive(
        &self,
        sender: Sender,
        reply: Response<Incoming>,
    ) -> Result<Reply, FetchError> {
        let bytes_max = self.settings.body_bytes_max;
        let (parts, body) = reply.into_parts();
        let body =
            Limited::new(body, bytes_max).collect().await.map_err(|error| match error
                .downcast::<LengthLimitError>(
            ) {
                Ok(_) => FetchError::TooLarge(bytes_max),
                Err(error) => FetchError::Broken(error.to_string()),
            })?;
        if !sender.is_closed() {
            self.idle().push(Idle { sender, since: now() });
        }
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// The connection that was used last, so that those which are not needed grow old.
    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle();
        let now = now();
        idle.retain(|own| now - own.since < IDLE_MAX && !own.sender.is_closed());
        idle.pop().map(|own| own.sender)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // No code panics while it holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("url", &self.settings.url).finish_non_exhaustive()
    }
}

/// An error with its cause, which says what happened.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The runtime's clock: it measures how long connections are idle.
fn now() -> Instant {
    Instant::now()
}

/// Idle connections are not used any more after this: servers close them after 5 seconds or more, and
/// a request on one that is being closed may be lost.
const IDLE_MAX: Duration = Duration::from_secs(4);
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
