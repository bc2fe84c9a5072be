//! The way of a request to its answer: which server is next, when to try another, and what the client
//! is told if there is none.
//!
//! Another server is tried only while nothing of the request has gone out (RFC 9110 §9.2.2: a request
//! that was perhaps acted on is not sent again), and at most two others.

use std::net::IpAddr;
use std::sync::Arc;

use super::bytes::Relay;
use super::records::{Lost, RelayRecords};
use crate::conn::flags::Flags;
use crate::conn::state::Phase;
use crate::effects::RelayMode;
use crate::http::{
    Rejection, Reply, ReplyError, ReplyLimits, SwitchedExtensions, check_no_extensions,
    check_switched, read_reply, write_refused, write_switched,
};
use crate::key::{ConnKey, SlotRef};
use crate::metrics::{Counter, Counters};
use crate::pool::ReadBuffer;
use crate::stream::ServerFault;
use crate::timer::Millis;
use crate::transport::{ServerAddress, Transport};
use crate::upstream::{Pick, ServerTls};
use crate::work::prices;
use crate::ws::Progress;

/// What is to be done for a client that waits for a backend.
#[derive(Debug)]
pub(in crate::conn) enum Next {
    /// A connection is to be begun.
    Connect(Box<ServerRoute>),
    /// The request is refused.
    Refuse(Failure),
    /// Nothing: it is answered already.
    Nothing,
}

/// How a server is connected to.
#[derive(Debug)]
pub(in crate::conn) struct ServerRoute {
    address: ServerAddress,
    /// Where the connection comes from, if that is configured.
    local: Option<IpAddr>,
    /// How it speaks TLS, if it does.
    tls: Option<ServerTls>,
}

impl ServerRoute {
    /// The server, where the connection to it comes from, and how it speaks TLS.
    pub(in crate::conn) fn into_parts(self) -> (ServerAddress, Option<IpAddr>, Option<ServerTls>) {
        (self.address, self.local, self.tls)
    }
}

/// Why the gateway answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Failure {
    /// An attempt came to nothing, and no other follows.
    Lost(Lost),
    /// Each server has as many connections as it may.
    Full,
    /// The upstream has no server that may be asked.
    NoServer,
}

/// What has come of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Answered {
    /// Not all of it is here.
    NeedMore,
    /// What the client is told stands in the output, and bytes for it follow in the buffer.
    Switched(ConnKey),
    /// What the client is told stands in the output, with this status.
    Refused(ConnKey, u16),
    /// It is none that could be passed on.
    NoReply,
}

impl Failure {
    /// What the client is told.
    pub(in crate::conn) fn rejection(self, retry_after_s: u32) -> Rejection {
        match self {
            Self::Full => {
                Rejection::unavailable(retry_after_s, "the backends are full, try again later")
            }
            Self::NoServer => Rejection::unavailable(retry_after_s, "no backend is available"),
            Self::Lost(Lost::Exhausted) => {
                Rejection::unavailable(retry_after_s, "the gateway is full, try again later")
            }
            Self::Lost(Lost::NoPort) => {
                Rejection::unavailable(retry_after_s, "the gateway has no source port left")
            }
            Self::Lost(Lost::Failed) => Rejection::bad_gateway("the backend cannot be reached"),
            Self::Lost(Lost::Certificate) => {
                Rejection::bad_gateway("the certificate of the backend is not valid")
            }
            Self::Lost(Lost::Tls) => Rejection::bad_gateway("TLS with the backend has failed"),
            Self::Lost(Lost::NoReply) => {
                Rejection::bad_gateway("the backend has sent no valid reply")
            }
            Self::Lost(Lost::ConnectTimeout) => {
                Rejection::gateway_timeout("the backend was not reached in time")
            }
            Self::Lost(Lost::ReplyTimeout) => {
                Rejection::gateway_timeout("the backend has not answered in time")
            }
        }
    }

    /// The counter of requests that are refused so.
    pub(in crate::conn) fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Full | Self::NoServer => &counters.relay_no_server,
            Self::Lost(Lost::Exhausted) => &counters.relay_exhausted,
            Self::Lost(Lost::NoPort) => &counters.relay_source_ports,
            Self::Lost(Lost::Failed) => &counters.relay_unreachable,
            Self::Lost(Lost::Certificate) => &counters.relay_bad_certificate,
            Self::Lost(Lost::Tls) => &counters.relay_tls_failed,
            Self::Lost(Lost::NoReply) => &counters.relay_no_reply,
            Self::Lost(Lost::ConnectTimeout | Lost::ReplyTimeout) => &counters.relay_timed_out,
        }
    }
}

