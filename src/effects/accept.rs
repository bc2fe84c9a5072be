//! How a request is let in.

use crate::http::{ResponseHeader, Subprotocol};

/// How a request is let in.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// Subprotocol to name in the reply instead of the route's first match; it must be one that
    /// the client offered.
    pub subprotocol: Option<Subprotocol>,
    /// Further headers of the reply, such as `Set-Cookie`.
    pub headers: Vec<ResponseHeader>,
}
