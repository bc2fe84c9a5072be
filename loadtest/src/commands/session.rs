//! The session of a traffic command: the server, the connections and the CPU clocks, and the timed
//! steps of a run.

use std::fmt::{self, Display};
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::commands::capacity::require_capacity;
use crate::commands::options::{Requirements, SessionArguments, SessionOptions, resolve};
use crate::commands::reachable::require_listener;
use crate::driver::{Driver, DriverOptions, SourceAddresses, Workload};
use crate::error::{CommandError, Verdict};
use crate::load::clients::{Clients, NextTurn, Pace};
use crate::output::units::Seconds;
use crate::output::{Output, Step};
use crate::servers::process::ServerProcess;
use crate::stats::cpu_use::{CpuClocks, CpuSample};
use crate::stats::meter::Meter;
use crate::stats::proc_stats;
use crate::system::interrupt::Interrupt;
use crate::system::{affinity, clock};
use crate::target::{Origin, Target};
use crate::tls::TlsSummary;

/// A running session.
#[derive(Debug)]
pub(crate) struct Session {
    output: Output,
    target: Target,
    answer_max: Duration,
    seed: u64,
    pub(crate) clients: Clients,
    clocks: CpuClocks,
    /// If the session started it, it ends with the session.
    server: ServerProcess,
    next_check: Instant,
}

impl Session {
    /// Checks that there is room for the connections, and starts the server if `--spawn` asks for
    /// it.
    pub(crate) fn prepare(
        arguments: &SessionArguments,
        requirements: Requirements<'_>,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let target = resolve(&arguments.address, requirements.path, requirements.resumption)?;
        let sources = source_addresses(&target, requirements)?;
        let (server, address) = (&arguments.server, target.address);
        let server = match requirements.descriptors {
            None => ServerProcess::prepare(server, address, interrupt)?,
            Some(limit) => ServerProcess::prepare_limited(server, limit, address, interrupt)?,
        };
        // After the server is started, because a child inherits the core.
        if let Some(core) = arguments.pin {
            affinity::pin(core)
                .map_err(|error| CommandError::Usage(format!("--pin {core}: {error}")))?;
        }
        Self::new(arguments.session_options(), target, sources, server, interrupt)
    }

    /// A session with a server that runs already.
    pub(crate) fn with_server(
        session_options: SessionOptions,
        server: ServerProcess,
        target: Target,
        requirements: Requirements<'_>,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let sources = source_addresses(&target, requirements)?;
        Self::new(session_options, target, sources, server, interrupt)
    }

    fn new(
        session_options: SessionOptions,
        target: Target,
        sources: SourceAddresses,
        server: ServerProcess,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let SessionOptions { output, answer_max, seed } = session_options;
        let options = DriverOptions { target: target.clone(), sources, answer_max, seed };
        Ok(Self {
            output,
            target,
            answer_max,
            seed,
            clients: Clients::new(options, interrupt.clone())?,
            clocks: CpuClocks::new(server.pid()),
            server,
            next_check: clock::now(),
        })
    }

    /// The address of the server as it was given.
    pub(crate) fn address(&self) -> Origin {
        self.target.origin()
    }

    /// Where connections go.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// How long the server may take for each answer.
    pub(crate) fn answer_max(&self) -> Duration {
        self.answer_max
    }

    /// The seed of accept keys, mask keys and payloads.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether messages are compressed.
    pub(crate) fn is_deflated(&self) -> bool {
        self.target.deflate
    }

