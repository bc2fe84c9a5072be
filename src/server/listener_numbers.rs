//! The numbers of listeners over the reloads of a process. Loops know a listener by its number, and so
//! does a connection until its request is answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::timer::Millis;

/// The listeners of a server by their numbers, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListenerNumbers {
    served: Vec<Numbered>,
    /// The numbers of listeners that are closed, and when each may be given to another: connections
    /// which came by it may still be about to ask for something.
    former: BTreeMap<usize, Millis>,
}

/// A listener with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) number: usize,
    /// The address as it is configured, perhaps with port 0.
    pub(super) configured: SocketAddr,
    /// The address listened on; `None` until it is bound.
    pub(super) bound: Option<SocketAddr>,
}

impl Numbered {
    /// The address listened on, or the configured one until it is bound.
    pub(super) fn address(&self) -> SocketAddr {
        self.bound.unwrap_or(self.configured)
    }
}

/// The listeners, with those that were closed a moment ago, are more than the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than 256 listeners, with those that were closed a moment ago")]
pub struct TooManyListeners;

impl ListenerNumbers {
    /// The listeners, in the order of the configuration.
    pub(super) fn served(&self) -> &[Numbered] {
        &self.served
    }

    /// The numbers of the next configuration: a listener whose address stays keeps its number and is not
    /// bound again. A connection of one that is closed now asks for nothing any more after `open_ms`.
    ///
    /// # Errors
    /// If the numbers do not suffice.
    pub(super) fn next(
        &self,
        addresses: &[SocketAddr],
        open_ms: u64,
        now: Millis,
    ) -> Result<Self, TooManyListeners> {
        let mut left = self.served.clone();
        let mut served: Vec<Option<Numbered>> = Vec::new();
        for address in addresses {
            let same = left.iter().position(|own| own.configured == *address);
            served.push(same.map(|at| left.remove(at)));
        }
        let mut former = self.former.clone();
        former.retain(|_, free_at| *free_at > now);
        former.extend(left.iter().map(|own| (own.number, now.plus(open_ms))));
        let mut taken: Vec<usize> = served.iter().flatten().map(|own| own.number).collect();
        taken.extend(former.keys());
        let mut numbered = Vec::with_capacity(served.len());
        for (own, configured) in served.into_iter().zip(addresses) {
            numbered.push(match own {
                Some(own) => own,
                None => {
                    let free = (0..NUMBERS_MAX).find(|number| !taken.contains(number));
                    let number = free.ok_or(TooManyListeners)?;
                    taken.push(number);
                    Numbered { number, configured: *configured, bound: None }
                }
            });
        }
        Ok(Self { served: numbered, former })
    }

    /// Notes what a listener was bound to; `position` is its place in the configuration.
    pub(super) fn bind(&mut self, position: usize, address: SocketAddr) {
        if let Some(own) = self.served.get_mut(position) {
            own.bound = Some(address);
        }
    }

    /// A value of each listener by its number, from one by its place in the configuration. Numbers that
    /// no listener has keep what they have in `before`, or get `none`.
    pub(super) fn by_number<T: Clone>(&self, values: &[T], before: &[T], none: &T) -> Vec<T> {
        let numbers = self.served.iter().map(|own| own.number).chain(self.former.keys().copied());
        let end = numbers.max().map_or(0, |number| number + 1);
        let mut by_number: Vec<T> =
            (0..end).map(|number| before.get(number).unwrap_or(none).clone()).collect();
        for (own, value) in self.served.iter().zip(values) {
            if let Some(place) = by_number.get_mut(own.number) {
                place.clone_from(value);
            }
        }
        by_number
    }
}

/// Those of one byte.
const NUMBERS_MAX: usize = 1 << u8::BITS;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn next(own: &ListenerNumbers, ports: &[u16], now: u64) -> ListenerNumbers {
        let addresses: Vec<SocketAddr> = ports.iter().map(|port| address(*port)).collect();
        let mut next = own.next(&addresses, 10, Millis(now)).unwrap();
        for position in 0..next.served.len() {
            let bound = next.served[position].configured;
            next.bind(position, bound);
        }
        next
    }

    fn numbers(own: &ListenerNumbers) -> Vec<usize> {
        own.served().iter().map(|own| own.number).collect()
    }

    #[test]
    fn a_listener_keeps_its_number_and_a_new_one_gets_none_of_a_moment_ago() {
        let first = next(&ListenerNumbers::default(), &[1, 2, 3], 0);
        assert_eq!(numbers(&first), [0, 1, 2]);
        let second = next(&first, &[3, 4, 1], 5);
        assert_eq!(numbers(&second), [2, 3, 0]);
        assert_eq!(numbers(&next(&second, &[5, 3], 14)), [4, 2]);
        assert_eq!(numbers(&next(&second, &[5, 3], 15)), [1, 2]);
    }

    #[test]
    fn listeners_without_a_port_are_told_apart_by_their_order() {
        let first = next(&ListenerNumbers::default(), &[0, 0], 0);
        assert_eq!(numbers(&first), [0, 1]);
        assert_eq!(numbers(&next(&first, &[0], 1)), [0]);
        assert_eq!(numbers(&next(&first, &[0, 0, 0], 1)), [0, 1, 2]);
    }

    #[test]
    fn values_are_found_by_number_also_those_of_a_moment_ago() {
        let first = next(&ListenerNumbers::default(), &[1, 2], 0);
        assert_eq!(first.by_number(&["a", "b"], &[], &""), ["a", "b"]);
        let second = next(&first, &[3, 2], 5);
        assert_eq!(second.by_number(&["c", "B"], &["a", "b"], &""), ["a", "B", "c"]);
    }

    #[test]
    fn there_are_as_many_numbers_as_a_byte_has() {
        let ports: Vec<u16> = (1..=256).collect();
        let full = next(&ListenerNumbers::default(), &ports, 0);
        let others: Vec<SocketAddr> = (301..=556).map(address).collect();
        assert_eq!(full.next(&others, 10, Millis(5)), Err(TooManyListeners));
        let gone = next(&full, &[1], 5);
        assert!(gone.next(&others, 10, Millis(15)).is_err(), "one is in use");
        assert!(gone.next(&others[1..], 10, Millis(15)).is_ok());
    }
}