impl RelayRecords {
    /// What comes next for the request of a client.
    pub(in crate::conn) fn next(
        &mut self,
        link: SlotRef,
        now: Millis,
        counters: &Counters,
    ) -> Next {
        let last = self.server(link).cloned();
        let Some(attempt) = self.attempt_mut(link) else { return Next::Nothing };
        let lost = attempt.lost.take();
        match lost {
            None if last.is_some() => return Next::Nothing,
            None => {}
            Some(lost) => {
                if lost.is_of_server()
                    && let Some(server) = attempt.tried.last()
                {
                    attempt.request.upstream.note_failed(server, now);
                }
                let is_unreached = lost.may_be_unreached() && !attempt.is_sent;
                if !is_unreached || attempt.tried.len() > RETRIES_MAX {
                    return Next::Refuse(Failure::Lost(lost));
                }
            }
        }
        let seed = u64::from(link.index().unwrap_or_default()) << 32 | attempt.tried.len() as u64;
        let random = scattered(seed ^ now.0 << 8);
        let request = &attempt.request;
        match (request.upstream.pick(now, request.balance_key, random, &attempt.tried), lost) {
            (Pick::Server(permit), _) => {
                if lost.is_some() {
                    counters.relay_retries.add(1);
                }
                let server = permit.server();
                let address = server.address().clone();
                attempt.tried.push(Arc::clone(server));
                attempt.began = now;
                let set = request.upstream.set();
                attempt.due = now.plus(set.settings().connect_ms).tick();
                attempt.is_reached = false;
                let tls = set.tls(permit.server());
                let local = request.upstream.local_address(&address);
                self.set_permit(link, permit);
                Next::Connect(Box::new(ServerRoute { address, local, tls }))
            }
            (_, Some(lost)) => Next::Refuse(Failure::Lost(lost)),
            (Pick::Full, None) => Next::Refuse(Failure::Full),
            (Pick::Nothing, None) => Next::Refuse(Failure::NoServer),
        }
    }

    /// The head of the request that waits for its answer.
    pub(in crate::conn) fn head(&self, link: SlotRef) -> &[u8] {
        self.attempt(link).map_or(&[], |attempt| &attempt.request.head)
    }
}