    /// Opens connections, to another path than the target's if one is given.
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
        self.clients.open_to(path, connections, pace, &step, workload)?;
        self.server.require_alive()?;
        let failures = workload.failures() - failures_before;
        if failures > 0 && self.clients.len() == 0 {
            require_listener(self.target.address, &self.target.authority)?;
        }
        step.end(format_args!("{name}: {} opened", connections - failures));
        Ok(())
    }

    /// Serves the connections until `next_turn` is done, and checks meanwhile that the server runs.
    pub(crate) fn drive<W: Workload>(
        &mut self,
        workload: &mut W,
        mut next_turn: impl FnMut(&mut Driver, &mut W) -> NextTurn,
    ) -> Result<(), CommandError> {
        let Self { clients, server, next_check, .. } = self;
        clients.drive(workload, |driver, workload| {
            let now = clock::now();
            if *next_check <= now {
                *next_check = now + CHECK_INTERVAL;
                server.require_alive()?;
            }
            Ok(next_turn(driver, workload))
        })
    }

    /// Serves the connections for `duration`, or until none is left. Calls `act` before each turn.
    pub(crate) fn run_for<W: Workload>(
        &mut self,
        name: &str,
        duration: Duration,
        workload: &mut W,
        mut act: impl FnMut(&mut Driver, &mut W) -> NextTurn,
    ) -> Result<(), CommandError> {
        let step_millis =
            |duration: Duration| usize::try_from(duration.as_millis()).unwrap_or(usize::MAX);
        let step = self.output.begin(&format!("{name} (ms)"), step_millis(duration));
        let began = clock::now();
        self.drive(workload, |driver, workload| {
            let passed = clock::now().saturating_duration_since(began);
            step.reach(step_millis(passed));
            if passed >= duration || driver.len() == 0 {
                return NextTurn::Done;
            }
            match act(driver, workload) {
                NextTurn::Done => NextTurn::Done,
                NextTurn::Wait(wait) => NextTurn::Wait(wait.min(duration - passed)),
            }
        })?;
        let passed = clock::now().saturating_duration_since(began);
        step.end(format_args!("{name}: {}", Seconds(passed)));
        Ok(())
    }

    /// Waits for all answers that the server owes.
    pub(crate) fn await_answers(
        &mut self,
        workload: &mut impl Workload,
    ) -> Result<(), CommandError> {
        self.drive(workload, |driver, _| match driver.awaiting() {
            0 => NextTurn::Done,
            _ => SERVE,
        })
    }

    /// Closes every connection with a closing handshake.
    pub(crate) fn close(&mut self, workload: &mut impl Workload) -> Result<(), CommandError> {
        let step = self.output.begin("closing", self.clients.len());
        self.clients.close(IN_FLIGHT_MAX, &step, workload)?;
        self.server.require_alive()
    }

    /// An error if this program started the server and it has ended.
    pub(crate) fn require_server(&mut self) -> Result<(), CommandError> {
        self.server.require_alive()
    }

    /// Writes the report. If there were failures because the server has ended, the error about that
    /// takes the place of the report.
    pub(crate) fn report(
        &mut self,
        report: &(impl Display + Serialize),
        has_failures: bool,
    ) -> Result<Verdict, CommandError> {
        if has_failures {
            self.server.require_alive_after_failure()?;
        }
        let tls = self.clients.driver().tls_summary();
        self.output.report(&WithTls { report, tls })?;
        Ok(if has_failures { Verdict::Failures } else { Verdict::Fine })
    }

    /// Reads the CPU clocks.
    pub(crate) fn cpu_sample(&mut self) -> CpuSample {
        self.clocks.sample(self.clients.driver().waited())
    }

    /// The number of connections that each of the server's epoll instances watches. Empty if they
    /// cannot be read.
    pub(crate) fn connections_per_epoll(&self) -> Vec<usize> {
        let pid = self.server.pid();
        pid.and_then(|pid| proc_stats::read_epoll_connections(pid).ok()).unwrap_or_default()
    }

    /// The server's process, if it is known.
    pub(crate) fn server_pid(&self) -> Option<NonZeroU32> {
        self.server.pid()
    }

    /// Reads the server's memory.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.server.pid())
    }

    /// Begins a step of the run.
    pub(crate) fn begin(&self, name: &str, total: usize) -> Step {
        self.output.begin(name, total)
    }
}

/// A report, and the TLS of its connections if they had some.
#[derive(Debug, Serialize)]
struct WithTls<'a, R> {
    #[serde(flatten)]
    report: &'a R,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsSummary>,
}

impl<R: Display> Display for WithTls<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tls) = &self.tls {
            writeln!(f, "{tls}")?;
        }
        self.report.fmt(f)
    }
}

/// The addresses to connect from. An error unless there is room for the connections.
fn source_addresses(
    target: &Target,
    requirements: Requirements<'_>,
) -> Result<SourceAddresses, CommandError> {
    let sources = SourceAddresses::new(target.address, &proc_stats::read_ephemeral_ports()?);
    require_capacity(requirements.connections, target, &sources)?;
    Ok(if requirements.has_turnover { sources.rotating() } else { sources })
}

/// A turn that only serves the connections.
pub(crate) const SERVE: NextTurn = NextTurn::Wait(TURN_MAX);
pub(crate) const TURN_MAX: Duration = Duration::from_millis(100);
/// Open requests while connections are opened and closed. `storm` measures what the accept queue of
/// the server does with more.
const IN_FLIGHT_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
