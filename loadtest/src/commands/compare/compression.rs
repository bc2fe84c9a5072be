//! The comparisons with compressed messages: among the servers that compress, and of each with
//! itself.
//!
//! A server that cannot compress is left out, because it would do less work. The messages are
//! quotes in JSON, which shrink to a third or less, and no two are the same. The server has to
//! compress its answers as well.

use super::comparison::{Case, Comparison};
use super::load::{Load, Timing, echo_heading, echo_load, fanout_load};
use super::servers_under_test::{ServerUnderTest, ServersUnderTest};
use crate::commands::options::MessageArguments;
use crate::message::PayloadKind;
use crate::output::table::grouped;
use crate::output::units::shown_bytes;

/// A closed loop.
pub(super) fn echo(
    scenario: &'static str,
    connections: usize,
    bytes: usize,
    servers: &ServersUnderTest,
    timing: Timing,
) -> Comparison {
    let load = Load::Echo(echo_load(connections, 1, json_quotes(bytes), timing));
    let heading = format!("compressed {}", echo_heading(connections, 1, bytes));
    among_servers(scenario, heading, "message", &load, all(servers))
}

/// Publications to a thousand subscribers.
pub(super) fn fanout(
    scenario: &'static str,
    bytes: usize,
    servers: &ServersUnderTest,
    timing: Timing,
) -> Comparison {
    let load = publications(bytes, timing);
    let heading =
        format!("deliver {} compressed to {} subscribers", shown(bytes), grouped(SUBSCRIBERS));
    among_servers(scenario, heading, "delivery", &load, broadcasting(servers))
}

/// Compressed messages beside the same messages uncompressed, in the same rounds.
pub(super) fn beside_plain(
    scenario: &'static str,
    bytes: usize,
    servers: &ServersUnderTest,
    timing: Timing,
) -> Vec<Comparison> {
    let load = publications(bytes, timing);
    let heading = format!(
        "Deliver {} to {} subscribers, compressed beside plain",
        shown(bytes),
        grouped(SUBSCRIBERS)
    );
    broadcasting(servers)
        .filter_map(|server| {
            let compressed = deflated("compressed", &server, &load)?;
            let plain = Case {
                name: "plain".to_owned(),
                server: server.clone(),
                load: load.clone(),
                is_deflated: false,
            };
            Some(Comparison {
                scenario,
                heading: heading.clone(),
                title: server.name,
                unit: "delivery",
                is_pair: true,
                cases: vec![compressed, plain],
            })
        })
        .collect()
}

fn among_servers(
    scenario: &'static str,
    heading: String,
    unit: &'static str,
    load: &Load,
    servers: impl Iterator<Item = ServerUnderTest>,
) -> Comparison {
    let cases = servers.filter_map(|server| deflated(&server.name, &server, load));
    Comparison {
        scenario,
        heading,
        title: scenario.to_owned(),
        unit,
        is_pair: false,
        cases: cases.collect(),
    }
}

fn deflated(name: &str, server: &ServerUnderTest, load: &Load) -> Option<Case> {
    let server = server.deflating()?;
    Some(Case { name: name.to_owned(), server, load: load.clone(), is_deflated: true })
}

fn all(servers: &ServersUnderTest) -> impl Iterator<Item = ServerUnderTest> + '_ {
    std::iter::once(servers.tidegate(1)).chain(servers.others.iter().cloned())
}

fn broadcasting(servers: &ServersUnderTest) -> impl Iterator<Item = ServerUnderTest> + '_ {
    all(servers).filter(|server| server.has_broadcast)
}

fn publications(bytes: usize, timing: Timing) -> Load {
    let subscribers = usize::try_from(SUBSCRIBERS).unwrap_or(usize::MAX);
    Load::Fanout(fanout_load(subscribers, 1, json_quotes(bytes), timing))
}

fn json_quotes(bytes: usize) -> MessageArguments {
    MessageArguments::new(PayloadKind::JsonQuotes, bytes)
}

fn shown(bytes: usize) -> String {
    shown_bytes(bytes as f64)
}

const SUBSCRIBERS: u64 = 1000;
