//! The C library's allocator, told to give memory back.

/// Lets freed memory go back to the system instead of being kept for a next time.
///
/// glibc raises the size from which blocks are mapped on their own whenever such a block is freed,
/// and with it what it keeps at the top of its heaps. A table that grew for 10,000 connections
/// would leave its memory with the process for ever. Fixed thresholds keep that from happening;
/// what is used again and again lies in the loops' own pools. Elsewhere this does nothing.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "mallopt has no safe binding; only this file calls it")
)]
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in
        [(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (libc::M_TRIM_THRESHOLD, TOP_BYTES_KEPT)]
    {
        // SAFETY: mallopt takes two numbers and changes the allocator's settings under its lock.
        let is_set = unsafe { libc::mallopt(parameter, bytes) };
        debug_assert_eq!(is_set, 1, "glibc knows both parameters");
    }
}

#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: libc::c_int = 16 << 10;
#[cfg(target_env = "gnu")]
const TOP_BYTES_KEPT: libc::c_int = 64 << 10;
