//! The gateways as clients know them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::random::Random;

/// Where gateways are, in an order that stays.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Mutex<Vec<Arc<Place>>>>);

/// One gateway process.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) clients: SocketAddr,
    pub(crate) api: SocketAddr,
    /// Whether it is killed or stands still, as the test knows. No client has to guess it by a timeout.
    is_away: AtomicBool,
}

impl Places {
    pub(crate) fn new(places: Vec<Place>) -> Self {
        Self(Arc::new(Mutex::new(places.into_iter().map(Arc::new).collect())))
    }

    /// Another process takes the place of one.
    pub(crate) fn replace(&self, index: usize, place: Place) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index] = Arc::new(place);
    }

    pub(crate) fn get(&self, index: usize) -> Arc<Place> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)[index])
    }

    /// Any that is not away.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<Arc<Place>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there: Vec<&Arc<Place>> = all.iter().filter(|own| !own.is_away()).collect();
        (!there.is_empty()).then(|| Arc::clone(there[random.index(there.len())]))
    }
}

impl Place {
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
