//! The listeners for operators and for backends of the process.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;

use super::admin_thread::AdminThreadRef;
use super::api::Api;
use super::handover::{ADMIN_SOCKET, API_SOCKET};
use super::operated::Operated;
use crate::config::{AdminAddress, Secrets};
use crate::control::admin::{AdminListener, AdminSettings};
use crate::control::api::Publisher;
use crate::control::{BindError, InheritedSocket, ListenPlace};

/// The listeners for operators and for backends.
#[derive(Debug)]
pub(super) struct Admin {
    listener: Option<Arc<AdminListener>>,
    api: Option<Api>,
}

impl Admin {
    /// Starts the listeners that the configuration asks for; `inherited` is first what there is of that
    /// for operators.
    ///
    /// # Errors
    /// If a configured address cannot be listened on, or the system gives no thread.
    pub(super) fn start(
        operated: Operated,
        inherited: [InheritedSocket; 2],
        thread: &AdminThreadRef,
    ) -> Result<Self, Box<dyn Error>> {
        let (operated, publisher) = (Arc::new(operated), Arc::new(Publisher::default()));
        let [admin, api] = inherited;
        let listener = start_admin(&operated, &publisher, admin, thread)?;
        let api = Api::start(&operated.api(), operated, publisher, api)?;
        Ok(Self { listener, api })
    }

    /// The sockets with their names, for a process that takes over, which makes the others itself.
    pub(super) fn share_sockets(&self) -> Vec<(String, TcpListener)> {
        let admin = self.listener.as_ref().and_then(|own| own.share_socket());
        let api = self.api.as_ref().and_then(Api::share_socket);
        let named = [(ADMIN_SOCKET, admin), (API_SOCKET, api)];
        named.into_iter().filter_map(|(name, own)| Some((name.to_owned(), own?))).collect()
    }
}

/// Starts the listener for operators. A default address that is taken is a warning.
fn start_admin(
    operated: &Arc<Operated>,
    publisher: &Arc<Publisher>,
    inherited: InheritedSocket,
    thread: &AdminThreadRef,
) -> Result<Option<Arc<AdminListener>>, Box<dyn Error>> {
    let options = operated.admin();
    let place = match &options.address {
        None => ListenPlace::Tcp(AdminAddress::DEFAULT),
        Some(AdminAddress::Off) => return Ok(None),
        Some(AdminAddress::Tcp(address)) => ListenPlace::Tcp(*address),
        Some(AdminAddress::Unix(path)) => ListenPlace::Unix(path.path().to_owned()),
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
    let gateway = Arc::clone(operated) as _;
    let bound = AdminListener::bind(settings, gateway, Arc::clone(publisher), inherited);
    let listener = match bound {
        Err(error @ BindError::Taken { .. }) if is_default => {
            log::warn!(
                "{error}; there is no admin listener (admin.address = \"off\" silences this)"
            );
            return Ok(None);
        }
        bound => Arc::new(bound?),
    };
    thread.with(&operated.control(), |thread| thread.serve_admin(&listener))?;
    log::info!("admin at {}", listener.place());
    Ok(Some(listener))
}
