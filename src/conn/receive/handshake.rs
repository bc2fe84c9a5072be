//! The request: a head becomes an upgrade, a page or a refusal.

use super::Outcome;
use super::identify::Identified;
use crate::conn::access::AccessTarget;
use crate::conn::active::Active;
use crate::conn::flags::Flags;
use crate::conn::relay::Failure;
use crate::conn::services::Decision;
use crate::conn::slot::Protocol;
use crate::conn::state::Phase;
use crate::effects::{Accept, BackendRequest, CloseReason, Effects, RelayMode};
use crate::foreign::{FIRST_BYTES_MAX, FirstBytes};
use crate::http::{
    HeadError, HeadLimits, Method, Rejection, RequestHead, Status, UpgradePolicy, check_upgrade,
    find_head_end, looks_like_http, parse_head_within, wants_upgrade, write_page,
    write_switching_protocols,
};
use crate::line::write_line;
use crate::metrics::{Counter, Counters};
use crate::pool::{OverBudget, ReadBuffer};
use crate::services::{Admission, ConnectRequest, Found};
use crate::timer::WallTime;
use crate::transport::Transport;
use crate::work::prices;
use crate::ws::Progress;

impl<S: Transport> Active<'_, S> {
    /// Bytes of a request have arrived. After an upgrade, what follows the head in the buffer is
    /// left to the frame decoder. An outcome says that the answer stands in the output.
    pub(super) fn receive_head(&mut self, buffer: &mut ReadBuffer) -> Option<Outcome> {
        let arrived = buffer.arrived();
        // What was found to be HTTP stays so.
        let first_bytes = if buffer.scanned < FIRST_BYTES_MAX {
            FirstBytes::of(arrived)
        } else {
            FirstBytes::Other
        };
        if let FirstBytes::Foreign(protocol) = first_bytes {
            return Some(self.refuse_foreign(protocol));
        }
        let (bytes_max, lines_max) =
            (self.turn.settings.head_bytes_max, self.turn.settings.header_lines_max);
        match find_head_end(arrived, buffer.scanned) {
            Some(end) if end <= bytes_max => {
                let limits = HeadLimits { bytes_max, lines_max };
                let outcome = self.answer(parse_head_within(&arrived[..end], limits));
                // A relay has a request of its own: what follows the head is for the backend.
                let is_for_backend =
                    matches!(self.conn.protocol, Protocol::Exchange | Protocol::Relay);
                if !self.conn.flags.has(Flags::UNDECIDED) || is_for_backend {
                    buffer.progress = Progress::starting_at(end);
                }
                outcome
            }
            None if first_bytes == FirstBytes::Undecided => None,
            // Answered before the head is complete, which it may never be.
            _ if !looks_like_http(arrived, buffer.scanned) => {
                self.answer(Err(HeadError::RequestLine))
            }
            None if arrived.len() < bytes_max => {
                // So that a head which comes byte by byte is searched once, and not once for each
                // byte.
                buffer.scanned = arrived.len();
                None
            }
            _ => self.answer(Err(HeadError::TooLarge { bytes_max })),
        }
    }

    fn answer(&mut self, head: Result<RequestHead<'_>, HeadError>) -> Option<Outcome> {
        self.turn.work.charge(prices::HEAD);
        // Whatever the answer to a HEAD is, it has no body (RFC 9110 §9.3.2).
        let head_only = head.as_ref().is_ok_and(|head| head.method() == Method::Head);
        // Before the head is judged: whatever was asked, the client is to try another server.
        if self.population.is_draining() {
            return Some(self.refuse_draining(head_only));
        }
        if self.conn.state.phase() == Phase::Refusing {
            return Some(self.refuse_at_limit(head_only));
        }
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                self.turn.counters.refused_malformed.add(1);
                return Some(self.reject(&Rejection::from(error), false));
            }
        };
        // Before anything is said of the request: what is logged and counted is about the client. Whose
        // request was decided on has been named.
        if !self.services.has_decision()
            && let Some(outcome) = self.name_client(&head)
        {
            return Some(outcome);
        }
        if !self.is_for_here(&head) {
            self.turn.counters.refused_host.add(1);
            return Some(self.reject(&Rejection::misdirected(), head_only));
        }
        if let Some(redirect) = self.redirect() {
            return Some(self.redirect_to(redirect, &head));
        }
        let link = self.conn.cold;
        // It belongs to the service that has decided, wherever the path leads after a reload.
        if self.services.has_decision() {
            return self.ask_route(&head, self.conn.route);
        }
        match self.services.router().find(head.host(), head.path(), wants_upgrade(&head)) {
            Found::Socket(route) => self.ask_route(&head, route),
            Found::Page(page) => {
                self.cold.note_target(link, || AccessTarget::path(head.path().raw()));
                let page = match page.answer(&head, WallTime(self.turn.unix_ms())) {
                    Ok(page) => page,
                    Err(rejection) => return Some(self.reject_by_page(&rejection)),
                };
                let output = self.output.outgoing().cork();
                let (content_type, headers) = (&page.content_type, &page.headers);
                let date = &self.turn.date;
                write_page(output, date, page.status, content_type, headers, &page.body, head_only);
                self.cold.note_status(link, page.status);
                self.turn.counters.pages.add(1);
                Some(Outcome::Finish(CloseReason::Gone))
            }
            Found::Nothing => {
                self.cold.note_target(link, || AccessTarget::path(head.path().raw()));
                self.turn.counters.refused_not_found.add(1);
                Some(self.reject(&Rejection::not_found(), head_only))
            }
        }
    }

    /// Whether the listener permits the host that the request names. Pages are protected too: what
    /// they say is for those who may open them.
    fn is_for_here(&self, head: &RequestHead<'_>) -> bool {
        let listener = usize::from(self.conn.route);
        let rule = self.turn.settings.hosts.get(listener);
        // One that was decided on has passed, and its slot has the number of its route since.
        self.services.has_decision() || rule.is_none_or(|rule| rule.permits(head.host()))
    }

    /// The request leads to this route.
    fn ask_route(&mut self, head: &RequestHead<'_>, route: u8) -> Option<Outcome> {
        self.cold.note_target(self.conn.cold, || AccessTarget::Route(route));
        match self.services.http_options(route) {
            Some(options) if !wants_upgrade(head) => self.exchange(head, route, options),
            Some(_) | None => self.upgrade(head, route),
        }
    }

    fn upgrade(&mut self, head: &RequestHead<'_>, route: u8) -> Option<Outcome> {
        // Taken before anything can return, so that no other request meets it.
        let decision = match self.decision_on(head, route) {
            Ok(decision) => decision,
            Err(outcome) => return outcome,
        };
        let (peer, address) = (self.peer(), self.cold.address(self.conn.cold));
        let wants_addresses = self.services.route(route).0.wants_addresses;
        let proxy = if wants_addresses { self.trusted_proxy() } else { None };
        let (own, pending) = self.services.route(route);
        let policy = UpgradePolicy {
            origins: &own.options.origins,
            subprotocols: &own.options.subprotocols,
        };
        let request = match check_upgrade(head, &policy) {
            Ok(request) => request,
            Err(rejection) => {
                refused_upgrade(rejection.status(), &self.turn.counters).add(1);
                return Some(self.reject(&rejection, head.method() == Method::Head));
            }
        };
        let admission = match decision {
            Some(decision) => decision.map(Admission::Now),
            None => {
                let mut effects = Effects::detached(route, pending);
                let subject = self.cold.subject(self.conn.cold);
                let identity = self.cold.identity(self.conn.cold);
                let connect = ConnectRequest::new(Some(&request), address)
                    .with_subject(subject)
                    .with_identity(identity)
                    .with_tls(self.cold.has_cipher(self.conn.cold))
                    .with_proxy(proxy);
                own.service.admit(&connect, peer, &mut effects)
            }
        };
        match admission {
            Ok(Admission::Later) => {
                self.wait_for_decision(route);
                None
            }
            Ok(Admission::Now(mut accept)) => {
                let link = self.conn.cold;
                accept.headers.extend(self.cold.take_identity_headers(link, &mut self.turn.memory));
                let subprotocol = accept.subprotocol.as_ref().or_else(|| request.subprotocol());
                let allowed = own.options.deflate;
                let deflate = allowed.and_then(|allowed| request.deflate(allowed.context_bits));
                write_switching_protocols(
                    self.output.outgoing().cork(),
                    &self.turn.date,
                    &request.accept_key(),
                    subprotocol,
                    deflate,
                    &accept.headers,
                );
                let counters = &self.turn.counters;
                if let Some(deflate) = deflate {
                    self.conn.flags.set_deflate(deflate);
                    counters.upgrades_deflate.add(1);
                    counters.upgrades_takeover.add(u64::from(self.conn.flags.has_contexts()));
                }
                counters.upgrades.add(1);
                // Not the path of the request: it may hold a token.
                log::debug!(connection:% = peer; "upgraded, route {route}");
                self.open(route);
                None
            }
            Ok(Admission::Relay(backend)) => {
                let allowed = own.options.deflate.filter(|_| backend.mode == RelayMode::Frames);
                let deflate = allowed.and_then(|allowed| request.deflate(allowed.context_bits));
                self.begin_relay((self.conn.route, route), BackendRequest { deflate, ..backend })
            }
            Err(rejection) => Some(self.reject_by_service(&rejection)),
        }
    }

    /// What was decided on the request already, once it is known who makes it; `None` where its service is to
    /// be asked.
    ///
    /// # Errors
    /// What the request has come to without that: a refusal, or the wait for an answer.
    fn decision_on(
        &mut self,
        head: &RequestHead<'_>,
        route: u8,
    ) -> Result<Option<Result<Accept, Rejection>>, Option<Outcome>> {
        match self.services.take_decision() {
            Some(Decision::Service(decision)) => return Ok(Some(decision)),
            Some(Decision::Identified { .. }) => return Ok(None),
            None if !self.services.asks_identity(route) => return Ok(None),
            None => {}
        }
        match self.identify_request(head, route) {
            Identified::Done => Ok(None),
            Identified::Screened(decision) => Ok(Some(decision)),
            Identified::Waiting => {
                self.wait_for_decision(route);
                Err(None)
            }
            Identified::Refused(outcome) => Err(Some(outcome)),
        }
    }

    /// A backend is to answer the request: the driver begins a connection at the end of the turn.
    pub(super) fn begin_relay(
        &mut self,
        (listener, route): (u8, u8),
        backend: BackendRequest,
    ) -> Option<Outcome> {
        let is_plain = backend.plain.is_some();
        match self.cold.relays_mut().begin(self.key, listener, backend, &mut self.turn.memory) {
            Ok(link) => {
                self.conn.link = link;
                self.conn.protocol = if is_plain { Protocol::Exchange } else { Protocol::Relay };
                self.wait_for_decision(route);
                None
            }
            Err(OverBudget) => Some(self.refuse_without_memory()),
        }
    }

    /// A backend has refused the request of a relayed client; what it said stands in the output.
    pub(in crate::conn) fn note_refused_relay(&mut self, code: u16) {
        self.turn.counters.relay_refused.add(1);
        let status = Status::OfBackend(code);
        self.cold.note_status(self.conn.cold, status);
        if is_failed_handshake(status) {
            self.turn.note_failed_handshake(self.key);
        }
    }

    /// No backend answers the request of a relayed client.
    pub(in crate::conn) fn refuse_relay(&mut self, failure: Failure) -> Outcome {
        failure.counter(&self.turn.counters).add(1);
        let rejection = failure.rejection(self.turn.settings.retry_after_s);
        let exchange = self.cold.relays().exchange(self.conn.link);
        let head_only = exchange.is_some_and(|own| own.terms.request.is_head);
        self.reject(&rejection, head_only)
    }

    /// The request stays where it is, in the partial-read buffer that it will be given, until its
    /// service says what becomes of it.
    pub(super) fn wait_for_decision(&mut self, route: u8) {
        self.conn.route = route;
        self.conn.flags.set(Flags::UNDECIDED);
    }

    fn reject_by_page(&mut self, rejection: &Rejection) -> Outcome {
        match rejection.status() == Status::MethodNotAllowed {
            true => self.turn.counters.refused_not_found.add(1),
            false => self.turn.counters.refused_by_service.add(1),
        }
        self.reject(rejection, false)
    }

    pub(in crate::conn) fn reject_by_service(&mut self, rejection: &Rejection) -> Outcome {
        self.turn.counters.refused_by_service.add(1);
        self.reject(rejection, false)
    }

    /// `connections_max` is reached, or a limit of its address, or newcomers are refused because of
    /// overload.
    pub(in crate::conn) fn refuse_at_limit(&mut self, head_only: bool) -> Outcome {
        if let Some(retry_after_s) = self.turn.addresses.retry_after_s(self.key.index) {
            return self.refuse_address(retry_after_s, head_only);
        }
        if self.conn.flags.has(Flags::REFUSED) && self.conn.flags.has(Flags::SHED) {
            self.turn.counters.refused_overloaded.add(1);
            let text = "the gateway is overloaded, try again later";
            let retry_after_s = self.turn.settings.retry_after_s;
            return self.reject(&Rejection::unavailable(retry_after_s, text), head_only);
        }
        self.turn.counters.refused_at_limit.add(1);
        let text = "the connection limit is reached, try again later";
        self.reject(&Rejection::unavailable(self.turn.settings.retry_after_s, text), head_only)
    }

    /// A limit of its address is reached, and was counted by its reason with the verdict.
    pub(super) fn refuse_address(&mut self, retry_after_s: u32, head_only: bool) -> Outcome {
        let text = "too many connections from this address, try again later";
        self.reject(&Rejection::too_many_requests(retry_after_s, text), head_only)
    }

    /// `pool_bytes_max` is reached, the reserve for heads included.
    pub(in crate::conn) fn refuse_without_memory(&mut self) -> Outcome {
        self.turn.counters.refused_without_memory.add(1);
        let text = "memory is used up, try again later";
        self.reject(&Rejection::unavailable(self.turn.settings.retry_after_s, text), false)
    }

    pub(in crate::conn) fn refuse_draining(&mut self, head_only: bool) -> Outcome {
        self.turn.counters.refused_draining.add(1);
        let text = "shutting down, try again";
        self.reject(&Rejection::unavailable(self.turn.settings.retry_after_s, text), head_only)
    }

    pub(in crate::conn) fn reject(&mut self, rejection: &Rejection, head_only: bool) -> Outcome {
        if let Protocol::Proxied(_) = self.conn.protocol {
            // Only its proxy is there, which expects no words before it has said who asks.
            return Outcome::Abort(CloseReason::Gone);
        }
        log::debug!(connection:% = self.peer(); "refused: {:?}", rejection.status());
        self.cold.note_status(self.conn.cold, rejection.status());
        if is_failed_handshake(rejection.status()) {
            self.turn.note_failed_handshake(self.key);
        }
        let cork = self.output.outgoing().cork();
        if self.conn.protocol == Protocol::Line {
            write_line(rejection.body().as_bytes(), cork);
        } else {
            rejection.write_to(&self.turn.date, head_only, cork);
        }
        Outcome::Finish(CloseReason::Gone)
    }
}

