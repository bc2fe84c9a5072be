//! What the traffic commands have in common: their options, the server, the connections, the
//! clocks, and stretches of time in which all of these are looked after.

use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::{CommandError, Verdict, require_room};
use crate::affinity;
use crate::client::PAYLOAD_BYTES_MAX;
use crate::clock;
use crate::cpu_use::{CpuClocks, CpuMark};
use crate::driver::{Driver, DriverOptions, Workload};
use crate::fleet::{Fleet, Pace, Steer};
use crate::interrupt::Interrupt;
use crate::message::Filling;
use crate::meter::Meter;
use crate::output::{Output, Step};
use crate::proc_stats;
use crate::server_process::{ServerArguments, ServerProcess};
use crate::source_address::SourceAddresses;
use crate::target::AddressArguments;
use crate::units::{Seconds, parse_seconds};

/// The options of every traffic command.
#[derive(Args, Clone, Debug)]
pub(crate) struct SessionArguments {
    #[command(flatten)]
    pub(crate) address: AddressArguments,

    #[command(flatten)]
    server: ServerArguments,

    /// Run the load generator on this core alone
    #[arg(long, value_name = "CORE")]
    pin: Option<usize>,

    /// How long the server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,

    /// Seed of the accept keys, mask keys and payloads
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,

    /// Write the report as one JSON document
    #[arg(long)]
    json: bool,
}

/// The options of the commands that send messages.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct MessageArguments {
    /// Payload of each message
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = parse_payload_bytes)]
    pub(crate) bytes: usize,

    /// Send binary messages, as is done anyway
    #[arg(long, conflicts_with_all = ["text", "chinese"])]
    binary: bool,

    /// Send text messages of ASCII
    #[arg(long, conflicts_with = "chinese")]
    text: bool,

    /// Send text messages of characters that take three bytes each
    #[arg(long)]
    chinese: bool,
}

impl MessageArguments {
    pub(crate) fn filling(self) -> Filling {
        match (self.chinese, self.text) {
            (true, _) => Filling::Chinese,
            (false, true) => Filling::Text,
            (false, false) => Filling::Binary,
        }
    }
}

/// What a command needs of its session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs<'a> {
    pub(crate) path: &'a str,
    /// Connections that are open at a time.
    pub(crate) connections: usize,
    /// Connections come and go, and their ports rest a while after them.
    pub(crate) has_turnover: bool,
    /// The limit on open files to start the server with.
    pub(crate) descriptors: Option<NonZeroU32>,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Session {
    output: Output,
    pub(crate) fleet: Fleet,
    clocks: CpuClocks,
    /// Ended with the session, if it was started here.
    server: ServerProcess,
    next_look: Instant,
}

impl Session {
    /// Checks that there is room for the connections, and starts the server if that was asked for.
    pub(crate) fn prepare(
        arguments: &SessionArguments,
        needs: Needs<'_>,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let address = &arguments.address;
        let target = address.resolve(needs.path).map_err(|error| {
            CommandError::Usage(format!("--address {}: {error}", address.as_str()))
        })?;
        let mut sources =
            SourceAddresses::new(target.address, &proc_stats::read_ephemeral_ports()?);
        require_room(needs.connections, &target, &sources)?;
        if needs.has_turnover {
            sources = sources.rotating();
        }
        let server = match needs.descriptors {
            None => ServerProcess::prepare(&arguments.server, target.address, interrupt)?,
            Some(descriptors) => {
                let server = &arguments.server;
                ServerProcess::prepare_limited(server, descriptors, target.address, interrupt)?
            }
        };
        // After the server was started, which would inherit it.
        if let Some(core) = arguments.pin {
            affinity::pin(core)
                .map_err(|error| CommandError::Usage(format!("--pin {core}: {error}")))?;
        }
        let options =
            DriverOptions { target, sources, answer_max: arguments.timeout, seed: arguments.seed };
        Ok(Self {
            output: Output::new(arguments.json),
            fleet: Fleet::new(options, interrupt.clone())?,
            clocks: CpuClocks::new(server.pid()),
            server,
            next_look: clock::now(),
        })
    }

