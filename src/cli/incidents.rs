//! Incidents in the log: what the loops have refused, dropped and closed, summed up once a second by a
//! thread that only reads their counters.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::Level;

use crate::logging::thousands;
use crate::metrics::Counters;

/// What is said about counters that have grown. A limit that was reached is a warning: raising it
/// helps. What peers do wrong, as scanners do all day, is not.
const INCIDENTS: [(&str, Level, &str); 34] = [
    ("refused_at_limit", Level::Warn, "refused with 503: limits.connections_max is reached"),
    ("refused_without_memory", Level::Warn, "refused with 503: limits.pool_bytes_max is reached"),
    ("half_open_dropped", Level::Warn, "dropped half-open: limits.half_open_max is reached"),
    ("accept_failures", Level::Warn, "not accepted: descriptors or memory ran out"),
    ("accepts_shed", Level::Warn, "accepted and dropped: descriptors ran out"),
    ("closed_overload", Level::Warn, "closed with 1013: limits.pool_bytes_max is reached"),
    ("closed_evicted", Level::Warn, "closed with 1013: they held most of limits.pool_bytes_max"),
    ("addresses_untracked", Level::Warn, "let in uncounted: addresses.entries_max is reached"),
    ("refused_address_rate", Level::Info, "refused: clients over addresses.connections_per_s"),
    ("refused_address_open", Level::Info, "refused: clients over addresses.connections_max"),
    (
        "refused_address_failures",
        Level::Info,
        "refused: clients over addresses.handshake_failures_per_s",
    ),
    ("refused_address_denied", Level::Info, "closed at once: clients that addresses.deny lists"),
    (
        "addresses_dry_run",
        Level::Info,
        "would be refused without addresses.dry_run: clients over a limit of [addresses]",
    ),
    (
        "addresses_dropped",
        Level::Info,
        "closed at once: clients that were refused for their address",
    ),
    ("refused_malformed", Level::Info, "refused with 400, 431 or 505: malformed requests"),
    ("refused_origin", Level::Info, "refused with 403: an origin that the route does not allow"),
    (
        "refused_host",
        Level::Info,
        "refused with 421: a host that `hosts` of the listener does not list",
    ),
    ("refused_not_found", Level::Info, "refused with 404 or 405: no such page or route"),
    ("refused_upgrade_required", Level::Info, "refused with 426: no WebSocket handshake"),
    ("refused_http", Level::Info, "refused: HTTP on a listener for lines"),
    ("refused_http2", Level::Info, "refused: HTTP/2, which only a proxy in front could speak"),
    (
        "refused_proxy_header",
        Level::Info,
        "refused: a header of the PROXY protocol, which the listener does not take",
    ),
    ("refused_smtp", Level::Info, "refused: they speak SMTP"),
    ("refused_ssh", Level::Info, "refused: they speak SSH"),
    ("refused_tls", Level::Info, "refused: TLS on a listener without tls = true"),
    ("handshakes_timed_out", Level::Info, "dropped: no complete request within handshake_ms"),
    ("closed_protocol", Level::Info, "closed with 1002: violations of the protocol"),
    ("closed_not_utf8", Level::Info, "closed with 1007: text that is not UTF-8"),
    ("closed_not_deflate", Level::Info, "closed with 1007: messages that cannot be inflated"),
    ("closed_too_big", Level::Info, "closed with 1009: messages over message_bytes_max"),
    ("closed_unfinished", Level::Info, "closed with 1008: messages not finished in time"),
    ("closed_idle", Level::Info, "closed: no pong within pong_ms"),
    ("closed_slow", Level::Info, "closed with 4002: clients that read too slowly"),
    ("closed_stalled", Level::Info, "closed: nothing taken for write_stall_ms"),
];

/// The thread that logs incidents. Dropping it logs what is left and ends it.
#[derive(Debug)]
pub(super) struct Incidents {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Incidents {
    /// Starts the thread over the counters of all loops.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn watch(counters: Vec<Arc<Counters>>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut seen = [0; INCIDENTS.len()];
            loop {
                let is_last = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
                for (level, line) in lines(&mut seen, &counters) {
                    log::log!(level, "{line}");
                }
                if is_last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("incidents".to_owned()).spawn(watch)?;
        Ok(Self { running: Some((stop, thread)) })
    }
}

impl Drop for Incidents {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic there was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// One line for each counter that has grown since it was last `seen`.
fn lines(seen: &mut [u64; INCIDENTS.len()], loops: &[Arc<Counters>]) -> Vec<(Level, String)> {
    let mut totals = [0; INCIDENTS.len()];
    for (name, value) in loops.iter().flat_map(|own| own.values()) {
        if let Some(at) = INCIDENTS.iter().position(|(own, ..)| *own == name) {
            totals[at] += value;
        }
    }
    let grown = INCIDENTS.iter().zip(seen.iter_mut().zip(totals)).filter_map(
        |((name, level, what), (seen, total))| {
            let more = total.saturating_sub(*seen);
            *seen = total;
            let text = || format!("{} {what} ({name}={total})", thousands(more));
            (more > 0).then(|| (*level, text()))
        },
    );
    grown.collect()
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incident_is_a_counter() {
        for (name, ..) in INCIDENTS {
            assert!(Counters::NAMES.iter().any(|(own, _)| *own == name), "{name}");
        }
    }

    #[test]
    fn what_has_grown_is_said_once_and_summed_over_the_loops() {
        let loops = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        let mut seen = [0; INCIDENTS.len()];
        assert_eq!(lines(&mut seen, &loops), []);
        loops[0].refused_malformed.add(5000);
        loops[1].refused_malformed.add(107);
        loops[1].upgrades.add(9);
        let said =
            "5,107 refused with 400, 431 or 505: malformed requests (refused_malformed=5107)";
        assert_eq!(lines(&mut seen, &loops), [(Level::Info, said.to_owned())]);
        assert_eq!(lines(&mut seen, &loops), []);
        loops[0].refused_malformed.add(1);
        let line = &lines(&mut seen, &loops)[0].1;
        assert!(line.starts_with("1 refused") && line.ends_with("(refused_malformed=5108)"));
    }
}
