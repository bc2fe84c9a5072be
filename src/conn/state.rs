//! Where a connection is in its life, and the only ways from one phase to the next.

/// Where a connection is in its life.
///
/// ```text
///   accept ──► Handshake ──101──► Open ──close frame──► Closing ──all written──► Lingering ─┐
///                  │                │                     ▲                                 │
///                  ├──any other reply─────────────────────┤                      EOF or deadline
///   accept ──► Refusing ──503─────────────────────────────┘                                 │
///                  │                │                     │                                 │
///   connect ─► Reaching ──101──► Open                     │                                 ▼
///                  └────────────────┴──── reset, timeout ─┴──────────────────────────────► Dead
///
///   Handshake ◄──reply over, if the client goes on── Exchanging ──► Closing, Dead
///       └───────backend reached, other than for a WebSocket──▲
///   Reaching ──────head of the reply─────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for a request head, or for the decision about it.
    Handshake,
    /// Like `Handshake`, but the answer to any request is 503.
    Refusing,
    /// Of a connection to a backend: it is being made, or waits for the reply to its request.
    Reaching,
    /// A request that upgrades nothing is being answered by a backend: of the client from when that is
    /// reached, of the backend from the head of its reply on.
    Exchanging,
    /// Messages go both ways.
    Open,
    /// The last bytes are in the queue: a close frame or an HTTP reply. Input is thrown away.
    Closing,
    /// The write half is shut. Input is thrown away until the peer's end: closing with unread
    /// input would reset the connection and lose our last bytes.
    Lingering,
    /// Waits to be reaped.
    Dead,
}

/// The phase of a connection, which changes only by these methods, and only forwards but for a further
/// request. Each gives
/// `false` and changes nothing where the phase does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(Phase);

impl State {
    /// A connection that was just accepted; `refused` has it told 503.
    pub(crate) fn accepted(refused: bool) -> Self {
        Self(if refused { Phase::Refusing } else { Phase::Handshake })
    }

    /// A connection to a backend that is being made.
    pub(crate) fn outbound() -> Self {
        Self(Phase::Reaching)
    }

    /// The phase.
    #[inline]
    pub(crate) fn phase(self) -> Phase {
        self.0
    }

    /// Whether messages go both ways.
    #[inline]
    pub(crate) fn is_open(self) -> bool {
        self.0 == Phase::Open
    }

    /// Whether a request is waited for or being answered.
    pub(crate) fn is_handshake(self) -> bool {
        matches!(self.0, Phase::Handshake | Phase::Refusing)
    }

    /// Whether the last bytes are written, or about to be.
    pub(crate) fn is_ending(self) -> bool {
        matches!(self.0, Phase::Closing | Phase::Lingering | Phase::Dead)
    }

    /// The request was granted.
    pub(crate) fn open(&mut self) -> bool {
        self.change(matches!(self.0, Phase::Handshake | Phase::Reaching), Phase::Open)
    }

    /// A backend answers the request, which upgrades nothing.
    pub(crate) fn exchange(&mut self) -> bool {
        self.change(matches!(self.0, Phase::Handshake | Phase::Reaching), Phase::Exchanging)
    }

    /// The request is answered, and another may follow.
    pub(crate) fn await_request(&mut self) -> bool {
        self.change(self.0 == Phase::Exchanging, Phase::Handshake)
    }

    /// The last bytes are on their way.
    pub(crate) fn close(&mut self) -> bool {
        let may =
            matches!(self.0, Phase::Handshake | Phase::Refusing | Phase::Exchanging | Phase::Open);
        self.change(may, Phase::Closing)
    }

    /// The last byte is written; the peer's end is waited for.
    pub(crate) fn linger(&mut self) -> bool {
        self.change(self.0 == Phase::Closing, Phase::Lingering)
    }

    /// The connection is over.
    pub(crate) fn die(&mut self) -> bool {
        self.change(self.0 != Phase::Dead, Phase::Dead)
    }

    fn change(&mut self, may: bool, next: Phase) -> bool {
        if may {
            self.0 = next;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Phase; 8] = [
        Phase::Handshake,
        Phase::Refusing,
        Phase::Reaching,
        Phase::Exchanging,
        Phase::Open,
        Phase::Closing,
        Phase::Lingering,
        Phase::Dead,
    ];

    #[test]
    fn phases_change_along_the_arrows_of_the_diagram_only() {
        type Change = fn(&mut State) -> bool;
        let closes = [Phase::Handshake, Phase::Refusing, Phase::Exchanging, Phase::Open];
        let changes: [(Change, Phase, &[Phase]); 6] = [
            (State::open, Phase::Open, &[Phase::Handshake, Phase::Reaching]),
            (State::exchange, Phase::Exchanging, &[Phase::Handshake, Phase::Reaching]),
            (State::await_request, Phase::Handshake, &[Phase::Exchanging]),
            (State::close, Phase::Closing, &closes),
            (State::linger, Phase::Lingering, &[Phase::Closing]),
            (State::die, Phase::Dead, &ALL[..7]),
        ];
        for (change, to, allowed) in changes {
            for from in ALL {
                let mut state = State(from);
                let changed = change(&mut state);
                assert_eq!(changed, allowed.contains(&from), "{from:?} to {to:?}");
                assert_eq!(state.phase(), if changed { to } else { from });
            }
        }
    }
}
