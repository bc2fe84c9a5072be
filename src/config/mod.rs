//! What can be configured: the types of a configuration file, with the default of every key.
//!
//! A configuration makes its way through this folder in the order of the modules below: the
//! command line names a file, [`Config::load`] turns it into a [`Config`] or one
//! [`ConfigError`], `validate` holds it to the rules of [`KEYS`], and [`Config::resolve`] fits it
//! to what the machine grants. The loops only ever see the resulting [`ResolvedConfig`]. The page for
//! people is `docs/configuration.md`; a test keeps it and [`KEYS`] in step.
//!
//! Names carry their unit last (`idle_ms`, `message_bytes_max`), and an `Option` that is `None`
//! always means "derived", never "unlimited": nothing here is unlimited.

mod load;

mod listener;
mod logins;
mod route;
mod secret;

mod key_path;
mod suggest;

mod grammar;
mod keys;
mod rule;
mod validate;

mod check;
mod error;
mod resolved;

#[cfg(test)]
mod arbitrary;

use serde::{Deserialize, Serialize};

pub use crate::effects::SlowPolicy;
pub use error::ConfigError;
pub(crate) use error::Refusal;
pub use keys::{KEYS, Key};
pub use listener::{Listener, ListenerKind};
pub use logins::{Redis, Token};
pub use resolved::{Adjustment, MachineLimits, ResolvedConfig, ResolvedLimits, ResolvedRoute};
pub use route::{NameKind, Origins, RoomOptions, Route, RouteDeflate, ServiceKind, TokenSource};
pub use rule::Rule;
pub use secret::{Secret, ServerUrl};

/// A whole configuration: what a file and the command line ask for.
///
/// [`Config::default`] is a gateway that works: it listens on 127.0.0.1:8080 and serves an
/// echo, a broadcast, rooms, and pages that try them out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Event loops, one thread each; 0 means one per core. Default 0.
    pub loops: usize,
    /// Whether each event loop keeps to a core of its own. Default false.
    pub pin_loops: bool,
    /// Whether another process may listen on the same addresses at the same time; if not, a port
    /// that is taken is an error at start. Default false.
    pub share_port: bool,
    /// Where to listen; `[[listener]]` in the file. Default: 127.0.0.1:8080.
    #[serde(rename = "listener")]
    pub listeners: Vec<Listener>,
    /// How much of everything.
    pub limits: Limits,
    /// How long everything may take.
    pub timeouts: Timeouts,
    /// How much of each kind of work one turn of a loop may do.
    pub turn: Turn,
    /// Options of the sockets themselves.
    pub socket: SocketOptions,
    /// Which path is served by what; `[[route]]` in the file. Default: `/echo`, `/broadcast`, rooms
    /// at `/chat`, `/ws` and `/chatroom/ws`, and pages at `/` and `/chatroom`.
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
    /// Login tokens; `[[token]]` in the file. Default: none.
    #[serde(rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// The server that is asked for login tokens where a route says so.
    pub redis: Redis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            loops: 0,
            pin_loops: false,
            share_port: false,
            listeners: vec![Listener::default()],
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            turn: Turn::default(),
            socket: SocketOptions::default(),
            routes: route::built_in(),
            tokens: Vec::new(),
            redis: Redis::default(),
        }
    }
}

/// How much of everything. Counts and bytes are of the whole process unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections served at once; further ones get a 503. Default `None`: as many as the
    /// descriptor limit leaves room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<usize>,
    /// Connections that have not finished their handshake; when full, the oldest is closed.
    /// Default `None`: a quarter of `connections_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_open_max: Option<usize>,
    /// Bytes of one request head. Default 8192.
    pub head_bytes_max: usize,
    /// Bytes of one message after reassembly, unless its route says otherwise. Default 1 MiB.
    pub message_bytes_max: usize,
    /// Unsent bytes of one connection at which the gateway stops reading from it. Default 64 KiB.
    pub backlog_high_bytes: usize,
    /// Unsent bytes of one connection at which a pushed message meets the route's
    /// [`SlowPolicy`]. Default 1 MiB, and never below `backlog_high_bytes` plus the largest
    /// message and its header: [`Config::resolve`] raises it.
    pub backlog_hard_bytes: usize,
    /// Bytes of all carries and backlogs together. Default 256 MiB.
    pub pool_bytes_max: usize,
    /// Items waiting in one mailbox, of which there is one per ordered pair of loops.
    /// Default 4096.
    pub mailbox_items_max: usize,
    /// Connections above `connections_max` that are kept just long enough to be told 503.
    /// Default 64.
    pub refusals_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            half_open_max: None,
            head_bytes_max: 8192,
            message_bytes_max: 1024 * 1024,
            backlog_high_bytes: 64 * 1024,
            backlog_hard_bytes: 1024 * 1024,
            pool_bytes_max: 256 * 1024 * 1024,
            mailbox_items_max: 4096,
            refusals_max: 64,
        }
    }
}

