//! What one step decodes, against the limits of its route.

use super::Outcome;
use crate::conn::cold::ColdRecords;
use crate::conn::flags::Flags;
use crate::conn::rates::Allowance;
use crate::conn::slot::Conn;
use crate::conn::turn::Turn;
use crate::effects::{Effects, Message, MessageLimits, Peer, RatePolicy};
use crate::key::{ConnKey, SlotRef};
use crate::pool::OverBudget;
use crate::services::Service;

/// Counts what a step decodes. Time stands still in a step, so what may be sent in it is known when it
/// begins.
///
/// `LIMITED` says whether each message is looked at. Where none is, which is the rule, only control frames
/// are counted.
#[derive(Debug)]
pub(in crate::conn) struct Meter<'m, const LIMITED: bool> {
    limits: &'m MessageLimits,
    /// The number of the route.
    route: u8,
    allowance: Allowance,
    /// Frames of the message that has begun.
    fragments: u16,
    /// Messages, and their bytes, before the first that was refused.
    accepted: Option<(u64, u64)>,
    control_frames: u64,
    /// Control frames that may be sent at once; not looked up before there is one.
    control_room: u64,
}

/// What is to be done with messages that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Next {
    /// They are delivered.
    Deliver,
    /// They wait until the rate allows more.
    Wait,
    /// They are thrown away, or end the connection.
    Refuse,
}

