//! What a batch that was read is to those who asked for it.

use crate::channels::history::{page_of, recovered};
use crate::channels::remote::{Batch, JoinRead, read_publication};
use crate::channels::{
    EngineError, NamedEpoch, Page, Position, Publication, Read, Recovery, RecoveryMode, Since,
};

/// A [`Batch`] with publications.
#[derive(Debug)]
pub(super) struct DecodedBatch {
    pub(super) position: Position,
    /// In the order of their offsets, none above the position.
    pub(super) entries: Page,
    /// Whether all that was asked for is there.
    pub(super) is_whole: bool,
}

impl DecodedBatch {
    /// Reads the publications. How many could not be read comes with it: then it is not whole.
    pub(super) fn new(batch: Batch) -> (Self, u64) {
        let Batch { position, entries, mut is_whole } = batch;
        let (mut last, mut invalid) = (0, 0);
        let mut read: Page = Vec::with_capacity(entries.len());
        for (offset, payload) in entries {
            let is_next = offset > last && offset <= position.offset;
            match read_publication(&payload) {
                Ok(publication) if is_next => read.push((offset, publication)),
                Ok(_) | Err(_) => invalid += 1,
            }
            last = offset.max(last);
        }
        is_whole &= invalid == 0;
        (Self { position, entries: read, is_whole }, invalid)
    }

    /// Bytes that it holds beside its own size.
    pub(super) fn held_bytes(&self) -> usize {
        let entry = |own: &(u64, Publication)| size_of_val(own) + own.1.held_bytes();
        self.entries.iter().map(entry).sum()
    }

    /// What a member gets that joins, where `later` are those that were given out since, up to `seen`.
    pub(super) fn joined(&self, join: &JoinRead, later: &[(u64, Publication)], seen: u64) -> Read {
        let position = Position { offset: seen, epoch: self.position.epoch };
        let recovery = match (&join.recover, join.mode) {
            (None, _) => Recovery::Recovered(Vec::new()),
            (Some((offset, epoch)), RecoveryMode::Stream) => {
                let is_own = epoch.admits(position.epoch);
                self.recovered(*offset, later).filter(|_| is_own && *offset <= seen)
            }
            .map_or(Recovery::Lost, Recovery::Recovered),
            (Some((offset, epoch)), RecoveryMode::Cache) => {
                let is_own = epoch.names(position.epoch);
                match later.last().or_else(|| self.entries.last()) {
                    _ if is_own && *offset == seen => Recovery::Recovered(Vec::new()),
                    Some(latest) => Recovery::Recovered(vec![latest.clone()]),
                    None => Recovery::Lost,
                }
            }
        };
        Read { position, recovery }
    }

    /// All above an offset, if it is there and not too much.
    fn recovered(&self, offset: u64, later: &[(u64, Publication)]) -> Option<Page> {
        let is_whole = self.is_whole || offset >= self.position.offset;
        let missed = self.entries.iter().chain(later).filter(|(own, _)| *own > offset);
        if is_whole { recovered(missed.cloned()) } else { None }
    }

    /// A page of all that is kept.
    pub(super) fn page(
        self,
        since: Since,
        epoch: NamedEpoch,
        limit: usize,
    ) -> Result<Read, EngineError> {
        let Self { position, entries, .. } = self;
        if !epoch.admits(position.epoch) {
            return Err(EngineError::OtherEpoch);
        }
        let page: Page = match since {
            Since::Oldest(above) => {
                let above = above.unwrap_or(0);
                page_of(entries.into_iter().filter(|(own, _)| *own > above).take(limit))
            }
            Since::Latest(below) => {
                let below = below.unwrap_or(u64::MAX);
                page_of(entries.into_iter().rev().filter(|(own, _)| *own < below).take(limit))
            }
        };
        Ok(Read { position, recovery: Recovery::Recovered(page) })
    }
}

/// What a member gets that joins and lacks nothing of a stream that is at `seen`; `None` if it may lack something.
pub(super) fn joined_at(seen: Position, join: &JoinRead) -> Option<Read> {
    let lacks_nothing = match (&join.recover, join.mode) {
        (None, _) => true,
        (Some((offset, epoch)), mode) => {
            let is_own = match mode {
                RecoveryMode::Stream => epoch.admits(seen.epoch),
                RecoveryMode::Cache => epoch.names(seen.epoch),
            };
            *offset == seen.offset && is_own
        }
    };
    let recovery = Recovery::Recovered(Vec::new());
    lacks_nothing.then_some(Read { position: seen, recovery })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Epoch;
    use crate::channels::remote::write_publication;

    fn batch(count: u64, bytes: usize) -> DecodedBatch {
        let payload = write_publication(&Publication::new(vec![b'1'; bytes]));
        let entries = (1..=count).map(|offset| (offset, payload.clone())).collect();
        let position = Position { offset: count, epoch: Epoch(7) };
        DecodedBatch::new(Batch { position, entries, is_whole: true }).0
    }

    #[test]
    fn an_answer_of_an_engine_elsewhere_is_bounded_in_bytes() {
        let offsets = |since| -> Vec<u64> {
            let read = batch(30, 100_000).page(since, NamedEpoch::Any, 300).unwrap();
            read.page().into_iter().map(|(offset, _)| offset).collect()
        };
        assert_eq!(offsets(Since::Oldest(Some(5))), (6..=15).collect::<Vec<u64>>());
        assert_eq!(offsets(Since::Latest(Some(25))), (15..25).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn a_member_that_has_missed_too_many_bytes_is_told_so() {
        let own = batch(30, 100_000);
        let joined = |offset: u64, later: &[(u64, Publication)]| {
            let recover = Some((offset, NamedEpoch::Any));
            let join = JoinRead { recover, mode: RecoveryMode::Stream };
            let seen = 30 + later.len() as u64;
            match own.joined(&join, later, seen).recovery {
                Recovery::Recovered(page) => Some(page.len()),
                Recovery::Lost => None,
            }
        };
        assert_eq!([19, 20, 30].map(|offset| joined(offset, &[])), [None, Some(10), Some(0)]);
        // What was given out since counts as well.
        let later = [(31, Publication::new(vec![b'1'; 100_000]))];
        assert_eq!([20, 21].map(|offset| joined(offset, &later)), [None, Some(10)]);
    }
}
