//! What is to be done for all members of a channel and takes longer than a turn has time for: closing them, and
//! asking about them.
//!
//! Who they are is noted when it is asked for. A turn then comes to a part of them, in the order of asking. Of
//! one that is gone meanwhile nothing is known any more, so its turn costs next to nothing.

use std::collections::VecDeque;
use std::vec::IntoIter;

use super::members::Members;
use crate::effects::Peer;
use crate::shrink::Shrink as _;
use crate::work::prices;
use crate::ws::CloseCode;

/// The members for whom something is still to be done.
///
/// A connection is noted once for each [`Task`] until its turn has come, in 12 bytes, which are far fewer than
/// those of the membership that it was noted for. Others are those that have ended meanwhile, and a turn takes
/// more of these out than it can let in.
#[derive(Debug, Default)]
pub(super) struct Jobs(VecDeque<Job>);

#[derive(Debug)]
struct Job {
    task: Task,
    peers: IntoIter<Peer>,
}

/// What is to be done for each member.
#[derive(Debug)]
pub(super) enum Task {
    /// It is closed, with this code and reason.
    Close(CloseCode, String),
    /// Its backend is asked about it.
    Refresh,
}

impl Jobs {
    /// Has something done for members, behind what waits.
    pub(super) fn add(&mut self, task: Task, peers: Vec<Peer>) {
        if !peers.is_empty() {
            self.0.push_back(Job { task, peers: peers.into_iter() });
        }
    }

    /// Does what a turn has time for. Gives what it has cost, as far as nothing else charges it.
    pub(super) fn run(&mut self, members: &mut Members, mut act: impl FnMut(Peer, &Task)) -> u64 {
        let (mut cost, mut charged_elsewhere) = (0, 0);
        while cost + charged_elsewhere < PART_WORK
            && let Some(Job { task, peers }) = self.0.front_mut()
        {
            let Some(peer) = peers.next() else {
                self.0.pop_front();
                self.0.shrink_if_sparse(0);
                continue;
            };
            let (is_wanted, price, elsewhere) = match task {
                Task::Close(..) => {
                    (members.is_closing(peer), CLOSE_WORK, prices::EFFECT + prices::WRITE)
                }
                Task::Refresh => (members.take_refresh(peer), REFRESH_WORK, 0),
            };
            cost += LOOK_WORK;
            if is_wanted {
                cost += price;
                charged_elsewhere += elsewhere;
                act(peer, task);
            }
        }
        cost
    }

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A quarter of a turn, as a turn is by default.
const PART_WORK: u64 = 1_000_000;
/// A member is looked up.
const LOOK_WORK: u64 = 100;
/// What it takes to close one beside the effect and the write: its end, and what its backend is told.
const CLOSE_WORK: u64 = 3_000;
/// A task of the control thread is begun.
const REFRESH_WORK: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ConnKey;

    fn peer(index: u32) -> Peer {
        Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
    }

    /// Members of the channel "a".
    fn members(count: u32) -> Members {
        let mut members = Members::default();
        for index in 0..count {
            members.subscribe(peer(index), "a", &[]);
        }
        members
    }

    fn close_all(jobs: &mut Jobs, members: &mut Members, code: CloseCode) {
        let closing = members.begin_close("a", |_, _| {});
        jobs.add(Task::Close(code, String::new()), closing);
    }

    /// What a turn does, and what it costs.
    fn run(jobs: &mut Jobs, members: &mut Members) -> (Vec<(u32, Option<CloseCode>)>, u64) {
        let mut done = Vec::new();
        let cost = jobs.run(members, |peer, task| {
            let code = match task {
                Task::Close(code, _) => Some(*code),
                Task::Refresh => None,
            };
            done.push((peer.key.index, code));
        });
        // As the closing of one ends it.
        for (index, _) in done.iter().filter(|own| own.1.is_some()) {
            members.remove(peer(*index));
        }
        (done, cost)
    }

    #[test]
    fn a_turn_does_a_part_and_the_order_of_asking_stays() {
        let (mut jobs, mut members) = (Jobs::default(), members(1000));
        let asked = members.begin_refresh("a");
        jobs.add(Task::Refresh, asked);
        // They are to be asked about already.
        let again = members.begin_refresh("a");
        assert!(again.is_empty());
        jobs.add(Task::Refresh, again);
        close_all(&mut jobs, &mut members, CloseCode::NORMAL);
        members.subscribe(peer(2000), "a", &[]);
        close_all(&mut jobs, &mut members, CloseCode::GOING_AWAY);
        let mut all = Vec::new();
        while !jobs.is_empty() {
            let (done, cost) = run(&mut jobs, &mut members);
            let closed = done.iter().filter(|own| own.1.is_some()).count() as u64;
            let work = cost + closed * (prices::EFFECT + prices::WRITE);
            assert!(work < PART_WORK + 10_000, "{work}");
            assert!(work >= PART_WORK || jobs.is_empty(), "{work}");
            all.extend(done);
        }
        let refreshed = (0..1000).map(|index| (index, None));
        let closed = (0..1000).map(|index| (index, Some(CloseCode::NORMAL)));
        let last = [(2000, Some(CloseCode::GOING_AWAY))];
        assert!(all.into_iter().eq(refreshed.chain(closed).chain(last)));
        assert_eq!(jobs.0.capacity(), 0);
    }

    #[test]
    fn who_is_gone_meanwhile_is_not_done_and_takes_no_time() {
        let (mut jobs, mut members) = (Jobs::default(), members(3000));
        let asked = members.begin_refresh("a");
        jobs.add(Task::Refresh, asked);
        close_all(&mut jobs, &mut members, CloseCode::NORMAL);
        (1..3000).for_each(|index| assert_eq!(members.remove(peer(index)), 0));
        let done = run(&mut jobs, &mut members).0;
        assert_eq!(done, [(0, None), (0, Some(CloseCode::NORMAL))]);
        assert!(jobs.is_empty());
    }

    #[test]
    fn who_is_closed_joins_no_channel_before() {
        let (mut jobs, mut members) = (Jobs::default(), members(2));
        close_all(&mut jobs, &mut members, CloseCode::NORMAL);
        members.subscribe(peer(0), "b", &[]);
        assert_eq!(members.count("b"), 0);
        // Once is enough.
        close_all(&mut jobs, &mut members, CloseCode::GOING_AWAY);
        assert_eq!(run(&mut jobs, &mut members).0.len(), 2);
        assert!(jobs.is_empty());
    }
}
