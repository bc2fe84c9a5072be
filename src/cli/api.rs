//! The listener for backends of the process.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;

use super::operated::Operated;
use crate::config::{AdminAddress, ApiOptions, Secrets};
use crate::control::api::{ApiListener, ApiSettings, Publisher};
use crate::control::{ControlRole, ControlThread, InheritedSocket, ListenPlace};
use crate::jwt::SharedSecret;

/// The listener for backends, and its thread.
#[derive(Debug)]
pub(super) struct Api {
    listener: Arc<ApiListener>,
    _thread: ControlThread,
}

impl Api {
    /// Starts the listener that the configuration asks for, if it asks for one.
    ///
    /// # Errors
    /// If its address cannot be listened on, or the system gives no thread.
    pub(super) fn start(
        options: &ApiOptions,
        operated: Arc<Operated>,
        publisher: Arc<Publisher>,
        inherited: InheritedSocket,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let place = match &options.address {
            AdminAddress::Off => return Ok(None),
            AdminAddress::Tcp(address) => ListenPlace::Tcp(*address),
            AdminAddress::Unix(path) => ListenPlace::Unix(path.path().to_owned()),
        };
        let keys = options.keys.iter().flat_map(Secrets::iter);
        let settings = ApiSettings {
            place,
            keys: keys.map(|key| SharedSecret::from_text(key.expose())).collect(),
            connections_max: options.connections_max,
            body_bytes_max: options.body_bytes_max,
        };
        let counters = operated.control();
        let bound =
            ApiListener::bind(settings, operated, publisher, inherited, Arc::clone(&counters));
        let listener = Arc::new(bound?);
        let thread = ControlThread::start(ControlRole::Api, &counters)?;
        thread.serve_api(&listener);
        log::info!("api at {}", listener.place());
        Ok(Some(Self { listener, _thread: thread }))
    }

    /// The socket, for a process that takes over; `None` where the new process makes its own.
    pub(super) fn share_socket(&self) -> Option<TcpListener> {
        self.listener.share_socket()
    }
}
