//! What connections have sent of what their routes limit, and what they may send for now.

use std::num::NonZeroU32;

use slab::Slab;

use super::control_frames::ControlFrames;
use crate::admission::{SharedUserRates, TRIM_INTERVAL_MS, UserKey, UserLimits, ask_again_at};
use crate::effects::{Identity, MessageLimits};
use crate::key::{ConnKey, slot_number};
use crate::pool::{Buffers, Need, OverBudget};
use crate::rate::Rate;
use crate::timer::{Millis, Tick};

/// The records of one loop.
#[derive(Debug, Default)]
pub(super) struct Rates {
    records: Slab<Sent>,
    /// Of all connections together: only floods leave a trace there.
    control_frames: ControlFrames,
    /// Of users, with their connections on other loops.
    users: SharedUserRates,
    /// When what has been remembered of users is next looked through.
    users_due: Option<Millis>,
}

/// What one connection has sent, as far as it has not drained. 16 bytes, in the slab as well: the tag of
/// a free entry is in the value that `message_at` does not take.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// The moment for which the levels hold: the last 32 bits of its milliseconds. After 50 days without a
    /// message they come round, and what had drained for longer than that seems to have just begun to.
    at_ms: u32,
    /// The tick of the last message, or of the beginning, and one more.
    message_at: NonZeroU32,
    bytes: u32,
    messages: u16,
    /// Frames of the message that has begun.
    fragments: u16,
}

/// What a connection may send at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Frames of the message that has begun before.
    pub(crate) fragments: u16,
}

impl Allowance {
    /// As much as it likes.
    pub(super) const UNLIMITED: Self = Self { messages: u64::MAX, bytes: u64::MAX, fragments: 0 };
}

/// Who has sent something, on which route, and what may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitedUser<'u> {
    pub(crate) identity: &'u Identity,
    pub(crate) route: u8,
    pub(crate) limits: UserLimits,
}

