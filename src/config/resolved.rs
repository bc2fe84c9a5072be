//! What a configuration comes to on this machine: every number resolved, every change reported.
//!
//! # How many connections
//!
//! Each connection is a descriptor, and the process needs a few for itself. The reserve is
//!
//! ```text
//! 32 for the process + 8 per loop (more if it listens on more than 4 addresses) + refusals_max
//! ```
//!
//! and `connections_max` is what remains. Where that would take more than half of the
//! descriptors, the reserve is cut to half: first the refusals (down to a sixteenth of the
//! descriptors, so that a full gateway still answers), then the slack of the process and the
//! loops, and at last loops themselves, since a loop without its descriptors could not start.
//! Below 64 descriptors the result has one loop, and nothing else is guaranteed.

use std::fmt;

use ipnet::IpNet;

use super::limits::CONNECTIONS_MAX;
use super::validate::FRAME_HEADER_BYTES_MAX;
use super::{
    AcmeOptions, AddressOptions, AdminOptions, ApiOptions, CertificateFiles, ChannelsOptions,
    Config, EngineOptions, ForwardedHeader, Identity, IdentityKind, Limits, Listener, LogOptions,
    NamespaceOptions, Origins, OverloadOptions, ProxyOptions, RedisOptions, Route, RouteService,
    RpcOptions, ServerUrl, ServiceKind, SlowPolicy, SocketOptions, Timeouts, TlsOptions,
    TokenPlace, Turn, UpstreamOptions, WebSocketOptions, WebhookOptions,
};
use crate::centrifugo::{JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL};
use crate::effects::MessageLimits;
use crate::http::HostPattern;
use crate::os::raise_descriptor_limit;
use crate::reactor::DrainTerms;
use crate::services::room::CHAT_SUBPROTOCOL;
use crate::services::{DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL, DeflateOptions, RouteId};

/// What the machine grants to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineLimits {
    /// Descriptors the process may have open: the soft limit after it was raised.
    pub descriptors: u64,
    /// Processor cores the process may run on; 0 counts as 1.
    pub cores: usize,
}

impl MachineLimits {
    /// What this process gets: the descriptors after raising its soft limit to the hard one, and the
    /// cores that its threads may run on.
    #[must_use]
    pub fn of_this_process() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { descriptors: raise_descriptor_limit().granted, cores }
    }
}

/// A validated configuration fitted to the machine. This is what the loops take.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedConfig {
    /// Event loops; at least 1.
    pub loops: usize,
    /// Whether the port may be shared with another process.
    pub share_port: bool,
    /// Whether each loop keeps to a core of its own.
    pub pin_loops: bool,
    /// The proxies in front of the gateway.
    pub trusted_proxies: Vec<IpNet>,
    /// The header of theirs that names the client.
    pub forwarded_header: ForwardedHeader,
    /// Where to listen; not empty.
    pub listeners: Vec<Listener>,
    /// The certificates of listeners with TLS, the default one first; not empty if there are such
    /// listeners and `acme` is off.
    pub certificates: Vec<CertificateFiles>,
    /// The certificate that the gateway gets itself.
    pub acme: AcmeOptions,
    /// What listeners with TLS have in common.
    pub tls: TlsOptions,
    /// Where operators see and steer the gateway.
    pub admin: AdminOptions,
    /// What applications ask of the gateway.
    pub api: ApiOptions,
    /// How webhooks are told of connections.
    pub webhooks: WebhookOptions,
    /// What is logged, and how.
    pub log: LogOptions,
    /// How many connections, and how many bytes.
    pub limits: ResolvedLimits,
    /// How many connections of each address; the number of entries is resolved.
    pub addresses: AddressOptions,
    /// When newcomers are refused although there is room for them.
    pub overload: OverloadOptions,
    /// How long each step of a connection may take.
    pub timeouts: Timeouts,
    /// How much work one turn may do.
    pub turn: Turn,
    /// Options of the sockets. `send_buffer_bytes: None` leaves the size to the kernel.
    pub socket: SocketOptions,
    /// What answers where; not empty.
    pub routes: Vec<ResolvedRoute>,
    /// How clients prove who they are; no two have the same name.
    pub identities: Vec<Identity>,
    /// The servers that relays lead to; no two have the same name.
    pub upstreams: Vec<UpstreamOptions>,
    /// What all channels have in common.
    pub channels: ChannelsOptions,
    /// Where the order of publications in channels is decided.
    pub engine: EngineOptions,
    /// What channels allow; no two have the same name.
    pub namespaces: Vec<NamespaceOptions>,
    /// Backends that are asked about connections of channels; no two have the same name.
    pub proxies: Vec<ProxyOptions>,
    /// Calls of clients that go to such backends.
    pub rpcs: Vec<RpcOptions>,
    /// Where `limits.connections_max` came from: `configured`, or how it was derived.
    pub connections_max_origin: String,
    /// Values that had to be changed, each worth a warning.
    pub adjustments: Vec<Adjustment>,
}

