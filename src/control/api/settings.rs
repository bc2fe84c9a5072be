//! Where the listener for backends is, and who may use it.

use std::fmt;

use crate::control::http_listener::ListenPlace;
use crate::jwt::SharedSecret;

/// Where the listener for backends is, and who may use it.
#[derive(Clone)]
pub struct ApiSettings {
    /// Where it is.
    pub place: ListenPlace,
    /// The keys that permit everything, or that sign tokens which do; with none every program that
    /// reaches the listener may use it.
    pub keys: Vec<SharedSecret>,
    /// Connections at once; further ones wait.
    pub connections_max: usize,
    /// The longest body of a request, in bytes.
    pub body_bytes_max: usize,
}

impl fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSettings").field("place", &self.place).finish_non_exhaustive()
    }
}
