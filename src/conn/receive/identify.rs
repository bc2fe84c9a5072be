//! Who asks to be let in: a route's identities are asked once, before its service.

use std::sync::Arc;

use super::Outcome;
use crate::conn::active::Active;
use crate::effects::{
    Accept, Checked, Effects, Identity, IdentityCheck, IdentityOutcome, Inquiry, Presented,
};
use crate::http::{HeaderValue, Rejection, RequestHead, Status, UpgradePolicy, check_upgrade};
use crate::pool::OverBudget;
use crate::services::ConnectRequest;
use crate::stream;
use crate::timer::{Tick, WallTime};
use crate::transport::Transport;
use crate::work::prices;

/// What asking the identities of a route came to.
#[derive(Debug)]
pub(super) enum Identified {
    /// The service is asked next: the peer has proven who it is, or need not.
    Done,
    /// The service has decided on the request already, and needs no identity for that.
    Screened(Result<Accept, Rejection>),
    /// The answer comes later.
    Waiting,
    /// The refusal stands in the output.
    Refused(Outcome),
}

impl<S: Transport> Active<'_, S> {
    /// Asks who has sent this request to a route that wants to know.
    #[inline(never)]
    pub(super) fn identify_request(&mut self, head: &RequestHead<'_>, route: u8) -> Identified {
        let (peer, address) = (self.peer(), self.cold.address(self.conn.cold));
        let subject = self.cold.subject(self.conn.cold);
        let (own, pending) = self.services.route(route);
        let policy = UpgradePolicy {
            origins: &own.options.origins,
            subprotocols: &own.options.subprotocols,
        };
        // One that is no upgrade is refused for that, without asking anyone.
        let Ok(request) = check_upgrade(head, &policy) else { return Identified::Done };
        let connect = ConnectRequest::new(Some(&request), address).with_subject(subject);
        let mut effects = Effects::detached(route, pending);
        match own.service.screen(&connect, peer, &mut effects) {
            Some(decision) => Identified::Screened(decision),
            None => self.identify(Some(head), route),
        }
    }

    /// As [`Active::identify_request`], of a client of a line listener.
    #[inline(never)]
    pub(super) fn identify_line(&mut self, route: u8) -> Identified {
        let (peer, address) = (self.peer(), self.cold.address(self.conn.cold));
        let subject = self.cold.subject(self.conn.cold);
        let (own, pending) = self.services.route(route);
        let connect = ConnectRequest::new(None, address).with_subject(subject);
        match own.service.screen(&connect, peer, &mut Effects::detached(route, pending)) {
            Some(decision) => Identified::Screened(decision),
            None => self.identify(None, route),
        }
    }

    /// Asks the identities of a route who has sent a request, or who a client of lines is.
    pub(super) fn identify(&mut self, head: Option<&RequestHead<'_>>, route: u8) -> Identified {
        let peer = self.peer();
        self.turn.work.charge(prices::ADDRESS);
        let socket_address = stream::peer_address(&self.conn.socket);
        let is_from_trusted_proxy = self.is_from_trusted_proxy();
        let Some((own, sender)) = self.services.identities(route) else { return Identified::Done };
        let presented = Presented {
            request: head,
            paths: own.paths(),
            address: self.cold.address(self.conn.cold).or(socket_address),
            is_from_trusted_proxy,
            certificate_names: self.cold.certificate_names(self.conn.cold),
            wall_now: WallTime(self.turn.unix_ms()),
        };
        let mut inquiry = Inquiry { peer, sender, work: 0 };
        let identities = &own.options.identities;
        let (checked, by) = identities.check(&presented, &mut inquiry);
        self.turn.work.charge(inquiry.work);
        match (checked, by) {
            (Checked::Now(outcome), _) => match self.settle_identity(outcome) {
                Ok(()) => Identified::Done,
                Err(outcome) => Identified::Refused(outcome),
            },
            (Checked::Later, Some(check)) => {
                let check = Arc::clone(check);
                self.wait_for_identity(&check)
            }
            (Checked::Absent | Checked::Later, _) if identities.is_optional() => Identified::Done,
            (Checked::Absent | Checked::Later, _) => {
                let rejection = without_credential(identities.challenge());
                self.turn.counters.refused_without_identity.add(1);
                Identified::Refused(self.reject(&rejection, false))
            }
        }
    }

    /// The check that was asked answers later; when the peer leaves before, it is to be told.
    fn wait_for_identity(&mut self, check: &Arc<dyn IdentityCheck>) -> Identified {
        let peer = self.peer();
        // Before the request has named its route, the number is that of the listener.
        let asked = (Arc::clone(check), self.conn.route);
        let (link, memory) = (&mut self.conn.cold, &mut self.turn.memory);
        match self.cold.ask_identity(link, asked, memory) {
            Ok(()) => Identified::Waiting,
            Err(OverBudget) => {
                check.cancel(peer);
                Identified::Refused(self.refuse_without_memory())
            }
        }
    }

    /// Takes what a credential has proven.
    ///
    /// # Errors
    /// The outcome of the refusal, which stands in the output.
    pub(in crate::conn) fn settle_identity(
        &mut self,
        outcome: IdentityOutcome,
    ) -> Result<(), Outcome> {
        match outcome {
            IdentityOutcome::Admitted(identity) => self.admit_identity(*identity),
            IdentityOutcome::Refused(rejection) => {
                let counters = &self.turn.counters;
                match rejection.status() == Status::TooManyRequests {
                    true => counters.refused_user_rate.add(1),
                    false => counters.refused_identity.add(1),
                }
                Err(self.reject(&rejection, false))
            }
            IdentityOutcome::Unavailable(rejection) => {
                self.turn.counters.refused_identity_unchecked.add(1);
                Err(self.reject(&rejection, false))
            }
        }
    }

    fn admit_identity(&mut self, identity: Identity) -> Result<(), Outcome> {
        let now = self.wall_now();
        if identity.expires_at().is_some_and(|expires_at| expires_at <= now.1) {
            self.turn.counters.refused_identity.add(1);
            return Err(self.reject(&Rejection::forbidden("the credential has expired"), false));
        }
        let (link, memory) = (&mut self.conn.cold, &mut self.turn.memory);
        match self.cold.set_identity(link, identity, now, memory) {
            Ok(()) => {
                self.turn.counters.identified.add(1);
                Ok(())
            }
            Err(OverBudget) => Err(self.refuse_without_memory()),
        }
    }

    /// The time of the turn by both clocks.
    pub(in crate::conn) fn wall_now(&self) -> (Tick, WallTime) {
        (self.turn.tick, WallTime(self.turn.unix_ms()))
    }
}

/// 401, as HTTP has it where no credential is presented (RFC 9110 §15.5.2).
fn without_credential(challenge: Option<&str>) -> Rejection {
    let challenge = challenge.and_then(|text| HeaderValue::new(text.to_owned()).ok());
    let challenge = challenge.unwrap_or(HeaderValue::CREDENTIAL);
    Rejection::unauthorized(challenge, "a credential is needed here, and the request presents none")
}
