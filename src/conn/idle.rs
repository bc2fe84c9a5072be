//! What happens when time has passed: pings, and the ends of patience.

use super::{Connections, Flags, Phase};
use crate::effects::CloseReason;
use crate::key::ConnKey;
use crate::output::Framing;
use crate::timer::{Millis, Tick};
use crate::transport::Transport;
use crate::ws::Opcode;

impl<S: Transport> Connections<S> {
    /// Acts on connections whose time has come, at most `limit` of them.
    pub fn expire_timers(&mut self, limit: usize) {
        self.wheel.advance(&mut self.table, self.tick);
        for _ in 0..limit {
            let Some(index) = self.wheel.next_overdue(&mut self.table) else { break };
            if let Some(key) = self.table.key_of(index) {
                self.on_timer(key);
            }
        }
    }

    /// When a timer may be due next.
    #[must_use]
    pub fn next_timer(&self) -> Option<Millis> {
        self.wheel.next_due()
    }

    /// Files a connection's deadline if it is nearer than what is filed. One that lies further
    /// ahead needs nothing: the filed one comes out early and is filed again.
    pub(super) fn arm(&mut self, key: ConnKey) {
        let Some(due) = self.deadline(key) else { return };
        let Some(conn) = self.table.get_mut(key) else { return };
        if !conn.timer.is_filed() || due < conn.timer.due() {
            self.wheel.file(&mut self.table, key.index, due);
        }
    }

    fn on_timer(&mut self, key: ConnKey) {
        if self.is_due(key) {
            self.recheck(key);
        }
        if self.is_due(key) {
            self.deadline_passed(key);
        }
        if let Some(due) = self.deadline(key) {
            self.wheel.file(&mut self.table, key.index, due);
        }
    }

    fn is_due(&self, key: ConnKey) -> bool {
        self.deadline(key).is_some_and(|due| due <= self.tick)
    }

    /// Before a connection ends for what it did not do: it may have done so. After a long turn or
    /// a sleep of the machine more events wait than one wait gives.
    fn recheck(&mut self, key: ConnKey) {
        let is_stalled = self.stalled_at(key).is_some_and(|at| at <= self.tick);
        let tick = self.tick;
        let Some(conn) = self.table.get_mut(key) else { return };
        match conn.phase {
            // We do not listen, so its silence means nothing.
            Phase::Open if conn.flags.has(Flags::MAIL_PAUSED) && !is_stalled => conn.seen = tick,
            Phase::Open if !is_stalled && !conn.flags.has(Flags::PINGED) => {}
            Phase::Open | Phase::Handshake | Phase::Closing | Phase::Lingering => {
                self.on_writable(key);
                self.on_readable(key, false);
            }
            Phase::Dead | Phase::Refusing => {}
        }
    }

    fn deadline_passed(&mut self, key: ConnKey) {
        let is_stalled = self.stalled_at(key).is_some_and(|at| at <= self.tick);
        let Some(conn) = self.table.get_mut(key) else { return };
        match conn.phase {
            // More of its request lies there to be read; a head is short, so this ends.
            Phase::Handshake if conn.flags.has(Flags::QUEUED) => {}
            Phase::Handshake => {
                self.counters.handshakes_timed_out.add(1);
                self.abort(key, CloseReason::Gone);
            }
            Phase::Refusing if self.draining => self.refuse_draining(key, false),
            Phase::Refusing => self.refuse_at_limit(key, false),
            Phase::Open if is_stalled => self.abort(key, CloseReason::Stalled),
            Phase::Open if conn.flags.has(Flags::PINGED) => self.abort(key, CloseReason::Idle),
            Phase::Open => self.ping(key),
            Phase::Closing | Phase::Lingering => {
                self.counters.close_timed_out.add(1);
                self.abort(key, CloseReason::Gone);
            }
            Phase::Dead => {}
        }
    }

    fn ping(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.seen = self.tick;
        conn.flags.set(Flags::PINGED);
        self.counters.pings_out.add(1);
        self.outgoing.set_framing(Framing::WebSocket);
        self.outgoing.frame(Opcode::Ping, &[]);
        self.flush_outgoing(key, None);
        if let Some(conn) = self.table.get_mut(key)
            && !conn.queue.is_empty()
        {
            conn.flags.set(Flags::PING_UNWRITTEN);
        }
    }

    /// When something must happen to the connection if nothing else does. A dead one waits for
    /// nothing.
    pub(super) fn deadline(&self, key: ConnKey) -> Option<Tick> {
        let conn = self.table.get(key)?;
        let settings = &self.settings;
        let stalled_at = self.stalled_at(key);
        match conn.phase {
            Phase::Handshake => Some(conn.seen.after_ms(settings.handshake_ms)),
            Phase::Refusing => Some(conn.seen.after_ms(settings.refuse_ms)),
            // Lines have no pings; the kernel's keep-alive finds those who are gone.
            Phase::Open if conn.flags.has(Flags::LINES) => stalled_at,
            Phase::Open => {
                let quiet_ms = if conn.flags.has(Flags::PINGED) {
                    settings.pong_ms
                } else {
                    settings.ping_idle_ms - jitter_ms(conn.generation, settings.ping_idle_ms)
                };
                let quiet_until = conn.seen.after_ms(quiet_ms);
                // A peer that we do not read, or that has not been sent our ping yet, cannot
                // answer it: only the stall counts.
                let is_excused =
                    conn.flags.has(Flags::PAUSED) || conn.flags.has(Flags::PING_UNWRITTEN);
                match stalled_at {
                    None => Some(quiet_until),
                    Some(stalled_at) if is_excused => Some(stalled_at),
                    Some(stalled_at) => Some(stalled_at.min(quiet_until)),
                }
            }
            Phase::Closing => stalled_at.or_else(|| Some(conn.seen.after_ms(settings.close_ms))),
            Phase::Lingering => Some(conn.seen.after_ms(settings.close_ms)),
            Phase::Dead => None,
        }
    }
}

/// Up to a tenth off the ping interval, by connection: those that came together after a restart
/// must not ping together for ever.
fn jitter_ms(generation: u32, ping_idle_ms: u64) -> u64 {
    let spread = u64::from(generation.wrapping_mul(0x9E37_79B9)) * (ping_idle_ms / 10);
    spread >> u32::BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_spread_over_a_tenth_of_the_interval() {
        let jitters: Vec<u64> = (1..=1000).map(|serial| jitter_ms(serial, 25_000)).collect();
        assert!(jitters.iter().all(|jitter| *jitter < 2_500));
        for tenth in 0..10 {
            let range = tenth * 250..(tenth + 1) * 250;
            let count = jitters.iter().filter(|jitter| range.contains(*jitter)).count();
            assert!((50..=200).contains(&count), "{count} in {range:?}");
        }
    }
}
