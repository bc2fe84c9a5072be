//! Questions to loops, and the gathering of their answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::gateway::Gateway;
use crate::inspect::{ConnectionFilter, ConnectionSummary, Query};
use crate::mail::{NoReply, Reply};

/// Asks one loop, and waits for its answer.
pub(in crate::control) async fn ask<T: Send + 'static>(
    gateway: &dyn Gateway,
    loop_index: usize,
    query: impl FnOnce(Reply<T>) -> Query,
) -> Result<T, NoReply> {
    begin(gateway, loop_index, query)?.answer().await
}

/// Asks one loop, whose answer may be waited for later.
pub(in crate::control) fn begin<T: Send + 'static>(
    gateway: &dyn Gateway,
    loop_index: usize,
    query: impl FnOnce(Reply<T>) -> Query,
) -> Result<Asked<T>, NoReply> {
    let (sender, receiver) = oneshot::channel();
    let reply = Reply::new(move |value| drop(sender.send(value)));
    gateway.query(loop_index, query(reply))?;
    Ok(Asked(receiver))
}

/// A question that a loop was asked.
#[derive(Debug)]
pub(in crate::control) struct Asked<T>(oneshot::Receiver<T>);

impl<T> Asked<T> {
    /// Waits for the answer.
    pub(in crate::control) async fn answer(self) -> Result<T, NoReply> {
        match timeout(PATIENCE, self.0).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(NoReply::Ended),
            Err(_) => Err(NoReply::Late),
        }
    }
}

/// Where a page of the list of all connections begins: a loop, and a slot of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) loop_index: usize,
    pub(super) slot: u32,
}

impl Cursor {
    /// From the text that a page ended with.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (loop_index, slot) = text.split_once('.')?;
        Some(Self { loop_index: loop_index.parse().ok()?, slot: slot.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.loop_index, self.slot)
    }
}

/// A page of the list of all connections, and where the next one begins. It may be short, or empty, and
/// not be the last: looking through many that do not fit ends after a while.
pub(super) async fn page(
    gateway: &dyn Gateway,
    filter: &Arc<ConnectionFilter>,
    from: Cursor,
    (count_max, time_max): (usize, Duration),
) -> Result<(Vec<ConnectionSummary>, Option<Cursor>), NoReply> {
    let mut found = Vec::new();
    let mut at = from;
    let ends = Instant::now() + time_max;
    while at.loop_index < gateway.loop_count() {
        let left = count_max - found.len();
        if left == 0 || Instant::now() >= ends {
            return Ok((found, Some(at)));
        }
        let (filter, slot) = (Arc::clone(filter), at.slot);
        let list = |reply| Query::List { filter, from: slot, count_max: left, reply };
        let slice = ask(gateway, at.loop_index, list).await?;
        found.extend(slice.connections);
        at = following(at, slice.next);
    }
    Ok((found, None))
}

/// Has every loop do something to all connections that fit, slice by slice, and counts those it was done
/// to. `query` makes the order for a slice that begins at a slot.
pub(super) async fn all<T: Send + 'static>(
    gateway: &dyn Gateway,
    query: impl Fn(u32, Reply<T>) -> Query,
    count: impl Fn(T) -> (usize, Option<u32>),
) -> Result<usize, NoReply> {
    let mut total = 0;
    let mut at = Cursor::default();
    while at.loop_index < gateway.loop_count() {
        let (done, next) = count(ask(gateway, at.loop_index, |reply| query(at.slot, reply)).await?);
        total += done;
        at = following(at, next);
    }
    Ok(total)
}

fn following(at: Cursor, next: Option<u32>) -> Cursor {
    match next {
        Some(slot) => Cursor { slot, ..at },
        None => Cursor { loop_index: at.loop_index + 1, slot: 0 },
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
/// After which a page ends where it is.
pub(super) const PAGE_TIME_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(loop_index: usize, slot: u32, other in "\\PC{0,12}") {
            let cursor = Cursor { loop_index, slot };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            if let Some(parsed) = Cursor::parse(&other) {
                prop_assert_eq!(Cursor::parse(&parsed.to_string()), Some(parsed));
            }
        }
    }
}
