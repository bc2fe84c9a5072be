//! Relays: a client's connection and the gateway's own to a backend, both in the table of one loop,
//! whose bytes go to each other.
//!
//! ```text
//!   client    Handshake ── waits, not read ─────────────► Open ══ bytes ══► ends
//!                │ request                       101 ▲      ║
//!   backend      └──► Reaching ── connected ── reply ┘    Open ══ bytes ══► ends
//! ```
//!
//! A request that upgrades nothing is answered in the same way: [`exchange`] passes on its body and that of
//! the reply, and then the two part again.
//!
//! [`records`] says who belongs to whom, [`attempt`] is the way to the 101 or a refusal, and
//! [`bytes`] and [`frames`] what happens after that, by the mode of the route. Two ends share one record while both are there; what is left
//! for one to do when the other is gone waits in a list for the end of the turn, since the step
//! that ends a connection may be in the middle of another's output.

mod attempt;
mod bytes;
mod exchange;
mod exchange_state;
mod frames;
mod mask_keys;
mod records;

pub(super) use attempt::{Answered, Failure, Next, REPLY_BODY_BYTES};
pub(super) use bytes::{Abort, Relay};
pub(super) use exchange::{Passed, ReplyStart};
pub(super) use frames::Forwarding;
pub(super) use mask_keys::MaskKeys;
pub use records::ConnectOrder;
pub(super) use records::SentOff;
pub(crate) use records::{Lost, PartnerClose, RelayRecords};

/// Frames of up to this many bytes go on as they came; longer ones in parts of at least this many, as
/// they come. So much is held of a frame that is not whole.
const WHOLE_BYTES_MAX: usize = 64 << 10;
/// The size of the buffer that a frame which is not whole is read into.
pub(super) const FORWARD_BUFFER_BYTES_MAX: usize = 2 * WHOLE_BYTES_MAX;
