//! The interface of the two workloads of `slow`, echo and broadcast.

use super::tracker::Tracker;
use crate::driver;
use crate::driver::{ConnKey, Driver, Workload};
use crate::load::clients::NextTurn;

/// A workload with readers that stop reading.
pub(super) trait SlowWorkload: Workload {
    /// Begins to send, once all connections are open.
    fn begin(&mut self, driver: &mut Driver);

    /// Sends the messages that are due before the next turn.
    fn act(&mut self, driver: &mut Driver) -> NextTurn;

    /// Sends no more messages.
    fn finish(&mut self);

    /// The number of messages that the reader has not received.
    fn outstanding(&self, reader: usize) -> u64;

    fn tracker(&mut self) -> &mut Tracker;

    /// Stops reading from the slow readers.
    fn stop_reading(&mut self, driver: &mut Driver) {
        for key in self.slow_keys(driver) {
            driver.pause_reading(key);
        }
        self.tracker().stop_reading();
    }

    /// Reads from the slow readers again, and sends no more messages.
    fn read_again(&mut self, driver: &mut Driver)
    where
        Self: Sized,
    {
        self.finish();
        for key in self.slow_keys(driver) {
            driver.resume_reading(key, self);
        }
    }

    /// The number of slow readers that are connected and have not received everything.
    fn behind(&mut self, driver: &Driver) -> usize {
        let keys = self.slow_keys(driver);
        keys.iter().filter(|key| self.outstanding(driver::index(key.serial())) > 0).count()
    }

    fn slow_keys(&mut self, driver: &Driver) -> Vec<ConnKey> {
        let tracker = self.tracker();
        driver.keys().into_iter().filter(|key| tracker.is_slow(key.serial())).collect()
    }
}
