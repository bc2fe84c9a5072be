//! Every key of the configuration, once: name, default, rule and meaning.
//!
//! Suggestions, range checks, messages and the test of `docs/configuration.md` all read this one
//! table; a test holds it against the types, so that a key cannot exist in one place only.

use super::rule::Rule;

/// One key of the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted name without array positions, such as `limits.head_bytes_max` or `route.path`.
    pub name: &'static str,
    /// The default as it would be written in the file; `required` where there is none, and other
    /// plain words where leaving the key out means something that no value can express.
    pub default: &'static str,
    /// What a value must be.
    pub rule: Rule,
    /// What the key does, in one sentence.
    pub doc: &'static str,
}

/// The [`Key::default`] of a key that its table must hold.
const REQUIRED: &str = "required";

impl Key {
    /// The table the key belongs to (`limits`), empty for keys at the top of the file.
    pub fn section(&self) -> &'static str {
        split(self.name).0
    }

    /// The name inside its table (`head_bytes_max`).
    pub fn leaf(&self) -> &'static str {
        split(self.name).1
    }

    /// Whether every table of its kind must hold the key.
    pub fn is_required(&self) -> bool {
        self.default == REQUIRED
    }
}

/// The key of this dotted name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Splits a dotted name into its table and the name inside it.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A table of the configuration file, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) is_array: bool,
}

impl Section {
    /// The header as it is written in a file.
    pub(super) fn header(&self) -> String {
        let Self { name, is_array } = self;
        if *is_array { format!("[[{name}]]") } else { format!("[{name}]") }
    }
}

/// The tables that the keys are grouped in.
pub(super) const SECTIONS: &[Section] = &[
    array("listener"),
    table("limits"),
    table("timeouts"),
    table("turn"),
    table("socket"),
    array("route"),
    array("token"),
    table("redis"),
];

