//! Lets the contenders take turns: a server's start, a load, its end.

use std::time::Duration;

use super::contest::{Contender, Contest, Shown};
use super::document::{ContestReport, Sample};
use crate::commands::CommandError;
use crate::commands::session::{Manner, Session};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::random::mix;
use crate::server_process::ServerProcess;
use crate::servers::Ports;
use crate::target::Target;

/// What all measurements of a run share.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    ports: Ports,
    server_core: usize,
    manner: Manner,
    interrupt: &'a Interrupt,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        server_core: usize,
        answer_max: Duration,
        seed: u64,
        interrupt: &'a Interrupt,
    ) -> Result<Self, CommandError> {
        let output = Output::new(false).of_part("compare");
        let manner = Manner { output, answer_max, seed };
        Ok(Self { ports: Ports::new()?, server_core, manner, interrupt })
    }

    /// One round of a contest: a turn for every contender, in an order of this round's own.
    pub(super) fn play(
        &mut self,
        contest: &Contest,
        round: usize,
        report: &mut ContestReport,
    ) -> Result<(), CommandError> {
        self.manner.output = Output::new(false).of_part(contest.scenario);
        for index in self.order(contest.contenders.len(), round) {
            let report = &mut report.contenders[index];
            if report.failures.len() >= FAILURES_MAX {
                continue;
            }
            match self.measure(&contest.contenders[index])? {
                Ok(sample) => report.samples.push(Sample { round, ..sample }),
                Err(reason) => report.failures.push(reason),
            }
        }
        Ok(())
    }

    /// Starts a server, puts the load on it, and ends it. Whatever goes wrong with the server is
    /// an outcome; an error is what ends the whole run.
    pub(super) fn measure(
        &mut self,
        contender: &Contender,
    ) -> Result<Result<Sample, String>, CommandError> {
        for _ in 0..TRIES_MAX {
            let shown = match self.try_measure(contender) {
                Ok(shown) => shown,
                Err(CommandError::Server(reason)) => {
                    return Ok(Err(format!("the server {reason}")));
                }
                Err(error) => return Err(error),
            };
            if let Some(reason) = shown.figures.failures.first_reason() {
                return Ok(Err(reason.to_owned()));
            }
            // Otherwise somebody else had the core all the time: that says nothing of the server.
            if let Some(sample) = Sample::new(&shown) {
                return Ok(Ok(sample));
            }
        }
        Ok(Err(format!("got no CPU time to measure, {TRIES_MAX} times")))
    }

    fn try_measure(&mut self, contender: &Contender) -> Result<Shown, CommandError> {
        let (listen, second) = (self.ports.next()?, self.ports.next()?);
        let mut command = contender.entrant.command(listen, second);
        let core = Some(self.server_core);
        let server = ServerProcess::start(&mut command, core, listen, self.interrupt)?;
        let needs = contender.load.needs();
        let target = Target { deflate: contender.is_deflated, ..Target::at(listen, needs.path) };
        let mut session = Session::with_server(self.manner, server, target, needs, self.interrupt)?;
        contender.load.measure(&mut session)
    }

    /// The order of a round, so that nobody always follows the same one.
    fn order(&self, contenders: usize, round: usize) -> Vec<usize> {
        shuffled(contenders, mix(self.manner.seed) ^ round as u64)
    }
}

/// The numbers below `count` in an order that `seed` stands for.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|index| mix(seed ^ mix(*index as u64)));
    order
}

/// A busy machine may leave nothing to a server for a moment.
const TRIES_MAX: usize = 5;
/// Who has failed so often is not given another turn.
const FAILURES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everybody_gets_a_turn_and_the_order_changes() {
        let orders: Vec<_> = (0..20).map(|seed| shuffled(3, seed)).collect();
        assert!(orders.iter().all(|order| order.iter().collect::<HashSet<_>>().len() == 3));
        assert_eq!(orders.iter().collect::<HashSet<_>>().len(), 6, "{orders:?}");
        assert_eq!(shuffled(5, 7), shuffled(5, 7));
    }
}
