//! Load generator for WebSocket servers.

mod client;
mod clock;
mod driver;
mod meter;
mod proc_stats;
mod random;
mod source_address;
mod target;
mod units;

fn main() {}