impl ResolvedConfig {
    /// The identity with this name.
    pub fn identity(&self, name: &str) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.name == name)
    }

    /// How a shutdown goes on, at its pace.
    pub fn drain_terms(&self) -> DrainTerms {
        DrainTerms {
            grace_ms: self.timeouts.drain_grace_ms,
            closes_per_s: self.limits.drain_closes_per_s,
            ..DrainTerms::within_ms(self.timeouts.drain_ms)
        }
    }

    /// Whether any listener speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.listeners.iter().any(|listener| listener.tls)
    }

    /// The identities in Redis that a route takes, by name.
    pub fn redis_identities(&self) -> impl Iterator<Item = (&str, &TokenPlace, &RedisOptions)> {
        self.identities.iter().filter_map(|identity| {
            let IdentityKind::Redis(place, redis) = &identity.kind else { return None };
            self.takes(&identity.name).then_some((identity.name.as_str(), place, redis))
        })
    }

    /// Whether a route takes the identity with this name.
    pub fn takes(&self, name: &str) -> bool {
        let is_of_route = |route: &ResolvedRoute| {
            let is_channels = route.service.kind() == ServiceKind::Channels;
            is_channels && self.channels.takes(name)
                || route.identities().iter().any(|own| own == name)
        };
        self.routes.iter().any(is_of_route)
    }
}

/// [`Limits`] with every number resolved. Counts and bytes are of the whole process, all loops
/// together, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedLimits {
    /// Connections served at once; at least 1.
    pub connections_max: usize,
    /// Connections that have not finished their handshake; from 1 to `connections_max`.
    pub half_open_max: usize,
    /// Requests at once to the backends of all routes with events.
    pub event_requests_max: usize,
    /// Bytes of one request head.
    pub head_bytes_max: usize,
    /// Header lines of one request.
    pub header_lines_max: usize,
    /// Bytes of one message where the route does not say otherwise.
    pub message_bytes_max: usize,
    /// The rate at which the beginning of a message must go on, in bytes per second.
    pub message_bytes_per_s_min: usize,
    /// The largest `message_bytes_max` of all routes and of the limits.
    pub message_bytes_largest: usize,
    /// Unsent bytes of one connection at which it is no longer read.
    pub backlog_high_bytes: usize,
    /// Unsent bytes of one connection at which pushed messages meet the slow policy; at least
    /// `backlog_high_bytes + message_bytes_largest + 14`.
    pub backlog_hard_bytes: usize,
    /// Bytes of all unfinished messages, backlogs, compressors and contexts together.
    pub pool_bytes_max: usize,
    /// Items waiting in the mailbox of one ordered pair of loops.
    pub mailbox_items_max: usize,
    /// Bytes of the messages of one class that wait from one loop to another.
    pub mailbox_bytes_max: usize,
    /// Close frames per second of a drain, all loops together; 0 leaves it to the pace of each loop.
    pub drain_closes_per_s: u64,
    /// Connections above `connections_max` that are held only for their reply 503; at least 1 where the
    /// process may have 16 descriptors or more.
    pub refusals_max: usize,
}

impl ResolvedLimits {
    /// The least that `backlog_hard_bytes` may be: it has to leave room for one largest message on
    /// top of a backlog that just reached the high mark, or a client that reads well could be closed
    /// as too slow.
    pub fn backlog_hard_bytes_min(&self) -> usize {
        backlog_hard_bytes_min(self.backlog_high_bytes, self.message_bytes_largest)
    }
}

