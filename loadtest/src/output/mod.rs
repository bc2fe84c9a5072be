//! What the program prints: progress, reports, tables and figures.

mod console;
pub(crate) mod table;
pub(crate) mod units;

pub(crate) use console::{Output, Step, note};
