//! Options of the sockets themselves.

use super::declare::keys;
use super::limits::GIB;
use super::rule::{Rule, integer};
use crate::os::ListenOptions;

keys! {
    /// Options of the sockets themselves. All are set on listening sockets, from which accepted ones
    /// inherit them: so none changes without a new listening socket.
    "socket." pub struct SocketOptions {
        /// Completed connections waiting to be accepted, for each listening socket.
        pub accept_backlog: u32 {
            default: 4096,
            rule: integer(1, 65_535),
            reload: false,
            reached: "The kernel ignores further attempts; clients try again.",
        }
        /// Sends small writes at once (TCP_NODELAY).
        pub no_delay: bool {
            default: true,
            rule: Rule::Boolean,
            reload: false,
        }
        /// Unsent bytes the kernel may hold for one socket (TCP_NOTSENT_LOWAT); 0 leaves it to the
        /// kernel.
        pub notsent_bytes_max: u32 {
            default: 16_384,
            rule: integer(0, GIB),
            reload: false,
            reached: "Further bytes wait in the gateway, where they count as backlog.",
        }
        /// Bytes of the kernel's send buffer (SO_SNDBUF).
        pub send_buffer_bytes: Option<u32> {
            default: None,
            shown: "kernel",
            rule: integer(4096, GIB),
            reload: false,
            reached: "Further bytes wait in the gateway, where they count as backlog.",
        }
    }
}

impl SocketOptions {
    /// What listening sockets are made with.
    pub fn listen_options(&self) -> ListenOptions {
        let Self { accept_backlog, no_delay, notsent_bytes_max, send_buffer_bytes } = *self;
        ListenOptions { accept_backlog, no_delay, notsent_bytes_max, send_buffer_bytes }
    }
}
