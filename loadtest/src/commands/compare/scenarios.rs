//! The scenarios, and the contests that each of them makes of the servers.

use std::num::{NonZeroU32, NonZeroUsize};

use super::bench::Bench;
use super::compression;
use super::contest::{Contender, Contest, Load, Timing};
use super::entrants::{Entrant, Entrants};
use crate::commands::CommandError;
use crate::commands::churn::ChurnLoad;
use crate::commands::echo::EchoLoad;
use crate::commands::fanout::{Amount, BroadcastPaths, FanoutLoad};
use crate::commands::options::{MessageArguments, TimeArguments};
use crate::commands::rate::RateLoad;
use crate::message::Filling;
use crate::output::note;
use crate::table::grouped;
use crate::target::{ECHO_PATH, PathArguments};
use crate::units::shown_bytes;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    /// As `--scenario` names it.
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A closed loop on all servers that compress.
    DeflateEcho { connections: usize, bytes: usize },
    /// Publications of compressed messages, on all servers that compress.
    DeflateFanout { bytes: usize },
    /// The same beside the same messages as they are, on each of these servers.
    DeflateTwins { bytes: usize },
    /// Connections that come, echo a message and leave.
    Churn,
    /// A closed loop on all servers.
    Echo { connections: usize, in_flight: u32, bytes: usize },
    /// Publications to subscribers, so many at once.
    Fanout { subscribers: usize, burst: usize },
    /// tidegate and each of the others at half of the rate that the slower of the two can do.
    HalfLoad,
    /// Text and binary messages of the same length, on tidegate.
    Text { filling: Filling, in_flight: u32, bytes: usize },
    /// tidegate with two loops and with one.
    TwoLoops,
}

impl Scenario {
    /// Who is to be compared with whom. Finding that out may itself take a measurement.
    pub(super) fn contests(
        &self,
        entrants: &Entrants,
        timing: Timing,
        bench: &mut Bench<'_>,
    ) -> Result<Vec<Contest>, CommandError> {
        match self.kind {
            Kind::DeflateEcho { connections, bytes } => {
                Ok(vec![compression::echo(self.name, connections, bytes, entrants, timing)])
            }
            Kind::DeflateFanout { bytes } => {
                Ok(vec![compression::fanout(self.name, bytes, entrants, timing)])
            }
            Kind::DeflateTwins { bytes } => {
                Ok(compression::twins(self.name, bytes, entrants, timing))
            }
            Kind::HalfLoad => self.half_load(entrants, timing, bench),
            Kind::Text { filling, in_flight, bytes } => {
                Ok(vec![self.text(entrants, filling, in_flight, bytes, timing)])
            }
            Kind::TwoLoops => Ok(self.two_loops(entrants, timing)),
            Kind::Churn | Kind::Echo { .. } | Kind::Fanout { .. } => {
                Ok(vec![self.all_servers(entrants, timing)])
            }
        }
    }

    fn all_servers(&self, entrants: &Entrants, timing: Timing) -> Contest {
        let (load, heading, unit) = match self.kind {
            Kind::Echo { connections, in_flight, bytes } => {
                let load = Load::Echo(echo(connections, in_flight, binary(bytes), timing));
                (load, echo_heading(connections, in_flight, bytes), "message")
            }
            Kind::Fanout { subscribers, burst } => {
                let load = Load::Fanout(fanout(subscribers, burst, binary(SMALL), timing));
                let subscribers = grouped(subscribers as u64);
                let heading = match burst {
                    1 => format!("deliver to {subscribers} subscribers"),
                    _ => format!(
                        "deliver to {subscribers} subscribers, {burst} publications at once"
                    ),
                };
                (load, heading, "delivery")
            }
            Kind::Churn
            | Kind::DeflateEcho { .. }
            | Kind::DeflateFanout { .. }
            | Kind::DeflateTwins { .. }
            | Kind::HalfLoad
            | Kind::Text { .. }
            | Kind::TwoLoops => {
                let heading = "connect, upgrade, echo, close".to_owned();
                (Load::Churn(churn(timing)), heading, "connection")
            }
        };
        let own = entrants.tidegate(1);
        let contenders = std::iter::once(&own)
            .chain(&entrants.rivals)
            .filter(|entrant| self.can_take_part(entrant))
            .map(|entrant| contender(&entrant.name, entrant, load.clone()))
            .collect();
        let title = self.name.to_owned();
        Contest { scenario: self.name, heading, title, unit, is_pair: false, contenders }
    }

