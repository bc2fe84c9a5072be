//! From a configuration to the settings of the layers below.

use std::sync::Arc;

use super::request_rules::RequestRules;
use crate::admission::{AddressLimits, AddressSettings, NetworkSet, PrefixBits, Rate};
use crate::config::{AddressOptions, ResolvedConfig};
use crate::conn::{ConnSettings, ProxySettings};
use crate::mail::MailLimits;
use crate::proxy_protocol::HeaderPolicy;
use crate::reactor::{
    ListenerProtocol, ListenerSettings, LoopSettings, OverloadMarks, OverloadSettings,
};
use crate::work::WorkLimits;

/// The rules of the connections of one loop.
pub(super) fn conn_settings(settings: &ResolvedConfig, rules: &RequestRules) -> ConnSettings {
    let ResolvedConfig { limits, timeouts, turn, .. } = settings;
    ConnSettings {
        head_bytes_max: limits.head_bytes_max,
        header_lines_max: limits.header_lines_max,
        half_open_max: limits.half_open_max.div_ceil(settings.loops),
        receive_buffer_bytes: turn.receive_buffer_bytes,
        reads_per_turn: turn.reads_per_turn,
        work: WorkLimits { turn: turn.turn_us * 1000, share: turn.share_us * 1000 },
        backlog_high_bytes: limits.backlog_high_bytes,
        backlog_hard_bytes: limits.backlog_hard_bytes,
        handshake_ms: timeouts.handshake_ms,
        refuse_ms: timeouts.refuse_ms,
        ping_idle_ms: timeouts.ping_idle_ms,
        pong_ms: timeouts.pong_ms,
        message_grace_ms: timeouts.message_grace_ms,
        message_bytes_per_s_min: limits.message_bytes_per_s_min,
        write_stall_ms: timeouts.write_stall_ms,
        close_ms: timeouts.close_ms,
        half_close_ms: timeouts.half_close_ms,
        http_idle_ms: timeouts.http_idle_ms,
        age_ms: timeouts.age_ms,
        pool_idle_ms: timeouts.pool_idle_ms,
        retry_after_s: RETRY_AFTER_S,
        hosts: rules.hosts.clone(),
        redirects: rules.redirects.clone(),
        challenges: rules.challenges.clone(),
        proxies: ProxySettings {
            trusted: NetworkSet::new(&settings.trusted_proxies),
            header: settings.forwarded_header,
        },
        addresses: address_settings(settings),
    }
}

/// What clients may do by their addresses.
fn address_settings(settings: &ResolvedConfig) -> AddressSettings {
    let own: &AddressOptions = &settings.addresses;
    let bits = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
    AddressSettings {
        host: AddressLimits {
            connections: Rate::new(own.connections_per_s, own.connections_burst),
            failures: Rate::new(own.handshake_failures_per_s, own.handshake_failures_burst),
            connections_max: own.connections_max,
        },
        network: AddressLimits {
            connections: Rate::new(own.network_connections_per_s, own.network_connections_burst),
            failures: Rate::new(
                own.network_handshake_failures_per_s,
                own.network_handshake_failures_burst,
            ),
            connections_max: own.network_connections_max,
        },
        network_bits: PrefixBits {
            ipv4: bits(own.network_ipv4_bits),
            ipv6: bits(own.network_ipv6_bits),
        },
        allow: NetworkSet::new(&own.allow),
        deny: NetworkSet::new(&own.deny),
        proxies: NetworkSet::new(&settings.trusted_proxies),
        exempts_local: own.exempt_local,
        is_dry_run: own.dry_run,
        entries_max: own.entries_max(settings.limits.connections_max),
        retry_after_s: RETRY_AFTER_S,
    }
}

/// How much one loop does in a turn; its listeners speak `protocols`, begin with `headers`, and what is
/// counted of them has `labels`, all by their numbers. Shortages of the process are marked in `marks`.
pub(super) fn loop_settings(
    settings: &ResolvedConfig,
    protocols: Vec<Option<ListenerProtocol>>,
    headers: Vec<HeaderPolicy>,
    labels: Vec<Arc<str>>,
    marks: OverloadMarks,
) -> LoopSettings {
    let ResolvedConfig { limits, timeouts, turn, overload, .. } = settings;
    let loops = u32::try_from(settings.loops).unwrap_or(u32::MAX);
    LoopSettings {
        listeners: ListenerSettings {
            protocols,
            headers,
            labels,
            accepts_per_turn: turn.accepts_per_turn,
            refusals_max: limits.refusals_max.div_ceil(settings.loops),
            accept_pause_ms: timeouts.accept_pause_ms,
            overload: OverloadSettings {
                marks,
                lag_ms: overload.lag_ms,
                accepts_per_s: overload.accepts_per_s.div_ceil(loops.max(1)),
            },
        },
        mail_per_turn: turn.mail_per_turn,
        timers_per_turn: TIMERS_PER_TURN,
        flushes_per_turn: turn.flushes_per_turn,
        reaps_per_turn: turn.reaps_per_turn,
        outbox: mail_limits(settings),
    }
}

/// What one lane of a mailbox holds, and what all outboxes of a loop may.
pub(super) fn mail_limits(settings: &ResolvedConfig) -> MailLimits {
    let limits = &settings.limits;
    MailLimits { items_max: limits.mailbox_items_max, bytes_max: limits.mailbox_bytes_max }
}

const RETRY_AFTER_S: u32 = 1;
/// Deadlines are cheap to act upon; this bounds a turn after a long stall.
const TIMERS_PER_TURN: usize = 1024;
