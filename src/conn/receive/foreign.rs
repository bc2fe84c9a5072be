//! Clients that came to the wrong port.

use super::Outcome;
use crate::conn::active::Active;
use crate::effects::CloseReason;
use crate::foreign::{Port, Protocol};
use crate::transport::Transport;

impl<S: Transport> Active<'_, S> {
    /// A client has begun to speak this where HTTP was awaited, and is answered in its own words.
    pub(super) fn refuse_foreign(&mut self, protocol: Protocol) -> Outcome {
        self.count_foreign(protocol);
        protocol.answer(Port::Http, self.output.outgoing().cork());
        Outcome::Finish(CloseReason::Gone)
    }

    /// Counts a client that is refused because it speaks this, against its address as well.
    pub(super) fn count_foreign(&mut self, protocol: Protocol) {
        self.turn.note_failed_handshake(self.key);
        protocol.counter(&self.turn.counters).add(1);
        log::debug!(connection:% = self.peer(); "refused: it speaks {protocol:?}");
    }
}