/// [`Route`] with every number resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRoute {
    /// What the route is, from one configuration to the next.
    pub id: RouteId,
    /// The hosts that it is for; empty for any.
    pub hosts: Vec<HostPattern>,
    /// Paths of the request, without query; not empty, and the one that is not an alias first.
    pub paths: Vec<String>,
    /// What answers.
    pub service: RouteService<ResolvedWebSocket>,
}

impl ResolvedRoute {
    /// The names of the identities by which a client may prove who it is, in order. Empty where it need not,
    /// and for a room that asks for tokens where none can be right.
    pub fn identities(&self) -> &[String] {
        self.service.websocket().map_or(&[], |websocket| &websocket.identity)
    }
}

/// [`WebSocketOptions`] with every number resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedWebSocket {
    /// Which web pages may connect.
    pub origins: Origins,
    /// The names of the identities by which a client may prove who it is, in order.
    pub identity: Vec<String>,
    /// Whether a client without a credential is let in.
    pub identity_optional: bool,
    /// The webhook that hears of connections that begin and end.
    pub webhook: Option<ServerUrl>,
    /// Subprotocols offered, the preferred one first.
    pub subprotocols: Vec<String>,
    /// Bytes of one message.
    pub message_bytes_max: usize,
    /// What each client may send.
    pub limits: MessageLimits,
    /// Pushed messages that may wait for one connection; `None` leaves that to their bytes.
    pub backlog_messages_max: Option<usize>,
    /// What becomes of pushed messages that a client is too slow for.
    pub slow_policy: SlowPolicy,
    /// How messages are compressed; `None` where they are not.
    pub deflate: Option<DeflateOptions>,
}

/// A value that could not be used as it was configured. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Dotted name of the key.
    pub key: &'static str,
    /// What was configured.
    pub from: usize,
    /// What is used.
    pub to: usize,
    /// Why, as the end of a sentence.
    pub why: String,
}

impl fmt::Display for Adjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, from, to, why } = self;
        let verb = if to < from { "lowered" } else { "raised" };
        write!(f, "{key} = {from} is {verb} to {to}: {why}")
    }
}

impl Config {
    /// Fits a validated configuration to what the machine grants.
    pub fn resolve(&self, granted: MachineLimits) -> ResolvedConfig {
        let Self { limits, routes, .. } = self;
        let mut adjustments = Vec::new();
        let plan = Plan::new(self, granted, &mut adjustments);
        let (connections_max, connections_max_origin) =
            connections_max(limits, &plan, &mut adjustments);
        let message_bytes_largest = self.message_bytes_largest();
        let limits = ResolvedLimits {
            connections_max,
            half_open_max: half_open_max(limits, connections_max, &mut adjustments),
            event_requests_max: limits.event_requests_max,
            head_bytes_max: limits.head_bytes_max,
            header_lines_max: limits.header_lines_max,
            message_bytes_max: limits.message_bytes_max,
            message_bytes_per_s_min: limits.message_bytes_per_s_min,
            message_bytes_largest,
            backlog_high_bytes: limits.backlog_high_bytes,
            backlog_hard_bytes: backlog_hard_bytes(limits, message_bytes_largest, &mut adjustments),
            pool_bytes_max: limits.pool_bytes_max,
            mailbox_items_max: limits.mailbox_items_max,
            mailbox_bytes_max: limits.mailbox_bytes_max,
            drain_closes_per_s: limits.drain_closes_per_s,
            refusals_max: plan.refusals,
        };
        ResolvedConfig {
            loops: plan.loops,
            share_port: self.process.share_port,
            pin_loops: self.process.pin_loops,
            trusted_proxies: self.process.trusted_proxies.clone(),
            forwarded_header: self.process.forwarded_header,
            listeners: self.listeners.clone(),
            certificates: self.certificates.clone(),
            acme: self.acme.clone(),
            tls: self.tls.clone(),
            admin: self.admin.clone(),
            api: self.api.clone(),
            webhooks: self.webhooks.clone(),
            log: self.log.clone(),
            routes: routes.iter().map(|route| self.resolved_route(route)).collect(),
            addresses: AddressOptions {
                entries_max: Some(self.addresses.entries_max(limits.connections_max)),
                ..self.addresses.clone()
            },
            limits,
            overload: self.overload.clone(),
            timeouts: self.timeouts.clone(),
            turn: self.turn.clone(),
            socket: self.socket.clone(),
            identities: self.identities.clone(),
            upstreams: self.upstreams.clone(),
            channels: self.channels.clone(),
            engine: self.engine.clone(),
            namespaces: self.namespaces.clone(),
            proxies: self.proxies.clone(),
            rpcs: self.rpcs.clone(),
            connections_max_origin,
            adjustments,
        }
    }

