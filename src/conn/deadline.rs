//! When something must happen to a connection if nothing else does: pings, and the ends of waiting.

use super::cold::ColdRecords;
use super::flags::Flags;
use super::settings::ConnSettings;
use super::slot::{Conn, Protocol};
use super::state::Phase;
use crate::pool::Backlog;
use crate::timer::Tick;

/// The deadline of a connection; a dead one has none.
pub(super) fn deadline<S>(
    conn: &Conn<S>,
    backlog: &Backlog,
    cold: &ColdRecords,
    settings: &ConnSettings,
) -> Option<Tick> {
    let stalled_at = stalled_at(conn, backlog, cold, settings);
    match conn.state.phase() {
        Phase::Handshake => Some(conn.seen.after_ms(settings.handshake_ms)),
        Phase::Refusing => Some(conn.seen.after_ms(settings.refuse_ms)),
        Phase::Open if conn.protocol == Protocol::WebSocket => {
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
        // Lines and relays have no pings; the kernel's keep-alive finds peers that are gone.
        Phase::Open => stalled_at,
        // While the peer takes bytes it may take its time for all of them; `close_ms` counts from
        // the last one on.
        Phase::Closing => stalled_at.or_else(|| Some(conn.seen.after_ms(settings.close_ms))),
        // From the beginning of the phase and not from the last input: a peer that goes on sending
        // must not hold the slot for ever.
        Phase::Lingering => Some(conn.seen.after_ms(settings.close_ms)),
        Phase::Dead => None,
    }
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
        #[cfg(any(test, feature = "sim"))]
        true => cold.unsent_since(conn.cold)?,
        #[cfg(not(any(test, feature = "sim")))]
        true => return None,
    };
    let _ = cold;
    // What it was given last may fill every buffer on the way. The next room comes when the peer has
    // read of it.
    Some(since.after_ms(settings.write_stall_ms + conn.under_way.wait_ms()))
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
