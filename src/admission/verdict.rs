//! What becomes of a client that connects.

use super::entry_ref::AddressRef;
use super::network::Network;
use crate::timer::Millis;

/// What the table says of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Where it is counted until it is released; `None` if it is not counted.
    pub entry: Option<AddressRef>,
    /// Why it is refused, or in a dry run would be.
    pub refusal: Option<AddressRefusal>,
    /// It is let in although no entry was left to count it.
    pub is_untracked: bool,
}

/// A connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRefusal {
    /// Why.
    pub reason: AddressReason,
    /// When it may try again, in seconds.
    pub retry_after_s: u32,
    /// Whether it is not told so: it was told often enough.
    pub is_silent: bool,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressReason {
    /// The address is in a network that may not connect.
    Denied,
    /// Too many handshakes of the client have failed.
    Failures,
    /// The client has too many open connections.
    Open,
    /// The client connects too often.
    Rate,
}

/// What a client or a network uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressUse {
    /// Which.
    pub network: Network,
    /// Open connections.
    pub open: u32,
    /// When it has used up nothing of its rates any more, if it does nothing.
    pub full_at: Millis,
}
