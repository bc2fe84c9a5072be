//! How a server is drained, as its owner wants it.

/// The terms of a drain. Its stages follow each other: the grace, in which the server accepts as before
/// and says that it is not ready; then no more connections are accepted, and every client is sent a close
/// frame, within 70 % of `drain_ms`; after `drain_ms` what is left is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainTerms {
    /// The grace, in milliseconds: longer than the time that a balancer takes to see that the server is
    /// not ready. 0 begins with the closes at once.
    pub grace_ms: u64,
    /// From the end of accepting to the end of the server, in milliseconds.
    pub drain_ms: u64,
    /// Whether to spread the close frames over that time.
    pub is_paced: bool,
    /// The most close frames a second of all loops together; 0 leaves it to the pace of each loop. Where
    /// it would not do within `drain_ms`, that wins.
    pub closes_per_s: u64,
    /// What becomes of the connections that are not open yet.
    pub queue: QueuePolicy,
}

/// What becomes of the connections in the accept queue, and of those that have not finished their
/// handshake, when a server stops accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePolicy {
    /// They are answered 503: another server takes the clients.
    Refuse,
    /// Another process holds the listening sockets as well and serves their queues. Handshakes that were
    /// begun are finished here, so that no attempt to connect fails.
    LeaveToOther,
}

impl DrainTerms {
    /// Without a grace, with 503 for what is queued, and at the pace that `drain_ms` asks for.
    #[must_use]
    pub fn within_ms(drain_ms: u64) -> Self {
        Self { grace_ms: 0, drain_ms, is_paced: true, closes_per_s: 0, queue: QueuePolicy::Refuse }
    }

    /// The same with all close frames and no grace, for what must end soon.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { grace_ms: 0, is_paced: false, ..self }
    }
}
