//! Channels: how much is held for them, who may connect, and what the channels of each namespace allow.

use super::declare::keys;
use super::file_path::FilePath;
use super::limits::GIB;
use super::rule::{Rule, integer};
use super::word::{one_of, words};
use crate::channels::{MemoryLimits, Namespace, RecoveryMode, SlowMemberPolicy, Who};
use crate::rate::Rate;
use crate::services::channels::{ChannelsLimits, ChannelsTimes};

keys! {
    /// The channels of the route with service `channels`.
    "channels." pub struct ChannelsOptions {
        /// The `[[identity]]` of kind `jwt` that checks the tokens with which clients connect. Its `user_claim`
        /// names the user; `info`, `exp` and `expire_at` are read as well.
        pub tokens: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
            reached: "A client whose token does not hold is closed with code 3500.",
        }
        /// The `[[identity]]` of kind `jwt` that checks the tokens with which clients subscribe.
        pub subscription_tokens: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
            reached: "A subscription whose token does not hold is refused with error 103.",
        }
        /// The `[[channels.proxy]]` that is asked who a client is that shows no token.
        pub connect_proxy: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
        }
        /// The `[[channels.proxy]]` that is asked whether a connection may stay whose time has expired. Clients do not renew it then.
        pub refresh_proxy: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
        }
        /// Whether clients may connect that show neither a token nor an identity of the route.
        pub allow_anonymous: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether a token must name a user. Otherwise a client whose token names none is anonymous.
        pub disallow_anonymous_tokens: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
            reached: "A client whose token names no user is closed with code 3507.",
        }
        /// Whether each client with a user is subscribed to the channel `#USER` when it connects.
        pub personal_channel: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// The namespace of that channel, which is then `NAMESPACE:#USER`.
        pub personal_channel_namespace: String {
            default: String::new(),
            shown: "none",
            rule: Rule::Text { bytes_min: 0, bytes_max: 64 },
            reload: true,
        }
        /// Time between two pings, in whole seconds as clients are told it; 0 for none.
        pub ping_ms: u64 {
            default: 25_000,
            rule: integer(0, 3_600_000),
            reload: true,
        }
        /// Time for the answer to a ping; 0 to wait for none.
        pub pong_ms: u64 {
            default: 8_000,
            rule: integer(0, 3_600_000),
            reload: true,
            reached: "The client is closed with code 3012.",
        }
        /// Time until the first command of a client.
        pub stale_ms: u64 {
            default: 10_000,
            rule: integer(500, 3_600_000),
            reload: true,
            reached: "The client is closed with code 3502.",
        }
        /// Time from the expiry of a token to the end of what it has allowed.
        pub expired_close_ms: u64 {
            default: 25_000,
            rule: integer(0, 3_600_000),
            reload: true,
            reached: "The client is closed with code 3005, a subscription ends with code 2501.",
        }
        /// Channels with members.
        pub channels_max: usize {
            default: 100_000,
            rule: integer(1, 10_000_000),
            reload: true,
            reached: "A subscription to a further one is refused with error 106.",
        }
        /// Channels of one connection.
        pub connection_channels_max: usize {
            default: 128,
            rule: integer(1, 10_000),
            reload: true,
            reached: "A further subscription is refused with error 106, a client whose token names more is closed with code 3505.",
        }
        /// Commands of one connection about which backends are asked, or that wait behind such.
        pub connection_waiting_max: usize {
            default: 256,
            rule: integer(1, 65_536),
            reload: true,
            reached: "A further command is refused with error 111.",
        }
        /// Channels of which a history or a position is kept.
        pub histories_max: usize {
            default: 100_000,
            rule: integer(1, 10_000_000),
            reload: true,
            reached: "A publication to a further one, and a subscription, are refused with error 106.",
        }
        /// Bytes of all histories together.
        pub history_bytes_max: usize {
            default: 64 << 20,
            rule: integer(65_536, GIB * 64),
            reload: true,
            reached: "A publication that has no room forgets older ones of its channel.",
        }
        /// File by which histories, positions and keys go over to the new process of a handover (`SIGUSR2`).
        /// Without one a handover begins with empty histories, and members are told that they cannot recover.
        pub snapshot: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            reload: true,
        }
        /// Time in which publications are refused during a handover with `snapshot`.
        pub snapshot_ms: u64 {
            default: 1000,
            rule: integer(10, 60_000),
            reload: true,
            reached: "The new process is ended, and the old one serves on.",
        }
    }
}