    /// Opens connections, some at a time, to another path than the target's if one is given.
    pub(crate) fn open(
        &mut self,
        name: &str,
        path: Option<&Rc<str>>,
        connections: usize,
        workload: &mut impl Workload,
    ) -> Result<(), CommandError> {
        let step = self.output.begin(name, connections);
        let pace = Pace { in_flight_max: IN_FLIGHT_MAX, connects_per_second: None };
        let failures_before = workload.failures();
        self.fleet.open_to(path, connections, pace, &step, workload)?;
        self.server.require_alive()?;
        let failures = workload.failures() - failures_before;
        step.end(format_args!("{name}: {} opened", connections - failures));
        Ok(())
    }

    /// Drives the connections until `steer` is done; looks after the server meanwhile.
    pub(crate) fn drive<W: Workload>(
        &mut self,
        workload: &mut W,
        mut steer: impl FnMut(&mut Driver, &mut W) -> Steer,
    ) -> Result<(), CommandError> {
        let Self { fleet, server, next_look, .. } = self;
        fleet.drive(workload, |driver, workload| {
            let now = clock::now();
            if *next_look <= now {
                *next_look = now + LOOK_INTERVAL;
                server.require_alive()?;
            }
            Ok(steer(driver, workload))
        })
    }

    /// Drives the connections for so long at most, or until none is left. Before each turn `act`
    /// may do something with them.
    pub(crate) fn run_for<W: Workload>(
        &mut self,
        name: &str,
        duration: Duration,
        workload: &mut W,
        mut act: impl FnMut(&mut Driver, &mut W) -> Steer,
    ) -> Result<(), CommandError> {
        let step_millis =
            |duration: Duration| usize::try_from(duration.as_millis()).unwrap_or(usize::MAX);
        let step = self.output.begin(&format!("{name} (ms)"), step_millis(duration));
        let began = clock::now();
        self.drive(workload, |driver, workload| {
            let passed = clock::now().saturating_duration_since(began);
            step.reach(step_millis(passed));
            if passed >= duration || driver.len() == 0 {
                return Steer::Done;
            }
            match act(driver, workload) {
                Steer::Done => Steer::Done,
                Steer::Wait(wait) => Steer::Wait(wait.min(duration - passed)),
            }
        })?;
        let passed = clock::now().saturating_duration_since(began);
        step.end(format_args!("{name}: {}", Seconds(passed)));
        Ok(())
    }

    /// Waits for all answers that the server owes.
    pub(crate) fn settle(&mut self, workload: &mut impl Workload) -> Result<(), CommandError> {
        self.drive(workload, |driver, _| match driver.awaiting() {
            0 => Steer::Done,
            _ => SERVE,
        })
    }

    /// Closes every connection properly.
    pub(crate) fn close(&mut self, workload: &mut impl Workload) -> Result<(), CommandError> {
        let step = self.output.begin("closing", self.fleet.len());
        self.fleet.close(IN_FLIGHT_MAX, &step, workload)?;
        self.server.require_alive()
    }

    /// An error if the server was started here and has ended.
    pub(crate) fn require_server(&mut self) -> Result<(), CommandError> {
        self.server.require_alive()
    }

    /// Writes the report; unless there were failures because the server died, in which case
    /// that is what there is to say.
    pub(crate) fn report(
        &mut self,
        report: &(impl Display + Serialize),
        has_failures: bool,
    ) -> Result<Verdict, CommandError> {
        if has_failures {
            self.server.require_survival()?;
        }
        self.output.report(report)?;
        Ok(if has_failures { Verdict::Failures } else { Verdict::Fine })
    }

    /// Reads the CPU clocks.
    pub(crate) fn mark(&mut self) -> CpuMark {
        self.clocks.mark(self.fleet.driver().waited())
    }

    /// Reads what the server uses.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.server.pid())
    }

    /// Begins a step of the run.
    pub(crate) fn begin(&self, name: &str, total: usize) -> Step {
        self.output.begin(name, total)
    }
}

fn parse_payload_bytes(bytes: &str) -> Result<usize, String> {
    let bytes: usize = bytes.parse().map_err(|_| "must be a number of bytes".to_owned())?;
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(format!("must be at most {PAYLOAD_BYTES_MAX}"));
    }
    Ok(bytes)
}

/// Serves the connections for a while: there is nothing else to do.
pub(crate) const SERVE: Steer = Steer::Wait(TURN_MAX);
pub(crate) const TURN_MAX: Duration = Duration::from_millis(100);
/// Answers awaited at a time while connections are opened and closed: what the server's accept
/// queue does with more at once is for `storm` to find out.
const IN_FLIGHT_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
