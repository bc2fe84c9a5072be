//! The request: a head becomes an upgrade, a page or a refusal.

use super::{Connections, Flags, Phase};
use crate::effects::{Accept, CloseReason, Effects, Peer};
use crate::http::{
    Allow, HeadError, Method, Rejection, RequestHead, Status, UpgradePolicy, check_upgrade,
    find_head_end, looks_like_http, parse_head, wants_upgrade, write_page,
    write_switching_protocols,
};
use crate::key::ConnKey;
use crate::line::write_line;
use crate::pool::ReadBuffer;
use crate::services::{Admission, ConnectRequest, Found};
use crate::transport::Transport;
use crate::ws::Progress;

impl<S: Transport> Connections<S> {
    /// Bytes of a request have arrived. After an upgrade, what follows the head in the buffer is
    /// left to the frame decoder.
    pub(super) fn receive_head(&mut self, key: ConnKey, buffer: &mut ReadBuffer) {
        let arrived = buffer.arrived();
        let head_bytes_max = self.settings.head_bytes_max;
        match find_head_end(arrived, buffer.scanned) {
            Some(end) if end <= head_bytes_max => {
                self.answer(key, parse_head(&arrived[..end]));
                if self.table.get(key).is_none_or(|conn| !conn.flags.has(Flags::UNDECIDED)) {
                    buffer.progress = Progress::starting_at(end);
                }
            }
            _ if !looks_like_http(arrived) => self.answer(key, Err(HeadError::RequestLine)),
            None if arrived.len() < head_bytes_max => buffer.scanned = arrived.len(),
            _ => self.answer(key, Err(HeadError::TooLarge)),
        }
    }

