//! What the program prints: progress, reports, tables, figures and charts.

pub(crate) mod canvas;
mod console;
pub(crate) mod table;
pub(crate) mod units;

pub(crate) use console::{Output, Step, note};
