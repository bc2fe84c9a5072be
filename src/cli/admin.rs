//! The admin listener of the process.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;

use super::admin_thread::AdminThreadRef;
use super::operated::Operated;
use crate::config::{AdminAddress, Secrets};
use crate::control::admin::{
    AdminListener, AdminPlace, AdminSettings, BindAdminError, InheritedAdmin,
};

/// The admin listener.
#[derive(Debug)]
pub(super) struct Admin {
    listener: Arc<AdminListener>,
}

impl Admin {
    /// Starts the listener that the configuration asks for, if it asks for one. A default address that is
    /// taken is a warning.
    ///
    /// # Errors
    /// If a configured address cannot be listened on, or the system gives no thread.
    pub(super) fn start(
        operated: Operated,
        inherited: InheritedAdmin,
        thread: &AdminThreadRef,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let options = operated.admin();
        let place = match &options.address {
            None => AdminPlace::Tcp(AdminAddress::DEFAULT),
            Some(AdminAddress::Off) => return Ok(None),
            Some(AdminAddress::Tcp(address)) => AdminPlace::Tcp(*address),
            Some(AdminAddress::Unix(path)) => AdminPlace::Unix(path.path().to_owned()),
        };
        let is_default = options.address.is_none();
        let exposed = |tokens: &Option<Secrets>| -> Vec<String> {
            let tokens = tokens.iter().flat_map(Secrets::iter);
            tokens.map(|token| token.expose().to_owned()).collect()
        };
        let settings = AdminSettings {
            place,
            tokens: exposed(&options.token),
            metrics_tokens: exposed(&options.metrics_token),
        };
        let control = operated.control();
        let listener = match AdminListener::bind(settings, Arc::new(operated), inherited) {
            Err(error @ BindAdminError::Taken { .. }) if is_default => {
                log::warn!(
                    "{error}; there is no admin listener (admin.address = \"off\" silences this)"
                );
                return Ok(None);
            }
            bound => Arc::new(bound?),
        };
        thread.with(&control, |thread| thread.serve_admin(&listener))?;
        log::info!("admin at {}", listener.place());
        Ok(Some(Self { listener }))
    }

    /// The socket, for a process that takes over; `None` where the new process makes its own.
    pub(super) fn share_socket(&self) -> Option<TcpListener> {
        self.listener.share_socket()
    }
}
