//! A request that upgrades nothing and goes to a backend: who makes it, and what the backend gets.

use super::Outcome;
use super::identify::Identified;
use crate::conn::active::Active;
use crate::conn::flags::Flags;
use crate::conn::services::Decision;
use crate::conn::slot::Protocol;
use crate::effects::{BackendRequest, HttpOptions, PlainTerms};
use crate::http::{PlainRequest, Rejection, RequestHead};
use crate::pool::ReadBuffer;
use crate::services::ConnectRequest;
use crate::transport::Transport;

impl<S: Transport> Active<'_, S> {
    /// Answers a request that upgrades nothing, on a route that passes such on.
    pub(super) fn exchange(
        &mut self,
        head: &RequestHead<'_>,
        route: u8,
        options: HttpOptions,
    ) -> Option<Outcome> {
        // Taken before anything can return, so that no other request meets it.
        let decision = self.services.take_decision();
        let listener = match &decision {
            Some(Decision::Identified { listener }) => *listener,
            Some(Decision::Service(_)) | None => self.conn.route,
        };
        let request = match PlainRequest::check(head, options.body_bytes_max) {
            Ok(request) => request,
            Err(rejection) => {
                self.turn.counters.http_refused.add(1);
                return Some(self.reject(&rejection, head.method_bytes() == b"HEAD"));
            }
        };
        if decision.is_none() && self.services.asks_identity(route) {
            match self.identify(Some(head), route) {
                // Only upgrades are screened.
                Identified::Done | Identified::Screened(_) => {}
                Identified::Waiting => {
                    self.wait_for_decision(route);
                    return None;
                }
                Identified::Refused(outcome) => return Some(outcome),
            }
        }
        let address = self.cold.address(self.conn.cold);
        let proxy = self.trusted_proxy();
        let (own, _) = self.services.route(route);
        let connect = ConnectRequest::new(None, address)
            .with_identity(self.cold.identity(self.conn.cold))
            .with_tls(self.cold.has_cipher(self.conn.cold))
            .with_proxy(proxy);
        let Some(backend) = own.service.plain_request(&connect, head, request) else {
            let rejection = Rejection::upgrade_required("this path takes WebSockets only");
            return Some(self.reject(&rejection, request.is_head));
        };
        self.turn.counters.http_requests.add(1);
        let plain = Some(PlainTerms { request, options });
        self.begin_relay((listener, route), BackendRequest { plain, ..backend })
    }

    /// The first bytes of a further request have come, on a connection that was at rest since the last.
    pub(super) fn begin_next_request(&mut self, buffer: &mut ReadBuffer) {
        let consumed = buffer.progress.consumed();
        buffer.progress = crate::ws::Progress::default();
        // What was searched was another head.
        buffer.drop_front(consumed);
        self.conn.protocol = Protocol::Http;
        self.conn.seen = self.turn.tick;
        self.conn.flags.set(Flags::REARM);
    }
}
