//! The report of `ulimit`: as text, or as one JSON document.

use std::fmt;

use serde::Serialize;

use super::arguments::UlimitArguments;
use super::workload::{Counts, UlimitWorkload};
use crate::stats::cpu_use::CpuUse;
use crate::stats::tally::Tally;
use crate::target::Origin;

/// The figures of the run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UlimitReport {
    command: &'static str,
    address: Origin,
    path: String,
    descriptors: u32,
    clients: usize,
    #[serde(flatten)]
    arrived: Counts,
    /// Clients without an answer at the end of the pressure.
    left_waiting: usize,
    /// The CPU time while the surplus clients were the server's only work.
    pressure: CpuUse,
    echoed_under_pressure: usize,
    clients_that_left: usize,
    new_clients: usize,
    /// New clients, or clients that had waited, that were served after others had left.
    new_clients_served: usize,
    failures: Tally,
}

/// The figures of the stage under pressure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    pub(super) arrived: Counts,
    pub(super) left_waiting: usize,
    pub(super) cpu: CpuUse,
}

impl UlimitReport {
    pub(super) fn new(
        arguments: &UlimitArguments,
        pressure: Pressure,
        new_clients: usize,
        workload: &UlimitWorkload,
    ) -> Self {
        let Pressure { arrived, left_waiting, cpu } = pressure;
        Self {
            command: "ulimit",
            address: arguments.session.address.origin(),
            path: arguments.path.path.clone(),
            descriptors: arguments.descriptors.get(),
            clients: arguments.clients.get(),
            arrived,
            left_waiting,
            pressure: cpu,
            echoed_under_pressure: workload.echoed(),
            clients_that_left: workload.left(),
            new_clients,
            new_clients_served: workload.returned(),
            failures: workload.tally().clone(),
        }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures.count() > 0
    }
}

impl fmt::Display for UlimitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, address, path, descriptors, arrived, left_waiting, .. } = self;
        writeln!(
            f,
            "{clients} clients came to {address}{path}, whose server may open {descriptors} \
             files"
        )?;
        writeln!(
            f,
            "{} served, {} refused with 503 and Retry-After, {} with 503 alone, {} otherwise, \
             {} reset, {left_waiting} left waiting",
            arrived.served,
            arrived.refused_with_retry_after,
            arrived.refused_without_retry_after,
            arrived.refused_otherwise,
            arrived.reset
        )?;
        writeln!(f, "under pressure, with nothing else to do:")?;
        for line in self.pressure.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        let Self {
            echoed_under_pressure, clients_that_left, new_clients, new_clients_served, ..
        } = self;
        writeln!(f, "{echoed_under_pressure} of those served echoed a message meanwhile")?;
        writeln!(
            f,
            "after {clients_that_left} had left, {new_clients_served} of {new_clients} new clients \
             were served"
        )?;
        writeln!(f, "{}", self.failures)
    }
}
