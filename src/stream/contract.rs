//! What a call of a stream is given, and what it gives back.

/// Where received bytes go: first into `ahead` and then, if that is filled, into `behind`, which
/// may be empty. A stream with records uses `ahead` alone.
#[derive(Debug)]
pub(crate) struct Room<'b> {
    /// Never empty.
    pub(crate) ahead: &'b mut [u8],
    /// What follows `ahead`.
    pub(crate) behind: &'b mut [u8],
}

/// Whether more can be received before the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The socket is empty; the next byte gives an edge.
    Drained,
    /// The socket may hold more, and no edge will announce it.
    MayHaveMore,
    /// Whole records are here that are not opened yet, and no edge will come for them.
    Unopened,
}

/// What receiving gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// Plaintext arrived: this many bytes in each part of the room.
    Bytes { ahead: usize, behind: usize, source: Source },
    /// No plaintext, and the socket said that it is empty.
    Nothing(Source),
    /// The peer has ended its half; `clean` says whether it meant to.
    Ended { clean: bool },
    /// A record needs this much room at once.
    NoRoom(usize),
    /// The pool has no room for what has come, which is lost.
    NoMemory,
    /// The peer broke the rules of the stream, and was told so: nothing else can be said to it.
    Broken,
    /// The connection failed.
    Failed,
}

/// The connection failed: it was reset, is no longer reachable, or its peer sent what is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamError;

/// What sending came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Bytes of plaintext taken; they need not be offered again.
    pub(crate) taken: usize,
    /// Sealed bytes wait for room in the socket: send again, perhaps nothing, when there is some.
    pub(crate) unsent: bool,
    /// The socket has no more room; an edge will say when it has.
    pub(crate) blocked: bool,
    /// The socket took bytes, of whatever kind.
    pub(crate) moved: bool,
}

/// What follows the bytes that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Perhaps more.
    None,
    /// The end of our half: `finish` is called next, if all is taken.
    HalfClose,
}
