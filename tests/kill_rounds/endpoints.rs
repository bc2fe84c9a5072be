//! The gateways as clients know them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::random::Random;

/// Where gateways are, in an order that stays.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints(Arc<Mutex<Vec<Arc<Endpoint>>>>);

/// One gateway process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) clients: SocketAddr,
    pub(crate) api: SocketAddr,
    /// Whether it is killed or stands still, as the test knows. No client has to guess it by a timeout.
    is_away: AtomicBool,
}

impl Endpoints {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        Self(Arc::new(Mutex::new(endpoints.into_iter().map(Arc::new).collect())))
    }

    /// Another process takes the place of one.
    pub(crate) fn replace(&self, index: usize, endpoint: Endpoint) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index] = Arc::new(endpoint);
    }

    pub(crate) fn get(&self, index: usize) -> Arc<Endpoint> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)[index])
    }

    /// Any that is not away.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<Arc<Endpoint>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there: Vec<&Arc<Endpoint>> = all.iter().filter(|own| !own.is_away()).collect();
        (!there.is_empty()).then(|| Arc::clone(there[random.index(there.len())]))
    }
}

impl Endpoint {
    pub(crate) fn new(clients: SocketAddr, api: SocketAddr) -> Self {
        Self { clients, api, is_away: AtomicBool::new(false) }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::SeqCst)
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }
}