impl Rates {
    /// A record for a connection that has sent nothing. Gives its number.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(super) fn add(&mut self, now: Millis, memory: &mut Buffers) -> Result<u32, OverBudget> {
        memory.charge_for(Need::Message, RECORD_BYTES)?;
        Ok(slot_number(self.records.insert(Sent::new(now))))
    }

    /// Drops a record.
    pub(super) fn release(&mut self, number: u32, memory: &mut Buffers) {
        if self.records.try_remove(number as usize).is_none() {
            return;
        }
        memory.discharge(RECORD_BYTES);
        if self.records.is_empty() {
            // A slab keeps its peak otherwise.
            self.records = Slab::new();
        }
    }

    /// What the connection may send at once. Without a record it has sent nothing yet.
    pub(super) fn allowance(
        &self,
        number: Option<u32>,
        limits: &MessageLimits,
        now: Millis,
    ) -> Allowance {
        let sent = number.and_then(|number| self.records.get(number as usize));
        let sent = sent.copied().unwrap_or_else(|| Sent::new(now));
        let [messages, bytes] = sent.levels(limits, now);
        Allowance {
            messages: limits.messages.map_or(u64::MAX, |rate| rate.room(messages)),
            bytes: limits.bytes.map_or(u64::MAX, |rate| rate.room(bytes)),
            fragments: sent.fragments,
        }
    }

    /// The connection has sent this much.
    pub(super) fn charge(
        &mut self,
        number: u32,
        limits: &MessageLimits,
        (messages, bytes): (u64, u64),
        now: Millis,
    ) {
        let Some(sent) = self.records.get_mut(number as usize) else { return };
        let [messages_before, bytes_before] = sent.levels(limits, now);
        // What has no limit is not counted, so that one which comes with a reload begins at nothing.
        let kept = |rate: Option<Rate>, level: u64| if rate.is_some() { level } else { 0 };
        let messages_after = kept(limits.messages, messages_before.saturating_add(messages));
        let bytes_after = kept(limits.bytes, bytes_before.saturating_add(bytes));
        sent.messages = u16::try_from(messages_after).unwrap_or(u16::MAX);
        sent.bytes = u32::try_from(bytes_after).unwrap_or(u32::MAX);
        sent.at_ms = low_bits(now);
        if messages > 0 {
            sent.message_at = stamp(now.tick());
        }
    }

    /// So many frames have come of the message that has begun.
    pub(super) fn set_fragments(&mut self, number: u32, fragments: u16) {
        if let Some(sent) = self.records.get_mut(number as usize) {
            sent.fragments = fragments;
        }
    }

    /// When the connection last sent a message.
    pub(super) fn message_at(&self, number: u32) -> Option<Tick> {
        Some(Tick(self.records.get(number as usize)?.message_at.get() - 1))
    }

    /// The first moment from `now` on at which the connection may send something of everything.
    pub(super) fn room_at(
        &self,
        number: Option<u32>,
        key: ConnKey,
        limits: &MessageLimits,
        now: Millis,
    ) -> Millis {
        let sent = number.and_then(|number| self.records.get(number as usize));
        let [messages, bytes] = sent.map_or([0; 2], |sent| sent.levels(limits, now));
        let control = limits.control_frames.map(|rate| self.control_frames.room_at(key, rate, now));
        let messages = limits.messages.map(|rate| rate.room_at(messages, now));
        let bytes = limits.bytes.map(|rate| rate.room_at(bytes, now));
        [control, messages, bytes].into_iter().flatten().max().unwrap_or(now)
    }

    /// From now on what users send is counted in `shared`.
    pub(super) fn count_users_in(&mut self, shared: SharedUserRates) {
        self.users = shared;
    }

    /// Messages and bytes that a user may send at once on the route with this number.
    pub(super) fn user_room(&self, user: LimitedUser<'_>, now: Millis) -> [u64; 2] {
        self.users.room(self.user_key(user), user.limits, now)
    }

    /// The first moment from `now` on at which a user may send something of both.
    pub(super) fn user_room_at(&self, user: LimitedUser<'_>, now: Millis) -> Millis {
        self.users.room_at(self.user_key(user), user.limits, now)
    }

    /// The key of a user.
    pub(super) fn user_key(&self, user: LimitedUser<'_>) -> UserKey {
        self.users.key(user.route, user.identity.name(), user.identity.user())
    }

    /// A user has sent this much. Whether that is remembered.
    pub(super) fn charge_user(
        &mut self,
        key: UserKey,
        limits: UserLimits,
        (messages, bytes): (u64, u64),
        now: Millis,
    ) -> bool {
        self.users_due.get_or_insert_with(|| now.plus(TRIM_INTERVAL_MS));
        self.users.charge(key, limits, [messages, bytes], now)
    }

    /// Forgets users of whom everything has drained, now and then. Gives the moment to ask again.
    #[inline]
    pub(super) fn trim_users(&mut self, now: Millis) -> Option<Millis> {
        let due = self.users_due?;
        if now >= due {
            let next = self.users.trim(now);
            self.users_due = next.map(|next| ask_again_at(next, now));
        }
        self.users_due
    }

    /// The control frames of all connections.
    pub(super) fn control_frames(&mut self) -> &mut ControlFrames {
        &mut self.control_frames
    }

    /// How many records there are.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn count(&self) -> usize {
        self.records.len()
    }

    /// Bytes charged to the pool for all records.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES
    }
}

impl Sent {
    fn new(now: Millis) -> Self {
        let message_at = stamp(now.tick());
        Self { at_ms: low_bits(now), message_at, bytes: 0, messages: 0, fragments: 0 }
    }

    /// Messages and bytes that have not drained.
    fn levels(&self, limits: &MessageLimits, now: Millis) -> [u64; 2] {
        let from = Millis(now.0.saturating_sub(low_bits(now).wrapping_sub(self.at_ms).into()));
        let drained = |rate: Option<Rate>| rate.map_or(u64::MAX, |rate| rate.drained(from, now));
        [
            u64::from(self.messages).saturating_sub(drained(limits.messages)),
            u64::from(self.bytes).saturating_sub(drained(limits.bytes)),
        ]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the rest is told by what drains in 50 days")]
fn low_bits(at: Millis) -> u32 {
    at.0 as u32
}

fn stamp(tick: Tick) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(tick.0)
}

/// Bytes that a record takes in the slab, and twice that while the slab grows by doubling.
pub(super) const RECORD_BYTES: usize = 2 * size_of::<Sent>();
/// As `docs/memory.md` says.
const _: () = assert!(size_of::<Option<Sent>>() == 16);
