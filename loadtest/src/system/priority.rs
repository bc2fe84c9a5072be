//! The priority of a thread.

use rustix::process::{getpriority_process, setpriority_process};

/// Lowers the priority of the calling thread, so that others go first where cores are short.
///
/// An error changes nothing but that: the thread goes on as before.
pub(crate) fn lower_own() {
    // Without a process id both calls mean the calling thread (setpriority(2), "C library/kernel
    // differences").
    let _ = getpriority_process(None).and_then(|nice| setpriority_process(None, nice + STEPS));
}

const STEPS: i32 = 5;