    /// The identity with this name.
    pub(super) fn identity(&self, name: &str) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.name == name)
    }

    fn resolved_route(&self, route: &Route) -> ResolvedRoute {
        let mut service = route
            .service
            .with_websocket(|options| resolved_websocket(route, options, &self.limits));
        if let RouteService::Room { room, websocket, .. } = &mut service
            && room.asks_for_tokens()
            && websocket.identity.is_empty()
        {
            let first = self.first_of_tokens().map(|identity| identity.name.clone());
            websocket.identity = first.into_iter().collect();
        }
        let paths = route.paths().map(str::to_owned).collect();
        ResolvedRoute { id: route.id(), hosts: route.host_patterns(), paths, service }
    }

    /// What checks the members of a room that asks for tokens and names no identity.
    fn first_of_tokens(&self) -> Option<&Identity> {
        let mut identities = self.identities.iter();
        identities.find(|identity| matches!(identity.kind, IdentityKind::Tokens(..)))
    }
}

/// How the descriptors are shared out between connections and everything else.
#[derive(Debug)]
struct Plan {
    descriptors: usize,
    loops: usize,
    refusals: usize,
    /// Everything that is not for connections, `refusals` included.
    reserved: usize,
}

impl Plan {
    fn new(config: &Config, granted: MachineLimits, adjustments: &mut Vec<Adjustment>) -> Self {
        let descriptors = usize::try_from(granted.descriptors).unwrap_or(usize::MAX);
        let addresses = config.listeners.len();
        let refusals_wanted = config.limits.refusals_max;
        let loops_wanted = match config.process.loops {
            0 => granted.cores.clamp(1, LOOPS_DERIVED_MAX),
            loops => loops,
        };

        let reserved_max = descriptors / 2;
        let refusals_kept = refusals_wanted.min(reserved_max / 8);
        let own_max = reserved_max - refusals_kept;
        let loops_max = own_max.saturating_sub(PROCESS_NEED) / (LOOP_NEED + addresses);
        let loops = loops_wanted.min(loops_max.max(1));
        let loop_reserve = LOOP_RESERVE.max(LOOP_NEED + 1 + addresses);
        let own = loops.saturating_mul(loop_reserve).saturating_add(PROCESS_RESERVE).min(own_max);
        let refusals = refusals_wanted.min(reserved_max - own);

        let why = || format!("the process may open only {descriptors} descriptors");
        adjust(adjustments, "loops", loops_wanted, loops, why);
        adjust(adjustments, "limits.refusals_max", refusals_wanted, refusals, why);
        Self { descriptors, loops, refusals, reserved: own + refusals }
    }
}

/// The number of connections, and where it came from.
fn connections_max(
    limits: &Limits,
    plan: &Plan,
    adjustments: &mut Vec<Adjustment>,
) -> (usize, String) {
    let Plan { descriptors, reserved, .. } = plan;
    let room = (descriptors - reserved).clamp(1, CONNECTIONS_MAX);
    let mut derivation = format!("{descriptors} descriptors - {reserved} reserved");
    if descriptors - reserved > room {
        derivation += &format!(", at most {CONNECTIONS_MAX}");
    }
    match limits.connections_max {
        None => (room, format!("derived: {derivation}")),
        Some(wanted) if wanted <= room => (wanted, "configured".to_owned()),
        Some(wanted) => {
            adjust(adjustments, "limits.connections_max", wanted, room, || derivation.clone());
            (room, format!("configured as {wanted}, lowered: {derivation}"))
        }
    }
}

