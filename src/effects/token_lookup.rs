//! The look-up of login tokens outside the loop, and the way of its answer back to the service.

use super::{Peer, ServiceSender};

/// Looks tokens up elsewhere, such as in Redis, without blocking the loop that asks.
pub trait TokenLookup: Send + Sync {
    /// Asks whether `inquiry.token` is the token of `inquiry.name`. One [`TokenAnswer`] comes to
    /// `inquiry.answer_to`, possibly before this returns, unless the inquiry is cancelled before. A
    /// further inquiry of a peer takes the place of its earlier one.
    ///
    /// # Errors
    /// [`TooManyLookups`] if the limit on look-ups under way is reached.
    fn ask(&self, inquiry: TokenInquiry) -> Result<(), TooManyLookups>;

    /// Cancels the look-up of a peer that has left. Without one this does nothing.
    fn cancel(&self, peer: Peer);

    /// Whether the server that is asked can be reached, as far as is known. It may be asked in any case.
    fn is_available(&self) -> bool {
        true
    }
}

/// The question whether a connecting client may have its name.
#[derive(Clone, Debug)]
pub struct TokenInquiry {
    /// The connection that waits for its admission.
    pub peer: Peer,
    /// The name that the client gives.
    pub name: String,
    /// The token that the client gives.
    pub token: String,
    /// Sends the answer to the service that asks.
    pub answer_to: ServiceSender,
}

/// The answer to a [`TokenInquiry`], sent as a [`ServiceMessage`](super::ServiceMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// The connection that waits for its admission.
    pub peer: Peer,
    /// The result of the look-up.
    pub verdict: TokenVerdict,
}

/// The result of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// The token is the one of the name.
    Right,
    /// There is no token for the name, or another one.
    Wrong,
    /// No server could be asked, or the answer took too long.
    Unavailable,
}

/// The limit of look-ups under way is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many logins are being looked up, try again")]
pub struct TooManyLookups;
