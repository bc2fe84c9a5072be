//! The commands, one folder each, and the files that they share.

pub(crate) mod attack;
mod capacity;
pub(crate) mod channels;
pub(crate) mod churn;
pub(crate) mod compare;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod idle;
mod latency_chart;
mod load_result;
mod options;
pub(crate) mod rate;
mod reachable;
mod session;
pub(crate) mod slow;
pub(crate) mod storm;
pub(crate) mod study;
pub(crate) mod ulimit;