/// Every key that a configuration file may hold, in the order of `docs/configuration.md`.
pub const KEYS: &[Key] = &[
    key("loops", "0", integer(0, 1024), "Event loops, one thread each; 0 is one per core."),
    key(
        "pin_loops",
        "false",
        Rule::Boolean,
        "Keeps each event loop's thread on a core of its own, while there are enough.",
    ),
    key(
        "share_port",
        "false",
        Rule::Boolean,
        "Lets other processes listen on the same addresses; if not, a port that is taken is an \
         error at start.",
    ),
    key(
        "listener.address",
        REQUIRED,
        Rule::Address,
        "Where to listen; port 0 lets the kernel choose. `[::]` takes IPv6 only.",
    ),
    key(
        "listener.kind",
        "http",
        Rule::OneOf(&["http", "line"]),
        "What clients speak: HTTP with WebSocket, or plain TCP where every line is a message.",
    ),
    key("listener.route", "none", Rule::Path, "The WebSocket route that line clients join."),
    key("limits.connections_max", "derived", CONNECTIONS, "Connections served at once."),
    key(
        "limits.half_open_max",
        "derived",
        CONNECTIONS,
        "Connections that have not finished their handshake.",
    ),
    key("limits.head_bytes_max", "8192", integer(512, 8192), "Bytes of one request head."),
    key(
        "limits.message_bytes_max",
        "1048576",
        MESSAGE_BYTES,
        "Bytes of one message after reassembly.",
    ),
    key(
        "limits.backlog_high_bytes",
        "65536",
        integer(1024, GIB / 4),
        "Unsent bytes of one connection at which it is no longer read.",
    ),
    key(
        "limits.backlog_hard_bytes",
        "1048576",
        integer(1024, 2 * GIB),
        "Unsent bytes of one connection at which pushed messages meet its slow policy.",
    ),
    key(
        "limits.pool_bytes_max",
        "268435456",
        integer(65_536, 1024 * GIB),
        "Bytes of all unfinished messages, backlogs, compressors and contexts together.",
    ),
    key(
        "limits.mailbox_items_max",
        "4096",
        integer(16, 1_048_576),
        "Items waiting from one loop to another.",
    ),
    key(
        "limits.refusals_max",
        "64",
        integer(1, 65_536),
        "Connections above connections_max that are held only to be told 503.",
    ),
    key(
        "timeouts.handshake_ms",
        "5000",
        TIMEOUT,
        "From accepting a connection to its complete upgrade request.",
    ),
    key(
        "timeouts.refuse_ms",
        "100",
        integer(1, DAY_MS),
        "For a client above connections_max to ask for something before it is told 503.",
    ),
    key(
        "timeouts.ping_idle_ms",
        "25000",
        integer(1000, DAY_MS),
        "Silence of a client before it is sent a ping.",
    ),
    key("timeouts.pong_ms", "8000", TIMEOUT, "From a ping to any sign of life."),
    key(
        "timeouts.write_stall_ms",
        "10000",
        TIMEOUT,
        "Without the kernel taking any of the bytes that wait for a client.",
    ),
    key("timeouts.close_ms", "5000", TIMEOUT, "For the closing handshake."),
    key("timeouts.drain_ms", "20000", TIMEOUT, "For a shutdown in all."),
    key(
        "timeouts.pool_idle_ms",
        "10000",
        TIMEOUT,
        "Before pooled memory that is not used is given back.",
    ),
    key(
        "timeouts.accept_pause_ms",
        "50",
        integer(1, DAY_MS),
        "Rest from accepting after descriptors or memory ran out.",
    ),
    key("turn.accepts_per_turn", "64", PER_TURN, "Connections accepted."),
    key(
        "turn.reads_per_turn",
        "4",
        integer(1, 1024),
        "Receive buffers that one connection may fill.",
    ),
    key("turn.flushes_per_turn", "1024", PER_TURN, "Connections flushed after a fan-out."),
    key("turn.reaps_per_turn", "256", PER_TURN, "Closed connections freed."),
    key("turn.mail_per_turn", "1024", PER_TURN, "Mailbox items handled."),
    key(
        "turn.receive_buffer_bytes",
        "524288",
        // The floor leaves room for a whole request head and the frames right behind it.
        integer(16_384, 16 * 1024 * 1024),
        "Bytes of the receive buffer, one for each loop.",
    ),
    key(
        "socket.accept_backlog",
        "4096",
        integer(1, 65_535),
        "Completed connections waiting to be accepted, for each listening socket.",
    ),
    key("socket.no_delay", "true", Rule::Boolean, "Sends small writes at once (TCP_NODELAY)."),
    key(
        "socket.notsent_bytes_max",
        "16384",
        integer(0, GIB),
        "Unsent bytes the kernel may hold for one socket (TCP_NOTSENT_LOWAT); 0 leaves it to the \
         kernel.",
    ),
    key(
        "socket.send_buffer_bytes",
        "kernel",
        integer(4096, GIB),
        "Bytes of the kernel's send buffer (SO_SNDBUF).",
    ),
    key(
        "route.path",
        REQUIRED,
        Rule::Path,
        "Path of the request, as it reads when percent-decoded.",
    ),
    key(
        "route.service",
        REQUIRED,
        Rule::OneOf(&["broadcast", "echo", "hall", "page", "room"]),
        "What answers.",
    ),
    key("route.aliases", "[]", Rule::Paths, "Further paths of the same service."),
    key("route.origins", "same host", Rule::Origins, "Which web pages may connect."),
    key(
        "route.subprotocols",
        "by service",
        Rule::Tokens,
        "Subprotocols offered, the preferred one first.",
    ),
    key(
        "route.message_bytes_max",
        "limits.message_bytes_max",
        MESSAGE_BYTES,
        "Bytes of one message on this route.",
    ),
    key(
        "route.backlog_messages_max",
        "by bytes",
        integer(1, 1_048_576),
        "Pushed messages that may wait for one connection before they meet its slow policy.",
    ),
    key(
        "route.slow_policy",
        "disconnect",
        Rule::OneOf(&["disconnect", "drop_newest", "keep_latest"]),
        "What becomes of pushed messages that a client is too slow for.",
    ),
    key(
        "route.deflate",
        "true",
        Rule::Boolean,
        "Whether messages are compressed for clients that offer it (permessage-deflate).",
    ),
    key(
        "route.deflate_level",
        "3",
        integer(1, 9),
        "How hard compression tries: 1 is fastest, 9 smallest.",
    ),
    key(
        "route.deflate_bytes_min",
        "1024",
        integer(0, GIB),
        "Bytes of the shortest message that is compressed.",
    ),
    key(
        "route.deflate_context_takeover",
        "false",
        Rule::Boolean,
        "Whether compressed messages may refer back to those before them, at a cost in memory for \
         each connection.",
    ),
    key(
        "route.deflate_window_bits_max",
        "12",
        integer(9, 15),
        "How far they may, in bytes as a power of two: what each side of a connection remembers at \
         most.",
    ),
    key(
        "route.order",
        "room",
        Rule::OneOf(&["room", "sender"]),
        "Whether all members see one order, or only each sender's messages in their order.",
    ),
    key(
        "route.name",
        "query",
        Rule::OneOf(&["address", "first", "path", "query", "token"]),
        "Where a member's name comes from.",
    ),
    key("route.room", "lobby", Rule::Name, "The room of those who ask for none."),
    key("route.line", "named", Rule::Line, "How a message looks to clients without a subprotocol."),
    key("route.hears_itself", "true", Rule::Boolean, "Whether a sender receives its own messages."),
    key(
        "route.newlines",
        "keep",
        Rule::OneOf(&["keep", "space"]),
        "What becomes of line breaks inside a message.",
    ),
    key(
        "route.logins",
        "many",
        Rule::OneOf(&["many", "one"]),
        "How many connections may have one name in a room.",
    ),
    key(
        "route.join_lines",
        "false",
        Rule::Boolean,
        "Whether lines that wait for one connection are sent as one message.",
    ),
    key(
        "route.tokens",
        "config",
        Rule::OneOf(&["config", "redis"]),
        "Who knows the tokens of members.",
    ),
    key("token.name", REQUIRED, Rule::Name, "Who may log in with it."),
    key(
        "token.token",
        REQUIRED,
        Rule::Text { bytes_min: 1, bytes_max: 256 },
        "What has to be shown; never printed.",
    ),
    key(
        "redis.url",
        "redis://127.0.0.1:6379",
        Rule::RedisUrl,
        "The server that knows tokens; its password is never printed.",
    ),
    key(
        "redis.token_prefix",
        "ChatroomToken",
        Rule::Text { bytes_min: 0, bytes_max: 256 },
        "What stands before a name in the key of its token.",
    ),
    key("redis.lookup_ms", "2000", TIMEOUT, "For the answer to a look-up."),
    key("redis.lookups_max", "1024", integer(1, 65_536), "Look-ups under way at once."),
    key(
        "redis.one_time",
        "false",
        Rule::Boolean,
        "Deletes a token as soon as it has let somebody in.",
    ),
];

