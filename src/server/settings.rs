//! From a configuration to the settings of the layers below.

use std::sync::Arc;

use crate::config::ResolvedConfig;
use crate::conn::ConnSettings;
use crate::http::HostRule;
use crate::mail::MailLimits;
use crate::reactor::{ListenerProtocol, ListenerSettings, LoopSettings};
use crate::work::WorkLimits;

/// The rules of the connections of one loop; the hosts are by the number of the listener.
pub(super) fn conn_settings(settings: &ResolvedConfig, hosts: Vec<HostRule>) -> ConnSettings {
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
        age_ms: timeouts.age_ms,
        pool_idle_ms: timeouts.pool_idle_ms,
        retry_after_s: RETRY_AFTER_S,
        hosts,
    }
}

/// How much one loop does in a turn; its listeners speak `protocols`, and what is counted of them has
/// `labels`, both by their numbers.
pub(super) fn loop_settings(
    settings: &ResolvedConfig,
    protocols: Vec<Option<ListenerProtocol>>,
    labels: Vec<Arc<str>>,
) -> LoopSettings {
    let ResolvedConfig { limits, timeouts, turn, .. } = settings;
    LoopSettings {
        listeners: ListenerSettings {
            protocols,
            labels,
            accepts_per_turn: turn.accepts_per_turn,
            refusals_max: limits.refusals_max.div_ceil(settings.loops),
            accept_pause_ms: timeouts.accept_pause_ms,
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
