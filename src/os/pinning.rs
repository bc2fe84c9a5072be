//! Which core a loop's thread runs on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread on one of the cores that the process may run on: the `number`th, and
/// from the first again when there are no more.
///
/// # Errors
/// If the system does not allow it.
pub fn pin_thread(number: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let Some(core) = cores.get(number % cores.len().max(1)) else { return Ok(()) };
    let mut own = CpuSet::new();
    own.set(*core);
    Ok(sched_setaffinity(None, &own)?)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_pinned_thread_has_one_core_and_the_others_keep_theirs() {
        let before = sched_getaffinity(None).unwrap();
        let pinned = thread::spawn(|| {
            pin_thread(1_000_003).unwrap();
            sched_getaffinity(None).unwrap().count()
        });
        assert_eq!(pinned.join().unwrap(), 1);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
