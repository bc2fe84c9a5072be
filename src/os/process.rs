//! Settings of the process: descriptors, the cores of its threads, its allocator.

use std::fs;
use std::io;
#[cfg(target_env = "gnu")]
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The limit on descriptors of the process (`RLIMIT_NOFILE`, getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit when the process was started.
    pub inherited: u64,
    /// The soft limit now, which is the hard limit if raising it succeeded.
    pub granted: u64,
}

/// Raises the soft limit on descriptors to the hard limit, or leaves it if the system refuses.
#[must_use]
pub fn raise_descriptor_limit() -> Descriptors {
    let before = getrlimit(Resource::Nofile);
    let inherited = before.current.unwrap_or(u64::MAX);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum.unwrap_or(u64::MAX),
        Err(_) => inherited,
    };
    Descriptors { inherited, granted }
}

/// The name of this machine, or of the container.
#[must_use]
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Warnings about settings of the kernel that are below what the configuration needs, a line for
/// each.
#[must_use]
pub fn kernel_warnings(accept_backlog: u64, connections_max: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(somaxconn) = read_number("/proc/sys/net/core/somaxconn")
        && somaxconn < accept_backlog
    {
        warnings.push(format!(
            "net.core.somaxconn = {somaxconn} holds socket.accept_backlog below {accept_backlog}"
        ));
    }
    if let Some(watches) = read_number("/proc/sys/fs/epoll/max_user_watches")
        && watches < connections_max
    {
        warnings.push(format!(
            "fs.epoll.max_user_watches = {watches} is below connections_max = {connections_max}"
        ));
    }
    warnings
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Pins the calling thread to the `number`th core that the process may run on, modulo their count.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn pin_thread(number: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let Some(core) = cores.get(number % cores.len().max(1)) else { return Ok(()) };
    let mut own = CpuSet::new();
    own.set(*core);
    Ok(sched_setaffinity(None, &own)?)
}

/// Makes glibc return freed memory to the system; does nothing with other C libraries.
///
/// By default glibc raises `M_MMAP_THRESHOLD`, from which blocks are mapped on their own, whenever
/// such a block is freed, and `M_TRIM_THRESHOLD` with it (mallopt(3)). The process would then keep
/// the memory of a table that once grew for 10,000 connections. Setting the thresholds turns that
/// adaptation off. Buffers that are used again and again are kept by the loops' own pools.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "mallopt has no safe binding; only this function calls it")
)]
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in
        [(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (libc::M_TRIM_THRESHOLD, TOP_BYTES_KEPT)]
    {
        // SAFETY: mallopt takes two integers and changes the allocator's settings under its lock.
        let is_set = unsafe { libc::mallopt(parameter, bytes) };
        debug_assert_eq!(is_set, 1, "glibc knows both parameters");
    }
}

/// Has glibc return the free pages in the middle of its heaps as well; does nothing with other C
/// libraries. A thread of its own does it, since it takes time in proportion to what is free.
///
/// For each thread glibc keeps up to seven free blocks of each size below 1 KiB. After a burst those of
/// the calling thread lie scattered over its heap, and each holds a page back. So they are taken out,
/// and freed by yet another thread, which keeps nothing once it has ended.
pub fn return_scattered_memory() {
    #[cfg(target_env = "gnu")]
    {
        let take = |bytes| std::hint::black_box(Vec::<u8>::with_capacity(bytes));
        let sizes = (CACHED_BYTES_MIN..=CACHED_BYTES_MAX).step_by(CACHED_BYTES_STEP);
        let each = sizes.flat_map(|bytes| std::iter::repeat_n(bytes, CACHED_EACH));
        let scattered: Vec<Vec<u8>> = each.map(take).collect();
        let thread = || thread::Builder::new().name("memory".to_owned()).stack_size(STACK_BYTES);
        let free = move || {
            if let Ok(freeing) = thread().spawn(move || drop(scattered)) {
                // It cannot have panicked.
                let _ = freeing.join();
            }
            trim_heaps();
        };
        // Without a thread it is left for the next time.
        let _ = thread().spawn(free);
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "malloc_trim has no safe binding; only this function calls it")]
fn trim_heaps() {
    // SAFETY: malloc_trim takes an integer, and locks each heap while it looks at it (malloc_trim(3)).
    let _ = unsafe { libc::malloc_trim(TOP_BYTES_LEFT) };
}

/// Blocks from this size on are mapped on their own and unmapped when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: libc::c_int = 16 << 10;
/// Most free bytes that stay at the top of a heap.
#[cfg(target_env = "gnu")]
const TOP_BYTES_KEPT: libc::c_int = 64 << 10;

/// The sizes that glibc keeps free blocks of for each thread, and how many of each.
#[cfg(target_env = "gnu")]
const CACHED_BYTES_MIN: usize = 24;
#[cfg(target_env = "gnu")]
const CACHED_BYTES_MAX: usize = 1032;
#[cfg(target_env = "gnu")]
const CACHED_BYTES_STEP: usize = 16;
#[cfg(target_env = "gnu")]
const CACHED_EACH: usize = 7;
/// The least that Rust's own start of a thread is content with, and a little more.
#[cfg(target_env = "gnu")]
const STACK_BYTES: usize = 64 << 10;
/// Bytes that stay at the top of a heap when it is looked through.
#[cfg(target_env = "gnu")]
const TOP_BYTES_LEFT: libc::size_t = 0;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn pinning_a_thread_leaves_the_others_alone() {
        let before = sched_getaffinity(None).unwrap();
        let pinned = thread::spawn(|| {
            pin_thread(1_000_003).unwrap();
            sched_getaffinity(None).unwrap().count()
        });
        assert_eq!(pinned.join().unwrap(), 1);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
