//! The clients of a run: opens, asks and closes many connections, with a bound on the open
//! requests.
//!
//! The accept queue of a server holds a few thousand connections at most. The bound keeps it from
//! overflowing, which would be measured in place of the server.

use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::driver::{ConnHandle, Driver, DriverOptions, Workload};
use crate::error::CommandError;
use crate::output::Step;
use crate::system::clock;
use crate::system::interrupt::Interrupt;

/// The connections of a run.
#[derive(Debug)]
pub(crate) struct Clients {
    driver: Driver,
    interrupt: Interrupt,
}

impl Clients {
    pub(crate) fn new(options: DriverOptions, interrupt: Interrupt) -> Result<Self, CommandError> {
        Ok(Self { driver: Driver::new(options)?, interrupt })
    }

    /// The number of connections that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.driver.len()
    }

    /// Opens connections. Returns when each of them is open, or has gone through what the workload
    /// does with an open one, or has failed.
    pub(crate) fn open(
        &mut self,
        connections: usize,
        pace: Pace,
        step: &Step,
        workload: &mut impl Workload,
    ) -> Result<(), CommandError> {
        self.open_to(None, connections, pace, step, workload)
    }

    /// Opens connections to another path than the target's, if one is given.
    pub(crate) fn open_to(
        &mut self,
        path: Option<&Rc<str>>,
        connections: usize,
        pace: Pace,
        step: &Step,
        workload: &mut impl Workload,
    ) -> Result<(), CommandError> {
        let mut started = 0;
        let began = clock::now();
        self.run_bounded(pace.in_flight_max, step, workload, |driver, workload| {
            if started == connections {
                return Attempt::Exhausted;
            }
            let wait = pace.wait(started, began);
            if !wait.is_zero() {
                return Attempt::Later(wait);
            }
            started += 1;
            driver.connect_to(path, workload);
            Attempt::Started
        })
    }

    /// Calls `request` with every connection, which makes the server owe it an answer. Returns when
    /// all answers have arrived or are overdue.
    pub(crate) fn request_all(
        &mut self,
        in_flight_max: NonZeroUsize,
        step: &Step,
        workload: &mut impl Workload,
        mut request: impl FnMut(&mut ConnHandle<'_>),
    ) -> Result<(), CommandError> {
        let mut keys = self.driver.keys().into_iter();
        self.run_bounded(in_flight_max, step, workload, |driver, _| {
            let Some(key) = keys.next() else {
                return Attempt::Exhausted;
            };
            driver.with(key, &mut request);
            Attempt::Started
        })
    }

    /// Closes every connection with a closing handshake, and drops those that are left.
    pub(crate) fn close(
        &mut self,
        in_flight_max: NonZeroUsize,
        step: &Step,
        workload: &mut impl Workload,
    ) -> Result<(), CommandError> {
        self.request_all(in_flight_max, step, workload, |connection| connection.close())?;
        self.driver.abort_all();
        Ok(())
    }

    /// Serves the connections for `duration`, without requests of its own.
    pub(crate) fn serve_for(
        &mut self,
        duration: Duration,
        workload: &mut impl Workload,
    ) -> Result<(), CommandError> {
        let end = clock::now() + duration;
        loop {
            let wait = end.saturating_duration_since(clock::now());
            self.turn(wait, workload)?;
            if wait.is_zero() {
                return Ok(());
            }
        }
    }

    /// Serves the connections. Before each turn it calls `next_turn`, which may act on them and
    /// says how long to wait for the server, or that the run is over.
    pub(crate) fn drive<W: Workload>(
        &mut self,
        workload: &mut W,
        mut next_turn: impl FnMut(&mut Driver, &mut W) -> Result<NextTurn, CommandError>,
    ) -> Result<(), CommandError> {
        loop {
            // Before `next_turn`: the Ctrl-C of a terminal reaches a spawned server as well, and
            // its end would be reported as a failure.
            self.check_interrupt()?;
            match next_turn(&mut self.driver, workload)? {
                NextTurn::Done => return Ok(()),
                NextTurn::Wait(wait) => self.driver.turn(wait.min(TURN_MAX), workload)?,
            }
        }
    }

    /// Drops all connections without a closing handshake.
    pub(crate) fn abort_all(&mut self) {
        self.driver.abort_all();
    }

    pub(crate) fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }

    fn run_bounded<W: Workload>(
        &mut self,
        in_flight_max: NonZeroUsize,
        step: &Step,
        workload: &mut W,
        mut start_next: impl FnMut(&mut Driver, &mut W) -> Attempt,
    ) -> Result<(), CommandError> {
        let (mut started, mut is_exhausted) = (0_usize, false);
        // After as many failures as requests may be open, the server is beyond recovery, and each
        // further request could take as long as the timeout.
        let failures_max = workload.failures() + in_flight_max.get();
        loop {
            let mut wait = TURN_MAX;
            is_exhausted |= workload.failures() >= failures_max;
            while !is_exhausted && self.driver.awaiting() < in_flight_max.get() {
                match start_next(&mut self.driver, workload) {
                    Attempt::Started => started += 1,
                    Attempt::Exhausted => is_exhausted = true,
                    Attempt::Later(until) => {
                        wait = wait.min(until);
                        break;
                    }
                }
            }
            step.reach(started.saturating_sub(self.driver.awaiting()));
            if is_exhausted && self.driver.awaiting() == 0 {
                return Ok(());
            }
            self.turn(wait, workload)?;
        }
    }

    fn turn(&mut self, wait: Duration, workload: &mut impl Workload) -> Result<(), CommandError> {
        self.check_interrupt()?;
        Ok(self.driver.turn(wait, workload)?)
    }

    fn check_interrupt(&self) -> Result<(), CommandError> {
        if self.interrupt.is_raised() { Err(CommandError::Interrupted) } else { Ok(()) }
    }
}

/// The rate at which connections are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) in_flight_max: NonZeroUsize,
    /// Without it, connections are opened as fast as the server answers.
    pub(crate) connects_per_second: Option<NonZeroU32>,
}

impl Pace {
    /// How long to wait before the next connection, after `started` others.
    fn wait(&self, started: usize, began: Instant) -> Duration {
        let Some(rate) = self.connects_per_second else {
            return Duration::ZERO;
        };
        let due = Duration::from_secs_f64(started as f64 / f64::from(rate.get()));
        (began + due).saturating_duration_since(clock::now())
    }
}

/// What `next_turn` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextTurn {
    Done,
    /// Serve the connections for one turn, which waits for the server at most this long.
    Wait(Duration),
}

/// The outcome of an attempt to make one more request.
enum Attempt {
    Started,
    Exhausted,
    Later(Duration),
}

/// Also the longest delay until an interrupt is noticed.
const TURN_MAX: Duration = Duration::from_millis(100);