/// Whether a refusal with this status counts against the address of its client: what it sent is no HTTP,
/// or it may not have what it asked for. A wrong path or host, and what the gateway has no room for, are
/// no such failures.
fn is_failed_handshake(status: Status) -> bool {
    match status {
        Status::BadRequest
        | Status::Unauthorized
        | Status::Forbidden
        | Status::HeaderFieldsTooLarge
        | Status::VersionNotSupported
        | Status::OfBackend(401 | 403) => true,
        Status::Ok
        | Status::NotModified
        | Status::PermanentRedirect
        | Status::NotFound
        | Status::MethodNotAllowed
        | Status::LengthRequired
        | Status::ContentTooLarge
        | Status::MisdirectedRequest
        | Status::UpgradeRequired
        | Status::TooManyRequests
        | Status::InternalServerError
        | Status::NotImplemented
        | Status::BadGateway
        | Status::ServiceUnavailable
        | Status::GatewayTimeout
        | Status::OfBackend(_) => false,
    }
}

/// The counter of requests whose upgrade is refused with this status.
fn refused_upgrade(status: Status, counters: &Counters) -> &Counter {
    match status {
        Status::Forbidden => &counters.refused_origin,
        Status::MethodNotAllowed => &counters.refused_not_found,
        Status::UpgradeRequired => &counters.refused_upgrade_required,
        Status::Ok
        | Status::NotModified
        | Status::PermanentRedirect
        | Status::BadRequest
        | Status::Unauthorized
        | Status::NotFound
        | Status::LengthRequired
        | Status::ContentTooLarge
        | Status::MisdirectedRequest
        | Status::TooManyRequests
        | Status::HeaderFieldsTooLarge
        | Status::InternalServerError
        | Status::NotImplemented
        | Status::BadGateway
        | Status::ServiceUnavailable
        | Status::GatewayTimeout
        | Status::VersionNotSupported
        | Status::OfBackend(_) => &counters.refused_malformed,
    }
}
