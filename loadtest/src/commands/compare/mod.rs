//! `loadtest compare`: tidegate beside other servers, under the same loads in the same run.
//!
//! On a machine that other programs use as well, absolute figures of different times do not
//! compare, but figures of the same few seconds do. So the servers take turns: each round starts
//! every server, puts it under load and ends it, in a new random order. The results are the ratios
//! within the rounds.
//!
//! The parts in the order of a run: [`servers_under_test`] finds the servers, [`scenarios`] and
//! [`compression`] make the comparisons, [`runner`] measures their cases, [`document`] keeps the
//! raw figures, and [`report`], with [`statistics`], makes tables from them. [`docs`] writes these
//! into the docs.

mod arguments;
mod comparison;
mod compression;
mod docs;
mod document;
mod load;
mod report;
mod runner;
mod scenarios;
mod servers_under_test;
mod statistics;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{CommandError, Verdict};
use crate::output::{Output, note};
use crate::stats::machine::Machine;
use crate::system::interrupt::Interrupt;
use crate::system::{affinity, file_limit};
use crate::tls::ServerCertificate;
pub(crate) use arguments::CompareArguments;
use comparison::Comparison;
use document::{Document, Settings};
use load::Timing;
use runner::Runner;
use scenarios::{SCENARIOS, Scenario};
use servers_under_test::ServersUnderTest;

/// Runs the command.
pub(crate) fn run(
    arguments: &CompareArguments,
    interrupt: &Interrupt,
) -> Result<Verdict, CommandError> {
    if arguments.write_docs {
        // Before the measurements, which take long.
        docs::require_section(arguments.tls)?;
    }
    let document = if arguments.render.is_empty() {
        measure(arguments, interrupt)?
    } else {
        read_documents(&arguments.render)?
    };
    Output::new(false).report(&document)?;
    if arguments.write_docs {
        let path = docs::write_section(&document.to_string(), document.settings.tls)?;
        note(format_args!("written to {}", path.display()));
    }
    Ok(if document.has_failures() { Verdict::Failures } else { Verdict::Fine })
}

fn measure(arguments: &CompareArguments, interrupt: &Interrupt) -> Result<Document, CommandError> {
    let CompareArguments { rounds, timeout, seed, pin, pin_server, .. } = *arguments;
    let installation = arguments.installation.find()?;
    let json = arguments.json.clone().unwrap_or_else(|| installation.target.join(FIGURES));
    let machine = Machine::read();
    if machine.is_debug_build() {
        note("this is a debug build: its figures are for tests only");
    }
    let certificate = arguments.tls.then(ServerCertificate::make).transpose();
    let certificate = certificate.map_err(|error| CommandError::Usage(error.to_string()))?;
    let certificate = certificate.map(Rc::new);
    let servers = ServersUnderTest::find(
        &arguments.servers,
        &arguments.about,
        &installation,
        certificate.as_ref(),
    )?;
    for skipped in &servers.skipped {
        note(format_args!("{}: skipped: {}", skipped.name, skipped.reason));
    }
    // For the servers too, which inherit the limit.
    file_limit::raise();
    affinity::pin(pin).map_err(|error| CommandError::Usage(format!("--pin {pin}: {error}")))?;
    let mut runner = Runner::new(pin_server, timeout, seed, interrupt)?;

    let timing = Timing { seconds: arguments.seconds, warm_up: arguments.warm_up };
    let comparisons = comparisons(arguments, &servers, timing, &mut runner)?;
    let turns: usize = comparisons.iter().map(|comparison| comparison.cases.len()).sum();
    let expected = timing.expected() * u32::try_from(turns * rounds.get()).unwrap_or(u32::MAX);
    note(format_args!("{rounds} rounds of {turns} measurements: about {} s", expected.as_secs()));
    let settings = Settings {
        rounds: rounds.get(),
        seconds: timing.seconds.as_secs_f64(),
        warm_up_seconds: timing.warm_up.as_secs_f64(),
        server_core: pin_server,
        client_core: pin,
        seed,
        tls: arguments.tls,
    };
    let mut document = Document {
        machine,
        settings,
        servers: servers.facts(),
        skipped: servers.skipped.clone(),
        comparisons: comparisons.iter().map(Comparison::empty_result).collect(),
    };
    for round in 1..=rounds.get() {
        for (comparison, report) in comparisons.iter().zip(&mut document.comparisons) {
            runner.run_round(comparison, round, report)?;
            note(format_args!("[{round}/{rounds}] {}", report.line(round)));
        }
        // After every round, so that an error in a later one does not lose the figures.
        fs::write(&json, serde_json::to_string(&document).map_err(io::Error::from)? + "\n")?;
    }
    note(format_args!("raw figures in {}", json.display()));
    Ok(document)
}

/// The comparisons of the chosen scenarios.
fn comparisons(
    arguments: &CompareArguments,
    servers: &ServersUnderTest,
    timing: Timing,
    runner: &mut Runner<'_>,
) -> Result<Vec<Comparison>, CommandError> {
    let names = &arguments.scenario;
    let is_named = |scenario: &Scenario| names.iter().any(|name| *name == scenario.name);
    let needing_tls = |scenario: &&Scenario| scenario.needs_tls() && is_named(scenario);
    if let Some(scenario) = SCENARIOS.iter().find(needing_tls).filter(|_| !arguments.tls) {
        return Err(CommandError::Usage(format!("--scenario {}: needs --tls", scenario.name)));
    }
    let is_chosen = |scenario: &&Scenario| {
        is_named(scenario) || (names.is_empty() && (arguments.tls || !scenario.needs_tls()))
    };
    let mut comparisons = Vec::new();
    for scenario in SCENARIOS.iter().filter(is_chosen) {
        comparisons.extend(scenario.comparisons(servers, timing, runner)?);
    }
    comparisons.retain(|comparison| comparison.cases.len() > 1);
    if comparisons.is_empty() {
        let reason = "there is nothing to compare: none of these servers takes part in it";
        return Err(CommandError::Usage(reason.to_owned()));
    }
    Ok(comparisons)
}

/// Makes one document of several files.
fn read_documents(paths: &[PathBuf]) -> Result<Document, CommandError> {
    let read = |path: &Path| -> Result<Document, CommandError> {
        let fault = |error: &dyn std::fmt::Display| {
            CommandError::Usage(format!("--render {}: {error}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
        serde_json::from_str(&text).map_err(|error| fault(&error))
    };
    let mut documents = paths.iter().map(|path| read(path));
    let mut document = documents
        .next()
        .unwrap_or_else(|| Err(CommandError::Usage("--render: no file".to_owned())))?;
    for further in documents {
        let further = further?;
        if !further.settings.is_like(&document.settings) {
            let reason = "--render: the files were measured with different rounds, times or cores";
            return Err(CommandError::Usage(reason.to_owned()));
        }
        document.replace(further);
    }
    Ok(document)
}

/// The file of the raw figures, below `target/`.
const FIGURES: &str = "compare.json";
