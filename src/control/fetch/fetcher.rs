//! Requests for one URL.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connections::{Reply, ServerConnections};
use super::error::FetchError;
use super::url::HttpUrl;
use crate::control::tasks::Tasks;
use crate::control::trust::Trust;

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
    permits: Semaphore,
    connections: ServerConnections,
}

impl Fetcher {
    pub(in crate::control) fn new(settings: FetchSettings, tasks: &Tasks) -> Self {
        let permits = Semaphore::new(settings.connections_max);
        let (server, trust) = (settings.url.server.clone(), settings.trust.clone());
        let connections = ServerConnections::new(server, trust, settings.deadline, tasks);
        Self { settings, permits, connections }
    }

    /// Gets the URL, with these headers. To drop the future is to close the connection that it uses.
    pub(in crate::control) async fn get(&self, headers: &HeaderMap) -> Result<Reply, FetchError> {
        let late = FetchError::Late(self.settings.deadline);
        timeout(self.settings.deadline, self.get_in_time(headers)).await.unwrap_or(Err(late))
    }

    async fn get_in_time(&self, headers: &HeaderMap) -> Result<Reply, FetchError> {
        // It is never closed.
        let _permit = self.permits.acquire().await.ok();
        let request = self.request(Method::GET, headers, Bytes::new())?;
        self.connections.send(request, self.settings.body_bytes_max).await
    }

    /// Posts an object in JSON to the URL.
    pub(in crate::control) async fn post(&self, body: Bytes) -> Result<Reply, FetchError> {
        let late = FetchError::Late(self.settings.deadline);
        timeout(self.settings.deadline, self.post_in_time(body)).await.unwrap_or(Err(late))
    }

    async fn post_in_time(&self, body: Bytes) -> Result<Reply, FetchError> {
        let _permit = self.permits.acquire().await.ok();
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.request(Method::POST, &HeaderMap::from_iter([json]), body)?;
        self.connections.send(request, self.settings.body_bytes_max).await
    }

    fn request(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, FetchError> {
        let invalid = |error: &dyn fmt::Display| FetchError::Broken(error.to_string());
        let url = &self.settings.url;
        let mut request = Request::builder()
            .method(method)
            .uri(url.target.as_str())
            .body(Full::new(body))
            .map_err(|error| invalid(&error))?;
        let host = HeaderValue::from_str(&url.authority).map_err(|error| invalid(&error))?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        request.headers_mut().remove(CONNECTION);
        Ok(request)
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("url", &self.settings.url).finish_non_exhaustive()
    }
}

/// The name by which the gateway asks.
pub(in crate::control) const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
