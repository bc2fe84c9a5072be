//! When something must happen to a connection if nothing else does: pings, and the ends of waiting.

use super::ages::Ages;
use super::cold::ColdRecords;
use super::flags::Flags;
use super::receive::Input;
use super::services::Services;
use super::settings::ConnSettings;
use super::slot::{Conn, Protocol};
use super::state::Phase;
use crate::effects::MessageLimits;
use crate::key::ConnKey;
use crate::pool::Backlog;
use crate::timer::{Millis, TICK_MS, Tick, earliest};

/// When the clock on the wall is to be compared with the expiry of an open connection's identity.
#[inline]
pub(super) fn looked_at<S>(conn: &Conn<S>, cold: &ColdRecords) -> Option<Tick> {
    // Most connections have no record, and pay one comparison.
    if conn.cold.is_none() { None } else { cold.identity_looked_at(conn.cold) }
        .filter(|_| conn.state.is_open())
}

/// What deadlines are computed from, beside the connection itself.
#[derive(Debug)]
pub(super) struct Deadlines<'d> {
    pub(crate) input: &'d Input,
    pub(crate) backlog: &'d Backlog,
    pub(crate) cold: &'d ColdRecords,
    pub(crate) services: &'d Services,
    pub(crate) ages: &'d Ages,
    pub(crate) settings: &'d ConnSettings,
    pub(crate) now: Millis,
}

impl Deadlines<'_> {
    /// The deadline of a connection; a dead one has none.
    pub(super) fn of<S>(&self, key: ConnKey, conn: &Conn<S>) -> Option<Tick> {
        let Self { input, backlog, cold, ages, settings, .. } = *self;
        earliest([
            message_due(conn, input, cold, settings),
            deadline_between_messages(conn, backlog, cold, settings),
            aged_at(conn, ages),
            self.within_rate_at(key, conn),
            self.message_idle_at(conn),
            looked_at(conn, cold),
        ])
    }

    /// When a connection that is over a rate may send again.
    pub(super) fn within_rate_at<S>(&self, key: ConnKey, conn: &Conn<S>) -> Option<Tick> {
        if !conn.flags.has(Flags::PAUSED_BY_RATE) || !conn.state.is_open() {
            return None;
        }
        let room_at = self.cold.room_at(conn.cold, key, (conn.route, self.limits(conn)?), self.now);
        // Otherwise the first tick that does not begin before.
        let is_now = room_at <= self.now;
        Some(if is_now { self.now.tick() } else { room_at.plus(TICK_MS - 1).tick() })
    }

    /// When an open connection must have sent a message. While it is not read, none can come.
    pub(super) fn message_idle_at<S>(&self, conn: &Conn<S>) -> Option<Tick> {
        if conn.cold.is_none() || !conn.state.is_open() || conn.flags.is_paused() {
            return None;
        }
        let idle_ms = self.limits(conn)?.message_idle_ms?;
        Some(self.cold.message_at(conn.cold)?.after_ms(idle_ms))
    }

    fn limits<S>(&self, conn: &Conn<S>) -> Option<&MessageLimits> {
        Some(&self.services.socket(conn.route)?.options.limits)
    }
}

/// When an open connection has reached its age.
#[inline]
pub(super) fn aged_at<S>(conn: &Conn<S>, ages: &Ages) -> Option<Tick> {
    // The connection to a backend ends with that of its client.
    ages.due(conn.generation).filter(|_| conn.state.is_open() && !conn.protocol.is_backend())
}

fn deadline_between_messages<S>(
    conn: &Conn<S>,
    backlog: &Backlog,
    cold: &ColdRecords,
    settings: &ConnSettings,
) -> Option<Tick> {
    let stalled_at = stalled_at(conn, backlog, cold, settings);
    match conn.state.phase() {
        // Its backend has a deadline, and the answer comes from there.
        Phase::Handshake if matches!(conn.protocol, Protocol::Exchange | Protocol::Relay) => None,
        // What waits of the reply before comes first: the client may be slow.
        Phase::Handshake if conn.protocol == Protocol::HttpNext => {
            stalled_at.or_else(|| Some(conn.seen.after_ms(settings.http_idle_ms)))
        }
        Phase::Handshake => Some(conn.seen.after_ms(settings.handshake_ms)),
        Phase::Refusing => Some(conn.seen.after_ms(settings.refuse_ms)),
        Phase::Open if is_last_answer(conn, cold) => {
            cold.relays().sent_off(conn.link).map(|own| own.due())
        }
        Phase::Open if conn.protocol.has_frames() => {
            let quiet_ms = if conn.flags.has(Flags::PINGED) {
                // The ping waits behind what is under way.
                settings.pong_ms + conn.under_way.wait_ms()
            } else {
                settings.ping_idle_ms - jitter_ms(conn.generation, settings.ping_idle_ms)
            };
            let quiet_until = conn.seen.after_ms(quiet_ms);
            // A peer that we do not read, or that has not been sent our ping yet, cannot answer it:
            // only the stall counts.
            let is_excused =
                conn.flags.has(Flags::PAUSED_BY_BACKLOG) || conn.flags.has(Flags::PING_UNWRITTEN);
            match stalled_at {
                None => Some(quiet_until),
                Some(stalled_at) if is_excused => Some(stalled_at),
                Some(stalled_at) => Some(stalled_at.min(quiet_until)),
            }
        }
        Phase::Reaching => cold.relays().due(conn.link, conn.is_flushed()),
        Phase::Exchanging => {
            let read = (!conn.flags.is_paused()).then(|| exchange_due(conn, cold, settings));
            earliest([stalled_at, read.flatten()])
        }
        Phase::Open if conn.protocol.passes_bytes() && conn.flags.has(Flags::INPUT_ENDED) => {
            let due = conn.seen.after_ms(settings.half_close_ms);
            Some(stalled_at.map_or(due, |stalled_at| stalled_at.min(due)))
        }
        // Lines and relays of bytes have no pings; the kernel's keep-alive finds peers that are gone.
        Phase::Open => stalled_at,
        // The last words wait for the end of a TLS handshake, and not for room in the socket.
        Phase::Closing if cold.is_handshaking(conn.cold) => {
            Some(conn.seen.after_ms(settings.close_ms))
        }
        // While the peer takes bytes it may take its time for all of them; `close_ms` counts from
        // the last one on.
        Phase::Closing => stalled_at.or_else(|| Some(conn.seen.after_ms(settings.close_ms))),
        // From the beginning of the phase and not from the last input: a peer that goes on sending
        // must not hold the slot for ever.
        Phase::Lingering => Some(conn.seen.after_ms(settings.close_ms)),
        Phase::Dead => None,
    }
}