    fn answer(&mut self, key: ConnKey, head: Result<RequestHead<'_>, HeadError>) {
        let Some(phase) = self.table.get(key).map(|conn| conn.phase) else { return };
        // Whatever the answer to a HEAD is, it has no body (RFC 9110 §9.3.2).
        let head_only = head.as_ref().is_ok_and(|head| head.method() == Method::Head);
        if self.draining {
            return self.refuse_draining(key, head_only);
        }
        if phase == Phase::Refusing {
            return self.refuse_at_limit(key, head_only);
        }
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                self.counters.refused_malformed.add(1);
                return self.reject(key, &Rejection::from(error), false);
            }
        };
        let wants_upgrade = wants_upgrade(&head);
        match self.router.find(head.path(), wants_upgrade) {
            Found::Socket(route) => self.upgrade(key, &head, route),
            Found::Page(page) => {
                if head.method() == Method::Other {
                    self.counters.refused_not_found.add(1);
                    let rejection = Rejection::method_not_allowed(Allow::GetAndHead);
                    return self.reject(key, &rejection, false);
                }
                let page = page.reply(&head);
                let output = self.outgoing.cork();
                let (content_type, headers) = (&page.content_type, &page.headers);
                write_page(output, page.status, content_type, headers, &page.body, head_only);
                self.counters.pages.add(1);
                self.finish(key, CloseReason::Gone);
            }
            Found::Nothing => {
                self.counters.refused_not_found.add(1);
                self.reject(key, &Rejection::not_found(), head_only);
            }
        }
    }

    fn upgrade(&mut self, key: ConnKey, head: &RequestHead<'_>, route_number: u8) {
        let route = self.router.socket(route_number);
        let policy = UpgradePolicy {
            origins: &route.options.origins,
            subprotocols: &route.options.subprotocols,
        };
        let request = match check_upgrade(head, &policy) {
            Ok(request) => request,
            Err(rejection) => {
                let counter = match rejection.status() {
                    Status::Forbidden => &self.counters.refused_origin,
                    Status::MethodNotAllowed => &self.counters.refused_not_found,
                    Status::UpgradeRequired => &self.counters.refused_upgrade_required,
                    Status::Ok
                    | Status::NotModified
                    | Status::BadRequest
                    | Status::NotFound
                    | Status::HeaderFieldsTooLarge
                    | Status::InternalServerError
                    | Status::ServiceUnavailable
                    | Status::VersionNotSupported => &self.counters.refused_malformed,
                };
                counter.add(1);
                return self.reject(key, &rejection, head.method() == Method::Head);
            }
        };
        let peer = Peer { loop_index: self.loop_index, key };
        let admission = match self.decision.take() {
            Some(decision) => decision.map(Admission::Now),
            None => {
                let socket = self.table.get(key).map(|conn| &conn.socket);
                let address = || socket?.peer_address().ok();
                let connect = ConnectRequest::new(Some(&request), &address);
                let mut effects = Effects::detached(route_number, &mut self.pending);
                route.service.admit(&connect, peer, &mut effects)
            }
        };
        match admission {
            Ok(Admission::Later) => self.wait_for_decision(key, route_number),
            Ok(Admission::Now(accept)) => {
                let subprotocol = accept.subprotocol.as_ref().or_else(|| request.subprotocol());
                let allowed = route.options.deflate;
                let deflate = allowed.and_then(|allowed| request.deflate(allowed.context_bits));
                write_switching_protocols(
                    self.outgoing.cork(),
                    &request.accept_key(),
                    subprotocol,
                    deflate,
                    &accept.headers,
                );
                if let Some(conn) = self.table.get_mut(key)
                    && let Some(deflate) = deflate
                {
                    conn.flags.set_deflate(deflate);
                    self.counters.upgrades_deflate.add(1);
                    self.counters.upgrades_takeover.add(u64::from(conn.flags.has_contexts()));
                }
                self.counters.upgrades.add(1);
                self.open(key, route_number);
            }
            Err(rejection) => {
                self.counters.refused_by_service.add(1);
                self.reject(key, &rejection, false);
            }
        }
    }

    /// The request stays where it is, in the partial-read buffer that it will be given, until its service says
    /// what becomes of it.
    pub(super) fn wait_for_decision(&mut self, key: ConnKey, route_number: u8) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.route = route_number;
        conn.flags.set(Flags::UNDECIDED);
    }

    /// A service said whether to let in who was waiting: the request is answered as if it had come
    /// only now.
    pub(super) fn decide(&mut self, key: ConnKey, decision: Result<Accept, Rejection>) {
        let Some(conn) = self.table.get_mut(key) else {
            self.counters.effects_ignored.add(1);
            return;
        };
        if !conn.flags.has(Flags::UNDECIDED) {
            self.counters.effects_ignored.add(1);
            return;
        }
        if self.draining {
            // Its service hears that nothing comes of it.
            return self.refuse_draining(key, false);
        }
        conn.flags.clear(Flags::UNDECIDED);
        if conn.flags.has(Flags::LINES) {
            return self.decide_line(key, decision);
        }
        let partial = conn.partial;
        let Some(mut buffer) = self.partial_reads.borrow(partial) else { return };
        self.decision = Some(decision);
        self.receive_head(key, &mut buffer);
        self.decision = None;
        self.receive_frames(key, &mut buffer);
        self.keep(key, partial, buffer);
        // What came meanwhile gave its edge already.
        self.run_queue.push(&mut self.table, key);
    }

    /// Tells a service that whoever waits for its decision does so no longer.
    pub(super) fn cancel_decision(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if !conn.flags.take(Flags::UNDECIDED) {
            return;
        }
        let route = conn.route;
        let peer = Peer { loop_index: self.loop_index, key };
        let mut effects = Effects::detached(route, &mut self.pending);
        self.router.socket(route).service.on_cancel(peer, &mut effects);
    }

    /// `connections_max` is reached, or memory is.
    pub(super) fn refuse_at_limit(&mut self, key: ConnKey, head_only: bool) {
        self.counters.refused_at_limit.add(1);
        let text = "the connection limit is reached, try again later";
        self.reject(key, &Rejection::unavailable(self.settings.retry_after_s, text), head_only);
    }

    pub(super) fn refuse_draining(&mut self, key: ConnKey, head_only: bool) {
        self.counters.refused_draining.add(1);
        let text = "shutting down, try again";
        self.reject(key, &Rejection::unavailable(self.settings.retry_after_s, text), head_only);
    }

    pub(super) fn reject(&mut self, key: ConnKey, rejection: &Rejection, head_only: bool) {
        if self.speaks_lines(key) {
            write_line(rejection.body().as_bytes(), self.outgoing.cork());
        } else {
            rejection.write_to(head_only, self.outgoing.cork());
        }
        self.finish(key, CloseReason::Gone);
    }
}