/// How long everything may take, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// From accepting a connection to a complete upgrade request. Default 5000.
    pub handshake_ms: u64,
    /// How long a connection above the limit may wait with its request before it is told 503 all the
    /// same. Default 100.
    pub refuse_ms: u64,
    /// Silence after which the gateway sends a ping. Default 25000.
    pub ping_idle_ms: u64,
    /// How long the answer to a ping may take. Default 8000.
    pub pong_ms: u64,
    /// How long the kernel may take none of the bytes waiting for a peer. Default 10000.
    pub write_stall_ms: u64,
    /// From our Close frame to the end of the connection. Default 5000.
    pub close_ms: u64,
    /// How long a shutdown may take in all. Default 20000.
    pub drain_ms: u64,
    /// How long pooled memory stays unused before it is given back. Default 10000.
    pub pool_idle_ms: u64,
    /// How long accepting rests after the process ran out of descriptors or memory. Default 50.
    pub accept_pause_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake_ms: 5000,
            refuse_ms: 100,
            ping_idle_ms: 25_000,
            pong_ms: 8000,
            write_stall_ms: 10_000,
            close_ms: 5000,
            drain_ms: 20_000,
            pool_idle_ms: 10_000,
            accept_pause_ms: 50,
        }
    }
}

/// How much of each kind of work one turn of a loop does before the other kinds get theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Turn {
    /// Connections accepted. Default 64.
    pub accepts_per_turn: usize,
    /// Receive buffers one connection may fill before the others get their turn. Default 4.
    pub reads_per_turn: usize,
    /// Connections flushed after a fan-out. Default 1024.
    pub flushes_per_turn: usize,
    /// Closed connections whose socket and slot are freed. Default 256.
    pub reaps_per_turn: usize,
    /// Items taken from the mailboxes. Default 1024.
    pub mail_per_turn: usize,
    /// Bytes of the receive buffer, of which there is one per loop. Default 524288.
    pub receive_buffer_bytes: usize,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            accepts_per_turn: 64,
            reads_per_turn: 4,
            flushes_per_turn: 1024,
            reaps_per_turn: 256,
            mail_per_turn: 1024,
            receive_buffer_bytes: 512 * 1024,
        }
    }
}

/// Options of the sockets themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SocketOptions {
    /// Connections the kernel completes before they are accepted, per listening socket; the
    /// kernel lowers it to `net.core.somaxconn`. Default 4096.
    pub accept_backlog: u32,
    /// Whether small writes leave at once (`TCP_NODELAY`). Default true.
    pub no_delay: bool,
    /// Unsent bytes the kernel may hold before a socket stops being writable
    /// (`TCP_NOTSENT_LOWAT`); 0 leaves it to the kernel. Default 16384.
    pub notsent_bytes_max: u32,
    /// Bytes of the kernel's send buffer (`SO_SNDBUF`, which the kernel doubles). Default `None`:
    /// the kernel sizes it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_buffer_bytes: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            accept_backlog: 4096,
            no_delay: true,
            notsent_bytes_max: 16_384,
            send_buffer_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_at_all_serves_something() {
        let config = Config::default();
        assert_eq!(config.listeners, [Listener::http("127.0.0.1:8080".parse().unwrap())]);
        let paths: Vec<&str> = config.routes.iter().flat_map(Route::paths).collect();
        assert_eq!(
            paths,
            [
                "/echo",
                "/broadcast",
                "/chat",
                "/",
                "/ws",
                "/chatroom/ws/:name/:token",
                "/",
                "/chatroom"
            ]
        );
        config.validate("defaults").unwrap();
    }

    #[test]
    fn an_empty_file_is_the_default_configuration() {
        assert_eq!(Config::from_toml("", "empty.toml"), Ok(Config::default()));
    }
}
