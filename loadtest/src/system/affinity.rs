//! Pins this program, or a server that it starts, to a core.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins this thread to one core, and with it the processes and threads that it starts from now on.
///
/// An error if there is no such core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Runs `start` on one core, if one is given, and returns to the cores of before.
///
/// A child inherits the cores of the thread that starts it, so it is pinned before its first
/// instruction.
pub(crate) fn start_on<T>(
    core: Option<usize>,
    start: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some(core) = core else {
        return start();
    };
    let own_cores = sched_getaffinity(None)?;
    pin(core)?;
    let started = start();
    sched_setaffinity(None, &own_cores)?;
    started
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn only_the_started_process_is_pinned() {
        // A thread of its own: a failure must not pin the other tests.
        thread::spawn(|| {
            let own_cores = sched_getaffinity(None).unwrap();
            let core = (0..CpuSet::MAX_CPU).find(|core| own_cores.is_set(*core)).unwrap();
            let cores = start_on(Some(core), || Ok(sched_getaffinity(None)?)).unwrap();
            assert_eq!(cores.count(), 1);
            assert!(cores.is_set(core));
            assert_eq!(sched_getaffinity(None).unwrap(), own_cores);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_core_that_does_not_exist_is_an_error() {
        assert!(pin(CpuSet::MAX_CPU - 1).is_err());
        assert!(pin(usize::MAX).is_err());
    }
}