    fn can_take_part(&self, entrant: &Entrant) -> bool {
        match self.kind {
            Kind::Echo { in_flight, bytes, .. } => {
                let frame_bytes = bytes + HEADER_BYTES_MAX;
                frame_bytes.saturating_mul(in_flight as usize) <= entrant.bytes_at_once_max
            }
            Kind::Fanout { .. } => entrant.has_broadcast,
            Kind::Churn
            | Kind::DeflateEcho { .. }
            | Kind::DeflateFanout { .. }
            | Kind::DeflateTwins { .. }
            | Kind::HalfLoad
            | Kind::Text { .. }
            | Kind::TwoLoops => true,
        }
    }

    fn text(
        &self,
        entrants: &Entrants,
        filling: Filling,
        in_flight: u32,
        bytes: usize,
        timing: Timing,
    ) -> Contest {
        let entrant = entrants.tidegate(1);
        let connections = if bytes > LARGE { 16 } else { 100 };
        let load = |filling| {
            let message = MessageArguments::new(filling, bytes);
            Load::Echo(echo(connections, in_flight, message, timing))
        };
        let kind = match filling {
            Filling::Chinese => "Chinese",
            Filling::Binary | Filling::Prices | Filling::Text => "ASCII",
        };
        Contest {
            scenario: self.name,
            heading: "Text beside binary messages, on tidegate".to_owned(),
            title: format!(
                "{} {kind}, {connections} × {in_flight} in flight",
                shown_bytes(bytes as f64)
            ),
            unit: "message",
            is_pair: true,
            contenders: vec![
                contender("text", &entrant, load(filling)),
                contender("binary", &entrant, load(Filling::Binary)),
            ],
        }
    }

    fn two_loops(&self, entrants: &Entrants, timing: Timing) -> Vec<Contest> {
        let contest = |title, load: &Load| {
            let with = |name, loops| contender(name, &entrants.tidegate(loops), load.clone());
            Contest {
                scenario: self.name,
                heading: "Two loops beside one, on the same core".to_owned(),
                title,
                unit: "message",
                is_pair: true,
                contenders: vec![with("two loops", 2), with("one loop", 1)],
            }
        };
        let to_subscribers = |subscribers: usize| {
            let load = Load::Fanout(fanout(subscribers, 1, binary(SMALL), timing));
            contest(format!("deliver to {} subscribers", grouped(subscribers as u64)), &load)
        };
        let echo = Load::Echo(echo(100, 1, binary(SMALL), timing));
        vec![
            contest(format!("echo, 100 × 1 × {SMALL} B"), &echo),
            to_subscribers(1_000),
            to_subscribers(10_000),
        ]
    }

    fn half_load(
        &self,
        entrants: &Entrants,
        timing: Timing,
        bench: &mut Bench<'_>,
    ) -> Result<Vec<Contest>, CommandError> {
        let full = Load::Echo(echo(100, 1, binary(SMALL), timing));
        let own = entrants.tidegate(1);
        let mut measure = |entrant: &Entrant| {
            let mut best: Option<f64> = None;
            for _ in 0..TRIES {
                match bench.measure(&contender(&entrant.name, entrant, full.clone()))? {
                    Ok(sample) => {
                        best = Some(best.unwrap_or_default().max(sample.units_per_second));
                    }
                    Err(reason) => {
                        note(format_args!("{}, {}: {reason}", self.name, entrant.name));
                    }
                }
            }
            Ok::<_, CommandError>(best)
        };
        let Some(own_rate) = measure(&own)? else {
            return Ok(Vec::new());
        };
        let mut contests = Vec::new();
        for rival in &entrants.rivals {
            let Some(rival_rate) = measure(rival)? else {
                continue;
            };
            let rate = half(own_rate.min(rival_rate));
            let load = Load::Rate(RateLoad {
                message: binary(SMALL),
                path: echo_path(),
                rate,
                connections: count(100),
                time: time(timing),
            });
            contests.push(Contest {
                scenario: self.name,
                heading: "Both at half of the rate that the slower one can do".to_owned(),
                title: format!("{} at {}/s", rival.name, grouped(rate.get().into())),
                unit: "message",
                is_pair: true,
                contenders: vec![
                    contender(&own.name, &own, load.clone()),
                    contender(&rival.name, rival, load),
                ],
            });
        }
        Ok(contests)
    }
}

fn contender(name: &str, entrant: &Entrant, load: Load) -> Contender {
    Contender { name: name.to_owned(), entrant: entrant.clone(), load, is_deflated: false }
}

pub(super) fn echo_heading(connections: usize, in_flight: u32, bytes: usize) -> String {
    let (connections, bytes) = (grouped(connections as u64), shown_bytes(bytes as f64));
    format!("echo, {connections} connections × {in_flight} in flight × {bytes}")
}

fn binary(bytes: usize) -> MessageArguments {
    MessageArguments::new(Filling::Binary, bytes)
}

