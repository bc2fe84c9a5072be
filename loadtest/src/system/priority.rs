//! The priority of a thread.

use rustix::process::setpriority_process;

/// Lowers the priority of the calling thread, so that others go first where cores are short.
///
/// An error changes nothing but that: the thread goes on as before.
pub(crate) fn lower_own() {
    // Without a process id the call means the calling thread (setpriority(2), "C library/kernel
    // differences").
    let _ = setpriority_process(None, LOWERED);
}

const LOWERED: i32 = 5;