/// The most connections a process may be asked for: beyond any descriptor limit met in practice,
/// and small enough that slot indices stay 32 bits.
pub(super) const CONNECTIONS_MAX: usize = 1 << 24;

const GIB: u64 = 1 << 30;
const DAY_MS: u64 = 86_400_000;
const CONNECTIONS: Rule = integer(1, CONNECTIONS_MAX as u64);
/// The floor is the longest control frame payload (RFC 6455 section 5.5), which must always fit. The
/// ceiling keeps backlogs within their 32-bit counters: as an event a message may be six times as long.
const MESSAGE_BYTES: Rule = integer(125, GIB / 4);
/// Below 10 ms a deadline would measure the scheduler instead of the peer.
const TIMEOUT: Rule = integer(10, DAY_MS);
const PER_TURN: Rule = integer(1, 1_048_576);

const fn array(name: &'static str) -> Section {
    Section { name, is_array: true }
}

const fn table(name: &'static str) -> Section {
    Section { name, is_array: false }
}

const fn integer(min: u64, max: u64) -> Rule {
    Rule::Integer { min, max }
}

const fn key(name: &'static str, default: &'static str, rule: Rule, doc: &'static str) -> Key {
    Key { name, default, rule, doc }
}

#[cfg(test)]
mod tests;
