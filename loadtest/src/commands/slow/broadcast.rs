//! Slow readers of a broadcast: the server sends them what it sends to all.

use std::num::NonZeroU32;

use super::slow_workload::SlowWorkload;
use super::tracker::Tracker;
use crate::commands::session::SERVE;
use crate::driver;
use crate::driver::{ConnHandle, ConnKey, Driver, Failure, Workload};
use crate::load::clients::NextTurn;
use crate::load::deliveries::{Deliveries, Order};
use crate::load::schedule::Schedule;
use crate::message::Pattern;
use crate::system::clock;
use crate::websocket::Event;

/// One publisher with a constant rate. Its connection comes after those of the readers.
#[derive(Debug)]
pub(super) struct BroadcastWorkload {
    deliveries: Deliveries,
    rate: NonZeroU32,
    /// The schedule and the publisher, while publications are sent.
    sending: Option<(Schedule, ConnKey)>,
    published: u64,
    tracker: Tracker,
}

impl BroadcastWorkload {
    pub(super) fn new(pattern: Pattern, tracker: Tracker, rate: NonZeroU32) -> Self {
        let deliveries = Deliveries::new(pattern, 1, tracker.readers());
        Self { deliveries, rate, sending: None, published: 0, tracker }
    }
}

impl SlowWorkload for BroadcastWorkload {
    fn begin(&mut self, driver: &mut Driver) {
        let serial = self.tracker.readers() as u64;
        let publisher = driver.keys().into_iter().find(|key| key.serial() == serial);
        let schedule = Schedule::new(clock::now(), self.rate.get(), 1);
        self.sending = publisher.map(|publisher| (schedule, publisher));
    }

    fn act(&mut self, driver: &mut Driver) -> NextTurn {
        let Some((schedule, publisher)) = self.sending else {
            return SERVE;
        };
        let due = schedule.due(clock::now());
        if due > self.published {
            driver.with(publisher, |connection| {
                for _ in self.published..due {
                    self.deliveries.publish(0, connection);
                }
            });
            self.published = due;
        }
        NextTurn::Wait(schedule.due_at(due).saturating_duration_since(clock::now()))
    }

    fn finish(&mut self) {
        self.sending = None;
    }

    fn outstanding(&self, reader: usize) -> u64 {
        self.deliveries.outstanding(reader)
    }

    fn tracker(&mut self) -> &mut Tracker {
        &mut self.tracker
    }
}

impl Workload for BroadcastWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let Event::Data(chunk) = event else {
            return Ok(());
        };
        let serial = connection.serial();
        let is_other = self.tracker.is_other(serial);
        if !is_other && !self.tracker.is_slow(serial) {
            return Ok(());
        }
        let Some(delivery) = self.deliveries.verify(driver::index(serial), &chunk)? else {
            return Ok(());
        };
        // A server may leave publications to a slow reader out, but not change their order.
        let is_fault = match delivery.order {
            Order::Next => false,
            Order::Ahead { .. } => is_other,
            Order::Stale => true,
        };
        if is_fault {
            let sequence = delivery.sequence;
            self.tracker.record_failure(|| {
                format!("reader {serial}: publication {sequence} came out of order or twice")
            });
        }
        if is_other {
            self.tracker.record(connection.now().saturating_duration_since(delivery.published));
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.tracker.record_end(serial, outcome);
    }

    fn failures(&self) -> usize {
        self.tracker.tally().count()
    }
}
