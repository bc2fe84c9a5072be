//! The contests of compressed messages: among the servers that compress, and of each with itself.
//!
//! A server that cannot compress is left out, for it would not lose but do something else. The
//! messages are prices in JSON, which shrink to a third and less, and each is another one. What comes
//! back has to be compressed as well.

use super::contest::{Contender, Contest, Load, Timing};
use super::entrants::{Entrant, Entrants};
use super::scenarios;
use crate::commands::options::MessageArguments;
use crate::message::Filling;
use crate::table::grouped;
use crate::units::shown_bytes;

/// A closed loop.
pub(super) fn echo(
    scenario: &'static str,
    connections: usize,
    bytes: usize,
    entrants: &Entrants,
    timing: Timing,
) -> Contest {
    let load = Load::Echo(scenarios::echo(connections, 1, prices(bytes), timing));
    let heading = format!("compressed {}", scenarios::echo_heading(connections, 1, bytes));
    among_servers(scenario, heading, "message", &load, all(entrants))
}

/// Publications to a thousand.
pub(super) fn fanout(
    scenario: &'static str,
    bytes: usize,
    entrants: &Entrants,
    timing: Timing,
) -> Contest {
    let load = publications(bytes, timing);
    let heading =
        format!("deliver {} compressed to {} subscribers", shown(bytes), grouped(SUBSCRIBERS));
    among_servers(scenario, heading, "delivery", &load, broadcasting(entrants))
}

/// The same compressed and as they are, in the same rounds.
pub(super) fn twins(
    scenario: &'static str,
    bytes: usize,
    entrants: &Entrants,
    timing: Timing,
) -> Vec<Contest> {
    let load = publications(bytes, timing);
    let heading = format!(
        "Deliver {} to {} subscribers, compressed beside plain",
        shown(bytes),
        grouped(SUBSCRIBERS)
    );
    broadcasting(entrants)
        .filter_map(|entrant| {
            let compressed = deflated("compressed", &entrant, &load)?;
            let plain = Contender {
                name: "plain".to_owned(),
                entrant: entrant.clone(),
                load: load.clone(),
                is_deflated: false,
            };
            Some(Contest {
                scenario,
                heading: heading.clone(),
                title: entrant.name,
                unit: "delivery",
                is_pair: true,
                contenders: vec![compressed, plain],
            })
        })
        .collect()
}

fn among_servers(
    scenario: &'static str,
    heading: String,
    unit: &'static str,
    load: &Load,
    entrants: impl Iterator<Item = Entrant>,
) -> Contest {
    let contenders = entrants.filter_map(|entrant| deflated(&entrant.name, &entrant, load));
    Contest {
        scenario,
        heading,
        title: scenario.to_owned(),
        unit,
        is_pair: false,
        contenders: contenders.collect(),
    }
}

fn deflated(name: &str, entrant: &Entrant, load: &Load) -> Option<Contender> {
    let entrant = entrant.deflating()?;
    Some(Contender { name: name.to_owned(), entrant, load: load.clone(), is_deflated: true })
}

fn all(entrants: &Entrants) -> impl Iterator<Item = Entrant> + '_ {
    std::iter::once(entrants.tidegate(1)).chain(entrants.rivals.iter().cloned())
}

fn broadcasting(entrants: &Entrants) -> impl Iterator<Item = Entrant> + '_ {
    all(entrants).filter(|entrant| entrant.has_broadcast)
}

fn publications(bytes: usize, timing: Timing) -> Load {
    let subscribers = usize::try_from(SUBSCRIBERS).unwrap_or(usize::MAX);
    Load::Fanout(scenarios::fanout(subscribers, 1, prices(bytes), timing))
}

fn prices(bytes: usize) -> MessageArguments {
    MessageArguments::new(Filling::Prices, bytes)
}

fn shown(bytes: usize) -> String {
    shown_bytes(bytes as f64)
}

const SUBSCRIBERS: u64 = 1000;
