//! Login tokens: who may say what a name's token is, and how the answer comes back.

use super::{Peer, ServiceSender};

/// Looks tokens up somewhere else, such as in Redis, without holding up the loop that asks.
pub trait TokenLookup: Send + Sync {
    /// Asks whether `inquiry.token` is the token of `inquiry.name`. One [`TokenAnswer`] comes to
    /// `inquiry.answer_to`, possibly before this returns, unless the inquiry is cancelled before. A
    /// further inquiry of a peer takes the place of its earlier one.
    ///
    /// # Errors
    /// [`TooManyLookups`] if the limit on look-ups under way is reached.
    fn ask(&self, inquiry: TokenInquiry) -> Result<(), TooManyLookups>;

    /// The peer left: its answer is not wanted any more.
    fn cancel(&self, peer: Peer);
}

/// A question about a client that asks to be let in.
#[derive(Clone, Debug)]
pub struct TokenInquiry {
    /// Who wants to be let in.
    pub peer: Peer,
    /// The name it gives.
    pub name: String,
    /// The token it shows.
    pub token: String,
    /// Where the answer goes.
    pub answer_to: ServiceSender,
}

/// The answer to a [`TokenInquiry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// Who waits for it.
    pub peer: Peer,
    /// What was found.
    pub verdict: TokenVerdict,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// The token is the one of the name.
    Right,
    /// There is no token for the name, or another one.
    Wrong,
    /// Redis is unavailable, or the answer took too long.
    Unavailable,
}

/// The limit on look-ups under way is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many logins are being looked up, try again")]
pub struct TooManyLookups;
