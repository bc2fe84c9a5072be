//! Requests to a listener that redirects to `https` and serves nothing else.

use super::Outcome;
use crate::conn::access::AccessTarget;
use crate::conn::active::Active;
use crate::effects::CloseReason;
use crate::http::{
    HeaderValue, HttpsRedirect, Method, Rejection, RequestHead, Status, write_page, write_redirect,
};
use crate::transport::Transport;

impl<S: Transport> Active<'_, S> {
    /// Where the listener of a request redirects to, if it does.
    #[inline]
    pub(super) fn redirect(&self) -> Option<HttpsRedirect> {
        // Most gateways have no such listener.
        if self.turn.settings.redirects.is_empty() || self.services.has_decision() {
            return None;
        }
        self.turn.settings.redirects.get(usize::from(self.conn.route)).copied().flatten()
    }

    /// Answers a request whose host is permitted.
    #[cold]
    pub(super) fn redirect_to(
        &mut self,
        redirect: HttpsRedirect,
        head: &RequestHead<'_>,
    ) -> Outcome {
        self.cold.note_target(self.conn.cold, || AccessTarget::path(head.path().raw()));
        let head_only = head.method() == Method::Head;
        let is_read = matches!(head.method(), Method::Get | Method::Head);
        let answer = self.turn.settings.challenges.answer(head.path().raw());
        if let Some(answer) = answer.filter(|_| is_read) {
            return self.answer_challenge(&answer, head_only);
        }
        let Some(location) = redirect.location(head) else {
            self.turn.counters.refused_malformed.add(1);
            let text = "the Host header is missing: it says where to redirect to";
            return self.reject(&Rejection::bad_request(text), head_only);
        };
        self.turn.counters.redirects.add(1);
        self.cold.note_status(self.conn.cold, Status::PermanentRedirect);
        write_redirect(self.output.outgoing().cork(), &self.turn.date, &location, head_only);
        Outcome::Finish(CloseReason::Gone)
    }

    /// An authority of certificates asks (RFC 8555 §8.3).
    fn answer_challenge(&mut self, answer: &str, head_only: bool) -> Outcome {
        self.turn.counters.acme_challenges.add(1);
        self.cold.note_status(self.conn.cold, Status::Ok);
        let (output, date) = (self.output.outgoing().cork(), &self.turn.date);
        let body = answer.as_bytes();
        let content_type = &HeaderValue::BYTES;
        write_page(output, date, Status::Ok, content_type, &[], body, head_only);
        Outcome::Finish(CloseReason::Gone)
    }
}
