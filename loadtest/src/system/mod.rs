//! What the process uses of the operating system: clock, cores, signals, the limit on open files.

pub(crate) mod affinity;
pub(crate) mod clock;
pub(crate) mod file_limit;
pub(crate) mod interrupt;
pub(crate) mod priority;