impl<'m, const LIMITED: bool> Meter<'m, LIMITED> {
    /// Begins a step of a connection with this link, on the route with this number and these limits.
    #[inline]
    pub(in crate::conn) fn new(
        (route, limits): (u8, &'m MessageLimits),
        cold: &ColdRecords,
        link: SlotRef,
        turn: &Turn,
    ) -> Self {
        let allowance = match LIMITED {
            true => cold.allowance(link, (route, limits), turn.now),
            false => Allowance::UNLIMITED,
        };
        let fragments = allowance.fragments;
        let control_room = u64::MAX;
        Self {
            limits,
            route,
            allowance,
            fragments,
            accepted: None,
            control_frames: 0,
            control_room,
        }
    }

    /// A control frame has come; whether it is to be answered. What waits is never thrown away.
    pub(in crate::conn) fn take_control_frame(
        &mut self,
        cold: &mut ColdRecords,
        key: ConnKey,
        turn: &Turn,
    ) -> bool {
        if self.control_frames == 0
            && let Some(rate) = self.limits.control_frames
        {
            let (rates, _) = cold.rates(SlotRef::NONE);
            self.control_room = rates.control_frames().room(key, rate, turn.now);
        }
        self.control_frames += 1;
        !self.has_refused_control() || self.limits.policy == RatePolicy::Pause
    }

    /// A fragment has come that is not the last; whether its message has too many.
    pub(in crate::conn) fn take_fragment(&mut self) -> bool {
        if !LIMITED {
            return false;
        }
        self.fragments = self.fragments.saturating_add(1);
        // One more is to come.
        self.limits.fragments_max.is_some_and(|max| self.fragments >= max)
    }

    /// The message that was in fragments is whole.
    pub(in crate::conn) fn end_message(&mut self) {
        self.fragments = 0;
    }

    /// What is to be done with the next message after this many were decoded, with this many bytes.
    #[inline]
    pub(in crate::conn) fn next(&self, decoded: (u64, u64)) -> Next {
        if !LIMITED && self.control_frames == 0 {
            return Next::Deliver;
        }
        let (messages, bytes) = self.accepted(decoded);
        let is_full =
            LIMITED && (messages >= self.allowance.messages || bytes >= self.allowance.bytes);
        match self.limits.policy {
            RatePolicy::Pause if is_full || self.control_frames >= self.control_room => Next::Wait,
            RatePolicy::Drop | RatePolicy::Close if is_full => Next::Refuse,
            RatePolicy::Pause | RatePolicy::Drop | RatePolicy::Close => Next::Deliver,
        }
    }

    /// Whether control frames have come that are to wait, and all behind them with them.
    #[inline]
    pub(in crate::conn) fn is_over_control(&self) -> bool {
        self.limits.policy == RatePolicy::Pause && self.control_frames >= self.control_room
    }

    /// From now on messages are refused, after this many were decoded.
    pub(in crate::conn) fn refuse(&mut self, decoded: (u64, u64)) {
        self.accepted.get_or_insert(decoded);
    }

    /// Of this many messages that were decoded, and their bytes, those that were delivered.
    #[inline]
    pub(in crate::conn) fn accepted(&self, decoded: (u64, u64)) -> (u64, u64) {
        match LIMITED {
            true => self.accepted.unwrap_or(decoded),
            false => decoded,
        }
    }

    /// Whether the connection ends, after this many messages were decoded.
    #[inline]
    pub(in crate::conn) fn ends(&self, decoded: (u64, u64)) -> bool {
        if !LIMITED && self.control_frames == 0 {
            return false;
        }
        let has_refused = decoded.0 > self.accepted(decoded).0;
        self.limits.policy == RatePolicy::Close && (has_refused || self.has_refused_control())
    }

    fn has_refused_control(&self) -> bool {
        self.control_frames > self.control_room
    }

    /// The step is over, and this many messages and bytes were decoded. The outcome if there is no memory to
    /// remember it.
    #[inline]
    pub(in crate::conn) fn settle<S>(
        self,
        decoded: (u64, u64),
        key: ConnKey,
        conn: &mut Conn<S>,
        cold: &mut ColdRecords,
        turn: &mut Turn,
    ) -> Option<Outcome> {
        if !LIMITED && self.control_frames == 0 {
            return None;
        }
        self.settle_all(decoded, key, conn, cold, turn)
    }

    #[inline(never)]
    fn settle_all<S>(
        self,
        decoded: (u64, u64),
        key: ConnKey,
        conn: &mut Conn<S>,
        cold: &mut ColdRecords,
        turn: &mut Turn,
    ) -> Option<Outcome> {
        let (limits, accepted) = (self.limits, self.accepted(decoded));
        if limits.policy == RatePolicy::Drop {
            let control = self.control_frames.saturating_sub(self.control_room);
            turn.counters.rate_dropped.add(decoded.0 - accepted.0 + control);
        }
        if self.control_frames > 0
            && let Some(rate) = limits.control_frames
        {
            let (rates, _) = cold.rates(conn.cold);
            // What was refused is not let through.
            let count = match limits.policy {
                RatePolicy::Pause => self.control_frames,
                RatePolicy::Drop | RatePolicy::Close => self.control_frames.min(self.control_room),
            };
            rates.control_frames().charge(key, count, rate, turn.now);
        }
        if !LIMITED {
            return None;
        }
        if accepted.0 > 0 && !cold.charge_user(conn.cold, (self.route, limits), accepted, turn.now)
        {
            turn.counters.rate_users_untracked.add(1);
        }
        let counts_messages = limits.limits_messages() || limits.message_idle_ms.is_some();
        let has_messages = counts_messages && accepted.0 > 0;
        let has_fragments =
            limits.fragments_max.is_some() && self.fragments != self.allowance.fragments;
        if !has_messages && !has_fragments {
            return None;
        }
        let link = &mut conn.cold;
        if cold.remember_rate(link, turn.now, &mut turn.memory) == Err(OverBudget) {
            return Some(Outcome::NoRoom);
        }
        let (rates, Some(number)) = cold.rates(*link) else { return None };
        if has_messages {
            rates.charge(number, limits, accepted, turn.now);
        }
        if limits.fragments_max.is_some() {
            rates.set_fragments(number, self.fragments);
        }
        None
    }
}

/// Has a connection wait until its rate allows more.
pub(in crate::conn) fn pause<S>(conn: &mut Conn<S>, turn: &Turn) {
    if conn.flags.raise(Flags::PAUSED_BY_RATE) {
        turn.counters.rate_pauses.add(1);
        // When it goes on is a deadline.
        conn.rearm();
    }
}

/// Takes messages that are thrown away.
pub(super) struct Refused;

impl Service for Refused {
    fn on_message(&mut self, _: Peer, _: Message<'_>, _: &mut Effects<'_>) {}
}
