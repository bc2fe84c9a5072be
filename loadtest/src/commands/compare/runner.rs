//! Measures cases: starts a server, puts a load on it and ends it.

use std::time::Duration;

use super::comparison::{Case, Comparison};
use super::document::{ComparisonResult, Sample};
use crate::commands::load_result::LoadResult;
use crate::commands::options::SessionOptions;
use crate::commands::session::Session;
use crate::error::CommandError;
use crate::output::Output;
use crate::random::mix;
use crate::servers::Ports;
use crate::servers::process::{ServerProcess, SpawnedServer};
use crate::system::interrupt::Interrupt;
use crate::target::Target;
use crate::tls::{TlsClient, TlsOptions};

/// The state that all measurements of a run share.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    ports: Ports,
    server_core: usize,
    session_options: SessionOptions,
    interrupt: &'a Interrupt,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        server_core: usize,
        answer_max: Duration,
        seed: u64,
        interrupt: &'a Interrupt,
    ) -> Result<Self, CommandError> {
        let output = Output::new(false).of_part("compare");
        let session_options = SessionOptions { output, answer_max, seed };
        Ok(Self { ports: Ports::new()?, server_core, session_options, interrupt })
    }

    /// Runs one round of a comparison: measures every case, in an order that depends on the round.
    pub(super) fn run_round(
        &mut self,
        comparison: &Comparison,
        round: usize,
        report: &mut ComparisonResult,
    ) -> Result<(), CommandError> {
        self.session_options.output = Output::new(false).of_part(comparison.scenario);
        for index in self.order(comparison.cases.len(), round) {
            let report = &mut report.cases[index];
            if report.failures.len() >= FAILURES_MAX {
                continue;
            }
            match self.measure(&comparison.cases[index])? {
                Ok(sample) => report.samples.push(Sample { round, ..sample }),
                Err(reason) => report.failures.push(reason),
            }
        }
        Ok(())
    }

    /// Starts a server, puts the load on it, and ends it.
    ///
    /// A failure of the server is an inner error. An outer error ends the whole run.
    pub(super) fn measure(&mut self, case: &Case) -> Result<Result<Sample, String>, CommandError> {
        for _ in 0..ATTEMPTS_MAX {
            let result = match self.try_measure(case) {
                Ok(result) => result,
                Err(CommandError::Server(reason)) => {
                    return Ok(Err(format!("the server {reason}")));
                }
                Err(error) => return Err(error),
            };
            if let Some(reason) = result.failures.first_reason() {
                return Ok(Err(reason.to_owned()));
            }
            // Without CPU time, another process had the core all the time: that says nothing about
            // the server.
            if let Some(sample) = Sample::new(&result) {
                return Ok(Ok(sample));
            }
        }
        Ok(Err(format!("got no CPU time to measure, {ATTEMPTS_MAX} times")))
    }

    fn try_measure(&mut self, case: &Case) -> Result<LoadResult, CommandError> {
        let (listen, second) = (self.ports.next()?, self.ports.next()?);
        let core = Some(self.server_core);
        // Ends with this function, like the server.
        let _backend = case
            .server
            .backend_command(second)
            .map(|mut command| {
                SpawnedServer::start_behind(&mut command, core, second, self.interrupt)
            })
            .transpose()?;
        let mut command = case.server.command(listen, second)?;
        let server = ServerProcess::start(&mut command, core, listen, self.interrupt)?;
        let requirements = case.load.requirements();
        let options = TlsOptions::of_comparison(requirements.resumption);
        let certificate = case.server.certificate.as_ref();
        let tls = certificate
            .map(|certificate| TlsClient::trusting(certificate.certificate(), options))
            .transpose()
            .map_err(|error| CommandError::Usage(error.to_string()))?;
        let deflate = case.is_deflated;
        let target = Target { deflate, tls, ..Target::at(listen, requirements.path) };
        let mut session = Session::with_server(
            self.session_options,
            server,
            target,
            requirements,
            self.interrupt,
        )?;
        case.load.measure(&mut session)
    }

    /// The order of a round, so that no case always follows the same one.
    fn order(&self, cases: usize, round: usize) -> Vec<usize> {
        shuffled(cases, mix(self.session_options.seed) ^ round as u64)
    }
}

/// The numbers below `count`, shuffled by `seed`.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|index| mix(seed ^ mix(*index as u64)));
    order
}

/// A busy machine may give a server no CPU time at all.
const ATTEMPTS_MAX: usize = 5;
/// A case is not measured again after this many failures.
const FAILURES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_gets_a_turn_and_the_order_changes() {
        let orders: Vec<_> = (0..20).map(|seed| shuffled(3, seed)).collect();
        assert!(orders.iter().all(|order| order.iter().collect::<HashSet<_>>().len() == 3));
        assert_eq!(orders.iter().collect::<HashSet<_>>().len(), 6, "{orders:?}");
        assert_eq!(shuffled(5, 7), shuffled(5, 7));
    }
}
