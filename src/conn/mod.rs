//! A connection: 64 bytes in one slot, and the rules of its life.
//!
//! | bytes | field | at rest |
//! |--:|---|---|
//! | 4 | `socket` (a descriptor in release builds) | the descriptor |
//! | 4 | `generation` | serial number |
//! | 12 | `timer` | filed in the wheel |
//! | 4 | `seen` | tick of the last activity |
//! | 16 | `queue` | empty |
//! | 4 | `partial-read buffer` | none |
//! | 4 | `subscriptions` | none |
//! | 5 | `decoder` | zero |
//! | 1 | `route` | number of its service |
//! | 1 | `phase` | [`Phase::Open`] |
//! | 4 | `flags` | what was agreed |
//! | 1 | padding | |
//!
//! The way of bytes: [`receive`] has [`read`] take them from the socket and [`decode`] make messages
//! of them, [`inflate`] unpacks what came compressed, [`handshake`] answers the request, services
//! write into [`outgoing`], where [`compress`] packs what is to be compressed and [`contexts`] holds
//! what may be referred back to, and [`send`] writes it out. What comes from others takes the way
//! through [`publish`], [`shared_frame`] and [`frame_batch`]. [`lifecycle`] opens and closes, [`idle`] acts when
//! time has passed.

mod connections;
mod decode;
mod flags;
mod frame_batch;
mod half_open;
mod handshake;
mod idle;
mod inflate;
#[cfg(any(test, feature = "sim"))]
mod invariants;
mod lifecycle;
mod lines;
mod publish;
mod read;
mod receive;
mod run_queue;
mod send;
mod settings;
mod shared_frame;
mod table;

pub use connections::Connections;
pub use settings::ConnSettings;

use flags::Flags;

use crate::key::SlotRef;
use crate::pool::OutQueue;
use crate::timer::{Tick, TimerLink};
use crate::ws::DecoderState;

/// One connection of a loop.
#[derive(Debug)]
pub(crate) struct Conn<S> {
    pub(crate) socket: S,
    pub(crate) generation: u32,
    timer: TimerLink,
    /// In [`Phase::Open`]: when bytes last came, or the ping that asks for some went out. In other
    /// phases: when the phase began.
    seen: Tick,
    queue: OutQueue,
    partial: SlotRef,
    /// The first of its subscriptions in its route's hub.
    subscriptions: SlotRef,
    decoder: DecoderState,
    route: u8,
    phase: Phase,
    flags: Flags,
}

impl<S> Conn<S> {
    /// Whether its last bytes are written, or about to be.
    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Dead | Phase::Lingering)
    }
}

/// Where a connection is in its life.
///
/// ```text
///   accept ──► Handshake ──101──► Open ──close frame──► Closing ──all written──► Lingering ─┐
///                  │                │                     ▲                                 │
///                  ├──any other reply─────────────────────┤                      EOF or deadline
///   accept ──► Refusing ──503─────────────────────────────┘                                 │
///                  │                │                     │                                 ▼
///                  └────────────────┴──── reset, timeout ─┴──────────────────────────────► Dead
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for a request head.
    Handshake,
    /// Like `Handshake`, but whatever is asked, the answer is 503.
    Refusing,
    /// WebSocket frames go both ways.
    Open,
    /// The last bytes are in the queue: a close frame or an HTTP reply. Input is thrown away.
    Closing,
    /// The write half is shut. Input is thrown away until the peer's end: closing with unread
    /// input would reset the connection and lose our last bytes.
    Lingering,
    /// Waits to be reaped.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_at_rest_is_64_bytes() {
        // As with mio in release builds, where a stream is its descriptor.
        // Of its slot of 64 bytes, four are free.
        assert_eq!(size_of::<Conn<std::os::fd::OwnedFd>>(), 60);
        assert_eq!(table::entry_bytes::<std::os::fd::OwnedFd>(), 64);
    }
}
