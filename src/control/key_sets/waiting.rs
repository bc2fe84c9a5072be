//! Tokens that wait for keys, and whether keys are fetched for them.

use std::time::Duration;

use tokio::time::Instant;

use crate::services::{IdentityReply, Peer};

/// Tokens that wait, and what is known of the fetches that they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    tokens: Vec<WaitingToken>,
    last: Option<Attempt>,
    is_fetching: bool,
    /// Whether a run of the thread is under way.
    is_running: bool,
}

/// A token that waits to be judged.
#[derive(Debug)]
pub(super) struct WaitingToken {
    pub(super) peer: Peer,
    pub(super) token: String,
    pub(super) reply: IdentityReply,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    began: Instant,
    was_good: bool,
}

/// What becomes of a token whose key is not known.
#[derive(Debug)]
pub(super) enum Asked {
    /// It waits for the fetch that is under way.
    Waits,
    /// It waits, and a fetch is to begin.
    Fetch,
    /// The keys were fetched just now, so there is no such key.
    NoSuchKey(WaitingToken),
    /// The keys cannot be fetched now, or too many tokens wait.
    Unavailable(WaitingToken),
}

impl Waiting {
    /// A run of the thread begins, with a fetch.
    pub(super) fn begin_run(&mut self) {
        self.is_running = true;
        self.is_fetching = true;
    }

    /// The run has ended. Gives the tokens that wait in vain.
    pub(super) fn end_run(&mut self) -> Vec<WaitingToken> {
        self.is_running = false;
        self.is_fetching = false;
        std::mem::take(&mut self.tokens)
    }

    /// A token asks for a key that is not known. Keys are fetched for it unless they were within
    /// `pause`, and at most `tokens_max` wait.
    pub(super) fn ask(
        &mut self,
        token: WaitingToken,
        now: Instant,
        (pause, tokens_max): (Duration, usize),
    ) -> Asked {
        if !self.is_running || self.tokens.len() >= tokens_max {
            return Asked::Unavailable(token);
        }
        if self.is_fetching {
            self.tokens.push(token);
            return Asked::Waits;
        }
        match self.last {
            Some(last) if now < last.began + pause => match last.was_good {
                true => Asked::NoSuchKey(token),
                false => Asked::Unavailable(token),
            },
            Some(_) | None => {
                self.tokens.push(token);
                self.is_fetching = true;
                Asked::Fetch
            }
        }
    }

    /// Forgets the token of a peer that has left.
    pub(super) fn cancel(&mut self, peer: Peer) -> Option<WaitingToken> {
        let position = self.tokens.iter().position(|own| own.peer == peer)?;
        Some(self.tokens.swap_remove(position))
    }

    /// A fetch begins.
    pub(super) fn begin_fetch(&mut self) {
        self.is_fetching = true;
    }

    /// A fetch that began then has ended. Gives the tokens that wait for it.
    pub(super) fn end_fetch(&mut self, began: Instant, was_good: bool) -> Vec<WaitingToken> {
        self.is_fetching = false;
        self.last = Some(Attempt { began, was_good });
        std::mem::take(&mut self.tokens)
    }
}
