//! The reply to an upgrade request that is admitted.

use crate::http::{ResponseHeader, Subprotocol};

/// The parts of the reply 101 that a service chooses. The default leaves them to the gateway.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// The subprotocol to name in the reply, instead of the first of the route's that the client
    /// offers. It must be one that the client offers (RFC 6455 §4.2.2).
    pub subprotocol: Option<Subprotocol>,
    /// Further headers of the reply, such as `Set-Cookie`.
    pub headers: Vec<ResponseHeader>,
}
