//! The way back for a command: one value, sent without waiting.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Takes the reply to one command. If it is dropped, a thread that waits for it learns that it will not come.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    /// A reply that calls `receive`, which is called on the loop's thread and must not wait.
    #[must_use]
    pub fn new(receive: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(receive))
    }

    /// Sends the reply. It never waits; if it is not waited for any more, it is dropped.
    pub fn send(self, value: T) {
        (self.0)(value);
    }
}

impl<T: Send + 'static> Reply<T> {
    /// A reply and the end where it arrives, for a thread that may wait.
    #[must_use]
    pub fn channel() -> (Self, ReplyReceiver<T>) {
        let (sender, receiver) = sync_channel(1);
        // The one reply always finds room.
        let send = move |value| drop(sender.try_send(value));
        (Self::new(send), ReplyReceiver(receiver))
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reply")
    }
}

/// Where a reply arrives.
#[derive(Debug)]
pub struct ReplyReceiver<T>(Receiver<T>);

impl<T> ReplyReceiver<T> {
    /// Waits for the reply. Never called by a loop.
    ///
    /// # Errors
    /// [`NoReply`] if the loop ended, or did not reply within `patience`.
    pub fn wait(self, patience: Duration) -> Result<T, NoReply> {
        self.0.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoReply::Late,
            RecvTimeoutError::Disconnected => NoReply::Ended,
        })
    }
}

/// Why there is no reply to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// The loop's mailbox is full.
    #[error("the event loop has too much mail waiting to take a command")]
    Busy,
    /// The loop ended before it came to the command.
    #[error("the event loop has ended")]
    Ended,
    /// The loop has not replied in time. It may still do what it was told.
    #[error("the event loop has not replied in time")]
    Late,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_arrives_or_its_absence_does() {
        let (reply, receiver) = Reply::channel();
        reply.send(7);
        assert_eq!(receiver.wait(Duration::ZERO), Ok(7));

        let (reply, receiver) = Reply::<u8>::channel();
        drop(reply);
        assert_eq!(receiver.wait(Duration::from_secs(60)), Err(NoReply::Ended));

        let (reply, receiver) = Reply::<u8>::channel();
        drop(receiver);
        reply.send(7);

        let (_reply, receiver) = Reply::<u8>::channel();
        assert_eq!(receiver.wait(Duration::ZERO), Err(NoReply::Late));
    }
}
