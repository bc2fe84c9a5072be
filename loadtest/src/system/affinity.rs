//! Which core this program, and a server that it starts, run on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and what it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Starts something that is to run on one core, or, if there is none to pin to, where it likes.
/// To be pinned from its first moment on, it inherits the core from this thread.
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
    fn only_what_is_started_runs_on_the_core() {
        // On a thread of its own, so that a failure pins no other test.
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
