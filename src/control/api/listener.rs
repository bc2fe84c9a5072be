//! The listener for backends itself.

use std::net::TcpListener;
use std::sync::Arc;

use super::publisher::Publisher;
use super::replies::Replies;
use super::router::router;
use super::settings::ApiSettings;
use super::shared::Shared;
use crate::control::admin::Gateway;
use crate::control::http_listener::{BindError, HttpListener, InheritedSocket};
use crate::control::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;

/// The socket of the listener for backends.
#[derive(Debug)]
pub struct ApiListener {
    http: HttpListener,
    shared: Arc<Shared>,
}

impl ApiListener {
    /// Listens. The requests are served on a control thread, once it is given this.
    ///
    /// # Errors
    /// If the address is taken, or the system refuses it.
    pub fn bind(
        settings: ApiSettings,
        gateway: Arc<dyn Gateway>,
        publisher: Arc<Publisher>,
        inherited: InheritedSocket,
        counters: Arc<ControlCounters>,
    ) -> Result<Self, BindError> {
        let ApiSettings { place, connections_max, .. } = &settings;
        let http = HttpListener::bind("api", place, *connections_max, inherited)?;
        let replies = Arc::new(Replies::new(counters));
        Ok(Self { http, shared: Arc::new(Shared { gateway, publisher, replies, settings }) })
    }

    /// Where it is, with the port that was found for port 0.
    #[must_use]
    pub fn place(&self) -> String {
        self.http.place()
    }

    /// The socket, for a process that takes over. One of a path is made anew by it.
    #[must_use]
    pub fn share_socket(&self) -> Option<TcpListener> {
        self.http.share_socket()
    }
}

impl Job for ApiListener {
    fn begin(&self, tasks: &Tasks) {
        self.shared.publisher.begin(tasks, &self.shared.gateway);
        self.http.serve(tasks, router(&self.shared));
    }

    fn end(&self) {}
}
