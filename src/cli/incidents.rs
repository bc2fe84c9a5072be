//! Incidents in the log: what the loops have refused, dropped and closed, summed up once a second by a
//! thread that reads their counters. It also looks whether the process is overloaded.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::Level;

use super::overload::OverloadWatch;
use crate::logging::thousands;
use crate::metrics::Counters;

/// What is said about counters that have grown. A limit that was reached is a warning: raising it
/// helps. What peers do wrong, as scanners do all day, is not.
const INCIDENTS: [(&str, Level, &str); 64] = [
    ("refused_at_limit", Level::Warn, "refused with 503: limits.connections_max is reached"),
    ("refused_without_memory", Level::Warn, "refused with 503: limits.pool_bytes_max is reached"),
    ("shed_lag", Level::Warn, "refused with 503: a loop was behind by overload.lag_ms"),
    ("shed_rate", Level::Warn, "refused with 503: overload.accepts_per_s is reached"),
    ("half_open_dropped", Level::Warn, "dropped half-open: limits.half_open_max is reached"),
    ("accept_failures", Level::Warn, "not accepted: descriptors or memory ran out"),
    ("accepts_shed", Level::Warn, "accepted and dropped: descriptors ran out"),
    ("closed_overload", Level::Warn, "closed with 1013: limits.pool_bytes_max is reached"),
    ("closed_evicted", Level::Warn, "closed with 1013: they held most, and memory was short"),
    ("addresses_untracked", Level::Warn, "let in uncounted: addresses.entries_max is reached"),
    ("relay_exhausted", Level::Warn, "refused with 503: nothing was left to reach a backend with"),
    ("relay_source_ports", Level::Warn, "refused with 503: no source port was left for a server"),
    ("tls_failed_memory", Level::Warn, "no TLS: limits.pool_bytes_max is reached"),
    ("tls_failed_internal", Level::Warn, "no TLS: a fault of the gateway"),
    ("refused_identity_unchecked", Level::Warn, "refused: credentials that could not be checked"),
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
    (
        FORWARDED_IGNORED,
        Level::Warn,
        "requests name a client in Forwarded, X-Forwarded-For or X-Real-IP and come from peers that \
         trusted_proxies does not list: the headers are ignored, which is not said again",
    ),
    (
        "forwarded_unreadable",
        Level::Info,
        "requests of trusted proxies name no client in the header that forwarded_header says",
    ),
    (
        "refused_bad_proxy_header",
        Level::Info,
        "aborted: no valid header of the PROXY protocol, which the listener requires",
    ),
    (
        "refused_untrusted",
        Level::Info,
        "closed: the listener requires the PROXY protocol, and trusted_proxies does not list the peer",
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
    (
        "refused_without_identity",
        Level::Info,
        "refused with 401: no credential that the route takes",
    ),
    ("refused_identity", Level::Info, "refused: credentials that do not hold"),
    ("refused_user_rate", Level::Info, "refused with 429: users that connect too often"),
    ("tls_failed_incompatible", Level::Info, "no TLS: no version, suite or group in common"),
    ("tls_failed_certificate", Level::Info, "no TLS: the certificate of the client, or none of it"),
    ("tls_failed_name", Level::Info, "no TLS: no certificate for the name that was asked for"),
    ("tls_failed_by_peer", Level::Info, "no TLS: clients that did not take what they were shown"),
    ("tls_failed_malformed", Level::Info, "no TLS: what came breaks its rules"),
    ("tls_failed_plain_http", Level::Info, "refused: plain HTTP on a listener with tls = true"),
    ("tls_faults", Level::Info, "ended: TLS records that are damaged or out of place"),
    ("http_refused", Level::Info, "not passed on: requests, for their framing, method or length"),
    ("http_unfinished", Level::Info, "dropped: no complete body of a request in time"),
    ("channel_refusals", Level::Info, "refused: subscriptions over a limit of [channels]"),
    ("handshakes_timed_out", Level::Info, "dropped: no complete request within handshake_ms"),
    ("closed_protocol", Level::Info, "closed with 1002: violations of the protocol"),
    ("closed_not_utf8", Level::Info, "closed with 1007: text that is not UTF-8"),
    ("closed_not_deflate", Level::Info, "closed with 1007: messages that cannot be inflated"),
    ("closed_too_big", Level::Info, "closed with 1009: messages over message_bytes_max"),
    ("closed_unfinished", Level::Info, "closed with 1008: messages not finished in time"),
    ("closed_idle", Level::Info, "closed: no pong within pong_ms"),
    (
        "rate_users_untracked",
        Level::Warn,
        "of users who are too many to be remembered: messages without the limits of users",
    ),
    ("rate_pauses", Level::Info, "not read for a while: clients that sent as much as their rate"),
    ("rate_dropped", Level::Info, "thrown away: messages and pings of clients above their rate"),
    ("closed_over_rate", Level::Info, "closed with 1008: clients that sent more than their rate"),
    ("closed_fragments", Level::Info, "closed with 1008: messages of too many fragments"),
    ("closed_message_idle", Level::Info, "closed with 1001: clients that sent no message in time"),
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
    pub(super) fn watch(
        counters: Vec<Arc<Counters>>,
        mut overload: OverloadWatch,
    ) -> io::Result<Self> {
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
                overload.look();
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
            // Behind a proxy that is not listed every request is one, and so is what any client sends.
            let is_said = *name == FORWARDED_IGNORED && *seen > 0;
            *seen = total;
            let text = || format!("{} {what} ({name}={total})", thousands(more));
            (more > 0 && !is_said).then(|| (*level, text()))
        },
    );
    grown.collect()
}

const FORWARDED_IGNORED: &str = "forwarded_ignored";
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

    /// Said elsewhere, or no incident.
    const OTHERS: [&str; 16] = [
        "closed_aged",
        "closed_backend",
        "closed_by_operator",
        "closed_by_peer",
        "closed_by_service",
        "closed_drained",
        "closed_expired",
        "closed_gone",
        "closed_reset",
        "closed_tls",
        "refused_by_service",
        "refused_draining",
        "refused_overloaded",
        "shed_descriptors",
        "shed_memory",
        "shed_pool",
    ];

    #[test]
    fn each_kind_of_refusal_and_close_is_an_incident_or_named_here() {
        for (name, _) in Counters::NAMES {
            let is_said = INCIDENTS.iter().any(|(own, ..)| own == name);
            let kinds = ["refused_", "shed_", "closed_", "tls_failed_"];
            if kinds.iter().any(|kind| name.starts_with(kind)) {
                assert!(is_said != OTHERS.contains(name), "{name}");
            }
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

    #[test]
    fn headers_that_are_ignored_are_said_once() {
        let loops = [Arc::new(Counters::default())];
        let mut seen = [0; INCIDENTS.len()];
        loops[0].forwarded_ignored.add(3);
        let said = lines(&mut seen, &loops);
        assert!(said.len() == 1 && said[0].0 == Level::Warn, "{said:?}");
        assert!(said[0].1.starts_with("3 requests") && said[0].1.contains("trusted_proxies"));
        loops[0].forwarded_ignored.add(3);
        assert_eq!(lines(&mut seen, &loops), []);
    }
}