fn half_open_max(
    limits: &Limits,
    connections_max: usize,
    adjustments: &mut Vec<Adjustment>,
) -> usize {
    let Some(wanted) = limits.half_open_max else { return (connections_max / 4).max(1) };
    let used = wanted.min(connections_max);
    adjust(adjustments, "limits.half_open_max", wanted, used, || {
        format!("there are at most {connections_max} connections")
    });
    used
}

fn backlog_hard_bytes(
    limits: &Limits,
    message_bytes_largest: usize,
    adjustments: &mut Vec<Adjustment>,
) -> usize {
    let wanted = limits.backlog_hard_bytes;
    let used = wanted.max(backlog_hard_bytes_min(limits.backlog_high_bytes, message_bytes_largest));
    // Raising the default is how the value is derived, so it is no adjustment to warn about.
    if wanted != Limits::default().backlog_hard_bytes {
        adjust(adjustments, "limits.backlog_hard_bytes", wanted, used, || {
            "it must hold backlog_high_bytes and the largest message with its header".to_owned()
        });
    }
    used
}

fn backlog_hard_bytes_min(backlog_high_bytes: usize, message_bytes_largest: usize) -> usize {
    backlog_high_bytes.saturating_add(message_bytes_largest).saturating_add(FRAME_HEADER_BYTES_MAX)
}

fn resolved_websocket(
    route: &Route,
    options: &WebSocketOptions,
    limits: &Limits,
) -> ResolvedWebSocket {
    let by_service = || match route.service {
        RouteService::Room { .. } => vec![CHAT_SUBPROTOCOL.to_owned()],
        RouteService::Channels { .. } => {
            [JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL].map(str::to_owned).to_vec()
        }
        RouteService::Broadcast { .. }
        | RouteService::Chat { .. }
        | RouteService::Echo { .. }
        | RouteService::Events { .. }
        | RouteService::Hall
        | RouteService::Page
        | RouteService::Relay { .. } => Vec::new(),
    };
    ResolvedWebSocket {
        origins: options.origins.clone(),
        identity: options.identity.clone().unwrap_or_default(),
        identity_optional: options.identity_optional,
        webhook: options.webhook.clone(),
        subprotocols: options.subprotocols.clone().unwrap_or_else(by_service),
        message_bytes_max: options.message_bytes_max.unwrap_or(limits.message_bytes_max),
        limits: options.message_limits(),
        backlog_messages_max: options.backlog_messages_max,
        slow_policy: options.slow_policy,
        deflate: deflate_options(options),
    }
}

fn deflate_options(options: &WebSocketOptions) -> Option<DeflateOptions> {
    // Loading has refused what is no level and no window.
    let level = u8::try_from(options.deflate_level).unwrap_or(DEFLATE_LEVEL);
    let window_bits = u8::try_from(options.deflate_window_bits_max).unwrap_or(DEFLATE_CONTEXT_BITS);
    let bytes_min = options.deflate_bytes_min;
    let context_bits = options.deflate_context_takeover.then_some(window_bits);
    options.deflate.then_some(DeflateOptions { level, bytes_min, context_bits })
}

fn adjust(
    adjustments: &mut Vec<Adjustment>,
    key: &'static str,
    from: usize,
    to: usize,
    why: impl FnOnce() -> String,
) {
    if from != to {
        adjustments.push(Adjustment { key, from, to, why: why() });
    }
}

/// Descriptors of the process with room to spare: standard streams, signals, log, control thread
/// with its own clients.
const PROCESS_RESERVE: usize = 32;
/// What the process cannot do without: standard streams, signals, and the control thread's poller.
const PROCESS_NEED: usize = 12;
/// Descriptors of one loop with room to spare, for up to 4 addresses.
const LOOP_RESERVE: usize = 8;
/// What a loop cannot do without, apart from a socket for each address: its poller, its waker,
/// and the spare it closes to accept and turn away a client when descriptors run out.
const LOOP_NEED: usize = 3;
/// As many loops as the key `loops` accepts.
const LOOPS_DERIVED_MAX: usize = 1024;

#[cfg(test)]
mod tests;
