//! Lines on their way to a writer of their own: a bounded queue.
//!
//! What lines are written to may stop taking them, and then a write blocks: a pipe that is not read
//! (pipe(7)), a file system that hangs. Event loops and the thread that takes signals only enqueue, under a
//! lock that is never held over a system call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A queue of lines. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LineQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    lines: Mutex<Lines>,
    has_lines: Condvar,
    is_written: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    queued: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The writer has taken lines out that it has not written yet.
    is_writing: bool,
    /// The writer is to look around although there is no line.
    is_poked: bool,
}

impl LineQueue {
    /// A queue that holds lines of at most `bytes_max` bytes in all.
    pub(super) fn new(bytes_max: usize) -> Self {
        let shared = Shared {
            bytes_max,
            lines: Mutex::default(),
            has_lines: Condvar::new(),
            is_written: Condvar::new(),
            dropped: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Counts lines that the writer could not write.
    pub(super) fn add_dropped(&self, count: u64) {
        self.shared.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Waits until all lines are written, but at most `patience` in all; whether they are.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let is_behind = |lines: &mut Lines| lines.is_writing || !lines.queued.is_empty();
        let waited = self.shared.is_written.wait_timeout_while(self.lines(), patience, is_behind);
        let (lines, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(lines);
        !timeout.timed_out()
    }

    /// Adds a line, or drops it if the queue is full.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut lines = self.lines();
        if lines.bytes + line.len() > self.shared.bytes_max {
            self.add_dropped(1);
            return;
        }
        lines.bytes += line.len();
        lines.queued.push_back(line);
        self.shared.has_lines.notify_one();
    }

    /// Whether there is room for a line of `bytes`.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.lines().bytes + bytes <= self.shared.bytes_max
    }

    /// Has [`LineQueue::next`] return, with no lines if there are none.
    pub(super) fn poke(&self) {
        self.lines().is_poked = true;
        self.shared.has_lines.notify_one();
    }

    /// Takes the next lines in their order, up to `bytes_max` bytes but one at least, waiting for them; none
    /// after [`LineQueue::poke`], or when nothing has come for `patience`. Until [`LineQueue::written`] they
    /// count as not written.
    pub(super) fn next(&self, bytes_max: usize, patience: Option<Duration>) -> Vec<Vec<u8>> {
        let is_idle = |lines: &mut Lines| lines.queued.is_empty() && !lines.is_poked;
        let lines = self.lines();
        let has_lines = &self.shared.has_lines;
        let mut lines = match patience {
            None => has_lines.wait_while(lines, is_idle).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = has_lines.wait_timeout_while(lines, patience, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        lines.is_poked = false;
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(line) = lines.queued.front()
            && (taken.is_empty() || bytes + line.len() <= bytes_max)
        {
            bytes += line.len();
            taken.extend(lines.queued.pop_front());
        }
        lines.bytes -= bytes;
        lines.is_writing = !taken.is_empty();
        taken
    }

    /// The lines of [`LineQueue::next`] are dealt with.
    pub(super) fn written(&self) {
        let mut lines = self.lines();
        lines.is_writing = false;
        if lines.queued.is_empty() {
            self.shared.is_written.notify_all();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = LineQueue::new(10_000);
        let line = vec![b'x'; 1000];
        for _ in 0..30 {
            queue.push(line.clone());
        }
        assert_eq!(queue.dropped(), 20);
        assert_eq!(queue.next(0, None).len(), 1, "one at least");
        queue.push(line);
        assert_eq!(queue.dropped(), 20, "there was room again");
        assert_eq!(queue.next(2500, None).len(), 2);
    }

    #[test]
    fn a_flush_without_a_writer_ends() {
        let queue = LineQueue::new(100);
        assert!(queue.flush(Duration::ZERO));
        queue.push(b"a line\n".to_vec());
        assert!(!queue.flush(Duration::from_millis(10)));
        assert_eq!(queue.next(100, None), [b"a line\n"]);
        assert!(!queue.flush(Duration::from_millis(10)), "taken and not written");
        queue.written();
        assert!(queue.flush(Duration::ZERO));
    }

    #[test]
    fn a_writer_that_is_poked_finds_nothing() {
        let queue = LineQueue::new(100);
        queue.poke();
        assert!(queue.next(100, None).is_empty());
        assert!(queue.next(100, Some(Duration::ZERO)).is_empty());
        assert!(queue.flush(Duration::ZERO));
    }
}