keys! {
    /// What the channels of a namespace allow, which is what stands before the `:` in their names.
    "channels.namespace." pub struct NamespaceOptions {
        /// What stands before the `:`; empty for channels without.
        pub name: String {
            default: String::new(),
            shown: "none",
            rule: Rule::Text { bytes_min: 0, bytes_max: 64 },
            reload: true,
        }
        /// Whether it is known who is in a channel.
        pub presence: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether members who ask for it are told who comes and goes.
        pub join_leave: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether all members are told who comes and goes.
        pub force_push_join_leave: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether `route.webhook` is told when a channel gets its first member and when it has lost its last.
        pub occupancy: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Publications that are kept of each channel; 0 for none.
        pub history_size: usize {
            default: 0,
            rule: integer(0, 100_000),
            reload: true,
            reached: "The oldest is forgotten.",
        }
        /// How long each is kept; 0 to keep none.
        pub history_ttl_s: u64 {
            default: 0,
            rule: integer(0, 31_536_000),
            reload: true,
            reached: "It is forgotten.",
        }
        /// How long the position of a channel without members is remembered.
        pub history_meta_ttl_s: u64 {
            default: 2_592_000,
            rule: integer(1, 31_536_000),
            reload: true,
            reached: "Members that come back are told that they cannot recover.",
        }
        /// Whether members that ask for it are told when they may lack publications.
        pub allow_positioning: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether all members are told when they may lack publications.
        pub force_positioning: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether members that ask for it get what they have missed when they come back.
        pub allow_recovery: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether all members get what they have missed when they come back, up to 300 publications.
        pub force_recovery: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// What members get that come back: all that they have missed, or the latest publication.
        pub force_recovery_mode: RecoveryMode {
            default: RecoveryMode::Stream,
            rule: one_of::<RecoveryMode>(),
            reload: true,
        }
        /// Whether clients with a user may subscribe without a token.
        pub allow_subscribe_for_client: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients without a user may subscribe without a token.
        pub allow_subscribe_for_anonymous: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients with a user may publish.
        pub allow_publish_for_client: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether members may publish.
        pub allow_publish_for_subscriber: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients without a user may publish.
        pub allow_publish_for_anonymous: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients with a user may see who is there.
        pub allow_presence_for_client: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether members may see who is there.
        pub allow_presence_for_subscriber: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients without a user may see who is there.
        pub allow_presence_for_anonymous: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients with a user may read the history.
        pub allow_history_for_client: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether members may read the history.
        pub allow_history_for_subscriber: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Whether clients without a user may read the history.
        pub allow_history_for_anonymous: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
        /// Publications of one client to the channels of the namespace in a second, on average; 0 for any number.
        pub publications_per_s: u32 {
            default: 0,
            rule: integer(0, 1_000_000),
            reload: true,
            reached: "A publication is refused with error 111.",
        }
        /// Publications of one client that are let through at once before `publications_per_s` counts.
        pub publications_burst: u32 {
            default: 10,
            rule: integer(1, 1_000_000),
            reload: true,
            reached: "A publication is refused with error 111.",
        }
        /// Least time between two publications of a channel that go to its members: of those in between, only
        /// the latest does. 0 to send all.
        pub conflate_ms: u64 {
            default: 0,
            rule: integer(0, 3_600_000),
            reload: true,
            reached: "The publication waits, and is replaced by a later one.",
        }
        /// What becomes of members that are too slow for what is published: their connections end, or they get the
        /// latest publication in place of all that waits for them.
        pub slow_policy: SlowMemberPolicy {
            default: SlowMemberPolicy::Disconnect,
            rule: one_of::<SlowMemberPolicy>(),
            reload: true,
        }
        /// The `[[channels.proxy]]` that is asked whether a client may subscribe, in place of the options above.
        pub subscribe_proxy: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
        }
        /// The `[[channels.proxy]]` that is asked whether a client may publish, and what, in place of the options above.
        pub publish_proxy: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
        }
        /// The `[[channels.proxy]]` that is asked whether a client may stay in a channel when its subscription has expired. Clients do not
        /// renew it then.
        pub sub_refresh_proxy: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Name,
            reload: true,
        }
        /// Whether a `#` in a name admits the users behind it, and no others.
        pub allow_user_limited_channels: bool {
            default: false,
            rule: Rule::Boolean,
            reload: true,
        }
    }
}

