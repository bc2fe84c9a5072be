//! How channels work on a route.

use std::fmt;
use std::sync::Arc;

use super::occupancy::OccupancySettings;
use super::proxies::ChannelProxies;
use crate::channels::{MemoryLimits, Namespaces};
use crate::services::{IdentityCheck, SharedEngineLink};

/// How channels work, for all loops.
#[derive(Clone, Default)]
pub struct ChannelsSettings {
    /// The options of channels by their names.
    pub namespaces: Namespaces,
    /// What checks the tokens of connections; `None` to take none.
    pub tokens: Option<Arc<dyn IdentityCheck>>,
    /// What checks the tokens of subscriptions; `None` to take none.
    pub subscription_tokens: Option<Arc<dyn IdentityCheck>>,
    /// Which backends are asked about connections.
    pub proxies: ChannelProxies,
    /// Whether a client may connect without a user.
    pub allow_anonymous: bool,
    /// Whether a token must name a user.
    pub disallow_anonymous_tokens: bool,
    /// The namespace of the channel to which each user is subscribed, `#USER` in it; `None` for no such channels.
    pub personal_namespace: Option<String>,
    /// How much is held.
    pub limits: ChannelsLimits,
    /// How long things take.
    pub times: ChannelsTimes,
    /// The engine that other gateways share; `None` for one in the process.
    pub engine: Option<SharedEngineLink>,
    /// Who is told that channels are occupied and vacated, in namespaces with
    /// [`occupancy`](crate::channels::Namespace::occupancy).
    pub occupancy: Option<OccupancySettings>,
}

/// How much is held for channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelsLimits {
    /// Channels with members, on all loops.
    pub channels_max: usize,
    /// Channels of one connection.
    pub connection_channels_max: usize,
    /// Commands of one connection about which backends are asked, or that wait behind such.
    pub connection_waiting_max: usize,
    /// Channels of which something is kept, and bytes of that, on all loops.
    pub history: MemoryLimits,
    /// What long answers may take of a turn, in units of [`crate::work`].
    pub long_answers_work: u64,
}

/// How long things take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelsTimes {
    /// Between two pings; 0 for none.
    pub ping_ms: u64,
    /// Until the answer to a ping; 0 to wait for none.
    pub pong_ms: u64,
    /// Until the first command.
    pub stale_ms: u64,
    /// From the expiry of a credential to the end of what it has allowed.
    pub expired_close_ms: u64,
}

impl Default for ChannelsLimits {
    fn default() -> Self {
        Self {
            channels_max: 100_000,
            connection_channels_max: 128,
            connection_waiting_max: 256,
            history: MemoryLimits { streams_max: 100_000, bytes_max: 64 << 20 },
            // Half of a turn, as a turn is by default.
            long_answers_work: 2_000_000,
        }
    }
}

impl Default for ChannelsTimes {
    fn default() -> Self {
        Self { ping_ms: 25_000, pong_ms: 8_000, stale_ms: 10_000, expired_close_ms: 25_000 }
    }
}

impl ChannelsLimits {
    /// The share of one loop of several. A hash spreads channels over them, so each has some to spare.
    #[must_use]
    pub fn of_loop(self, loop_count: u16) -> Self {
        let share = |all: usize| match usize::from(loop_count.max(1)) {
            1 => all,
            count => all.div_ceil(count) + all / (count * 8),
        };
        let MemoryLimits { streams_max, bytes_max } = self.history;
        let history = MemoryLimits { streams_max: share(streams_max), bytes_max: share(bytes_max) };
        Self { channels_max: share(self.channels_max), history, ..self }
    }
}

impl fmt::Debug for ChannelsSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChannelsSettings")
            .field("namespaces", &self.namespaces)
            .field("limits", &self.limits)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
