//! What time brings, and the table of channels.

use std::sync::Arc;

use slab::Slab;

use super::asked::{Asked, ChannelRef};
use super::followed::{Followed, Order, Reading, Subscription};
use super::{Follower, FollowerOutput};
use crate::channels::EngineError;
use crate::channels::remote::{BrokerError, PortEvent, Retention};
use crate::key::slot_number;
use crate::timer::Millis;

impl Follower {
    pub(super) fn on_late(
        &mut self,
        (number, asked): (u64, Asked),
        now: Millis,
        output: &mut FollowerOutput,
    ) {
        self.counts.late += 1;
        match asked {
            Asked::Publish(port, number) => {
                let late = Err(EngineError::Unavailable);
                self.answer(port, PortEvent::Published(number, late), output);
            }
            Asked::Remove(port, number) => {
                let late = Err(EngineError::Unavailable);
                self.answer(port, PortEvent::Removed(number, late), output);
            }
            Asked::Join(channel_ref) => {
                if let Some(channel) = self.get_mut(channel_ref) {
                    match channel.subscription {
                        Subscription::Asked => channel.subscription = Subscription::Overdue,
                        Subscription::None | Subscription::Overdue | Subscription::Active => {}
                    }
                    // All of the channel whose time is over, at once.
                    self.refuse_joins(channel_ref.index, |join| join.deadline <= now, output);
                }
            }
            Asked::Page(..) | Asked::Reading(_) | Asked::Fill(..) => {
                self.on_read((number, asked), Err(BrokerError::Unknown), now, output);
            }
            Asked::Positions(asked) => self.on_positions(&asked, &[], now, output),
        }
    }

    /// Looks at the next channels: asks where their streams are, and subscribes those again that the broker has
    /// not answered for.
    pub(super) fn check_some(&mut self, count: usize) {
        let capacity = self.channels.capacity();
        let mut left = count.min(self.channels.len());
        for _ in 0..capacity {
            if left == 0 || !self.is_up {
                return;
            }
            self.cursor = if self.cursor + 1 < capacity { self.cursor + 1 } else { 0 };
            let index = slot_number(self.cursor);
            let Some(channel) = self.channels.get_mut(self.cursor) else { continue };
            left -= 1;
            match (channel.subscription, channel.order) {
                (Subscription::Asked, _) => channel.subscription = Subscription::Overdue,
                (Subscription::Overdue, _) if channel.is_wanted() => {
                    channel.subscription = Subscription::None;
                    self.mark_dirty(index);
                }
                (Subscription::Active, Order::Steady) if channel.retention.is_some() => {
                    self.ask_position(index);
                }
                // As if it had answered: the next flush ends it.
                (Subscription::Overdue, _) => {
                    channel.subscription = Subscription::Active;
                    self.mark_dirty(index);
                }
                (Subscription::None | Subscription::Active, _) => {}
            }
        }
    }

    pub(super) fn get_mut(&mut self, channel_ref: ChannelRef) -> Option<&mut Followed> {
        let channel = self.channels.get_mut(channel_ref.index as usize)?;
        (channel.generation == channel_ref.generation).then_some(channel)
    }

    pub(super) fn get_or_insert(&mut self, name: &Arc<str>) -> Option<u32> {
        if let Some(index) = self.by_name.get(name) {
            return Some(*index);
        }
        if self.channels.len() >= self.limits.channels_max {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let followed = Followed::new(Arc::clone(name), self.generation);
        let index = slot_number(self.channels.insert(followed));
        self.by_name.insert(Arc::clone(name), index);
        Some(index)
    }

    pub(super) fn forget(&mut self, index: u32) -> Arc<str> {
        let channel = self.channels.remove(index as usize);
        self.by_name.remove(&channel.name);
        if self.channels.is_empty() {
            self.channels = Slab::new();
        }
        channel.name
    }

    pub(super) fn mark_dirty(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        if !channel.is_dirty {
            channel.is_dirty = true;
            self.dirty.push(index);
        }
    }

    pub(super) fn shared_retention(&mut self, retention: Retention) -> Arc<Retention> {
        if let Some(own) = self.retentions.iter().find(|own| ***own == retention) {
            return Arc::clone(own);
        }
        self.retentions.retain(|own| Arc::strong_count(own) > 1);
        let own = Arc::new(retention);
        self.retentions.push(Arc::clone(&own));
        own
    }

    /// After something has come for a channel.
    pub(super) fn finish(&mut self, index: u32) {
        if self.channels.contains(index as usize) {
            self.drop_if_unwanted(index);
            self.check(index);
        }
    }

    /// What holds between calls.
    pub(super) fn check(&self, index: u32) {
        if !cfg!(debug_assertions) {
            return;
        }
        let Some(channel) = self.channels.get(index as usize) else { return };
        assert_eq!(self.by_name.get(&channel.name), Some(&index), "{channel:?}");
        let work = channel.work.as_deref();
        let is_filling = work.is_some_and(|own| own.fill > 0);
        assert_eq!(is_filling, channel.order == Order::Filling, "{channel:?}");
        let is_held = work.is_some_and(|own| !own.held.is_empty());
        assert!(!is_held || channel.order != Order::Steady, "held for nothing: {channel:?}");
        let is_parked = |own: &Reading| own.batch.is_some();
        let has_parked = work.is_some_and(|own| own.reads.iter().any(is_parked));
        assert!(!has_parked || channel.order != Order::Steady, "parked for nothing: {channel:?}");
        let is_active = channel.subscription == Subscription::Active;
        let waits = work.is_some_and(|own| !own.waiting.is_empty());
        assert!(
            !waits || !is_active || channel.is_checking || is_filling,
            "forgotten: {channel:?}"
        );
        let is_open = channel.retention.is_some()
            && is_active
            && channel.has_ports()
            && matches!(channel.order, Order::Unknown | Order::Unchecked);
        assert!(!is_open || channel.is_checking, "never checked: {channel:?}");
        assert!(channel.is_wanted() || channel.is_dirty || !is_active, "{channel:?}");
    }
}
