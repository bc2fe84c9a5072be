//! Publishes, verifies what every subscriber receives, and records the latencies.

use std::time::Duration;

use crate::driver;
use crate::driver::{ConnHandle, ConnKey, Driver, Failure, Workload};
use crate::load::deliveries::{Deliveries, Delivery, Order};
use crate::message::Pattern;
use crate::stats::latency::Latencies;
use crate::stats::tally::Tally;
use crate::websocket::Event;

/// Publishers and subscribers. The subscribers are the first connections of the run.
#[derive(Debug)]
pub(super) struct FanoutWorkload {
    deliveries: Deliveries,
    subscribers: usize,
    publisher_count: usize,
    /// The first subscribers publish.
    members_publish: bool,
    /// Empty until all connections are open.
    publishers: Vec<ConnKey>,
    /// Deliveries that can still arrive in order.
    outstanding: u64,
    lost: u64,
    stale: u64,
    is_over: bool,
    latencies: Latencies,
    tally: Tally,
}

impl FanoutWorkload {
    /// The subscribers are the first connections; of them the first `publishers` publish if
    /// `members_publish`, and else the connections behind them.
    pub(super) fn new(
        pattern: Pattern,
        (publishers, subscribers): (usize, usize),
        members_publish: bool,
    ) -> Self {
        Self {
            deliveries: Deliveries::new(pattern, publishers, subscribers),
            subscribers,
            publisher_count: publishers,
            members_publish,
            publishers: Vec::with_capacity(publishers),
            outstanding: 0,
            lost: 0,
            stale: 0,
            is_over: false,
            latencies: Latencies::new(),
            tally: Tally::default(),
        }
    }

    /// Takes the publishers from the driver, once all connections are open.
    pub(super) fn begin(&mut self, driver: &Driver) {
        let first = if self.members_publish { 0 } else { self.subscribers };
        let publishing = first..first + self.publisher_count;
        self.publishers = driver.keys();
        self.publishers.retain(|key| publishing.contains(&driver::index(key.serial())));
    }

    /// Sends `count` publications of every publisher, in one write each.
    pub(super) fn publish(&mut self, count: usize, driver: &mut Driver) {
        for (publisher, key) in self.publishers.iter().enumerate() {
            driver.with(*key, |connection| {
                for _ in 0..count {
                    self.deliveries.publish(publisher, connection);
                    self.outstanding += self.subscribers as u64;
                }
            });
        }
    }

    /// Begins to measure. Lost and stale publications of the warm-up stay counted.
    pub(super) fn measure(&mut self) {
        self.latencies.clear();
    }

    pub(super) fn is_everything_received(&self) -> bool {
        self.outstanding == 0
    }

    /// The run cannot be finished: a connection has failed, or a publication is overdue.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends the run, and counts the publications that have not arrived after `waited` as lost.
    pub(super) fn abort(&mut self, waited: Duration) {
        self.is_over = true;
        for subscriber in 0..self.subscribers {
            let missing = self.deliveries.outstanding(subscriber);
            self.lost += missing;
            if missing > 0 {
                self.tally.record(|| {
                    let seconds = waited.as_secs_f64();
                    format!(
                        "subscriber {subscriber}: {missing} publications did not come within \
                         {seconds} s"
                    )
                });
            }
        }
    }

    /// The deliveries in order since the beginning of the measurement.
    pub(super) fn delivered(&self) -> u64 {
        self.latencies.count()
    }

    /// Publications that a subscriber did not receive, or not in order.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Publications that a subscriber received twice, or after a later one.
    pub(super) fn stale(&self) -> u64 {
        self.stale
    }

    pub(super) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn receive(&mut self, subscriber: usize, delivery: Delivery, latency: Duration) {
        let Delivery { publisher, sequence, order, .. } = delivery;
        match order {
            Order::Next => {}
            Order::Ahead { missing } => {
                self.lost += u64::from(missing);
                self.outstanding -= u64::from(missing);
                self.tally.record(|| {
                    format!(
                        "subscriber {subscriber}: publication {sequence} of publisher \
                         {publisher} came, {missing} before it did not"
                    )
                });
            }
            Order::Stale => {
                self.stale += 1;
                self.tally.record(|| {
                    format!(
                        "subscriber {subscriber}: publication {sequence} of publisher \
                         {publisher} came again, or after a later one"
                    )
                });
                return;
            }
        }
        self.outstanding -= 1;
        self.latencies.record(latency);
    }
}

impl Workload for FanoutWorkload {
    fn on_event(
        &mut self,
        connection: &mut ConnHandle<'_>,
        event: Event<'_>,
    ) -> Result<(), Failure> {
        let Event::Data(chunk) = event else {
            return Ok(());
        };
        let subscriber = driver::index(connection.serial());
        // Publishers are not checked: a server may send them their own publications, or an answer.
        if subscriber < self.subscribers
            && let Some(delivery) = self.deliveries.verify(subscriber, &chunk)?
        {
            let latency = connection.now().saturating_duration_since(delivery.published);
            self.receive(subscriber, delivery, latency);
        }
        Ok(())
    }

    fn on_end(&mut self, serial: u64, outcome: Result<(), Failure>) {
        self.is_over |= outcome.is_err();
        self.tally.record_end(serial, outcome);
    }

    fn failures(&self) -> usize {
        self.tally.count()
    }
}