impl<S: Transport> Relay<'_, S> {
    /// The queue of a connection that is being made was written to: it stands, and the time for the
    /// reply begins. Gives the client whose request is out and upgrades nothing: its body can follow.
    pub(in crate::conn) fn connected(&mut self, key: ConnKey) -> Option<ConnKey> {
        let now = self.turn.now;
        let conn = self.table.get_mut(key)?;
        let (link, waiting_bytes) = (conn.link, conn.queue.bytes());
        let records = self.cold.relays_mut();
        if records.attempt(link).is_some_and(|own| own.is_sent && own.exchange.is_some()) {
            self.request_flushed(key);
            return None;
        }
        if waiting_bytes >= records.head(link).len() {
            // An event without a reason.
            return None;
        }
        let mut follows = false;
        if let Some(attempt) = records.attempt_mut(link) {
            if !attempt.is_reached
                && let Some(server) = attempt.tried.last()
            {
                server.note_reached(now.since(attempt.began));
            }
            attempt.is_reached = true;
            if waiting_bytes == 0 {
                let reply_ms = match &attempt.exchange {
                    Some(exchange) => exchange.terms.options.response_ms,
                    None => attempt.request.upstream.set().settings().reply_ms,
                };
                attempt.due = now.plus(reply_ms).tick();
                follows = attempt.exchange.is_some();
                attempt.is_sent |= follows;
            }
        }
        conn.rearm();
        if follows { self.partner(key) } else { None }
    }

    /// A connection to a backend has come to nothing before the reply. Called before its queue is
    /// emptied, which tells what has gone out of the request.
    pub(in crate::conn) fn lost(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else { return };
        let (link, waiting_bytes) = (conn.link, conn.queue.bytes());
        let fault = self.cold.server_fault(conn.cold);
        let records = self.cold.relays_mut();
        if let Some(attempt) = records.attempt_mut(link) {
            // What waits may be of the body, behind a head that is out.
            attempt.is_sent |= waiting_bytes < attempt.request.head.len();
        }
        let is_out = records.attempt(link).is_some_and(|own| own.is_sent && own.exchange.is_some());
        let lost = match fault {
            Some(ServerFault::NoMemory) => Lost::Exhausted,
            Some(fault) if fault.is_of_certificate() => Lost::Certificate,
            Some(_) => Lost::Tls,
            // A connection that took all of it is cut without a reply.
            None if waiting_bytes == 0 || is_out => Lost::NoReply,
            None => Lost::Failed,
        };
        if let (Some(fault), Some(server)) = (fault, records.server(link)) {
            log::warn!("backend {}: {fault}", server.address());
        }
        records.note_lost(link, lost);
    }

    /// The deadline of a connection that is being made, or of the reply, has passed.
    pub(in crate::conn) fn timed_out(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else { return };
        let records = self.cold.relays_mut();
        let is_out = records.attempt(conn.link).is_some_and(|own| own.is_sent);
        let lost =
            if conn.is_flushed() || is_out { Lost::ReplyTimeout } else { Lost::ConnectTimeout };
        records.note_lost(conn.link, lost);
    }

    /// Reads what a backend has answered so far. The answer for the client is gathered in the output.
    pub(in crate::conn) fn read_reply(
        &mut self,
        key: ConnKey,
        buffer: &mut ReadBuffer,
    ) -> Answered {
        let Some(conn) = self.table.get(key) else { return Answered::NeedMore };
        debug_assert_eq!(conn.state.phase(), Phase::Reaching);
        let (link, has_ended) = (conn.link, conn.flags.has(Flags::INPUT_ENDED));
        let Some(client) = self.partner(key) else { return Answered::NoReply };
        self.turn.work.charge(prices::HEAD + prices::bytes(buffer.filled));
        let settings = &self.turn.settings;
        let limits = ReplyLimits {
            head_bytes_max: settings.head_bytes_max,
            lines_max: settings.header_lines_max,
            body_bytes_max: REFUSAL_BODY_BYTES_MAX,
        };
        let reply = read_reply(buffer.arrived(), has_ended, limits);
        let asked = self.cold.relays().attempt(link).map(|attempt| {
            let request = &attempt.request;
            let extensions = match request.mode {
                RelayMode::Bytes => SwitchedExtensions::OfBackend,
                RelayMode::Frames => SwitchedExtensions::Own(request.deflate),
            };
            (request.accept, extensions)
        });
        let cork = self.output.outgoing().cork();
        let fault = match (reply, asked) {
            (Ok(None), _) => return Answered::NeedMore,
            (Ok(Some(Reply::Switched { head, end })), Some((accept, extensions))) => {
                let checked = check_switched(&head, &accept).and_then(|()| match extensions {
                    SwitchedExtensions::OfBackend => Ok(()),
                    SwitchedExtensions::Own(_) => check_no_extensions(&head),
                });
                match checked {
                    Ok(()) => {
                        write_switched(cork, &head, extensions);
                        buffer.progress = Progress::starting_at(end);
                        return Answered::Switched(client);
                    }
                    Err(fault) => fault,
                }
            }
            (Ok(Some(Reply::Refused { head, body })), _) => {
                write_refused(cork, &self.turn.date, &head, body.as_deref());
                return Answered::Refused(client, head.code());
            }
            (Ok(Some(Reply::Switched { .. })), None) => return Answered::NoReply,
            (Err(fault), _) => fault,
        };
        self.report(link, fault);
        Answered::NoReply
    }

    /// An operator learns from the log what is wrong with a backend; its clients learn that it is.
    pub(super) fn report(&mut self, link: SlotRef, fault: ReplyError) {
        if let Some(server) = self.cold.relays().server(link) {
            log::warn!("backend {}: {fault}", server.address());
        }
        self.cold.relays_mut().note_lost(link, Lost::NoReply);
    }
}

/// A number in which every bit depends on all of `seed` (splitmix64): different for each client and each
/// attempt, which is all that is asked of it.
fn scattered(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Servers that are tried beside the first one.
const RETRIES_MAX: usize = 2;
/// The longest body of a refusal that reaches the client.
pub(in crate::conn) const REFUSAL_BODY_BYTES_MAX: usize = 64 << 10;
/// What a reply may take in the buffer of its connection beside its head: a body in small chunks, and
/// their framing.
pub(in crate::conn) const REPLY_BODY_BYTES: usize = 2 * REFUSAL_BODY_BYTES_MAX + (16 << 10);
