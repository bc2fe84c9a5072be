//! The admin listener itself.

use std::net::TcpListener;
use std::sync::Arc;

use super::gateway::Gateway;
use super::router::router;
use super::settings::AdminSettings;
use super::shared::Shared;
use crate::control::api::Publisher;
use crate::control::http_listener::{BindError, HttpListener, InheritedSocket};
use crate::control::tasks::{Job, Tasks};

/// The socket of the admin listener.
#[derive(Debug)]
pub struct AdminListener {
    http: HttpListener,
    shared: Arc<Shared>,
}

impl AdminListener {
    /// Listens. The requests are served on a control thread, once it is given this.
    ///
    /// # Errors
    /// If the address is taken, or the system refuses it.
    pub fn bind(
        settings: AdminSettings,
        gateway: Arc<dyn Gateway>,
        publisher: Arc<Publisher>,
        inherited: InheritedSocket,
    ) -> Result<Self, BindError> {
        let http = HttpListener::bind("admin", &settings.place, CONNECTIONS_MAX, inherited)?;
        Ok(Self { http, shared: Arc::new(Shared::new(gateway, settings, publisher)) })
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

impl Job for AdminListener {
    fn begin(&self, tasks: &Tasks) {
        self.shared.publisher.begin(tasks, &self.shared.gateway);
        self.http.serve(tasks, router(&self.shared));
    }

    fn end(&self) {}
}

const CONNECTIONS_MAX: usize = 64;
