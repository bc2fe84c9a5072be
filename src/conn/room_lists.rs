//! Lists of rooms that operators have asked for. A loop may have as many rooms as connections, so a list
//! is made in slices over several turns, and its answer comes at the end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::inspect::SLICE_WORK;
use super::services::Services;
use crate::inspect::{RoomSlice, RoomSummary};
use crate::mail::Reply;
use crate::work::{Work, prices};

/// The lists that are not complete; the first is being made.
#[derive(Debug, Default)]
pub(super) struct RoomLists {
    waiting: VecDeque<RoomList>,
}

#[derive(Debug)]
struct RoomList {
    reply: Reply<RoomSlice>,
    /// Where it goes on: the number of a route, and a position among its rooms.
    route: u8,
    position: usize,
    total: usize,
    /// Those with the most members so far; the one with the fewest of them comes out first.
    most: BinaryHeap<Reverse<Ranked>>,
}

/// A room by its rank: by the number of its members first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    members: usize,
    route: u8,
    room: String,
}

impl RoomLists {
    /// Whether none is being made.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Begins a list. Where too many wait, the reply is dropped, which tells that it will not come.
    pub(super) fn add(&mut self, reply: Reply<RoomSlice>) {
        if self.waiting.len() < LISTS_MAX {
            let most = BinaryHeap::new();
            self.waiting.push_back(RoomList { reply, route: 0, position: 0, total: 0, most });
        }
    }

    /// Goes on for as long as a slice lasts.
    pub(super) fn run(&mut self, services: &Services, work: &mut Work) {
        let end = work.used() + SLICE_WORK;
        while let Some(list) = self.waiting.front_mut() {
            if !list.go_on(services, work, end) {
                return;
            }
            if let Some(list) = self.waiting.pop_front() {
                work.charge(list.most.len() as u64 * prices::ROOM);
                list.finish(services);
            }
        }
        self.waiting = VecDeque::new();
    }
}

impl RoomList {
    /// Looks at rooms until all are looked at or the slice is used up; whether all are.
    fn go_on(&mut self, services: &Services, work: &mut Work, end: u64) -> bool {
        while let Some(route) = services.socket(self.route) {
            while self.position < route.service.rooms_end() {
                if work.used() >= end {
                    return false;
                }
                work.charge(prices::SLOT);
                if let Some((room, members)) = route.service.room(self.position) {
                    work.charge(prices::ROOM);
                    self.note(room, members);
                }
                self.position += 1;
            }
            let Some(next) = self.route.checked_add(1) else { return true };
            (self.route, self.position) = (next, 0);
        }
        true
    }

    fn note(&mut self, room: &str, members: usize) {
        self.total += 1;
        if self.most.len() >= ROOMS_MAX {
            if self.most.peek().is_some_and(|Reverse(least)| least.members >= members) {
                return;
            }
            self.most.pop();
        }
        let (route, room) = (self.route, room.to_owned());
        self.most.push(Reverse(Ranked { members, route, room }));
    }

    fn finish(self, services: &Services) {
        let Self { reply, most, total, .. } = self;
        let mut ranked: Vec<Ranked> = most.into_iter().map(|Reverse(own)| own).collect();
        ranked
            .sort_unstable_by(|one, other| (one.route, &one.room).cmp(&(other.route, &other.room)));
        let rooms = ranked.into_iter().filter_map(|Ranked { members, route, room }| {
            let route = Arc::clone(&services.socket(route)?.label);
            Some(RoomSummary { route, room, members })
        });
        reply.send(RoomSlice { rooms: rooms.collect(), total });
    }
}

/// Rooms in an answer.
const ROOMS_MAX: usize = 1_000;
/// Lists that wait at once.
const LISTS_MAX: usize = 16;
