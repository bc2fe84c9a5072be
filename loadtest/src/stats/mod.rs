//! What is measured: latencies, failures, memory, CPU time, and the machine that it is measured on.

pub(crate) mod cpu_use;
pub(crate) mod latency;
pub(crate) mod machine;
pub(crate) mod meter;
pub(crate) mod proc_stats;
pub(crate) mod tally;
