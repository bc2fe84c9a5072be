//! The scenarios, and the comparisons of each of them.

use std::num::NonZeroU32;

use super::comparison::{Case, Comparison};
use super::compression;
use super::load::{
    Load, Timing, binary, churn_load, echo_heading, echo_load, fanout_load, rate_load,
};
use super::runner::Runner;
use super::servers_under_test::{ServerUnderTest, ServersUnderTest};
use crate::commands::fanout::FanoutLoad;
use crate::commands::options::MessageArguments;
use crate::error::CommandError;
use crate::message::PayloadKind;
use crate::output::note;
use crate::output::table::grouped;
use crate::output::units::shown_bytes;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    /// Its name on the command line.
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A closed loop on all servers that compress.
    DeflateEcho { connections: usize, bytes: usize },
    /// Publications of compressed messages, on all servers that compress.
    DeflateFanout { bytes: usize },
    /// Compressed beside uncompressed publications, on each of these servers.
    DeflateBesidePlain { bytes: usize },
    /// Connections that echo one message and close. With TLS their handshakes are full ones, or resume
    /// the sessions of earlier connections.
    Churn { is_resumed: bool },
    /// A closed loop on all servers.
    Echo { connections: usize, in_flight: u32, bytes: usize },
    /// Publications to subscribers, in bursts.
    Fanout { subscribers: usize, burst: usize },
    /// Publications of one of the subscribers, one at a time.
    MemberFanout { subscribers: usize },
    /// tidegate and each of the others at half of the rate that the slower of the two can do.
    HalfLoad,
    /// Text and binary messages of the same length, on tidegate.
    Text { payload_kind: PayloadKind, in_flight: u32, bytes: usize },
    /// tidegate with two loops and with one.
    TwoLoops,
}

impl Scenario {
    /// Whether it is about TLS alone.
    pub(super) fn needs_tls(&self) -> bool {
        matches!(self.kind, Kind::Churn { is_resumed: true })
    }

    /// The comparisons of the scenario. Making them may take measurements of its own.
    pub(super) fn comparisons(
        &self,
        servers: &ServersUnderTest,
        timing: Timing,
        runner: &mut Runner<'_>,
    ) -> Result<Vec<Comparison>, CommandError> {
        match self.kind {
            Kind::DeflateEcho { connections, bytes } => {
                Ok(vec![compression::echo(self.name, connections, bytes, servers, timing)])
            }
            Kind::DeflateFanout { bytes } => {
                Ok(vec![compression::fanout(self.name, bytes, servers, timing)])
            }
            Kind::DeflateBesidePlain { bytes } => {
                Ok(compression::beside_plain(self.name, bytes, servers, timing))
            }
            Kind::HalfLoad => self.half_load(servers, timing, runner),
            Kind::Text { payload_kind, in_flight, bytes } => {
                Ok(vec![self.text(servers, payload_kind, in_flight, bytes, timing)])
            }
            Kind::TwoLoops => Ok(self.two_loops(servers, timing)),
            Kind::Churn { .. }
            | Kind::Echo { .. }
            | Kind::Fanout { .. }
            | Kind::MemberFanout { .. } => Ok(vec![self.all_servers(servers, timing)]),
        }
    }

