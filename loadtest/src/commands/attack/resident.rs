//! The server's resident memory in the course of a run.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::stats::proc_stats;

/// Samples the resident memory of a process. Without a process all figures are absent.
#[derive(Debug)]
pub(super) struct ResidentMemory {
    pid: Option<NonZeroU32>,
    next_sample: Option<Instant>,
    highest_bytes: Option<u64>,
}

impl ResidentMemory {
    pub(super) fn new(pid: Option<NonZeroU32>) -> Self {
        Self { pid, next_sample: None, highest_bytes: None }
    }

    /// Reads it now.
    pub(super) fn read_bytes(&mut self) -> Option<u64> {
        let bytes = self.pid.and_then(|pid| proc_stats::read_rss(pid).ok());
        self.highest_bytes = self.highest_bytes.max(bytes);
        bytes
    }

    /// Reads it if the last time is long enough ago.
    pub(super) fn sample(&mut self, now: Instant) {
        if self.next_sample.is_none_or(|due| due <= now) {
            self.next_sample = Some(now + SAMPLE_INTERVAL);
            self.read_bytes();
        }
    }

    /// The highest figure since the last call.
    pub(super) fn take_highest_bytes(&mut self) -> Option<u64> {
        self.read_bytes();
        self.highest_bytes.take()
    }
}

const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