words! {
    SlowMemberPolicy:
    "disconnect" = Disconnect,
    "keep_latest" = KeepLatest,
}

words! {
    RecoveryMode:
    "cache" = Cache,
    "stream" = Stream,
}

impl ChannelsOptions {
    /// Whether the identity with this name checks tokens of clients.
    pub(super) fn takes(&self, name: &str) -> bool {
        let all = [&self.tokens, &self.subscription_tokens];
        all.into_iter().flatten().any(|own| own == name)
    }

    /// How much is held.
    #[must_use]
    pub fn limits(&self) -> ChannelsLimits {
        ChannelsLimits {
            channels_max: self.channels_max,
            connection_channels_max: self.connection_channels_max,
            connection_waiting_max: self.connection_waiting_max,
            history: MemoryLimits {
                streams_max: self.histories_max,
                bytes_max: self.history_bytes_max,
            },
            ..ChannelsLimits::default()
        }
    }

    /// How long things take.
    #[must_use]
    pub fn times(&self) -> ChannelsTimes {
        let Self { ping_ms, pong_ms, stale_ms, expired_close_ms, .. } = *self;
        // Clients are told whole seconds, and wait for those.
        let ping_ms = ping_ms.next_multiple_of(1000);
        ChannelsTimes { ping_ms, pong_ms, stale_ms, expired_close_ms }
    }
}

impl NamespaceOptions {
    /// The options of its channels.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        let who = |clients, anonymous, subscribers| Who { clients, anonymous, subscribers };
        Namespace {
            name: self.name.clone(),
            presence: self.presence,
            join_leave: self.join_leave,
            force_push_join_leave: self.force_push_join_leave,
            occupancy: self.occupancy,
            history_size: self.history_size,
            history_ttl_ms: self.history_ttl_s * 1000,
            history_meta_ttl_ms: self.history_meta_ttl_s * 1000,
            allow_positioning: self.allow_positioning,
            force_positioning: self.force_positioning,
            allow_recovery: self.allow_recovery,
            force_recovery: self.force_recovery,
            recovery_mode: self.force_recovery_mode,
            subscribe: who(
                self.allow_subscribe_for_client,
                self.allow_subscribe_for_anonymous,
                false,
            ),
            publish: who(
                self.allow_publish_for_client,
                self.allow_publish_for_anonymous,
                self.allow_publish_for_subscriber,
            ),
            see_presence: who(
                self.allow_presence_for_client,
                self.allow_presence_for_anonymous,
                self.allow_presence_for_subscriber,
            ),
            see_history: who(
                self.allow_history_for_client,
                self.allow_history_for_anonymous,
                self.allow_history_for_subscriber,
            ),
            publish_rate: (self.publications_per_s > 0)
                .then_some(Rate { per_s: self.publications_per_s, burst: self.publications_burst }),
            conflate_ms: self.conflate_ms,
            slow_policy: self.slow_policy,
            allow_user_limited_channels: self.allow_user_limited_channels,
        }
    }
}
