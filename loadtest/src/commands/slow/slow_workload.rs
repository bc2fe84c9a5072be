//! What echo and broadcast do differently in the course of the study.

use super::tracker::Tracker;
use crate::driver;
use crate::driver::{ConnKey, Driver, Workload};
use crate::load::clients::NextTurn;

/// A workload that goes through the study's stages.
pub(super) trait SlowWorkload: Workload {
    /// All connections are open: begins.
    fn begin(&mut self, driver: &mut Driver);

    /// Sends what is to be sent before the next turn.
    fn act(&mut self, driver: &mut Driver) -> NextTurn;

    /// The last messages were sent.
    fn finish(&mut self);

    /// Messages that the reader has not received yet.
    fn outstanding(&self, reader: usize) -> u64;

    fn tracker(&mut self) -> &mut Tracker;

    /// The slow readers stop reading.
    fn stop_reading(&mut self, driver: &mut Driver) {
        for key in self.slow_keys(driver) {
            driver.pause_reading(key);
        }
        self.tracker().stop_reading();
    }

    /// The slow readers read again, and nothing more is sent.
    fn read_again(&mut self, driver: &mut Driver)
    where
        Self: Sized,
    {
        self.finish();
        for key in self.slow_keys(driver) {
            driver.resume_reading(key, self);
        }
    }

    /// The slow readers that are still there and have not received everything.
    fn behind(&mut self, driver: &Driver) -> usize {
        let keys = self.slow_keys(driver);
        keys.iter().filter(|key| self.outstanding(driver::index(key.serial())) > 0).count()
    }

    fn slow_keys(&mut self, driver: &Driver) -> Vec<ConnKey> {
        let tracker = self.tracker();
        driver.keys().into_iter().filter(|key| tracker.is_slow(key.serial())).collect()
    }
}
