//! The course of a run: before, during and after the attack.

use std::io;
use std::thread;
use std::time::Duration;

use super::arguments::AttackArguments;
use super::attackers::{AttackerFigures, Attackers};
use super::attacks::Attack;
use super::bystanders::{Bystanders, Stage};
use super::options::AttackOptions;
use super::report::{AttackReport, StageReport};
use super::resident::ResidentMemory;
use super::signals::{Signals, StopOnDrop};
use crate::commands::session::Session;
use crate::driver::DriverOptions;
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::stats::cpu_use::CpuUse;
use crate::stats::machine::Machine;
use crate::system::interrupt::Interrupt;
use crate::system::{clock, priority};

/// What the stages of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stages<'a> {
    pub(super) attack: &'static Attack,
    pub(super) arguments: &'a AttackArguments,
    pub(super) options: AttackOptions,
    pub(super) interrupt: &'a Interrupt,
}

/// The server's figures of one stage.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu: CpuUse,
    highest_rss_bytes: Option<u64>,
    last_rss_bytes: Option<u64>,
}

impl Stages<'_> {
    /// Runs all stages. The attackers have a thread of their own.
    pub(super) fn run(
        &self,
        session: &mut Session,
        mut bystanders: Bystanders,
        driver_options: DriverOptions,
    ) -> Result<AttackReport, CommandError> {
        let load_average = Machine::read().load_average;
        let signals = Signals::default();
        let (costs, attackers) = thread::scope(|scope| {
            let _stop = StopOnDrop(&signals);
            let interrupt = self.interrupt.clone();
            let attackers = scope.spawn(|| self.attack(driver_options, interrupt, &signals));
            let costs =
                self.measure(session, &mut bystanders, &signals, || attackers.is_finished())?;
            let attackers = attackers
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the attackers' thread failed").into()))?;
            Ok::<_, CommandError>((costs, attackers))
        })?;
        session.close(&mut bystanders)?;
        let [before, during, after] = costs;
        let stages = [(Stage::Before, before), (Stage::During, during), (Stage::After, after)].map(
            |(stage, cost)| StageReport {
                bystanders: bystanders.summary(stage),
                cpu: cost.cpu,
                highest_rss_bytes: cost.highest_rss_bytes,
                last_rss_bytes: cost.last_rss_bytes,
            },
        );
        let absences = bystanders.absences();
        Ok(AttackReport::new(
            self.attack.name,
            self.arguments,
            stages,
            attackers,
            absences,
            load_average,
        ))
    }

    /// The thread of the attackers.
    fn attack(
        &self,
        driver_options: DriverOptions,
        interrupt: Interrupt,
        signals: &Signals,
    ) -> Result<AttackerFigures, CommandError> {
        priority::lower_own();
        let mut attackers = Attackers::new(self.options, driver_options, interrupt, signals)?;
        (self.attack.run)(&mut attackers)?;
        Ok(attackers.end())
    }

    fn measure(
        &self,
        session: &mut Session,
        bystanders: &mut Bystanders,
        signals: &Signals,
        is_attack_over: impl Fn() -> bool,
    ) -> Result<[Cost; 3], CommandError> {
        let mut memory = ResidentMemory::new(session.server_pid());
        let arguments = self.arguments;
        measure_stage(session, bystanders, &mut memory, |passed| {
            (signals.is_ready() && passed >= WARM_UP) || is_attack_over()
        })?;
        bystanders.clear();
        let before = measure_stage(session, bystanders, &mut memory, |passed| {
            passed >= arguments.before_seconds || is_attack_over()
        })?;
        bystanders.enter(Stage::During);
        signals.begin();
        let during = measure_stage(session, bystanders, &mut memory, |_| is_attack_over())?;
        bystanders.enter(Stage::After);
        let after = measure_stage(session, bystanders, &mut memory, |passed| {
            passed >= arguments.after_seconds
        })?;
        // What is under way belongs to its stage, however late it ends.
        bystanders.finish();
        let began = clock::now();
        session.drive(bystanders, |driver, bystanders| {
            let passed = clock::now().saturating_duration_since(began);
            if bystanders.is_idle() || passed > arguments.session.timeout {
                return NextTurn::Done;
            }
            bystanders.act(driver)
        })?;
        Ok([before, during, after])
    }
}

/// Serves the bystanders until `is_over`, which is given the time that has passed.
fn measure_stage(
    session: &mut Session,
    bystanders: &mut Bystanders,
    memory: &mut ResidentMemory,
    is_over: impl Fn(Duration) -> bool,
) -> Result<Cost, CommandError> {
    let before = session.cpu_sample();
    session.drive(bystanders, |driver, bystanders| {
        let now = clock::now();
        if is_over(now.saturating_duration_since(before.time)) {
            return NextTurn::Done;
        }
        memory.sample(now);
        bystanders.act(driver)
    })?;
    let cpu = session.cpu_sample().since(&before, "byte", 0);
    session.require_server()?;
    let last_rss_bytes = memory.read_bytes();
    Ok(Cost { cpu, last_rss_bytes, highest_rss_bytes: memory.take_highest_bytes() })
}

/// The bystanders connect, and the server's first allocations fall into this time.
const WARM_UP: Duration = Duration::from_millis(500);