    fn all_servers(&self, servers: &ServersUnderTest, timing: Timing) -> Comparison {
        let (load, heading, unit) = match self.kind {
            Kind::Echo { connections, in_flight, bytes } => {
                let load = Load::Echo(echo_load(connections, in_flight, binary(bytes), timing));
                (load, echo_heading(connections, in_flight, bytes), "message")
            }
            Kind::Fanout { subscribers, burst } => {
                let load = Load::Fanout(fanout_load(subscribers, burst, binary(SMALL), timing));
                let subscribers = grouped(subscribers as u64);
                let heading = match burst {
                    1 => format!("deliver to {subscribers} subscribers"),
                    _ => format!(
                        "deliver to {subscribers} subscribers, {burst} publications at once"
                    ),
                };
                (load, heading, "delivery")
            }
            Kind::MemberFanout { subscribers } => {
                let load = fanout_load(subscribers, 1, binary(SMALL), timing);
                let load = Load::Fanout(FanoutLoad { members_publish: true, ..load });
                let subscribers = grouped(subscribers as u64);
                let heading = format!("deliver to {subscribers} members, one of which publishes");
                (load, heading, "delivery")
            }
            Kind::Churn { .. }
            | Kind::DeflateEcho { .. }
            | Kind::DeflateFanout { .. }
            | Kind::DeflateBesidePlain { .. }
            | Kind::HalfLoad
            | Kind::Text { .. }
            | Kind::TwoLoops => {
                let is_resumed = self.needs_tls();
                let handshake = match (servers.are_encrypted(), is_resumed) {
                    (false, _) => "",
                    (true, false) => "full TLS handshake, ",
                    (true, true) => "resumed TLS handshake, ",
                };
                let load = Load::Churn(churn_load(64, is_resumed, binary(SMALL), timing));
                (load, format!("connect, {handshake}upgrade, echo, close"), "connection")
            }
        };
        let own = servers.tidegate(1);
        let cases = std::iter::once(&own)
            .chain(&servers.others)
            .filter(|server| self.can_take_part(server))
            .map(|server| Case::new(&server.name, server, load.clone()))
            .collect();
        let title = self.name.to_owned();
        Comparison { scenario: self.name, heading, title, unit, is_pair: false, cases }
    }

    fn can_take_part(&self, server: &ServerUnderTest) -> bool {
        match self.kind {
            Kind::Echo { connections, in_flight, bytes } => {
                let frame_bytes = bytes + HEADER_BYTES_MAX;
                let bytes_at_once = frame_bytes.saturating_mul(in_flight as usize);
                bytes_at_once <= server.bytes_at_once_max && server.has_room_for(connections)
            }
            Kind::Fanout { subscribers, .. } | Kind::MemberFanout { subscribers } => {
                server.has_broadcast && server.has_room_for(subscribers)
            }
            Kind::Churn { .. }
            | Kind::DeflateEcho { .. }
            | Kind::DeflateFanout { .. }
            | Kind::DeflateBesidePlain { .. }
            | Kind::HalfLoad
            | Kind::Text { .. }
            | Kind::TwoLoops => true,
        }
    }

    fn text(
        &self,
        servers: &ServersUnderTest,
        payload_kind: PayloadKind,
        in_flight: u32,
        bytes: usize,
        timing: Timing,
    ) -> Comparison {
        let server = servers.tidegate(1);
        let connections = if bytes > LARGE { 16 } else { 100 };
        let load = |payload_kind| {
            let message = MessageArguments::new(payload_kind, bytes);
            Load::Echo(echo_load(connections, in_flight, message, timing))
        };
        let kind = match payload_kind {
            PayloadKind::Chinese => "Chinese",
            PayloadKind::Binary | PayloadKind::JsonQuotes | PayloadKind::Text => "ASCII",
        };
        Comparison {
            scenario: self.name,
            heading: "Text beside binary messages, on tidegate".to_owned(),
            title: format!(
                "{} {kind}, {connections} × {in_flight} in flight",
                shown_bytes(bytes as f64)
            ),
            unit: "message",
            is_pair: true,
            cases: vec![
                Case::new("text", &server, load(payload_kind)),
                Case::new("binary", &server, load(PayloadKind::Binary)),
            ],
        }
    }

    fn two_loops(&self, servers: &ServersUnderTest, timing: Timing) -> Vec<Comparison> {
        let comparison = |title, load: &Load| {
            let with = |name, loops| Case::new(name, &servers.tidegate(loops), load.clone());
            Comparison {
                scenario: self.name,
                heading: "Two loops beside one, on the same core".to_owned(),
                title,
                unit: "message",
                is_pair: true,
                cases: vec![with("two loops", 2), with("one loop", 1)],
            }
        };
        let to_subscribers = |subscribers: usize| {
            let load = Load::Fanout(fanout_load(subscribers, 1, binary(SMALL), timing));
            comparison(format!("deliver to {} subscribers", grouped(subscribers as u64)), &load)
        };
        let echo = Load::Echo(echo_load(100, 1, binary(SMALL), timing));
        vec![
            comparison(format!("echo, 100 × 1 × {SMALL} B"), &echo),
            to_subscribers(1_000),
            to_subscribers(10_000),
        ]
    }

