//! The schedule of an open loop: when each message is due, and on which connection.

use std::time::{Duration, Instant};

/// Due times at a constant rate. The connections take turns: connection `number % connections`
/// sends message `number`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    began: Instant,
    per_second: u64,
    connections: u64,
}

impl Schedule {
    pub(crate) fn new(began: Instant, per_second: u32, connections: usize) -> Self {
        Self { began, per_second: per_second.into(), connections: connections as u64 }
    }

    /// When message `number` is due.
    pub(crate) fn due_at(&self, number: u64) -> Instant {
        let seconds = Duration::from_secs(number / self.per_second);
        let nanoseconds = number % self.per_second * NANOSECONDS_PER_SECOND / self.per_second;
        self.began + seconds + Duration::from_nanos(nanoseconds)
    }

    /// The number of messages that are due by `now`.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        let Some(passed) = now.checked_duration_since(self.began) else {
            return 0;
        };
        let in_second = u64::from(passed.subsec_nanos()) * self.per_second;
        // Message 0 is due at the beginning, hence the 1. The loop adds those whose due time
        // `due_at` rounded down.
        let mut due = passed.as_secs() * self.per_second + in_second / NANOSECONDS_PER_SECOND + 1;
        while self.due_at(due) <= now {
            due += 1;
        }
        due
    }

    /// The number, in the whole schedule, of message `sequence` of connection `index`.
    pub(crate) fn number(&self, index: usize, sequence: u32) -> u64 {
        u64::from(sequence) * self.connections + index as u64
    }

    /// The connections that send the messages from `sent` up to `due`, each with the number of its
    /// messages, so that each writes once.
    pub(crate) fn shares(&self, sent: u64, due: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (connections, count) = (self.connections, due - sent);
        (0..count.min(connections)).map(move |offset| {
            let index = usize::try_from((sent + offset) % connections).unwrap_or(usize::MAX);
            (index, (count - offset).div_ceil(connections))
        })
    }
}

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::system::clock;

    proptest! {
        #[test]
        fn a_message_is_due_from_its_due_time_on(
            per_second in 1_u32..3_000_000,
            number in 0_u64..1_000_000_000,
        ) {
            let schedule = Schedule::new(clock::now(), per_second, 1);
            let due_at = schedule.due_at(number);
            prop_assert!(schedule.due(due_at) > number);
            prop_assert!(schedule.due(due_at - Duration::from_nanos(1)) <= number);
        }

        #[test]
        fn connections_take_turns(
            connections in 1_usize..20,
            sent in 0_u64..1000,
            count in 0_u64..100,
        ) {
            let schedule = Schedule::new(clock::now(), 1, connections);
            let mut naive = vec![0; connections];
            for number in sent..sent + count {
                naive[usize::try_from(number).unwrap() % connections] += 1;
            }
            let mut shares = vec![0; connections];
            for (index, share) in schedule.shares(sent, sent + count) {
                shares[index] += share;
            }
            prop_assert_eq!(shares, naive);
        }

        #[test]
        fn a_number_follows_from_connection_and_sequence(
            connections in 1_u32..20,
            number in 0_u32..10_000,
        ) {
            let schedule = Schedule::new(clock::now(), 1, connections as usize);
            let (index, sequence) = (number % connections, number / connections);
            prop_assert_eq!(schedule.number(index as usize, sequence), u64::from(number));
        }
    }

    #[test]
    fn no_message_is_due_before_the_beginning() {
        let began = clock::now() + Duration::from_secs(1);
        assert_eq!(Schedule::new(began, 1000, 1).due(clock::now()), 0);
        assert_eq!(Schedule::new(began, 1000, 1).due(began + Duration::from_millis(5)), 6);
    }
}