pub(super) fn echo(
    connections: usize,
    in_flight: u32,
    message: MessageArguments,
    timing: Timing,
) -> EchoLoad {
    EchoLoad {
        message,
        path: echo_path(),
        connections: count(connections),
        in_flight: NonZeroU32::new(in_flight).unwrap_or(NonZeroU32::MIN),
        time: time(timing),
    }
}

fn churn(timing: Timing) -> ChurnLoad {
    let (message, concurrency) = (binary(SMALL), count(64));
    ChurnLoad { message, path: echo_path(), concurrency, time: time(timing) }
}

pub(super) fn fanout(
    subscribers: usize,
    burst: usize,
    message: MessageArguments,
    timing: Timing,
) -> FanoutLoad {
    let path = || "/broadcast".to_owned();
    FanoutLoad {
        message,
        paths: BroadcastPaths { publish_path: path(), subscribe_path: path() },
        subscribers: count(subscribers),
        publishers: NonZeroUsize::MIN,
        burst: count(burst),
        publications: Amount::Time(timing.seconds),
        warm_up: Amount::Time(timing.warm_up),
    }
}

fn echo_path() -> PathArguments {
    PathArguments { path: ECHO_PATH.to_owned() }
}

fn time(timing: Timing) -> TimeArguments {
    TimeArguments { seconds: timing.seconds, warm_up_seconds: timing.warm_up }
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

/// Half of a rate, as a round number.
fn half(units_per_second: f64) -> NonZeroU32 {
    let hundreds = (units_per_second / 2.0 / ROUND).round().clamp(1.0, RATE_MAX / ROUND);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number between the bounds"
    )]
    let rate = (hundreds * ROUND) as u32;
    NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
}

/// All scenarios, in the order of the report.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "echo-1", kind: Kind::Echo { connections: 100, in_flight: 1, bytes: SMALL } },
    Scenario {
        name: "echo-16",
        kind: Kind::Echo { connections: 100, in_flight: 16, bytes: SMALL },
    },
    Scenario {
        name: "echo-many",
        kind: Kind::Echo { connections: 10_000, in_flight: 1, bytes: 1024 },
    },
    Scenario {
        name: "echo-64k",
        kind: Kind::Echo { connections: 16, in_flight: 4, bytes: 64 * 1024 },
    },
    Scenario { name: "churn", kind: Kind::Churn },
    Scenario { name: "fanout-1000", kind: Kind::Fanout { subscribers: 1000, burst: 1 } },
    Scenario { name: "fanout-10000", kind: Kind::Fanout { subscribers: 10_000, burst: 1 } },
    Scenario { name: "burst-16", kind: Kind::Fanout { subscribers: 1000, burst: 16 } },
    Scenario { name: "deflate-echo", kind: Kind::DeflateEcho { connections: 100, bytes: 1024 } },
    Scenario {
        name: "deflate-echo-16k",
        kind: Kind::DeflateEcho { connections: 100, bytes: 16 * 1024 },
    },
    Scenario { name: "deflate-fanout", kind: Kind::DeflateFanout { bytes: 1024 } },
    Scenario { name: "deflate-twins", kind: Kind::DeflateTwins { bytes: 1024 } },
    Scenario {
        name: "text-1",
        kind: Kind::Text { filling: Filling::Text, in_flight: 1, bytes: SMALL },
    },
    Scenario {
        name: "text-16",
        kind: Kind::Text { filling: Filling::Text, in_flight: 16, bytes: 16 },
    },
    Scenario {
        name: "text-128",
        kind: Kind::Text { filling: Filling::Text, in_flight: 16, bytes: SMALL },
    },
    Scenario {
        name: "text-64k-ascii",
        kind: Kind::Text { filling: Filling::Text, in_flight: 4, bytes: 64 * 1024 },
    },
    Scenario {
        name: "text-64k-chinese",
        kind: Kind::Text { filling: Filling::Chinese, in_flight: 4, bytes: 64 * 1024 },
    },
    Scenario { name: "half-load", kind: Kind::HalfLoad },
    Scenario { name: "two-loops", kind: Kind::TwoLoops },
];

/// The payload of the scenarios that are not about its length.
const SMALL: usize = 128;
/// From here on the text scenarios have fewer connections.
const LARGE: usize = 1024;
/// The best of so many is what a server can do.
const TRIES: usize = 2;
/// Of a client's frame.
const HEADER_BYTES_MAX: usize = 14;
const ROUND: f64 = 100.0;
const RATE_MAX: f64 = 1e9;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
    }

    #[test]
    fn half_of_a_rate_is_a_round_number() {
        for (full, rate) in [(0.0, 100), (1234.0, 600), (316_789.0, 158_400)] {
            assert_eq!(half(full).get(), rate);
        }
    }
}
