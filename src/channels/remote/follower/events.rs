//! What the broker says.

use std::sync::Arc;

use super::asked::Asked;
use super::followed::{HeldLive, Order, Relation, Subscription};
use super::{Follower, FollowerOutput};
use crate::channels::remote::{PortEvent, read_member, read_publication};
use crate::channels::{EngineError, Position, Publication, StreamItem};
use crate::key::slot_number;
use crate::timer::Millis;

impl Follower {
    pub(super) fn on_up(&mut self, output: &mut FollowerOutput) {
        if self.is_up {
            self.on_down(output);
        }
        self.is_up = true;
        for index in 0..self.channels.capacity() {
            if self.channels.contains(index) {
                self.mark_dirty(slot_number(index));
            }
        }
    }

    pub(super) fn on_down(&mut self, output: &mut FollowerOutput) {
        self.is_up = false;
        for asked in self.under_way.take_all() {
            match asked {
                Asked::Publish(port, number) => {
                    let unknown = Err(EngineError::Unavailable);
                    self.answer(port, PortEvent::Published(number, unknown), output);
                }
                Asked::Remove(port, number) => {
                    let unknown = Err(EngineError::Unavailable);
                    self.answer(port, PortEvent::Removed(number, unknown), output);
                }
                Asked::Page(port, number, ..) => {
                    let unknown = Err(EngineError::Unavailable);
                    self.answer(port, PortEvent::Page(number, unknown), output);
                }
                // Below, by their channels.
                Asked::Join(_) | Asked::Reading(_) | Asked::Fill(..) | Asked::Positions(_) => {}
            }
        }
        for index in 0..self.channels.capacity() {
            if !self.channels.contains(index) {
                continue;
            }
            self.refuse_joins(slot_number(index), |_| true, output);
            let channel = &mut self.channels[index];
            channel.subscription = Subscription::None;
            (channel.is_dirty, channel.is_checking, channel.work) = (false, false, None);
            match channel.order {
                Order::Unknown | Order::Unchecked => {}
                Order::Steady | Order::Filling => channel.order = Order::Unchecked,
            }
            if !channel.has_ports() {
                self.forget(slot_number(index));
            }
        }
        (self.dirty, self.to_check, self.to_retry) = (Vec::new(), Vec::new(), Vec::new());
        // All but what waits for the broker was answered.
        debug_assert_eq!(self.pending.values().sum::<usize>(), self.queued.len());
    }

    pub(super) fn on_subscribed(
        &mut self,
        name: &Arc<str>,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let Some(index) = self.by_name.get(name).copied() else { return };
        let channel = &mut self.channels[index as usize];
        match channel.subscription {
            Subscription::Asked | Subscription::Overdue => {}
            Subscription::None | Subscription::Active => return,
        }
        channel.subscription = Subscription::Active;
        if !channel.is_wanted() {
            return self.mark_dirty(index);
        }
        if channel.retention.is_some() && channel.has_ports() {
            self.ask_position(index);
        }
        self.proceed_waiting(index, now, output);
        self.finish(index);
    }

    pub(super) fn on_note(&mut self, name: &Arc<str>, payload: &[u8], output: &mut FollowerOutput) {
        let Some(index) = self.by_name.get(name).copied() else { return };
        let Ok((change, info)) = read_member(payload) else {
            self.counts.invalid += 1;
            return;
        };
        let channel = &self.channels[index as usize];
        for port in channel.ports() {
            let event = PortEvent::Member(Arc::clone(&channel.name), change, info.clone());
            output.events.push((port, event));
        }
    }

    pub(super) fn on_live(
        &mut self,
        name: &Arc<str>,
        live: HeldLive,
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        let Some(index) = self.by_name.get(name).copied() else { return };
        let channel = &mut self.channels[index as usize];
        if channel.subscription != Subscription::Active || !channel.is_wanted() {
            return;
        }
        let relation = match (&live.place, &channel.retention) {
            (_, None) => Relation::Next,
            (Some(place), Some(_)) => channel.relation(place),
            // It has no place in the order, but came behind others that have.
            (None, Some(_)) => Relation::Next,
        };
        match (channel.order, relation) {
            (Order::Steady, Relation::Old) => {}
            (Order::Steady, Relation::Next) => self.deliver(index, &live, output),
            (Order::Steady, Relation::Gap | Relation::OtherEpoch) => {
                channel.work().held.push(live);
                self.fill(index, now, output);
            }
            (Order::Unknown, _) if channel.retention.is_none() => {
                self.deliver(index, &live, output);
            }
            (Order::Unknown | Order::Unchecked | Order::Filling, _) => {
                channel.work().held.push(live);
            }
        }
        self.check(index);
    }

    /// Gives a publication out that is the next, or has no place.
    pub(super) fn deliver(&mut self, index: u32, live: &HeldLive, output: &mut FollowerOutput) {
        let channel = &self.channels[index as usize];
        let place = live.place.filter(|_| channel.retention.is_some());
        match (read_publication(&live.payload), place) {
            (Ok(publication), place) => {
                self.give_out(index, place.map(|own| own.position), publication, output);
            }
            // Members may read it on another node, or lose it knowingly.
            (Err(_), Some(place)) => {
                self.counts.invalid += 1;
                self.lose(index, place.position, output);
            }
            (Err(_), None) => self.counts.invalid += 1,
        }
    }

    pub(super) fn give_out(
        &mut self,
        index: u32,
        position: Option<Position>,
        publication: Publication,
        output: &mut FollowerOutput,
    ) {
        let channel = &mut self.channels[index as usize];
        if let Some(position) = position {
            channel.advance(position.offset);
            if let Some(work) = channel.work.as_mut().filter(|own| !own.reads.is_empty()) {
                work.recent.push(position.offset, publication.clone());
            }
        }
        let item = StreamItem { channel: Arc::clone(&channel.name), publication, position };
        let mut ports = channel.ports();
        let Some(first) = ports.next() else { return };
        for port in ports {
            output.events.push((port, PortEvent::Stream(item.clone())));
        }
        output.events.push((first, PortEvent::Stream(item)));
    }
}
