//! Sending: what a read produced goes out at once, in one write; what the socket does not take
//! waits in the backlog, and so do messages pushed from elsewhere until the end of the turn.

mod output;

pub(super) use output::{Flush, Output};