/// Whether a backend may only answer what was asked before its client has broken a rule.
#[inline]
pub(super) fn is_last_answer<S>(conn: &Conn<S>, cold: &ColdRecords) -> bool {
    conn.protocol == Protocol::FrameBackend && cold.relays().sent_off(conn.link).is_some()
}

/// When the message that the connection has begun must be finished, or the record, if it has begun one
/// and is read.
#[inline]
pub(super) fn message_due<S>(
    conn: &Conn<S>,
    input: &Input,
    cold: &ColdRecords,
    settings: &ConnSettings,
) -> Option<Tick> {
    let has_neither = conn.partial.is_none() && conn.cold.is_none();
    if has_neither || !conn.state.is_open() || conn.flags.is_paused() {
        return None;
    }
    let begun = [input.begun(conn.partial), cold.unopened(conn.cold)];
    let due = begun.into_iter().flatten();
    due.filter_map(|(begun, bytes)| finished_by(begun, bytes, settings)).min()
}

/// When more must have come of an exchange that is read: of its client the body of the request, at the
/// least rate, and of its backend any byte of the reply.
fn exchange_due<S>(conn: &Conn<S>, cold: &ColdRecords, settings: &ConnSettings) -> Option<Tick> {
    let exchange = cold.relays().exchange(conn.link)?;
    if conn.protocol.is_backend() {
        return Some(conn.seen.after_ms(exchange.terms.options.response_ms));
    }
    finished_by(conn.seen, exchange.read_bytes(), settings)
}

/// When what was `begun` must be finished, of which `bytes` have arrived: after the grace, and the
/// time that these bytes take at the least rate.
fn finished_by(begun: Tick, bytes: usize, settings: &ConnSettings) -> Option<Tick> {
    let ConnSettings { message_grace_ms, message_bytes_per_s_min, .. } = *settings;
    if message_grace_ms == 0 {
        return None;
    }
    let rate = u64::try_from(message_bytes_per_s_min.max(1)).unwrap_or(u64::MAX);
    let bytes_ms = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1000) / rate;
    // Ticks are counted in 32 bits, and the largest message takes years at the least of rates.
    Some(begun.after_ms(message_grace_ms + bytes_ms.min(BYTES_MS_MAX)))
}

/// When the socket will have taken no byte for too long, if anything waits for it.
pub(super) fn stalled_at<S>(
    conn: &Conn<S>,
    backlog: &Backlog,
    cold: &ColdRecords,
    settings: &ConnSettings,
) -> Option<Tick> {
    let since = match conn.flags.has(Flags::UNSENT) {
        false => backlog.waiting_since(&conn.queue)?,
        // What is sealed goes first, so the queue waits for it.
        true => cold.unsent_since(conn.cold)?,
    };
    // What it was given last may fill every buffer on the way. The next room comes when the peer has
    // read of it.
    Some(since.after_ms(settings.write_stall_ms + conn.under_way.wait_ms()))
}

/// A year.
const BYTES_MS_MAX: u64 = 365 * 86_400_000;

/// Up to a tenth off the ping interval, by connection: those that came together after a restart
/// must not ping together for ever.
fn jitter_ms(generation: u32, ping_idle_ms: u64) -> u64 {
    let spread = u64::from(generation.wrapping_mul(0x9E37_79B9)) * (ping_idle_ms / 10);
    spread >> u32::BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timer::{Millis, TICK_MS};

    proptest! {
        /// Who sends at least at the least rate is never too late, at whatever moment one looks; who
        /// stops is, once the grace is over.
        #[test]
        fn a_message_at_the_least_rate_is_in_time(
            grace_ms in 1..100_000u64,
            rate in 1..100_000usize,
            seconds in 0..10_000usize,
        ) {
            let settings = ConnSettings {
                message_grace_ms: grace_ms,
                message_bytes_per_s_min: rate,
                ..ConnSettings::default()
            };
            let begun = Millis(1_000_000);
            let due = finished_by(begun.tick(), rate * seconds, &settings).unwrap();
            let now = begun.plus(1000 * u64::try_from(seconds).unwrap());
            prop_assert!(now.tick() < due);
            prop_assert!(now.plus(grace_ms).tick() <= due);
            prop_assert!(due <= now.plus(grace_ms + 2 * TICK_MS).tick());
        }
    }

    #[test]
    fn without_a_grace_a_message_may_take_any_time() {
        let settings = ConnSettings { message_grace_ms: 0, ..ConnSettings::default() };
        assert_eq!(finished_by(Tick(7), 1, &settings), None);
        let settings = ConnSettings { message_bytes_per_s_min: 1, ..ConnSettings::default() };
        assert!(finished_by(Tick(7), 1 << 31, &settings).unwrap() > Tick(1 << 28));
    }

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
