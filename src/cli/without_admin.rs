//! What there is in place of the admin listener in a program that was built without it.

use std::net::TcpListener;

/// No admin listener.
#[derive(Debug)]
pub(super) struct Admin;

impl Admin {
    /// There are no sockets.
    #[expect(clippy::unused_self, reason = "as that of other builds")]
    pub(super) fn share_sockets(&self) -> Vec<(String, TcpListener)> {
        Vec::new()
    }
}