    fn half_load(
        &self,
        servers: &ServersUnderTest,
        timing: Timing,
        runner: &mut Runner<'_>,
    ) -> Result<Vec<Comparison>, CommandError> {
        let full = Load::Echo(echo_load(100, 1, binary(SMALL), timing));
        let own = servers.tidegate(1);
        let mut measure = |server: &ServerUnderTest| {
            let mut best: Option<f64> = None;
            for _ in 0..ATTEMPTS {
                match runner.measure(&Case::new(&server.name, server, full.clone()))? {
                    Ok(sample) => {
                        best = Some(best.unwrap_or_default().max(sample.units_per_second));
                    }
                    Err(reason) => {
                        note(format_args!("{}, {}: {reason}", self.name, server.name));
                    }
                }
            }
            Ok::<_, CommandError>(best)
        };
        let Some(own_rate) = measure(&own)? else {
            return Ok(Vec::new());
        };
        let mut comparisons = Vec::new();
        for other in &servers.others {
            let Some(other_rate) = measure(other)? else {
                continue;
            };
            let rate = half(own_rate.min(other_rate));
            let load = Load::Rate(rate_load(100, rate, binary(SMALL), timing));
            comparisons.push(Comparison {
                scenario: self.name,
                heading: "Both at half of the rate that the slower one can do".to_owned(),
                title: format!("{} at {}/s", other.name, grouped(rate.get().into())),
                unit: "message",
                is_pair: true,
                cases: vec![
                    Case::new(&own.name, &own, load.clone()),
                    Case::new(&other.name, other, load),
                ],
            });
        }
        Ok(comparisons)
    }
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
    Scenario { name: "churn", kind: Kind::Churn { is_resumed: false } },
    Scenario { name: "churn-resumed", kind: Kind::Churn { is_resumed: true } },
    Scenario { name: "fanout-1000", kind: Kind::Fanout { subscribers: 1000, burst: 1 } },
    Scenario { name: "fanout-10000", kind: Kind::Fanout { subscribers: 10_000, burst: 1 } },
    Scenario { name: "fanout-member", kind: Kind::MemberFanout { subscribers: 1000 } },
    Scenario { name: "burst-16", kind: Kind::Fanout { subscribers: 1000, burst: 16 } },
    Scenario { name: "deflate-echo", kind: Kind::DeflateEcho { connections: 100, bytes: 1024 } },
    Scenario {
        name: "deflate-echo-16k",
        kind: Kind::DeflateEcho { connections: 100, bytes: 16 * 1024 },
    },
    Scenario { name: "deflate-fanout", kind: Kind::DeflateFanout { bytes: 1024 } },
    Scenario { name: "deflate-twins", kind: Kind::DeflateBesidePlain { bytes: 1024 } },
    Scenario {
        name: "text-1",
        kind: Kind::Text { payload_kind: PayloadKind::Text, in_flight: 1, bytes: SMALL },
    },
    Scenario {
        name: "text-16",
        kind: Kind::Text { payload_kind: PayloadKind::Text, in_flight: 16, bytes: 16 },
    },
    Scenario {
        name: "text-128",
        kind: Kind::Text { payload_kind: PayloadKind::Text, in_flight: 16, bytes: SMALL },
    },
    Scenario {
        name: "text-64k-ascii",
        kind: Kind::Text { payload_kind: PayloadKind::Text, in_flight: 4, bytes: 64 * 1024 },
    },
    Scenario {
        name: "text-64k-chinese",
        kind: Kind::Text { payload_kind: PayloadKind::Chinese, in_flight: 4, bytes: 64 * 1024 },
    },
    Scenario { name: "half-load", kind: Kind::HalfLoad },
    Scenario { name: "two-loops", kind: Kind::TwoLoops },
];

/// The payload in bytes of the scenarios that do not vary it.
const SMALL: usize = 128;
/// Above this payload in bytes, the text scenarios have fewer connections.
const LARGE: usize = 1024;
/// A server's rate is the best of this many measurements.
const ATTEMPTS: usize = 2;
/// The longest header of a client's frame.
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
