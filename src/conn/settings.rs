//! The numbers that the rules of a connection's life refer to.

use super::proxies::ProxySettings;
use crate::admission::AddressSettings;
use crate::certificates::HttpChallenges;
use crate::http::{HostRule, HttpsRedirect};
use crate::work::WorkLimits;

/// Limits and deadlines of the connections of one loop.
#[derive(Clone, Debug)]
pub struct ConnSettings {
    /// Longest request head.
    pub head_bytes_max: usize,
    /// Most header lines of a request.
    pub header_lines_max: usize,
    /// Half-open connections this loop holds at most.
    pub half_open_max: usize,
    /// Size of the receive buffer that all connections share.
    pub receive_buffer_bytes: usize,
    /// Reads that one connection may do before others get their turn.
    pub reads_per_turn: usize,
    /// What a turn, and the share of one connection in it, may cost.
    pub work: WorkLimits,
    /// Reading stops when this many bytes of replies wait, and goes on below half of it.
    pub backlog_high_bytes: usize,
    /// Pushed messages meet the route's policy when this many bytes wait.
    pub backlog_hard_bytes: usize,
    /// Time to finish the request head.
    pub handshake_ms: u64,
    /// Time until a connection over the limit is told so even if it has asked nothing.
    pub refuse_ms: u64,
    /// A ping goes out when nothing came for this long, or up to a tenth less.
    pub ping_idle_ms: u64,
    /// The connection ends when nothing came for this long after the ping was written.
    pub pong_ms: u64,
    /// A message that was begun may take this long, and as long for its bytes as the least rate
    /// allows. With 0 it may take any time.
    pub message_grace_ms: u64,
    /// That rate, in bytes per second.
    pub message_bytes_per_s_min: usize,
    /// The connection ends when the kernel took no byte of waiting output for this long.
    pub write_stall_ms: u64,
    /// Time for the peer to end the connection after our last byte.
    pub close_ms: u64,
    /// A relay of which one half has ended may stay so for this long while nothing comes.
    pub half_close_ms: u64,
    /// A connection whose last request is answered may be without a further one for so long.
    pub http_idle_ms: u64,
    /// An open connection is closed at this age, give or take a tenth; 0 for no maximum.
    pub age_ms: u64,
    /// Buffers that were not used for this long are released.
    pub pool_idle_ms: u64,
    /// `Retry-After` of a 503, in seconds.
    pub retry_after_s: u32,
    /// The hosts that requests may name, for each listener. One without an entry permits any.
    pub hosts: Vec<HostRule>,
    /// What clients may do by their addresses.
    pub addresses: AddressSettings,
    /// Where listeners redirect to that serve nothing else, by their numbers; `None`, or no entry, for
    /// those that serve routes.
    pub redirects: Vec<Option<HttpsRedirect>>,
    /// What such listeners answer challenges by.
    pub challenges: HttpChallenges,
    /// Whom to believe for whom they speak.
    pub proxies: ProxySettings,
}

impl Default for ConnSettings {
    /// The defaults of the configuration.
    fn default() -> Self {
        Self {
            head_bytes_max: 8192,
            header_lines_max: 64,
            half_open_max: 4096,
            receive_buffer_bytes: 512 << 10,
            reads_per_turn: 4,
            work: WorkLimits::default(),
            backlog_high_bytes: 64 << 10,
            backlog_hard_bytes: (64 << 10) + (1 << 20) + 14,
            handshake_ms: 5_000,
            refuse_ms: 100,
            ping_idle_ms: 25_000,
            pong_ms: 8_000,
            message_grace_ms: 30_000,
            message_bytes_per_s_min: 1024,
            write_stall_ms: 10_000,
            close_ms: 5_000,
            half_close_ms: 30_000,
            http_idle_ms: 75_000,
            age_ms: 0,
            pool_idle_ms: 10_000,
            retry_after_s: 1,
            hosts: Vec::new(),
            addresses: AddressSettings::default(),
            redirects: Vec::new(),
            challenges: HttpChallenges::default(),
            proxies: ProxySettings::default(),
        }
    }
}
