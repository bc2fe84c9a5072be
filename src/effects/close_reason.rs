//! Why a connection ended.

use std::fmt;

use crate::metrics::{Counter, Counters};
use crate::ws::{CloseCode, Violation};

/// Why a connection left the open state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It has reached its age (1001).
    Aged,
    /// The backend that it was relayed to has ended, or cannot be reached any more.
    Backend,
    /// The gateway is shutting down (1001).
    Drained,
    /// A message came in more fragments than the route allows (1008).
    Fragments,
    /// It held the most memory when the pool was short (1013).
    Evicted,
    /// Its identity no longer holds (4004).
    Expired,
    /// The peer ended the connection without a close frame.
    Gone,
    /// No bytes came within `pong_ms` after a ping.
    Idle,
    /// It sent no message for `message_idle_ms` (1001).
    MessageIdle,
    /// It sent more than a rate of the route allows (1008).
    OverRate,
    /// An operator closed it.
    Operator(CloseCode),
    /// The pool or the system had no memory left for it (1013).
    Overload,
    /// The peer closed, with this code if it gave one.
    Peer(Option<CloseCode>),
    /// A header of the PROXY protocol was malformed, or required and missing.
    ProxyHeader,
    /// The connection failed: reset, or no longer reachable.
    Reset,
    /// A service closed it.
    Service(CloseCode),
    /// Its backlog of pushed messages was full (4002).
    Slow,
    /// The kernel took no byte for `write_stall_ms`.
    Stalled,
    /// The peer broke the rules of TLS, or ended it by an alert.
    Tls,
    /// A message was begun and not finished in time (1008).
    Unfinished,
    /// The peer broke the protocol or a limit.
    Violation(Violation),
}

impl CloseReason {
    /// The counter of connections that ended for this reason.
    pub(crate) fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Aged => &counters.closed_aged,
            Self::Backend => &counters.closed_backend,
            Self::Drained => &counters.closed_drained,
            Self::Evicted => &counters.closed_evicted,
            Self::Expired => &counters.closed_expired,
            Self::Fragments => &counters.closed_fragments,
            Self::Gone => &counters.closed_gone,
            Self::Idle => &counters.closed_idle,
            Self::MessageIdle => &counters.closed_message_idle,
            Self::OverRate => &counters.closed_over_rate,
            Self::Operator(_) => &counters.closed_by_operator,
            Self::Overload => &counters.closed_overload,
            Self::Peer(_) => &counters.closed_by_peer,
            Self::ProxyHeader => &counters.refused_bad_proxy_header,
            Self::Reset => &counters.closed_reset,
            Self::Service(_) => &counters.closed_by_service,
            Self::Slow => &counters.closed_slow,
            Self::Stalled => &counters.closed_stalled,
            Self::Tls => &counters.closed_tls,
            Self::Unfinished => &counters.closed_unfinished,
            Self::Violation(Violation::NotDeflate) => &counters.closed_not_deflate,
            Self::Violation(Violation::MessageTooBig) => &counters.closed_too_big,
            Self::Violation(Violation::TextNotUtf8 | Violation::CloseReasonNotUtf8) => {
                &counters.closed_not_utf8
            }
            Self::Violation(_) => &counters.closed_protocol,
        }
    }
}

impl CloseReason {
    /// The code of the close frame that ends such a connection: the peer's own, or ours. `None` where it
    /// ends without one.
    #[must_use]
    pub fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::Aged | Self::Drained | Self::MessageIdle => Some(CloseCode::GOING_AWAY),
            Self::Evicted | Self::Overload => Some(CloseCode::TRY_AGAIN_LATER),
            Self::Expired => Some(CloseCode::IDENTITY_EXPIRED),
            Self::Operator(code) | Self::Service(code) => Some(code),
            Self::Peer(code) => code,
            Self::Slow => Some(CloseCode::TOO_SLOW),
            Self::Fragments | Self::OverRate | Self::Unfinished => Some(CloseCode::POLICY),
            Self::Violation(violation) => Some(violation.close_code()),
            Self::Backend
            | Self::Gone
            | Self::Idle
            | Self::ProxyHeader
            | Self::Reset
            | Self::Stalled
            | Self::Tls => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aged => formatter.write_str("reached its age"),
            Self::Backend => formatter.write_str("its backend has ended"),
            Self::Drained => formatter.write_str("drained"),
            Self::Evicted => formatter.write_str("held the most memory when it was short"),
            Self::Expired => formatter.write_str("its identity has expired"),
            Self::Fragments => formatter.write_str("a message of too many fragments"),
            Self::Gone => formatter.write_str("gone without a close frame"),
            Self::Idle => formatter.write_str("no pong in time"),
            Self::MessageIdle => formatter.write_str("no message in time"),
            Self::OverRate => formatter.write_str("sent more than its rate allows"),
            Self::Operator(code) => write!(formatter, "closed by an operator ({})", code.number()),
            Self::Overload => formatter.write_str("no memory left"),
            Self::Peer(Some(code)) => write!(formatter, "closed by the peer ({})", code.number()),
            Self::Peer(None) => formatter.write_str("closed by the peer"),
            Self::ProxyHeader => formatter.write_str("no valid header of the PROXY protocol"),
            Self::Reset => formatter.write_str("reset"),
            Self::Service(code) => write!(formatter, "closed by a service ({})", code.number()),
            Self::Slow => formatter.write_str("too slow"),
            Self::Stalled => formatter.write_str("write stalled"),
            Self::Tls => formatter.write_str("TLS failed"),
            Self::Unfinished => formatter.write_str("message not finished in time"),
            Self::Violation(violation) => write!(formatter, "{violation}"),
        }
    }
}
